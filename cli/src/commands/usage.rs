//! `fairway usage`

use std::time::SystemTime;

use clap::builder::PossibleValuesParser;
use fairway_api::public::UsageQuery;
use fairway_model::{Timestamp, UserName};

use super::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Sum up what ended attempts used
#[derive(Debug, clap::Args)]
pub(super) struct Usage {
    /// What to sum up by
    #[arg(long, default_value = "user",
          value_parser = PossibleValuesParser::new(["user", "group", "site", "ce", "job"]))]
    by: String,
    /// Only what ended since then: `2026-11-22`, `2026-11-22 14:30:00` (UTC), or so long ago: `7d`
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Only what ended before that, written like --from
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only of this user (operators)
    #[arg(long, value_name = "USER")]
    user: Option<UserName>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Usage {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let moment = |text: Option<&String>| {
            text.map(|text| moment(text, now()))
                .transpose()
                .map(|moment| moment.map(|it| it.0))
        };
        let query = UsageQuery {
            by: Some(self.by.clone()),
            from: moment(self.from.as_ref())?,
            until: moment(self.until.as_ref())?,
            user: self.user,
        };
        let usage = self.connect.client()?.usage(&query).await?;
        self.format
            .show(&usage, || render::accounts::usage(&usage, &self.by))
    }
}

/// A moment: a date, a date with a time, or a span before `now`.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(span) = humantime::parse_duration(text) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(millis)));
    }
    let with_time = if text.contains([' ', 'T']) {
        text.to_owned()
    } else {
        format!("{text} 00:00:00")
    };
    humantime::parse_rfc3339_weak(&with_time)
        .ok()
        .and_then(|moment| moment.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since_epoch| Timestamp(0).plus(since_epoch))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "`{text}` is not a moment: write 2026-11-22, 2026-11-22 14:30:00 (UTC), or 7d"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let now = Timestamp::from_secs(1_000_000_000);
        for (text, expected) in [
            ("2001-09-09", "2001-09-09T00:00:00Z"),
            ("2001-09-09 01:46:40", "2001-09-09T01:46:40Z"),
            ("2001-09-09T01:46:40Z", "2001-09-09T01:46:40Z"),
            ("1d", "2001-09-08T01:46:40Z"),
        ] {
            assert_eq!(moment(text, now).unwrap().to_string(), expected);
        }
        for text in ["", "yesterday", "2001-13-01"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
