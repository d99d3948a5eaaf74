//! Laying texts out anew: what stays, what changes, and that the meaning does not.

use fairway_jdl::Ad;
use fairway_jdl::syntax::format;
use proptest::prelude::*;

#[test]
fn a_text_is_laid_out_and_its_author_s_spelling_kept() {
    let text = r#"# A sweep, by hand.


   executable="/bin/sh" ;Arguments =  "run.sh   --fast"; # what is run
InputSandbox={"run.sh",   "data.txt",
    # the field map
  "map.bin" /* large */ , "last.txt"  } ; StdError = std.err;

/* where
   it goes */
Requirements=other.GlueCEStateFreeCPUs>4&&
      !regexp( "^test",other.GlueCEUniqueID )   // not there
      &&(CPUTIME   is   undefined||other . x [ 0 ]-1<-2) ;
OutputSandbox = { "one-long-name-of-a-file.txt", "another-long-name-of-a-file.txt", "and-another-one.txt" };
Usertags=[a=1;B={};c=[]]; Nodes = [ n = [ File = "n.jdl"; ]; // first
 Dependencies = {{n,{m,o}}}];
Rank = - 2[0] ?: 'odd name'"#;
    insta::assert_snapshot!(format(text).unwrap());
}

#[test]
fn several_ads_and_empty_texts() {
    let table = [
        ("", ""),
        (" # only this\n", "# only this\n"),
        ("[]", "[\n]\n"),
        ("[a=1];\n[ b=2 ]", "[\n    a = 1;\n]\n[\n    b = 2;\n]\n"),
        (
            "[a=1]\n\n\n\n// next\n[b=2];",
            "[\n    a = 1;\n]\n\n// next\n[\n    b = 2;\n]\n",
        ),
        ("\u{feff}a=\r\n1\r\n", "a = 1;\n"),
    ];
    for (text, expected) in table {
        assert_eq!(format(text).unwrap(), expected, "{text}");
        assert_eq!(format(expected).unwrap(), expected);
    }
}

#[test]
fn what_cannot_be_read_is_not_touched() {
    let errors = format("a = ; b = 2").unwrap_err();
    assert_eq!(errors[0].message, "expected a value, found `;`");
}

#[test]
fn what_is_hostile_ends_soon() {
    let comments = format!("a = 1 {} + 2", "/**/".repeat(200_000));
    let groups = format!("a = {} 0", "f({ 1 }) + ".repeat(100));
    let long = format!("a = f({} 0)", "{ 1 } && ".repeat(100_000));
    for text in [comments, groups, long] {
        assert!(format(&text).is_ok(), "{}", &text[..40]);
    }
    let errors = format(&"a = \"\n\" b;\n".repeat(100_000)).unwrap_err();
    assert_eq!(errors[0].message, "expected `;` after the value, found `b`");
}

/// The pieces of an ad, to be put together with anything between them.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let value = prop_oneof![
        Just(vec!["1"]),
        Just(vec!["-", "2.5"]),
        Just(vec!["\"a  b\"", "\"c\nd\""]),
        Just(vec!["x", ".", "y", "[", "0", "]"]),
        Just(vec!["'a b'", "is", "undefined"]),
        Just(vec!["{", "}"]),
        Just(vec!["[", "]"]),
        Just(vec!["a", "?:", "b"]),
    ];
    let value = value.prop_recursive(4, 40, 4, |inner| {
        let op = prop_oneof![
            Just("+"),
            Just("-"),
            Just("&&"),
            Just("||"),
            Just("=?="),
            Just("<"),
        ];
        let around =
            |open, close| move |inner: Vec<&'static str>| [vec![open], inner, vec![close]].concat();
        let separated =
            |separator: &'static str| move |all: Vec<Vec<&'static str>>| all.join(&separator);
        let attribute = |value: Vec<&'static str>| [vec!["n", "="], value].concat();
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| [a, vec![op], b].concat()),
            inner.clone().prop_map(around("(", ")")),
            inner.clone().prop_map(|a| [vec!["!"], a].concat()),
            inner
                .clone()
                .prop_map(|a| [vec!["-", "("], a, vec![")"]].concat()),
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(separated(","))
                .prop_map(around("{", "}")),
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(separated(","))
                .prop_map(|all| [vec!["f", "("], all, vec![")"]].concat()),
            prop::collection::vec(inner.prop_map(attribute), 1..3)
                .prop_map(separated(";"))
                .prop_map(around("[", "]")),
        ]
    });
    prop::collection::vec(value, 1..5).prop_map(|values| {
        let mut pieces = vec!["["];
        for (name, value) in ["One", "two", "'t h'", "_4", "Five"].iter().zip(values) {
            pieces.extend([name, "="]);
            pieces.extend(value);
            pieces.push(";");
        }
        pieces.push("]");
        pieces
    })
}

fn between() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => Just(" "),
        2 => Just("\n"),
        1 => Just("\t \n\n\r\n"),
        1 => Just(" /* c */ "),
        1 => Just(" // c\n"),
        1 => Just("\n// own\n"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laid_out_text_means_the_same_and_stays(
        (pieces, between) in pieces().prop_flat_map(|pieces| {
            let count = pieces.len();
            (Just(pieces), prop::collection::vec(between(), count))
        }),
    ) {
        let text: String = pieces
            .iter()
            .zip(&between)
            .flat_map(|(piece, between)| [*piece, *between])
            .collect();
        let Ok(ad) = Ad::parse(&text) else {
            return Ok(()); // `a ?: -(b)` and the like
        };
        let laid_out = format(&text).unwrap();
        let again = Ad::parse(&laid_out);
        prop_assert_eq!(again.as_ref(), Ok(&ad), "{}\n{}", text, laid_out);
        let twice = format(&laid_out).unwrap();
        prop_assert_eq!(&twice, &laid_out, "{}", text);
        for comment in ["/* c */", "// c\n", "// own\n"] {
            let count = |text: &str| text.matches(comment).count();
            prop_assert_eq!(count(&text), count(&laid_out), "{}", laid_out);
        }
    }
}
