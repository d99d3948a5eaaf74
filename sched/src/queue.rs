//! The waiting tasks. Tasks that need the same and are submitted for the same group form
//! a class; within a class every user has a queue in the order of submission, and
//! the users stand in the order of the policy. A match looks at classes and at the
//! first of their users, never at tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_jdl::Needs;
use fairway_model::{GroupName, JobId, TaskId, UserName};

use crate::ranges::Ranges;
use crate::shares::Standing;

/// Which class. Numbers are given in the order of appearance and mean nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassId(u32);

/// A user's place in the order of service of one class; the smallest is served first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    standing: Standing,
    /// The user's first task, where the policy goes by arrival; the same for all otherwise.
    arrival: Option<TaskId>,
    user: UserName,
}

impl Place {
    pub(crate) fn user(&self) -> &UserName {
        &self.user
    }
}

/// One user's waiting tasks in one class, in the order of submission.
#[derive(Clone, Debug)]
struct UserQueue {
    jobs: BTreeMap<JobId, Ranges<()>>,
    len: u64,
    place: Place,
}

impl UserQueue {
    fn head(&self) -> Option<TaskId> {
        let (&job, ranges) = self.jobs.first_key_value()?;
        Some(TaskId::new(job, ranges.first()?))
    }

    fn place(&self, user: &UserName, standing: Standing) -> Place {
        Place {
            arrival: standing.by_arrival().then(|| self.head()).flatten(),
            standing,
            user: user.clone(),
        }
    }
}

/// Tasks that need the same, for the same group.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// What they need.
    pub(crate) needs: Arc<Needs>,
    /// The group that they are submitted for.
    pub(crate) group: Option<GroupName>,
    /// Tasks of live jobs in this class, whatever their state; the class goes with the last.
    members: u64,
    waiting: u64,
    users: BTreeMap<UserName, UserQueue>,
    order: BTreeSet<Place>,
}

impl Class {
    /// How many of its tasks wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The users with waiting tasks in the order of service, each with its first task.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&Place, &UserName, TaskId)> {
        self.order.iter().filter_map(|place| {
            let head = self.users.get(&place.user)?.head()?;
            Some((place, &place.user, head))
        })
    }

    /// How many tasks of `user` wait.
    pub(crate) fn waiting_of(&self, user: &UserName) -> u64 {
        self.users.get(user).map_or(0, |queue| queue.len)
    }

    /// How many tasks of `user` come before `task`.
    pub(crate) fn ahead_of(&self, user: &UserName, task: TaskId) -> u64 {
        let Some(queue) = self.users.get(user) else {
            return 0;
        };
        let whole: u64 = queue
            .jobs
            .range(..task.job)
            .map(|(_, ranges)| ranges.count_below(u32::MAX))
            .sum();
        let own = queue.jobs.get(&task.job);
        whole + own.map_or(0, |ranges| ranges.count_below(task.index))
    }

    /// The users with waiting tasks and how many they have, by name.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&UserName, u64)> {
        self.users.iter().map(|(user, queue)| (user, queue.len))
    }
}

/// All waiting tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    by_needs: BTreeMap<(Arc<str>, Option<GroupName>), ClassId>,
    /// Classes with waiting tasks.
    active: BTreeSet<ClassId>,
    /// The classes in which a user has waiting tasks.
    of_user: BTreeMap<UserName, BTreeSet<ClassId>>,
    next: u32,
    waiting: u64,
}

impl Queue {
    /// The class of `needs` and `group`, with `tasks` members more. The second value tells
    /// whether it is a new class.
    pub(crate) fn join(
        &mut self,
        needs: &Arc<Needs>,
        group: Option<&GroupName>,
        tasks: u64,
    ) -> (ClassId, bool) {
        let key = (Arc::from(needs.key.as_str()), group.cloned());
        let known = self.by_needs.get(&key).copied();
        let id = known.unwrap_or_else(|| {
            let id = ClassId(self.next);
            self.next += 1;
            self.by_needs.insert(key, id);
            let class = Class {
                needs: Arc::clone(needs),
                group: group.cloned(),
                members: 0,
                waiting: 0,
                users: BTreeMap::new(),
                order: BTreeSet::new(),
            };
            self.classes.insert(id, class);
            id
        });
        if let Some(class) = self.classes.get_mut(&id) {
            class.members += tasks;
        }
        (id, known.is_none())
    }

    /// Takes `tasks` members out of a class. True if the class is gone.
    pub(crate) fn leave(&mut self, id: ClassId, tasks: u64) -> bool {
        let Some(class) = self.classes.get_mut(&id) else {
            return false;
        };
        class.members = class.members.saturating_sub(tasks);
        if class.members > 0 {
            return false;
        }
        let key = (Arc::from(class.needs.key.as_str()), class.group.clone());
        self.by_needs.remove(&key);
        self.classes.remove(&id);
        true
    }

    /// Puts tasks `from <= index < to` of a job into the queue.
    pub(crate) fn insert(
        &mut self,
        id: ClassId,
        user: &UserName,
        standing: Standing,
        (job, from, to): (JobId, u32, u32),
    ) {
        let Some(class) = self.classes.get_mut(&id) else {
            debug_assert!(false, "a task waits in a class that is not there");
            return;
        };
        let len = u64::from(to - from);
        let queue = class
            .users
            .entry(user.clone())
            .or_insert_with(|| UserQueue {
                jobs: BTreeMap::new(),
                len: 0,
                place: Place {
                    standing,
                    arrival: None,
                    user: user.clone(),
                },
            });
        queue.jobs.entry(job).or_default().insert(from, to, ());
        queue.len += len;
        class.waiting += len;
        self.waiting += len;
        class.order.remove(&queue.place);
        queue.place = queue.place(user, standing);
        class.order.insert(queue.place.clone());
        self.active.insert(id);
        self.of_user.entry(user.clone()).or_default().insert(id);
    }

    /// Takes tasks `from <= index < to` of a job, which all wait, out of the queue.
    pub(crate) fn remove(
        &mut self,
        id: ClassId,
        user: &UserName,
        standing: Standing,
        (job, from, to): (JobId, u32, u32),
    ) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        let Some(queue) = class.users.get_mut(user) else {
            return;
        };
        let Some(ranges) = queue.jobs.get_mut(&job) else {
            return;
        };
        let taken = ranges.take(from, to).is_some();
        debug_assert!(taken, "{job}.{from}..{to} is not in the queue");
        if !taken {
            return;
        }
        if ranges.is_empty() {
            queue.jobs.remove(&job);
        }
        let len = u64::from(to - from);
        queue.len -= len;
        class.waiting -= len;
        self.waiting -= len;
        class.order.remove(&queue.place);
        if queue.len > 0 {
            queue.place = queue.place(user, standing);
            class.order.insert(queue.place.clone());
            return;
        }
        class.users.remove(user);
        if let Some(classes) = self.of_user.get_mut(user) {
            classes.remove(&id);
            if classes.is_empty() {
                self.of_user.remove(user);
            }
        }
        if class.waiting == 0 {
            self.active.remove(&id);
        }
    }

    /// A user's standing has changed: finds the new place in every class.
    pub(crate) fn reorder(&mut self, user: &UserName, standing: Standing) {
        let Some(classes) = self.of_user.get(user) else {
            return;
        };
        for id in classes {
            let Some(class) = self.classes.get_mut(id) else {
                continue;
            };
            let Some(queue) = class.users.get_mut(user) else {
                continue;
            };
            class.order.remove(&queue.place);
            queue.place = queue.place(user, standing);
            class.order.insert(queue.place.clone());
        }
    }

    /// A class.
    pub(crate) fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(&id)
    }

    /// All classes.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.classes.iter().map(|(&id, class)| (id, class))
    }

    /// The classes with waiting tasks.
    pub(crate) fn active(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.active
            .iter()
            .filter_map(|id| Some((*id, self.classes.get(id)?)))
    }

    /// The users with waiting tasks, by name.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserName> {
        self.of_user.keys()
    }

    /// How many tasks of `user` wait, over all classes.
    pub(crate) fn waiting_of(&self, user: &UserName) -> u64 {
        let classes = self.of_user.get(user).into_iter().flatten();
        classes
            .filter_map(|id| self.classes.get(id))
            .map(|class| class.waiting_of(user))
            .sum()
    }

    /// How many tasks wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Compares what is kept twice. The error says what is wrong.
    pub(crate) fn check(&self, standing: impl Fn(&UserName) -> Standing) -> Result<(), String> {
        let mut waiting = 0;
        for (id, class) in &self.classes {
            let lens: u64 = class.users.values().map(|queue| queue.len).sum();
            if lens != class.waiting || self.active.contains(id) != (lens > 0) {
                return Err(format!("class {id:?} miscounts its {lens} waiting tasks"));
            }
            if class.order.len() != class.users.len() {
                return Err(format!("class {id:?} orders other users than it has"));
            }
            for (user, queue) in &class.users {
                let len: u64 = queue.jobs.values().map(|r| r.count_below(u32::MAX)).sum();
                if len != queue.len || len == 0 {
                    return Err(format!("class {id:?} miscounts the tasks of {user}"));
                }
                let place = queue.place(user, standing(user));
                if place != queue.place || !class.order.contains(&place) {
                    return Err(format!("class {id:?} has {user} in an old place"));
                }
                if !self.of_user.get(user).is_some_and(|c| c.contains(id)) {
                    return Err(format!("{user} is not known to wait in class {id:?}"));
                }
            }
            waiting += lens;
        }
        if waiting != self.waiting {
            return Err(format!("{waiting} tasks wait, counted as {}", self.waiting));
        }
        Ok(())
    }
}
