//! `fairway policy pause` and `resume`

use fairway_model::policy::Pause as Entry;
use fairway_model::{Policy, Timestamp};

use super::Because;
use crate::commands::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Whose tasks.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Whose {
    /// Of a user
    User,
    /// Of a group, or of a share of the tree by its path
    Group,
    /// Of a quality of service
    Qos,
    /// With a tag
    Tag,
    /// That name a queue
    Queue,
}

/// Start nothing new of a user, group, QoS, tag or queue (operators)
///
/// What runs goes on, what waits keeps its place, and may be submitted still.
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// Whose tasks
    whose: Whose,
    /// The name
    name: String,
    /// Why, for those who wait
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Until when: a moment such as `2026-12-01T08:00:00Z`, or a time from now such as `2h`; for
    /// ever if not set
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Let tasks start again that were paused (operators)
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Whose tasks
    whose: Whose,
    /// The name
    name: String,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Pause {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let entry = Entry {
            why: self.why.clone().unwrap_or_default(),
            until: self.until,
            ..of(self.whose, &self.name)
        };
        let because = Because { because: self.why };
        change(&self.connect, self.format, because, |policy| {
            policy.paused.retain(|it| it.scope() != entry.scope());
            policy.paused.push(entry);
            Ok(())
        })
        .await
    }
}

impl Resume {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let scope = of(self.whose, &self.name).scope();
        change(&self.connect, self.format, self.because, |policy| {
            let before = policy.paused.len();
            policy.paused.retain(|it| it.scope() != scope);
            if policy.paused.len() == before {
                return Err(Failure::Refused(format!(
                    "`{}` is not paused; `fairway policy show` tells what is",
                    self.name
                )));
            }
            Ok(())
        })
        .await
    }
}

/// Changes the policy in force, and shows who is paused now.
async fn change(
    connect: &Connect,
    format: Format,
    because: Because,
    change: impl FnOnce(&mut Policy) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = connect.client()?;
    let before = client.versioned_policy().await?;
    let mut policy = before.policy;
    change(&mut policy)?;
    let reason = because.reason();
    client
        .change_policy(&policy, Some(&before.version), &reason)
        .await?;
    format.show(&policy.paused, || render::policy::paused(&policy.paused))
}

fn of(whose: Whose, name: &str) -> Entry {
    let name = Some(name.to_owned());
    let mut entry = Entry::default();
    match whose {
        Whose::User => entry.user = name,
        Whose::Group => entry.group = name,
        Whose::Qos => entry.qos = name,
        Whose::Tag => entry.tag = name,
        Whose::Queue => entry.queue = name,
    }
    entry
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|error: fairway_model::time::TimestampError| {
            let from_now = humantime::parse_duration(text);
            from_now
                .map(|span| now().plus(span))
                .map_err(|_| format!("{error}, or as a time from now such as 2h"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_two_ways() {
        let at = "2026-12-01T08:00:00Z";
        assert_eq!(moment(at).unwrap().to_string(), at);
        assert!(moment("2h").unwrap() > now());
        assert!(moment("soon").unwrap_err().contains("such as 2h"));
    }
}
