//! How far tasks are, and what that means for those that wait for them.

use fairway_jdl::job::{Condition, Join};
use fairway_model::TaskState;

/// How far a task is, as seen by those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not started.
    Pending,
    /// It runs, or is being cancelled.
    Begun,
    /// It has succeeded.
    Succeeded,
    /// It is over otherwise.
    Lost,
}

impl Stage {
    pub(crate) fn of(state: TaskState) -> Self {
        match state {
            TaskState::Blocked | TaskState::Waiting | TaskState::Held | TaskState::Leased => {
                Self::Pending
            }
            TaskState::Running | TaskState::Cancelling => Self::Begun,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => Self::Lost,
        }
    }

    /// Whether the task has succeeded, if it is over.
    pub(crate) fn fate(self) -> Option<bool> {
        match self {
            Self::Pending | Self::Begun => None,
            Self::Succeeded => Some(true),
            Self::Lost => Some(false),
        }
    }
}

/// What a dependency is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Not yet.
    Open,
    /// It is met.
    Met,
    /// It cannot be met, unless something is retried by hand.
    Never,
}

/// What several dependencies are worth together.
pub(crate) fn combined(join: Join, verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    // One that decides, and what it is if all others are so too.
    let (decides, otherwise) = match join {
        Join::All => (Verdict::Never, Verdict::Met),
        Join::Any => (Verdict::Met, Verdict::Never),
    };
    let mut so_far = otherwise;
    for verdict in verdicts {
        if verdict == decides {
            return decides;
        }
        if verdict == Verdict::Open {
            so_far = Verdict::Open;
        }
    }
    so_far
}

/// How many tasks are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) pending: u32,
    pub(crate) begun: u32,
    pub(crate) succeeded: u32,
    pub(crate) lost: u32,
}

impl Tally {
    fn at(&mut self, stage: Stage) -> &mut u32 {
        match stage {
            Stage::Pending => &mut self.pending,
            Stage::Begun => &mut self.begun,
            Stage::Succeeded => &mut self.succeeded,
            Stage::Lost => &mut self.lost,
        }
    }

    pub(crate) fn add(&mut self, stage: Stage, tasks: u32) {
        *self.at(stage) += tasks;
    }

    pub(crate) fn shift(&mut self, before: Stage, after: Stage, tasks: u32) {
        debug_assert!(*self.at(before) >= tasks);
        *self.at(before) -= tasks;
        *self.at(after) += tasks;
    }

    pub(crate) fn total(self) -> u32 {
        self.pending + self.begun + self.succeeded + self.lost
    }

    /// What a dependency on these tasks together is worth.
    pub(crate) fn verdict(self, condition: Condition) -> Verdict {
        let over = self.pending + self.begun == 0;
        let (met, never) = match condition {
            Condition::After => (self.pending == 0, false),
            Condition::AfterAny => (over, false),
            Condition::AfterNotOk => (over && self.lost > 0, over && self.lost == 0),
            // Of one task and its counterpart it is the same.
            Condition::AfterOk | Condition::AfterCorr => (over && self.lost == 0, self.lost > 0),
        };
        match (met, never) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Never,
            (false, false) => Verdict::Open,
        }
    }

    /// What each kind of dependency on them is worth.
    pub(crate) fn outlook(self) -> [Verdict; 4] {
        [
            Condition::After,
            Condition::AfterOk,
            Condition::AfterAny,
            Condition::AfterNotOk,
        ]
        .map(|condition| self.verdict(condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Met, Never, Open};

    fn outlook(pending: u32, begun: u32, succeeded: u32, lost: u32) -> [Verdict; 4] {
        let tally = Tally {
            pending,
            begun,
            succeeded,
            lost,
        };
        tally.outlook()
    }

    #[test]
    fn conditions_follow_from_how_far_tasks_are() {
        assert_eq!(outlook(1, 0, 2, 0), [Open, Open, Open, Open]);
        assert_eq!(outlook(0, 1, 2, 0), [Met, Open, Open, Open]);
        assert_eq!(outlook(0, 0, 2, 0), [Met, Met, Met, Never]);
        assert_eq!(outlook(1, 0, 2, 1), [Open, Never, Open, Open]);
        assert_eq!(outlook(0, 0, 2, 1), [Met, Never, Met, Met]);
    }

    #[test]
    fn all_are_needed_or_any_is_enough() {
        let all = |verdicts: &[Verdict]| combined(Join::All, verdicts.iter().copied());
        let any = |verdicts: &[Verdict]| combined(Join::Any, verdicts.iter().copied());
        for (verdicts, of_all, of_any) in [
            ([Met, Met], Met, Met),
            ([Met, Open], Open, Met),
            ([Open, Never], Never, Open),
            ([Met, Never], Never, Met),
            ([Never, Never], Never, Never),
        ] {
            assert_eq!((all(&verdicts), any(&verdicts)), (of_all, of_any));
        }
    }
}
