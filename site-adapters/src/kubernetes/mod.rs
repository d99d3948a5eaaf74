//! Kubernetes: each pilot is a Job of its own, with one pod, or with one on each of several nodes.
//!
//! - The bootstrap document is a Secret that belongs to the Job and goes with it. It is made after
//!   the Job; the pod waits for it.
//! - A submission can be repeated: the Job has the pilot's name, so the second finds the first.
//! - What becomes of the Jobs is watched, so that asking for thousands of them is one small
//!   request. The watches can fail at any time: then everything is listed.
//! - Jobs that are over stay in the cluster until their end was told, then they are deleted: they
//!   count against the namespace's quota.
//!
//! A CE's `queue` is a priority class (the site's `priority_class` if it has none), its
//! `constraint` are labels of nodes, written `label=value,label=value`. A private pilot's account
//! (`run_as`) is a service account.

mod client;
mod memory;
mod parse;
pub mod pending;
mod publish;
mod render;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use fairway_model::{Ce, CeId, CeState, KubernetesSettings, SiteName, Timestamp};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, LimitRange, Namespace, Node, Pod, ResourceQuota, Secret};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::{AdapterError, BatchJob, BatchSystem, PilotJob};
use client::{Access, Failure};
use memory::{Handle, Memory};
use parse::Load;
use watch::Shared;

/// Requests at a time.
const REQUESTS_AT_ONCE: usize = 16;
/// Jobs that are over and deleted in one poll at most.
const CLEANED_AT_ONCE: usize = 500;
/// Why pods are refused is asked for no more often than this.
const EVENTS_EVERY: Duration = Duration::from_secs(5);
/// Events that are read in one go.
const EVENTS_MAX: u32 = 500;
/// What the cluster is made of changes slowly, and is much to read.
const CLUSTER_EVERY: Duration = Duration::from_secs(60);

/// What a namespace has lists of.
trait Listed:
    kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug
{
}

impl Listed for ResourceQuota {}
impl Listed for LimitRange {}

/// One namespace of a cluster.
struct Kubernetes {
    site: SiteName,
    settings: KubernetesSettings,
    access: Arc<Access>,
    shared: Arc<Shared>,
    /// The watches; they end with the adapter.
    watches: Mutex<JoinSet<()>>,
    events_read: Mutex<Option<Instant>>,
    surroundings: tokio::sync::Mutex<Option<(Instant, Surroundings)>>,
}

/// What is there beside our own pods.
#[derive(Clone, Default)]
struct Surroundings {
    /// `None` if we may not list them.
    nodes: Option<Vec<Node>>,
    /// What the pods of others take.
    loads: Vec<Load>,
    /// Others' pods in our namespace that run, and that wait.
    counts: (u32, u32),
}

/// The adapter of a site. Nothing is asked yet.
pub(crate) fn open(
    site: SiteName,
    settings: &KubernetesSettings,
) -> Result<Arc<dyn BatchSystem>, AdapterError> {
    Ok(Arc::new(Kubernetes {
        site,
        access: Arc::new(Access::new(settings)),
        settings: settings.clone(),
        shared: Arc::default(),
        watches: Mutex::default(),
        events_read: Mutex::default(),
        surroundings: tokio::sync::Mutex::default(),
    }))
}

impl Kubernetes {
    async fn submit_one(&self, job: &PilotJob) -> Result<String, AdapterError> {
        let site = self.site.as_str();
        let body = render::job(job, site, &self.settings)?;
        let made = match self.create::<Job>(&body).await {
            Err(failure) if failure.already_exists() => self.submitted_before(job).await?,
            other => other.map_err(Failure::of_change)?,
        };
        let facts = parse::job(&made).ok_or_else(|| {
            AdapterError::Unexpected(format!("the Job {} came back without its labels", job.name))
        })?;
        let handle = Handle {
            name: facts.name.clone(),
            uid: facts.uid.clone(),
        };
        self.shared.memory().job_seen(facts);
        let secret = render::secret(job, site, &handle.uid);
        match self.create::<Secret>(&secret).await {
            Ok(_) => Ok(handle.batch_id()),
            Err(failure) if failure.already_exists() => Ok(handle.batch_id()),
            Err(failure) => {
                // Its pod would wait for the document in vain. If this does not reach the cluster
                // either, the pilot is found by its name and ends with its Job's deadline.
                let why = failure.without_words().of_change();
                if let Err(error) = self.delete(&handle, "its Secret was not made").await {
                    warn!(
                        site,
                        job = handle.name,
                        ?error,
                        "a Job without a Secret is left"
                    );
                }
                Err(match why {
                    AdapterError::Refused(why) => {
                        AdapterError::Refused(format!("the pilot's Secret: {why}"))
                    }
                    other => other,
                })
            }
        }
    }

    /// The Job that a submission before this one made, of which nothing was heard.
    async fn submitted_before(&self, job: &PilotJob) -> Result<Job, AdapterError> {
        let name = job.name.as_str();
        let found = self
            .access
            .call(|to| async move {
                let api = Api::<Job>::namespaced(to.client, &to.namespace);
                api.get(name).await
            })
            .await
            .map_err(Failure::of_question)?;
        let labels = found.metadata.labels.as_ref();
        let pilot = labels.and_then(|labels| labels.get(render::PILOT_LABEL));
        if parse::job(&found).is_some() && pilot.is_some_and(|pilot| pilot == name) {
            return Ok(found);
        }
        Err(AdapterError::Refused(format!(
            "there is a Job {name} that is none of Fairway's"
        )))
    }

    /// Makes an object. Fields that the cluster does not know are refused, not dropped.
    async fn create<K>(&self, body: &Value) -> Result<K, Failure>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned,
    {
        self.access
            .call(|to| async move {
                let path = K::url_path(&(), Some(&to.namespace));
                let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
                let mut request = Request::new(path)
                    .create(&PostParams::default(), bytes)
                    .map_err(kube::Error::BuildRequest)?;
                let strict = format!("{}&fieldValidation=Strict", request.uri());
                *request.uri_mut() = strict.parse().map_err(|_| {
                    kube::Error::BuildRequest(kube::core::request::Error::Validation(strict))
                })?;
                to.client.request(request).await
            })
            .await
    }

    /// Deletes a Job with all that belongs to it. One that is gone already is no failure.
    async fn delete(&self, handle: &Handle, because: &str) -> Result<(), Failure> {
        let result = self
            .access
            .call(|to| async move {
                // A name may have been used again, for another pilot.
                let preconditions = Preconditions {
                    uid: Some(handle.uid.clone()),
                    resource_version: None,
                };
                // The default would leave the pods running.
                let params = DeleteParams::background().preconditions(preconditions);
                let api = Api::<Job>::namespaced(to.client, &to.namespace);
                api.delete(&handle.name, &params).await
            })
            .await;
        match result {
            Ok(_) => {}
            Err(failure) if failure.is_absent() || failure.is_conflict() => {}
            Err(failure) => return Err(failure),
        }
        self.shared.memory().job_dropped(handle, Some(because));
        Ok(())
    }

    async fn delete_all(&self, jobs: Vec<(Handle, String)>) -> Result<(), Failure> {
        let deletions = jobs
            .iter()
            .map(|(handle, because)| self.delete(handle, because))
            .collect::<Vec<_>>();
        let results: Vec<_> = futures::stream::iter(deletions)
            .buffer_unordered(REQUESTS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().collect()
    }

    /// Brings the memory up to date. If the watches do so, one small request tells that the
    /// cluster is there and lets us in.
    async fn refresh(&self) -> Result<(), Failure> {
        self.start_watches();
        if self.shared.is_live() {
            let params = ListParams::default().labels(&watch::ours()).limit(1);
            let params = &params;
            self.access
                .call(|to| async move {
                    let api = Api::<Job>::namespaced(to.client, &to.namespace);
                    api.list_metadata(params).await
                })
                .await?;
        } else {
            watch::list::<Job>(&self.access, &self.shared).await?;
            watch::list::<Pod>(&self.access, &self.shared).await?;
        }
        self.ask_for_refusals().await
    }

    fn start_watches(&self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.is_empty() {
            let (access, shared) = (&self.access, &self.shared);
            watches.spawn(watch::run::<Job>(access.clone(), shared.clone()));
            watches.spawn(watch::run::<Pod>(access.clone(), shared.clone()));
        }
    }

    /// A Job whose pod is refused (by a quota, a limit, a security policy) looks as if nothing
    /// were wrong with it; only events tell.
    async fn ask_for_refusals(&self) -> Result<(), Failure> {
        if !self.shared.memory().has_podless(now_s()) {
            return Ok(());
        }
        {
            let mut read = self
                .events_read
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if read.is_some_and(|at| at.elapsed() < EVENTS_EVERY) {
                return Ok(());
            }
            *read = Some(Instant::now());
        }
        let params = ListParams::default()
            .fields("involvedObject.kind=Job,reason=FailedCreate")
            .limit(EVENTS_MAX);
        let params = &params;
        let events = self
            .access
            .call(|to| async move {
                let api = Api::<Event>::namespaced(to.client, &to.namespace);
                api.list(params).await
            })
            .await;
        match events {
            Ok(events) => {
                let mut memory = self.shared.memory();
                for (job, why) in events.iter().filter_map(parse::refused_pod) {
                    memory.pod_refused(&job, why);
                }
                Ok(())
            }
            Err(failure) if failure.is_forbidden() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes what will never start, and what nobody asks for any more.
    async fn clean_up(&self, known: &BTreeSet<Handle>) {
        let done: Vec<_> = {
            let memory: &Memory = &self.shared.memory();
            let done = memory.done_with(known).into_iter();
            done.map(|handle| (handle, String::new()))
                .take(CLEANED_AT_ONCE)
                .collect()
        };
        if let Err(failure) = self.delete_all(done).await {
            debug!(site = %self.site, ?failure, "Jobs that are over were not all deleted");
        }
    }

    async fn see(&self, ces: &[Ce]) -> Result<publish::Seen, Failure> {
        self.refresh().await?;
        let (version, closed, quotas, ranges, absent_classes, surroundings) = tokio::try_join!(
            self.access
                .call(|to| async move { to.client.apiserver_version().await }),
            self.why_closed(),
            self.list_if_allowed::<ResourceQuota>(),
            self.list_if_allowed::<LimitRange>(),
            self.absent_classes(ces),
            self.surroundings(),
        )?;
        let memory = self.shared.memory();
        let ours = memory.counts();
        let mut loads = surroundings.loads;
        loads.extend(memory.loads().cloned());
        Ok(publish::Seen {
            version: version.git_version,
            closed,
            nodes: surroundings.nodes,
            loads,
            quotas,
            ranges,
            counts: (
                ours.0 + surroundings.counts.0,
                ours.1 + surroundings.counts.1,
            ),
            absent_classes,
        })
    }

    /// Why the namespace takes no pods. Nothing if it does, or if we may not look at it.
    async fn why_closed(&self) -> Result<Option<String>, Failure> {
        let found = self
            .access
            .call(|to| async move {
                let api = Api::<Namespace>::all(to.client);
                api.get(&to.namespace).await
            })
            .await;
        match found {
            Ok(namespace) => {
                let phase = namespace.status.and_then(|status| status.phase);
                let is_going = phase.as_deref() == Some("Terminating");
                Ok(is_going.then(|| "the namespace is being deleted".to_owned()))
            }
            Err(failure) if failure.is_absent() => Ok(Some("there is no such namespace".into())),
            Err(failure) if failure.is_forbidden() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// All of a kind in the namespace; none if we may not list them.
    async fn list_if_allowed<K: Listed>(&self) -> Result<Vec<K>, Failure> {
        let listed = self
            .access
            .call(|to| async move {
                let api = Api::<K>::namespaced(to.client, &to.namespace);
                api.list(&ListParams::default()).await
            })
            .await;
        match listed {
            Ok(list) => Ok(list.items),
            Err(failure) if failure.is_forbidden() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// The priority classes of these CEs that do not exist, as far as we may ask.
    async fn absent_classes(&self, ces: &[Ce]) -> Result<BTreeSet<String>, Failure> {
        let classes: BTreeSet<&str> = ces
            .iter()
            .filter_map(|ce| render::priority_class(&self.settings, ce.queue.as_deref()))
            .collect();
        let mut absent = BTreeSet::new();
        for class in classes {
            let found = self
                .access
                .call(|to| async move { Api::<PriorityClass>::all(to.client).get(class).await })
                .await;
            match found {
                Ok(_) => {}
                Err(failure) if failure.is_absent() => {
                    absent.insert(class.to_owned());
                }
                Err(failure) if failure.is_forbidden() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(absent)
    }

    /// What is there beside our own pods, not older than [`CLUSTER_EVERY`].
    async fn surroundings(&self) -> Result<Surroundings, Failure> {
        let mut kept = self.surroundings.lock().await;
        if let Some((at, surroundings)) = kept.as_ref()
            && at.elapsed() < CLUSTER_EVERY
        {
            return Ok(surroundings.clone());
        }
        let surroundings = self.look_around().await?;
        *kept = Some((Instant::now(), surroundings.clone()));
        Ok(surroundings)
    }

    async fn look_around(&self) -> Result<Surroundings, Failure> {
        // From the server's memory: a moment old, and cheap for it.
        let cheap = ListParams::default().match_any();
        let params = &cheap;
        let nodes = self
            .access
            .call(|to| async move { Api::<Node>::all(to.client).list(params).await })
            .await;
        let nodes = match nodes {
            Ok(nodes) => Some(nodes.items),
            Err(failure) if failure.is_forbidden() => None,
            Err(failure) => return Err(failure),
        };
        let params = cheap
            .clone()
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let params = &params;
        let pods = self
            .access
            .call(|to| async move { Api::<Pod>::all(to.client).list(params).await })
            .await;
        let pods = match pods {
            Err(failure) if failure.is_forbidden() => {
                self.access
                    .call(|to| async move {
                        let api = Api::<Pod>::namespaced(to.client, &to.namespace);
                        api.list(params).await
                    })
                    .await
            }
            other => other,
        }?;
        let namespace = self.access.connect().await?.namespace;
        let mut surroundings = Surroundings {
            nodes,
            ..Surroundings::default()
        };
        for pod in pods.items.iter().filter(|pod| !parse::is_over(pod)) {
            let is_near = pod.metadata.namespace.as_deref() == Some(&namespace);
            if is_near && parse::is_ours(pod) {
                continue; // The memory knows them better.
            }
            surroundings.loads.push(parse::load(pod));
            match (is_near, parse::is_running(pod)) {
                (true, true) => surroundings.counts.0 += 1,
                (true, false) => surroundings.counts.1 += 1,
                (false, _) => {}
            }
        }
        Ok(surroundings)
    }
}

#[async_trait]
impl BatchSystem for Kubernetes {
    async fn submit(&self, jobs: &[PilotJob]) -> Vec<Result<String, AdapterError>> {
        let submissions: Vec<_> = jobs.iter().map(|job| self.submit_one(job)).collect();
        futures::stream::iter(submissions)
            .buffered(REQUESTS_AT_ONCE)
            .collect()
            .await
    }

    async fn poll(
        &self,
        name_prefix: &str,
        known: &[String],
    ) -> Result<Vec<BatchJob>, AdapterError> {
        let known: BTreeSet<Handle> = known.iter().filter_map(|id| Handle::parse(id)).collect();
        self.refresh().await.map_err(Failure::of_question)?;
        self.clean_up(&known).await;
        let stuck = self.shared.memory().stuck(name_prefix, now_s());
        self.delete_all(stuck).await.map_err(Failure::of_question)?;
        Ok(self.shared.memory().tell(name_prefix, &known, now_s()))
    }

    async fn cancel(&self, batch_ids: &[String]) -> Result<(), AdapterError> {
        let jobs = batch_ids
            .iter()
            .filter_map(|id| Handle::parse(id))
            .map(|handle| (handle, "cancelled".to_owned()))
            .collect();
        self.delete_all(jobs).await.map_err(Failure::of_change)
    }

    async fn publish(&self, ces: &[Ce], now: Timestamp) -> Result<Vec<CeState>, AdapterError> {
        if ces.is_empty() {
            return Ok(Vec::new());
        }
        let seen = self.see(ces).await.map_err(Failure::of_question)?;
        let publish_one = |ce: &Ce| {
            let id = CeId {
                site: self.site.clone(),
                ce: ce.name.clone(),
            };
            let mut state = CeState::unreachable(id, "kubernetes", now, String::new());
            publish::publish(&seen, &self.settings, ce, &mut state);
            state
        };
        Ok(ces.iter().map(publish_one).collect())
    }
}

/// The machine's clock, in seconds since the epoch: compared with the cluster's only where a
/// minute more or less does not matter.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
