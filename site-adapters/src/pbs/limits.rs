//! Times, sizes and limits as PBS writes them. Pure.

/// A time in seconds: `90`, `01:30`, `24:00:00`, or with days before it, `1:00:00:00`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let units: &[u64] = match parts.len() {
        1 => &[1],
        2 => &[60, 1],
        3 => &[3600, 60, 1],
        4 => &[86_400, 3600, 60, 1],
        _ => return None,
    };
    let mut seconds = 0_u64;
    for (part, unit) in parts.iter().zip(units) {
        let part: u32 = part.parse().ok()?;
        seconds = seconds.checked_add(u64::from(part).checked_mul(*unit)?)?;
    }
    Some(seconds)
}

/// A size in MiB: `8gb`, `33554432kb`, `512mw` (words of eight bytes), `1024` (bytes).
pub(super) fn mib(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u128 = number.parse().ok()?;
    let (scale, each) = match unit.strip_suffix('w') {
        Some(scale) => (scale, 8),
        None => (unit.strip_suffix('b').unwrap_or(unit), 1),
    };
    let shift = match scale {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let bytes = number.checked_mul(each)?.checked_mul(1 << shift)?;
    u64::try_from(bytes >> 20).ok()
}

/// The number of jobs that a limit allows: `[u:PBS_GENERIC=4]`, `[o:PBS_ALL=200],[u:alice=9]`, or
/// a plain number, as older servers have it. Of the limits the one for everybody together and the
/// one for each user count; those of single users, groups and projects are about somebody else, as
/// far as anybody can tell from here.
pub(super) fn jobs_max(text: &str) -> Option<u32> {
    if let Ok(plain) = text.trim().parse() {
        return Some(plain);
    }
    text.split(',')
        .filter_map(|limit| {
            let limit = limit.trim().trim_start_matches('[').trim_end_matches(']');
            let (whom, number) = limit.split_once('=')?;
            let whom = whom.trim().trim_matches('"');
            matches!(whom, "o:PBS_ALL" | "u:PBS_GENERIC" | "u:PBS_ALL")
                .then(|| number.trim().parse().ok())?
        })
        .min()
}

/// The least of what is limited at all.
pub(super) fn least(limits: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    limits.into_iter().flatten().min()
}

/// The number of jobs in a state, in `Transit:0 Queued:2 Held:0 …`.
pub(super) fn state_count(text: &str, state: &str) -> u32 {
    text.split_whitespace()
        .filter_map(|word| word.split_once(':'))
        .find(|(name, _)| *name == state)
        .and_then(|(_, count)| count.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_forms() {
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("01:30"), Some(90));
        assert_eq!(seconds("24:00:00"), Some(86_400));
        assert_eq!(seconds("2:00:00:01"), Some(172_801));
        for text in [
            "",
            "--",
            "1:x",
            "-1",
            "1:2:3:4:5",
            "Infinite",
            "99999999999",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_all_units() {
        assert_eq!(mib("8gb"), Some(8192));
        assert_eq!(mib("33554432kb"), Some(32_768));
        assert_eq!(mib("1048576"), Some(1));
        assert_eq!(mib("1mw"), Some(8));
        assert_eq!(mib("0kb"), Some(0));
        for text in [
            "",
            "<various>",
            "gb",
            "1xb",
            "99999999999999999999999999999999pb",
        ] {
            assert_eq!(mib(text), None, "{text}");
        }
    }

    #[test]
    fn limits_of_others_do_not_count() {
        assert_eq!(jobs_max("[u:PBS_GENERIC=4]"), Some(4));
        assert_eq!(jobs_max("[o:PBS_ALL=2]"), Some(2));
        assert_eq!(
            jobs_max("[u:alice=1],[u:PBS_GENERIC=9],[o:PBS_ALL=7]"),
            Some(7)
        );
        assert_eq!(jobs_max("[g:hep=1]"), None);
        assert_eq!(jobs_max("12"), Some(12));
        assert_eq!(jobs_max("[u:PBS_GENERIC="), None);
    }
}
