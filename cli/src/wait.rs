//! From a running job to its end.

use std::time::Duration;

use fairway_api::client::Client;
use fairway_api::public::{JobView, TasksQuery};
use fairway_model::{JobId, TaskState};
use tokio::time::Instant;

use crate::exit::Failure;
use crate::progress::{Counts, Progress};

/// Pause between the first two looks; it grows, since who waits long can wait longer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// If nothing runs and nothing ends for so long, the user is told why.
const STALL: Duration = Duration::from_secs(10);

/// Waits until all tasks of all `jobs` are over, and returns the jobs as they are then.
pub(crate) async fn until_over(
    client: &Client,
    jobs: &[JobId],
    progress: &mut Progress,
) -> Result<Vec<JobView>, Failure> {
    let mut pause = FIRST_PAUSE;
    let mut stall = Stall::new();
    loop {
        let mut views = Vec::with_capacity(jobs.len());
        for job in jobs {
            views.push(client.job(*job).await?);
        }
        let counts = Counts::of(&views);
        progress.update(counts);
        if counts.done() == counts.total {
            progress.finish();
            return Ok(views);
        }
        if stall.is_due(counts) {
            explain_stall(client, &views, progress).await?;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(PAUSE_MAX);
    }
}

/// Notices that nothing happens, once.
struct Stall {
    done: u64,
    moved_at: Instant,
    told: bool,
}

impl Stall {
    fn new() -> Self {
        Self {
            done: 0,
            moved_at: Instant::now(),
            told: false,
        }
    }

    /// Whether now is the time to tell why nothing happens.
    fn is_due(&mut self, counts: Counts) -> bool {
        if counts.running > 0 || counts.done() != self.done {
            self.done = counts.done();
            self.moved_at = Instant::now();
            self.told = false;
        }
        let due = !self.told && self.moved_at.elapsed() >= STALL;
        self.told |= due;
        due
    }
}

/// Says why the first task that waits or is held does so.
async fn explain_stall(
    client: &Client,
    jobs: &[JobView],
    progress: &Progress,
) -> Result<(), Failure> {
    for job in jobs {
        let query = TasksQuery {
            job: Some(job.id),
            state: Some(format!(
                "{},{}",
                TaskState::Waiting.name(),
                TaskState::Held.name()
            )),
            limit: Some(1),
            ..TasksQuery::default()
        };
        if let Some(task) = client.tasks(&query).await?.items.first() {
            let explanation = client.explain_briefly(task.id).await?;
            progress.remark(&format!(
                "task {} is {}: {}",
                task.id,
                task.state.name(),
                explanation.summary
            ));
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_told_once_until_something_moves() {
        let idle = Counts {
            total: 5,
            waiting: 5,
            ..Counts::default()
        };
        let mut stall = Stall::new();
        assert!(!stall.is_due(idle));
        tokio::time::advance(STALL).await;
        assert!(stall.is_due(idle));
        assert!(!stall.is_due(idle));

        assert!(!stall.is_due(Counts { running: 1, ..idle }));
        assert!(!stall.is_due(idle));
        tokio::time::advance(STALL).await;
        assert!(stall.is_due(idle));
    }
}
