//! What the ledger of events says.

use std::collections::BTreeMap;

use fairway_api::client::Client;
use fairway_api::public::EventsQuery;
use fairway_model::{Attempt, AttemptEnd, Event, EventKind, JobId, TaskId, TaskState};

use super::task;

/// An attempt that ended, and where that left its task.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) attempt: Attempt,
    pub(crate) end: AttemptEnd,
    pub(crate) state: TaskState,
}

/// The ledger, or the part of it about one job.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
}

impl History {
    /// All that the client may see.
    pub(crate) async fn all(client: &Client) -> Self {
        Self::read(client, EventsQuery::default()).await
    }

    /// What is about a job and its tasks.
    pub(crate) async fn of(client: &Client, job: JobId) -> Self {
        let query = EventsQuery {
            job: Some(job),
            ..EventsQuery::default()
        };
        Self::read(client, query).await
    }

    async fn read(client: &Client, mut query: EventsQuery) -> Self {
        query.limit = Some(1000);
        let mut events = Vec::new();
        loop {
            let page = client.events(&query).await.unwrap();
            events.extend(page.items);
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        assert!(events.is_sorted_by(|one, next| one.seq < next.seq));
        Self { events }
    }

    /// The tasks in the order in which they were given to pilots.
    pub(crate) fn leases(&self) -> Vec<TaskId> {
        let lease = |event: &Event| match event.kind {
            EventKind::TaskLeased { task, .. } => Some(task),
            _ => None,
        };
        self.events.iter().filter_map(lease).collect()
    }

    /// The ended attempts of each task, in order.
    pub(crate) fn ends(&self) -> BTreeMap<TaskId, Vec<Ended>> {
        let mut ends: BTreeMap<TaskId, Vec<Ended>> = BTreeMap::new();
        for event in &self.events {
            if let EventKind::AttemptEnded {
                task,
                attempt,
                end,
                state,
                ..
            } = &event.kind
            {
                let ended = Ended {
                    attempt: *attempt,
                    end: end.clone(),
                    state: *state,
                };
                ends.entry(*task).or_default().push(ended);
            }
        }
        ends
    }

    /// How many pilots were decided upon.
    pub(crate) fn pilots_planned(&self) -> usize {
        let planned = |event: &&Event| matches!(event.kind, EventKind::PilotPlanned { .. });
        self.events.iter().filter(planned).count()
    }

    /// Every task of the job ended exactly once, with success; attempts before that went back to
    /// the queue. Returns how many there were of those.
    #[track_caller]
    pub(crate) fn assert_each_succeeded_once(&self, job: JobId, tasks: u32) -> usize {
        let ends = self.ends();
        let mut repeated = 0;
        for index in 0..tasks {
            let id = task(job, index);
            let ended = ends
                .get(&id)
                .unwrap_or_else(|| panic!("no attempt of {id} ended"));
            let (last, earlier) = ended.split_last().unwrap();
            assert!(last.end.is_success(), "{id}: {ended:?}");
            assert_eq!(last.state, TaskState::Succeeded, "{id}: {ended:?}");
            for one in earlier {
                assert!(!one.end.is_success(), "{id} succeeded twice: {ended:?}");
                assert_eq!(one.state, TaskState::Waiting, "{id}: {ended:?}");
            }
            assert!(
                ended.is_sorted_by(|one, next| one.attempt < next.attempt),
                "{id}: {ended:?}"
            );
            repeated += earlier.len();
        }
        let others = ends
            .keys()
            .filter(|id| id.job == job && id.index >= tasks)
            .count();
        assert_eq!(others, 0, "there are tasks that nobody submitted");
        repeated
    }
}
