//! Fencing of files: a pilot touches only those of attempts that it holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fairway_api::ProblemCode;
use fairway_model::{Attempt, PilotId, TaskId};

use crate::http::{App, Failure};

/// How long a lease that was seen is believed in. What a pilot writes in this time after its
/// attempt was written off goes to that attempt's own files and harms no other.
const FRESH: Duration = Duration::from_secs(5);
/// Most leases remembered.
const REMEMBERED_MAX: usize = 50_000;

/// Leases that were seen lately, so that not every chunk of output asks the engine.
#[derive(Clone, Default)]
pub(in crate::http) struct LeaseBook(Arc<Mutex<HashMap<Held, Seen>>>);

/// A pilot's hold on an attempt.
type Held = (PilotId, TaskId, Attempt);

#[derive(Clone)]
struct Seen {
    at: Instant,
    sandbox: Option<String>,
}

/// Refuses if `pilot` does not hold the live attempt of `task`. Gives the key of the job's
/// input sandbox.
pub(super) async fn held(
    app: &App,
    pilot: PilotId,
    task: TaskId,
    attempt: Attempt,
) -> Result<Option<String>, Failure> {
    let held = (pilot, task, attempt);
    if let Some(seen) = app.leases.seen(&held) {
        return Ok(seen.sandbox);
    }
    let found = app
        .engine
        .look(move |state, _| {
            let live = state.task(task)?;
            let theirs =
                live.state.is_live() && live.attempt == attempt && live.pilot == Some(pilot);
            theirs.then(|| state.job(task.job).and_then(|job| job.sandbox.clone()))
        })
        .await?;
    let Some(sandbox) = found else {
        return Err(Failure::new(
            ProblemCode::StaleAttempt,
            format!("pilot {pilot} does not hold attempt {attempt} of task {task} (any more)"),
        ));
    };
    app.leases.note(held, sandbox.clone());
    Ok(sandbox)
}

impl LeaseBook {
    fn seen(&self, held: &Held) -> Option<Seen> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(held)
            .filter(|seen| seen.at.elapsed() < FRESH)
            .cloned()
    }

    fn note(&self, held: Held, sandbox: Option<String>) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() >= REMEMBERED_MAX {
            book.clear();
        }
        book.insert(
            held,
            Seen {
                at: Instant::now(),
                sandbox,
            },
        );
    }
}
