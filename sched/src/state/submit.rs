//! Accepting a job.

use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_model::policy::Limit;
use fairway_model::{EventKind, Job, JobId, TaskState, Timestamp};

use super::{Classes, Counts, Described, LiveJob, State, Untouched, refused};
use crate::bounds::{Amount, Subject};
use crate::command::{Change, Refused, RefusedKind, Reply, Submission};
use crate::nodes::Nodes;
use crate::queue::ClassId;
use crate::ranges::Ranges;

/// How far the nodes of a new job are, if tasks depend on others.
fn nodes_of(spec: &JobSpec) -> Option<Box<Nodes>> {
    spec.has_dependencies()
        .then(|| Box::new(Nodes::new(spec.nodes())))
}

impl State {
    pub(super) fn submit(
        &mut self,
        submission: Submission,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        if let Some(repeated) = self.repeated(&submission)? {
            return Ok(repeated);
        }
        self.refuse_by_policy(&submission)?;
        let found = self.find_named(&submission.spec, &submission.named)?;
        let waits = !self.is_met(&submission.spec, &found);
        let id = JobId(self.next_job);
        self.next_job += 1;
        let tasks = submission.spec.task_count();
        let job = Job {
            id,
            name: submission.spec.name().to_owned(),
            owner: submission.owner,
            group: submission.group,
            submitted_at: now,
            jdl: String::new(),
            task_count: tasks,
            sandbox: submission.sandbox,
        };
        let spec = submission.spec;
        let described = Described::of(Arc::clone(&spec), &submission.jdl);
        self.changes.push(Change::NewJob {
            job: Job {
                jdl: submission.jdl,
                ..job.clone()
            },
            nodes: spec.nodes().to_vec(),
            idempotency: submission.idempotency.clone(),
            waits,
        });
        let kind = EventKind::JobSubmitted {
            job: id,
            tasks,
            by: job.owner.clone(),
        };
        self.event(kind, now);
        let mut live = LiveJob {
            classes: self.classes_of(&job, &spec, 1),
            nodes: nodes_of(&spec),
            job,
            spec: described,
            idempotency: None,
            untouched: Ranges::default(),
            tasks: Default::default(),
            counts: Counts::default(),
        };
        let rows = match waits {
            true => vec![(false, (0, tasks))],
            false => live.by_readiness((0, tasks)),
        };
        for &(ready, (from, to)) in &rows {
            let state = if ready {
                TaskState::Waiting
            } else {
                TaskState::Blocked
            };
            let untouched = Untouched { state, since: now };
            live.untouched.insert(from, to, untouched);
            live.counts.add(state, to - from);
        }
        self.enroll(&live.job, &spec, found);
        self.admit(live, submission.idempotency);
        for (_, (from, to)) in rows.into_iter().filter(|(ready, _)| *ready) {
            self.enqueue(id, from, to);
        }
        self.depends.stir(id);
        self.settle_dependents(now);
        Ok(Reply::Submitted {
            job: id,
            tasks,
            repeated: false,
        })
    }

    /// The answer of an earlier submission with the same idempotency key.
    fn repeated(&self, submission: &Submission) -> Result<Option<Reply>, Refused> {
        let Some((key, hash)) = &submission.idempotency else {
            return Ok(None);
        };
        let known = (submission.owner.clone(), Arc::from(key.as_str()));
        let known = self.keys.get(&known);
        let Some((live, same)) = known.and_then(|(id, h)| Some((self.jobs.get(id)?, h))) else {
            return Ok(None);
        };
        if **same == **hash {
            return Ok(Some(Reply::Submitted {
                job: live.job.id,
                tasks: live.job.task_count,
                repeated: true,
            }));
        }
        Err(refused(
            RefusedKind::IdempotencyConflict,
            format!(
                "the idempotency key `{key}` came with another request before, which became job {}",
                live.job.id
            ),
        ))
    }

    /// Refuses what asks for a quality of service that is not there or not theirs, and what would
    /// wait beyond a limit.
    fn refuse_by_policy(&mut self, submission: &Submission) -> Result<(), Refused> {
        let policy = self.shares.policy();
        let limited = policy.limits.iter().any(Limit::bounds_waiting);
        let (owner, group) = (&submission.owner, submission.group.as_ref());
        let kinds = submission.spec.kinds().all();
        for (needs, _) in kinds {
            let Some(name) = &needs.qos else { continue };
            let reason = match policy.qos_named(name) {
                Some(qos) if qos.admits(owner, group) => continue,
                Some(_) => format!("user {owner} may not ask for QoS `{name}`"),
                None => match policy.qos.as_slice() {
                    [] => format!("there is no QoS `{name}`; the policy names none"),
                    all => {
                        let names: Vec<&str> = all.iter().map(|qos| qos.name.as_str()).collect();
                        format!("there is no QoS `{name}`; there is {}", names.join(", "))
                    }
                },
            };
            return Err(refused(RefusedKind::NotOffered, reason));
        }
        if !limited {
            return Ok(());
        }
        let account = self.shares.account(owner, group);
        let waiting = |counts: &dyn Fn(Subject<'_>) -> bool| {
            let classes = self.queue.active();
            let waiters = classes.flat_map(|(_, class)| {
                let waiters = class.waiters();
                waiters.map(move |(account, _)| (class, account))
            });
            let counted = waiters.filter(|(class, account)| {
                counts(Subject {
                    shares: &self.shares,
                    account: *account,
                    needs: &class.needs,
                    site: None,
                })
            });
            counted.fold(Amount::default(), |sum, (class, account)| {
                sum.plus(Amount::of(&class.needs, class.waiting_of(account)))
            })
        };
        self.bounds
            .admit(&self.shares, account, kinds, waiting)
            .map_err(|reason| refused(RefusedKind::LimitReached, reason))
    }

    /// The class of every task of a job. Each counts as `members` members of its class: 1, or 0
    /// if not all of them are in the game and those that are join later.
    pub(super) fn classes_of(&mut self, job: &Job, spec: &Arc<JobSpec>, members: u64) -> Classes {
        let group = job.group.as_ref();
        if spec.uniform() {
            let members = members * u64::from(job.task_count);
            return Classes::Uniform(self.join_class(&spec.needs(0), group, members));
        }
        let kinds = spec.kinds();
        let joined: Vec<ClassId> = kinds
            .all()
            .iter()
            .map(|(needs, tasks)| self.join_class(needs, group, members * u64::from(*tasks)))
            .collect();
        match joined.as_slice() {
            [only] => Classes::Uniform(*only),
            _ => Classes::Kinds(joined.into()),
        }
    }

    /// Takes a job into memory, with its idempotency key and the request's hash.
    pub(super) fn admit(&mut self, mut live: LiveJob, idempotency: Option<(String, String)>) {
        // Everybody with a job has books; their names are there once for all their jobs.
        let account = self
            .shares
            .account(&live.job.owner, live.job.group.as_ref());
        let books = self.shares.books(account);
        live.job.owner = books.user.clone();
        live.job.group = books.group.clone();
        live.job.jdl = String::new();
        if let Some((key, hash)) = idempotency {
            let key: Arc<str> = key.into();
            live.idempotency = Some(Arc::clone(&key));
            let key = (live.job.owner.clone(), key);
            self.keys.insert(key, (live.job.id, hash.into()));
        }
        self.depends.arrived(&live.job);
        self.jobs.insert(live.job.id, Box::new(live));
    }
}
