//! By which rule a task was the next one.

use std::fmt;

use crate::{PolicyKind, TaskId, Timestamp};

/// Why a task was given to a pilot and not another one. It is rendered into the ledger when the
/// task is leased; what it says held at that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule<'a> {
    /// It had waited for longer than anybody is to wait.
    Overdue {
        /// How long it had waited, in seconds.
        waited_s: u64,
        /// How long is the longest, in seconds.
        max_s: u64,
    },
    /// Others gave way to it.
    RoomMade,
    /// It was started ahead of a task that cores are kept for, which it does not delay.
    Backfilled {
        /// The task that comes before it.
        before: TaskId,
        /// When that starts at the latest.
        from: Timestamp,
    },
    /// Tasks of lower tiers waited, and its own order among those of its tier came after that.
    Tier {
        /// Its quality of service; empty if it has none.
        qos: &'a str,
        /// The tier of that.
        tier: i32,
    },
    /// Of the tasks that the pilot suits, it had waited longest.
    Longest {
        /// How long it had waited, in seconds.
        waited_s: u64,
    },
    /// Of the tasks that the pilot suits, its priority was the highest.
    Priority {
        /// Its priority.
        priority: f64,
    },
    /// It was the turn of its owner, or of the owner's group.
    Turn {
        /// Whose.
        path: &'a str,
        /// How many take turns there.
        of: usize,
        /// Whether nobody was before.
        first: bool,
    },
    /// Its owner, or what the owner stands under, was furthest below what is theirs.
    Least {
        /// The policy.
        kind: PolicyKind,
        /// Whose number it is: the first node of the tree of shares that has others beside it.
        path: &'a str,
        /// What they used for the size of their share; the smallest comes first.
        level: f64,
        /// How many with waiting tasks stand there.
        of: usize,
        /// Whether it was the least all the way; if not, the pilot suits no task of those before.
        first: bool,
    },
    /// Nobody else had tasks waiting.
    Alone,
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Overdue { waited_s, max_s } => {
                write!(
                    f,
                    "overdue: it had waited {waited_s} s, the longest is to be {max_s} s"
                )
            }
            Self::RoomMade => f.write_str("others gave way to it"),
            Self::Backfilled { before, from } => write!(
                f,
                "backfilled: it does not delay {before}, for which cores are kept until {from}"
            ),
            Self::Tier { qos: "", tier } => write!(f, "tier {tier} is served before lower ones"),
            Self::Tier { qos, tier } => {
                write!(f, "higher tier {qos}: {tier} is served before lower ones")
            }
            Self::Longest { waited_s } => {
                write!(
                    f,
                    "fifo: of those that suit the pilot it had waited longest, {waited_s} s"
                )
            }
            Self::Priority { priority } => write!(
                f,
                "maui: of those that suit the pilot its priority {priority:.1} was the highest"
            ),
            Self::Turn { path, of, first } => {
                write!(
                    f,
                    "it was the turn of {path}, one of {of} with waiting tasks"
                )?;
                passed_over(f, first)
            }
            Self::Least {
                kind,
                path,
                level,
                of,
                first: true,
            } => {
                let (kind, what) = (kind.name(), measure(kind));
                write!(
                    f,
                    "{kind}: {what} {level:.4} of {path} was the least of {of} with waiting tasks"
                )
            }
            Self::Least {
                kind, path, level, ..
            } => {
                let (kind, what) = (kind.name(), measure(kind));
                write!(f, "{kind}: {what} {level:.4} of {path}")?;
                passed_over(f, false)
            }
            Self::Alone => f.write_str("nobody else had tasks waiting"),
        }
    }
}

fn passed_over(f: &mut fmt::Formatter<'_>, first: bool) -> fmt::Result {
    match first {
        true => Ok(()),
        false => f.write_str("; nothing of those before could start on this pilot"),
    }
}

/// What the number is called that a kind of policy puts users in order by.
pub const fn measure(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::HalfLife => "effective usage for its share",
        PolicyKind::UserPriority => "cores for its slice",
        PolicyKind::Maui => "priority",
        _ => "level",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_short_sentences() {
        let least = |first| Rule::Least {
            kind: PolicyKind::Fairshare,
            path: "physics",
            level: 0.12,
            of: 4,
            first,
        };
        let told = [
            least(true).to_string(),
            least(false).to_string(),
            Rule::Tier {
                qos: "urgent",
                tier: 2,
            }
            .to_string(),
        ];
        assert_eq!(
            told,
            [
                "fairshare: level 0.1200 of physics was the least of 4 with waiting tasks",
                "fairshare: level 0.1200 of physics; nothing of those before could start on this \
                 pilot",
                "higher tier urgent: 2 is served before lower ones",
            ]
        );
    }
}
