//! Job ids: `123.server`, `123[].server` for an array, `123[4].server` for a member of it; the
//! server may be left out. Pure.

/// The parts of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    /// The number at its beginning.
    sequence: &'a str,
    kind: Kind,
    /// What follows the number and the brackets: nothing, or `.server`.
    suffix: &'a str,
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One job.
    Job,
    /// All members of an array.
    Array,
    /// One member of an array.
    Member(u64),
}

impl<'a> Id<'a> {
    /// Takes an id apart; `None` if the text is none.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (sequence, rest) = text.split_at(digits);
        let (kind, suffix) = match rest.strip_prefix('[') {
            None => (Kind::Job, rest),
            Some(rest) => match rest.split_once(']')? {
                ("", suffix) => (Kind::Array, suffix),
                (index, suffix) => (Kind::Member(number(index)?), suffix),
            },
        };
        let is_server = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let is_suffix = suffix.is_empty() || suffix.strip_prefix('.').is_some_and(is_server);
        (!sequence.is_empty() && text.len() <= 256 && is_suffix).then_some(Self {
            sequence,
            kind,
            suffix,
        })
    }

    pub(super) const fn kind(self) -> Kind {
        self.kind
    }

    /// The id of an array's member.
    pub(super) fn member(self, index: usize) -> String {
        format!("{}[{index}]{}", self.sequence, self.suffix)
    }

    /// The id of the array that this is a member of; else the id itself.
    pub(super) fn whole(self) -> String {
        match self.kind {
            Kind::Job => format!("{}{}", self.sequence, self.suffix),
            Kind::Array | Kind::Member(_) => format!("{}[]{}", self.sequence, self.suffix),
        }
    }
}

/// A number as programs write it: digits, no sign, no zero before them.
fn number(text: &str) -> Option<u64> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

/// Whether a text can be the id of a job or a member, and so nothing else on a command line.
pub(super) fn is_job(text: &str) -> bool {
    Id::parse(text).is_some_and(|id| id.kind != Kind::Array)
}

/// The name of a pilot's job as its stem and number: `fw-0badcafe-p7` is `fw-0badcafe-p` and 7.
pub(super) fn numbered(name: &str) -> Option<(&str, u64)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if !stem.ends_with('p') {
        return None;
    }
    Some((stem, number(&name[stem.len()..])?))
}

/// The name of an array's member. An array has the name of its first pilot, and its members are
/// the pilots that follow: nothing but the listing is needed to find one whose submission went
/// unanswered. TORQUE puts `-INDEX` behind the array's name.
pub(super) fn member_name(name: &str, index: u64) -> String {
    let array = name.strip_suffix(&format!("-{index}")).unwrap_or(name);
    match numbered(array) {
        Some((stem, first)) => format!("{stem}{}", first.saturating_add(index)),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_everything_else() {
        for (text, kind) in [
            ("123", Kind::Job),
            ("123.pbshost", Kind::Job),
            ("123[].pbs-1.example.org", Kind::Array),
            ("123[45].pbshost", Kind::Member(45)),
            ("123[0]", Kind::Member(0)),
        ] {
            assert_eq!(Id::parse(text).map(Id::kind), Some(kind), "{text}");
        }
        for text in [
            "",
            "foo",
            "-f",
            "--help",
            "12 3",
            "123;x",
            "123[",
            "123[4",
            "123[x]",
            "123[-1]",
            "123[04]",
            "123.",
            "123.a b",
            "123.$x",
            ".pbshost",
            "[4]",
            "123[4]x",
            "é",
            "1é",
            "123[99999999999999999999]",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    #[test]
    fn members_and_arrays_have_each_others_ids() {
        let array = Id::parse("5[].pbshost").unwrap();
        assert_eq!(array.member(3), "5[3].pbshost");
        assert_eq!(Id::parse("5[3].pbshost").unwrap().whole(), "5[].pbshost");
        assert_eq!(Id::parse("5.pbshost").unwrap().whole(), "5.pbshost");
    }

    #[test]
    fn members_are_named_after_the_pilots() {
        assert_eq!(member_name("fw-0badcafe-p7", 0), "fw-0badcafe-p7");
        assert_eq!(member_name("fw-0badcafe-p7", 5), "fw-0badcafe-p12");
        assert_eq!(member_name("fw-0badcafe-p7-5", 5), "fw-0badcafe-p12");
        assert_eq!(member_name("somebody", 5), "somebody");
        assert_eq!(numbered("fw-p07"), None);
        assert_eq!(numbered("fw-7"), None);
        assert_eq!(numbered("fw-p"), None);
    }
}
