//! The processes of payloads: what they use, how they end, and that none is left.

use std::time::{Duration, Instant};

use fairway_api::pilot::Used;
use fairway_model::AttemptEnd;
use rustix::process::{Pid, Signal};

use super::{CENSUS_PAUSE, Driver, News, Running, millis, tell};
use crate::machine::Key;
use crate::payload;
use crate::wait::{self, Ended};

/// Looking at processes pauses for so many times what it took: at most a fiftieth of a core.
const CENSUS_SHARE: u32 = 50;
/// A payload that did not end well by itself waits so long for the pilot's own SIGTERM: batch
/// systems send theirs to all processes at once, and then the payload did not fail. It need not
/// have ended by the signal: a shell exits with a code of its own when its child is hit first.
const SIGNAL_PAUSE: Duration = Duration::from_millis(300);

impl Driver {
    pub(super) fn collect_ended(&mut self) {
        let roots: Vec<(i32, Key)> = self.roots.iter().map(|(pid, key)| (*pid, *key)).collect();
        for (pid, key) in roots {
            if let Some(pid) = Pid::from_raw(pid) {
                self.collect(pid, key);
            }
        }
    }

    pub(super) fn collect(&mut self, pid: Pid, key: Key) {
        match payload::try_end(pid) {
            Ok(None) => {}
            Ok(Some(ended)) => self.ended(pid, key, ended),
            Err(error) => {
                tracing::error!(%key, %error, "a payload cannot be collected");
                let end = AttemptEnd::Signaled { signal: 0 };
                self.ended(
                    pid,
                    key,
                    Ended {
                        end,
                        cpu: Duration::ZERO,
                        memory_peak_kib: 0,
                    },
                );
            }
        }
    }

    fn ended(&mut self, pid: Pid, key: Key, ended: Ended) {
        self.roots.remove(&pid.as_raw_nonzero().get());
        let Some(work) = self.work.get_mut(&key) else {
            return;
        };
        let Some(running) = work.running.take() else {
            return;
        };
        let slept = running.slept + running.asleep.map_or(Duration::ZERO, |at| at.elapsed());
        let wall = running.at.elapsed().saturating_sub(slept);
        let (cpu, memory_peak_kib) = work.account.close(ended.cpu, ended.memory_peak_kib);
        let used = Used {
            wall_ms: millis(wall),
            cpu_ms: millis(cpu),
            memory_peak_kib,
        };
        if running.signalled || wall >= CENSUS_PAUSE {
            // What left the payload's group is ended before the end is told. For the short
            // ones, which rarely start anything, the next census does.
            self.take_census();
        }
        if !running.signalled && !ended.end.is_success() {
            let news = self.news.clone();
            tokio::spawn(async move {
                tokio::time::sleep(SIGNAL_PAUSE).await;
                tell(&news, News::Ended(key, ended.end, used)).await;
            });
        } else {
            self.machine.exited(self.now(), key, ended.end, used);
        }
    }

    pub(super) fn signal_tree(&mut self, key: Key, signal: Signal) {
        let Some(running) = self.running_mut(key) else {
            return;
        };
        running.signalled = true;
        self.send_to_tree(key, signal);
    }

    /// Puts a payload's whole tree to sleep.
    pub(super) fn suspend_tree(&mut self, key: Key) {
        let Some(running) = self.running_mut(key) else {
            return;
        };
        running.asleep.get_or_insert_with(Instant::now);
        // The second time for what was started outside of the group during the first.
        self.send_to_tree(key, Signal::STOP);
        self.send_to_tree(key, Signal::STOP);
    }

    /// Lets a payload's whole tree go on.
    pub(super) fn resume_tree(&mut self, key: Key) {
        let Some(running) = self.running_mut(key) else {
            return;
        };
        if let Some(since) = running.asleep.take() {
            running.slept += since.elapsed();
        }
        self.send_to_tree(key, Signal::CONT);
    }

    fn running_mut(&mut self, key: Key) -> Option<&mut Running> {
        self.work.get_mut(&key)?.running.as_mut()
    }

    fn send_to_tree(&mut self, key: Key, signal: Signal) {
        let Some(leader) = self.running_mut(key).map(|running| running.pid) else {
            return;
        };
        payload::signal_group(leader, signal);
        let picture = self.census.take(&self.roots, &self.starting);
        for pid in picture
            .trees
            .get(&key)
            .into_iter()
            .flat_map(|tree| &tree.pids)
        {
            // Those in the group have it already; once more is harmless.
            payload::signal_process(*pid, signal);
        }
    }

    /// Looks at all processes: what payloads use, and who is left of those that are over.
    pub(super) fn take_census(&mut self) {
        let start = Instant::now();
        let picture = self.census.take(&self.roots, &self.starting);
        for pid in &picture.strays {
            payload::signal_process(*pid, Signal::KILL);
        }
        for (pid, owner) in &picture.dead {
            let collected = wait::collect(*pid);
            if let Ok(Some(ended)) = collected
                && let Some(work) = owner.and_then(|owner| self.work.get_mut(&owner))
            {
                work.account.orphan(ended.cpu);
            }
        }
        let now = self.now();
        for (key, sample) in &picture.trees {
            let Some(work) = self.work.get_mut(key) else {
                continue;
            };
            let Some(running) = &work.running else {
                continue;
            };
            if let Some(used_mib) = work.account.sample(sample, running.memory_limit_mib) {
                self.machine.over_memory(now, *key, used_mib);
            }
        }
        let busy = !self.roots.is_empty() || !picture.strays.is_empty();
        let pause = CENSUS_PAUSE.max(start.elapsed() * CENSUS_SHARE);
        self.census_at = busy.then(|| now + pause);
    }
}
