//! What texts of a description may hold. They become words of command lines, directives of
//! batch scripts and parts of URLs; whatever they are pasted into, they must stay what they are.

const TEXT_BYTES_MAX: usize = 256;
const PLAIN_BYTES_MAX: usize = 128;

/// What [`is_plain`] asks for, in words.
pub(super) const PLAIN: &str =
    "one word of letters, digits and . _ - @ + : that does not begin with - or .";

/// Whether a text is a name: neither an option, nor a path, nor of a meaning to a shell. The
/// adapters ask for the same of what they submit.
pub(super) fn is_plain(text: &str) -> bool {
    (1..=PLAIN_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && holds(text, "._-@+:")
}

/// Whether a text consists of ASCII letters, digits and `others` alone.
pub(super) fn holds(text: &str, others: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Whether a text is short and has no control characters.
pub(super) fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

/// Whether a text is one word of printable ASCII without quotes or anything that a shell would
/// expand, begin a comment with, or end a command at.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(' ') && is_line(text)
}

/// As [`is_word`], with blanks.
pub(super) fn is_line(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
        && text
            .chars()
            .all(|c| (c == ' ' || c.is_ascii_graphic()) && !"\"\\`$;#".contains(c))
}

/// Whether a text is an option of a command, in one word: the shell would take none of it for
/// its own, and the command none of it for a file.
pub(super) fn is_option(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
        && text
            .strip_prefix('-')
            .is_some_and(|rest| !matches!(rest, "" | "-"))
        && holds(text, "-_.,:=/@%+[]^")
}

/// Whether a text names a file or folder from the root on, without steps back.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_text(text) && !text.split('/').any(|step| step == "..")
}

/// Whether a text names a variable of an environment.
pub(super) fn is_variable(text: &str) -> bool {
    (1..=PLAIN_BYTES_MAX).contains(&text.len())
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && holds(text, "_")
}

/// Whether a text may name a Kubernetes object (RFC 1123).
pub(super) fn is_dns_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}
