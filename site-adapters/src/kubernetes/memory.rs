//! What is known of our Jobs and their pods: fed by watches, by lists and by what the adapter
//! itself did, asked by `poll`. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::parse::{JobFacts, Load, PodFacts, Stage};
use crate::{BatchJob, BatchState};

/// A Job that is over is remembered for so long after it is gone, in seconds.
const REMEMBER_S: i64 = 3600;
/// And not more of them than so many.
const REMEMBERED_MAX: usize = 10_000;
/// A pod that cannot start, or is refused, may go on trying for so long, in seconds: images that
/// are being published and policies that are being put right get a chance.
const STUCK_MAX_S: i64 = 300;
/// A Job without a pod for so long, in seconds, has probably been refused one.
const PODLESS_S: i64 = 2;

/// The last word about a pod is waited for so long after the end of its Job, in seconds.
const LAST_WORD_S: i64 = 10;

/// All Jobs of ours that are there, and those that ended not long ago.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By the Job's uid.
    entries: HashMap<String, Entry>,
    /// The Job of each pod that is there, both by their uids.
    pods: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Entry {
    name: String,
    /// `None` if only pods of it were seen: it was deleted before we looked.
    job: Option<JobFacts>,
    /// The Job is gone, or was told to go; its pods may still be there.
    gone: bool,
    /// By uid.
    pods: BTreeMap<String, PodFacts>,
    /// Why it was deleted, if we did it.
    because: Option<String>,
    /// Why no pod is made for it.
    refusal: Option<String>,
    /// Its end was told to whoever asked.
    told: bool,
    /// When its end was first seen while its pods were not over, in seconds since the epoch.
    end_seen_s: Option<i64>,
    /// When its end was first told of while it was gone, in seconds since the epoch.
    gone_since_s: Option<i64>,
}

/// A Job that can be deleted, by what the adapter knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle {
    pub(super) name: String,
    pub(super) uid: String,
}

impl Handle {
    /// The batch id: `NAME/UID`. A name can be used again, a uid cannot.
    pub(super) fn batch_id(&self) -> String {
        format!("{}/{}", self.name, self.uid)
    }

    /// Reads a batch id; nothing that Kubernetes never gave out is one.
    pub(super) fn parse(batch_id: &str) -> Option<Self> {
        let (name, uid) = batch_id.split_once('/')?;
        let is_uid = !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        (super::render::is_job_name(name) && is_uid).then(|| Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

impl Memory {
    /// Takes note of a Job that was made or has changed.
    pub(super) fn job_seen(&mut self, job: JobFacts) {
        let entry = self.entries.entry(job.uid.clone()).or_default();
        let is_news = entry
            .job
            .as_ref()
            .is_none_or(|old| old.version <= job.version);
        if is_news && !entry.gone {
            entry.name.clone_from(&job.name);
            entry.job = Some(job);
        }
    }

    /// Takes note of the last word about a Job that is gone.
    pub(super) fn job_deleted(&mut self, job: JobFacts) {
        let uid = job.uid.clone();
        self.job_seen(job);
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.gone = true;
        }
    }

    /// Takes note that we deleted a Job, and why.
    pub(super) fn job_dropped(&mut self, handle: &Handle, because: Option<&str>) {
        // One that was never seen is not worth a record: there is nothing to tell of it.
        if let Some(entry) = self.entries.get_mut(&handle.uid) {
            entry.gone = true;
            if entry.because.is_none() {
                entry.because = because.map(str::to_owned);
            }
        }
    }

    /// Takes note of a pod that was made or has changed.
    pub(super) fn pod_seen(&mut self, pod: PodFacts) {
        let entry = self.entry_of(&pod);
        match entry.pods.get_mut(&pod.uid) {
            Some(known) if known.version <= pod.version => *known = pod,
            Some(_) => {}
            None => {
                let (uid, job) = (pod.uid.clone(), pod.job_uid.clone());
                entry.pods.insert(uid.clone(), pod);
                self.pods.insert(uid, job);
            }
        }
    }

    /// Takes note of the last word about a pod that is gone.
    pub(super) fn pod_deleted(&mut self, mut pod: PodFacts) {
        pod.stage = Stage::Over;
        let uid = pod.uid.clone();
        self.entry_of(&pod).pods.insert(uid.clone(), pod);
        self.pods.remove(&uid);
    }

    fn entry_of(&mut self, pod: &PodFacts) -> &mut Entry {
        self.entries
            .entry(pod.job_uid.clone())
            .or_insert_with(|| Entry {
                name: pod.job_name.clone(),
                gone: true,
                ..Entry::default()
            })
    }

    /// Takes note of all Jobs there are, as of `version`. What the adapter did since is kept.
    pub(super) fn all_jobs(&mut self, jobs: Vec<JobFacts>, version: u64) {
        let there: BTreeSet<String> = jobs.iter().map(|job| job.uid.clone()).collect();
        for (uid, entry) in &mut self.entries {
            let is_older = entry.job.as_ref().is_none_or(|job| job.version <= version);
            if is_older && !there.contains(uid) {
                entry.gone = true;
            }
        }
        for job in jobs {
            // A pod may have been seen before its Job.
            if let Some(entry) = self.entries.get_mut(&job.uid)
                && entry.job.is_none()
            {
                entry.gone = false;
            }
            self.job_seen(job);
        }
    }

    /// Takes note of all pods there are, as of `version`.
    pub(super) fn all_pods(&mut self, pods: Vec<PodFacts>, version: u64) {
        let there: BTreeSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        let absent: Vec<(String, String)> = self
            .pods
            .iter()
            .filter(|(pod, _)| !there.contains(pod.as_str()))
            .map(|(pod, job)| (pod.clone(), job.clone()))
            .collect();
        for (uid, job) in absent {
            let entry = self.entries.get_mut(&job);
            if let Some(pod) = entry.and_then(|entry| entry.pods.get_mut(&uid))
                && pod.version <= version
            {
                if pod.stage != Stage::Over && pod.detail.is_empty() {
                    pod.detail = "its pod is gone".to_owned();
                }
                pod.stage = Stage::Over;
                self.pods.remove(&uid);
            }
        }
        for pod in pods {
            self.pod_seen(pod);
        }
    }

    /// Whether there are Jobs that should have a pod and have none, at `now_s`.
    pub(super) fn has_podless(&self, now_s: i64) -> bool {
        self.entries.values().any(|entry| entry.is_podless(now_s))
    }

    /// Takes note of why no pod is made for a Job.
    pub(super) fn pod_refused(&mut self, job_uid: &str, why: String) {
        if let Some(entry) = self.entries.get_mut(job_uid) {
            entry.refusal = Some(why);
        }
    }

    /// Jobs of this prefix whose pods will not start however long one waits, each with the reason.
    pub(super) fn stuck(&self, name_prefix: &str, now_s: i64) -> Vec<(Handle, String)> {
        let entries = self.entries.iter();
        entries
            .filter(|(_, entry)| entry.name.starts_with(name_prefix))
            .filter_map(|(uid, entry)| Some((handle(uid, entry), entry.stuck(now_s)?)))
            .collect()
    }

    /// What is known of the Jobs whose name begins with `name_prefix`, and of `known`.
    pub(super) fn tell(
        &mut self,
        name_prefix: &str,
        known: &BTreeSet<Handle>,
        now_s: i64,
    ) -> Vec<BatchJob> {
        self.forget_old(now_s);
        let mut jobs: Vec<BatchJob> = Vec::new();
        for (uid, entry) in &mut self.entries {
            let handle = handle(uid, entry);
            let state = entry.state_told(now_s);
            let is_over = matches!(state, BatchState::Ended { .. });
            // One that is over and gone is told to those who ask for it only.
            let is_meant = entry.name.starts_with(name_prefix) && !(is_over && entry.gone);
            if is_over && entry.gone {
                entry.gone_since_s.get_or_insert(now_s);
            }
            if is_meant || known.contains(&handle) {
                entry.told |= is_over;
                jobs.push(BatchJob {
                    batch_id: handle.batch_id(),
                    name: handle.name,
                    state,
                });
            }
        }
        jobs.sort_by(|a, b| a.batch_id.cmp(&b.batch_id));
        jobs
    }

    /// Jobs whose end was told, and that nobody asks for any more: they only take up the
    /// namespace's quota.
    pub(super) fn done_with(&self, known: &BTreeSet<Handle>) -> Vec<Handle> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.told && !entry.gone)
            .map(|(uid, entry)| handle(uid, entry))
            .filter(|handle| !known.contains(handle))
            .collect()
    }

    /// What our pods that are not over take, each.
    pub(super) fn loads(&self) -> impl Iterator<Item = &Load> {
        let pods = self.entries.values().flat_map(|entry| entry.pods.values());
        pods.filter(|pod| pod.stage != Stage::Over)
            .map(|pod| &pod.load)
    }

    /// How many Jobs of ours run, and how many wait.
    pub(super) fn counts(&self) -> (u32, u32) {
        let mut counts = (0, 0);
        for entry in self.entries.values() {
            match entry.state() {
                BatchState::Running => counts.0 += 1,
                BatchState::Queued { .. } => counts.1 += 1,
                BatchState::Ended { .. } => {}
            }
        }
        counts
    }

    fn forget_old(&mut self, now_s: i64) {
        let is_old = |entry: &Entry| {
            let since = entry.gone_since_s;
            since.is_some_and(|since_s| now_s - since_s > REMEMBER_S)
        };
        self.entries.retain(|_, entry| !is_old(entry));
        let mut gone: Vec<(i64, String)> = self
            .entries
            .iter()
            .filter_map(|(uid, entry)| Some((entry.gone_since_s?, uid.clone())))
            .collect();
        if gone.len() > REMEMBERED_MAX {
            gone.sort();
            for (_, uid) in &gone[..gone.len() - REMEMBERED_MAX] {
                self.entries.remove(uid);
            }
        }
    }
}

fn handle(uid: &str, entry: &Entry) -> Handle {
    Handle {
        name: entry.name.clone(),
        uid: uid.to_owned(),
    }
}

impl Entry {
    /// The state, with the end held back for a moment while the last word about a pod is still on
    /// its way: only that says how it ended, and the two watches are not in step.
    fn state_told(&mut self, now_s: i64) -> BatchState {
        let state = self.state();
        let has_pods = self.pods.values().any(|pod| pod.stage != Stage::Over);
        if !matches!(state, BatchState::Ended { .. }) || !has_pods {
            return state;
        }
        let since_s = *self.end_seen_s.get_or_insert(now_s);
        if now_s - since_s < LAST_WORD_S {
            return BatchState::Running;
        }
        state
    }

    fn state(&self) -> BatchState {
        if let Some(end) = self.job.as_ref().and_then(|job| job.end.as_ref()) {
            let verdict = if end.succeeded { "Complete" } else { "Failed" };
            return self.ended(verdict, &end.reason);
        }
        let is_over = |pod: &PodFacts| pod.stage == Stage::Over;
        if self.gone && self.pods.values().all(is_over) {
            return match &self.because {
                Some(because) => self.ended(because, ""),
                None => self.ended("its Job was deleted in the cluster", ""),
            };
        }
        // A pod that is over and whose Job is not yet counts as running: the cluster sees the
        // end of a pod a second or two before that of its Job.
        let has_started = |pod: &PodFacts| !matches!(pod.stage, Stage::Waiting { .. });
        if self.pods.values().any(has_started) {
            return BatchState::Running;
        }
        BatchState::Queued {
            reason: self.waits_for(),
        }
    }

    fn ended(&self, verdict: &str, reason: &str) -> BatchState {
        let details: BTreeSet<&str> = self
            .pods
            .values()
            .map(|pod| pod.detail.as_str())
            .filter(|detail| !detail.is_empty())
            .collect();
        let mut words = vec![verdict];
        if details.is_empty() {
            words.push(reason);
        }
        words.extend(details);
        words.retain(|word| !word.is_empty());
        BatchState::Ended {
            detail: words.join(": "),
        }
    }

    fn waits_for(&self) -> String {
        if self.gone {
            return "it is being ended".to_owned();
        }
        let reason = self.pods.values().find_map(|pod| match &pod.stage {
            Stage::Waiting { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        if let Some(reason) = reason {
            return reason;
        }
        if self.job.as_ref().is_some_and(|job| job.suspended) {
            return "its Job is suspended".to_owned();
        }
        let refusal = self.refusal.clone();
        refusal.unwrap_or_else(|| "no pod has been made for it yet".to_owned())
    }

    fn is_podless(&self, now_s: i64) -> bool {
        let Some(job) = &self.job else { return false };
        let is_due = now_s - job.created_s >= PODLESS_S;
        self.pods.is_empty() && !self.gone && !job.suspended && job.end.is_none() && is_due
    }

    /// Why it will not start, if that has been so for long enough.
    fn stuck(&self, now_s: i64) -> Option<String> {
        let job = self.job.as_ref().filter(|_| !self.gone)?;
        let is_long = |since_s: i64| now_s - since_s > STUCK_MAX_S;
        if self.is_podless(now_s) {
            // A quota that is used up is a queue: it gets room again.
            let refusal = self.refusal.as_ref();
            let refusal = refusal.filter(|why| !why.contains("exceeded quota"))?;
            return is_long(job.created_s).then(|| format!("its pod is refused: {refusal}"));
        }
        self.pods.values().find_map(|pod| match &pod.stage {
            Stage::Waiting {
                reason,
                stuck_since_s: Some(since_s),
            } if is_long(*since_s) => Some(format!("it could not start: {reason}")),
            _ => None,
        })
    }
}
