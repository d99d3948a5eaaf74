//! Splitting a line into words as a shell would: quotes and backslashes, nothing
//! is expanded.

/// Why a line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbalanced {
    #[error("a `{0}` is never closed")]
    Quote(char),
    #[error("a `\\` at the end has nothing to escape")]
    Backslash,
}

/// The words of `line`. Within single quotes everything stands for itself; within
/// double quotes a backslash escapes `"`, `\`, `$` and `` ` ``.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Unbalanced> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(Unbalanced::Backslash),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unbalanced> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(Unbalanced::Quote('\''))
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unbalanced> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(Unbalanced::Quote('"'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_and_backslashes_group() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a  b ", &["a", "b"]),
            ("'a b' c", &["a b", "c"]),
            ("\"a \\\" b\"", &["a \" b"]),
            ("a\\ b", &["a b"]),
            ("x=''", &["x="]),
            ("'' \"\"", &["", ""]),
            ("a'b'\"c\"", &["abc"]),
            (
                "$HOME *.txt #no comment",
                &["$HOME", "*.txt", "#no", "comment"],
            ),
            ("'\\n'", &["\\n"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), *words, "{line}");
        }
    }

    #[test]
    fn what_is_left_open_is_refused() {
        assert_eq!(split("a 'b"), Err(Unbalanced::Quote('\'')));
        assert_eq!(split("a \"b\\\""), Err(Unbalanced::Quote('"')));
        assert_eq!(split("a\\"), Err(Unbalanced::Backslash));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec(".{0,12}", 0..6)) {
            let line: Vec<String> = words
                .iter()
                .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
                .collect();
            prop_assert_eq!(split(&line.join(" ")), Ok(words));
        }

        #[test]
        fn any_line_has_an_answer(line in ".*") {
            let _ = split(&line);
        }
    }
}
