//! A stand-in for a Kubernetes cluster: an API server on loopback with what an adapter for
//! batch Jobs meets behind it (the Job controller, a scheduler, quotas, one kubelet that really
//! runs the containers' commands as processes of this machine).
//!
//! Answers, refusals and watch events have the form of recordings of a real cluster (1.36). What
//! it does not have: images (an image is a name that is known or not), the file systems of
//! containers (they see this machine's; in a container's command, paths below the mount of a
//! Secret are replaced by where its files are), networks, and node losses by themselves.

#![expect(
    dead_code,
    reason = "each test program that includes it uses another part"
)]

mod api;
mod cluster;
mod kubelet;
mod status;
mod store;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub(crate) use store::Kind;
use store::Store;

/// The namespace that there is.
pub(crate) const NAMESPACE: &str = "grid-pilots";
/// The image that there is.
pub(crate) const IMAGE: &str = "localhost/grid/pilot:1";
/// The bearer token that is known.
pub(crate) const TOKEN: &str = "standin-token";

/// How the cluster is made.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Nodes, as their objects.
    pub(crate) nodes: Vec<Value>,
    /// What the namespace may have, as `hard` of a ResourceQuota.
    pub(crate) quota: Option<Value>,
    /// The most memory of one container, in MiB, as a LimitRange.
    pub(crate) container_memory_max_mib: Option<u64>,
    /// Whether pods must meet the security standard `restricted`.
    pub(crate) restricted: bool,
    /// Whether the caller may see nodes and the pods of other namespaces.
    pub(crate) sees_cluster: bool,
    /// Containers run without a process, until they are ended.
    pub(crate) pretend: bool,
    /// Time between two bookmarks of a watch.
    pub(crate) bookmark_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: vec![node("gridnode1", "4", json!({}))],
            quota: None,
            container_memory_max_mib: None,
            restricted: true,
            sees_cluster: true,
            pretend: false,
            bookmark_every: Duration::from_secs(60),
        }
    }
}

/// A node with so much CPU.
pub(crate) fn node(name: &str, cpu: &str, labels: Value) -> Value {
    let mut all = json!({
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
    });
    for (label, value) in labels.as_object().into_iter().flatten() {
        all[label] = value.clone();
    }
    let resources = json!({"cpu": cpu, "memory": "23430720Ki", "pods": "60"});
    json!({
        "metadata": {"name": name, "labels": all},
        "spec": {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1.0",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "containerRuntimeVersion": "containerd://1.6.20", "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
            },
        },
    })
}

struct Shared {
    settings: Settings,
    store: Mutex<Store>,
    /// The version of the last change.
    changes: watch::Sender<u64>,
    /// What bearer token is known.
    token: Mutex<String>,
    /// Answers to the next requests that make something, in place of the right ones.
    mishaps: Mutex<Vec<Mishap>>,
    requests: std::sync::atomic::AtomicU64,
}

/// What may happen to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Nothing.
    None,
    /// It is carried out, and its answer gets lost.
    LoseAnswer,
    /// The server has an error of its own and does nothing.
    Fail,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn announce(&self) {
        let version = self.store().version();
        self.changes.send_replace(version);
    }
}

/// A cluster that lives as long as this value.
pub(crate) struct Standin {
    shared: Arc<Shared>,
    address: SocketAddr,
    api: Mutex<Option<Runtime>>,
    stop: watch::Sender<bool>,
    life: Option<std::thread::JoinHandle<()>>,
    folder: TempDir,
}

impl Standin {
    pub(crate) fn start(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(&settings)),
            changes: watch::channel(0).0,
            token: Mutex::new(TOKEN.to_owned()),
            mishaps: Mutex::default(),
            requests: 0.into(),
            settings,
        });
        let (stop, stopped) = watch::channel(false);
        let (inner, files) = (shared.clone(), folder.path().join("secrets"));
        let life = std::thread::spawn(move || cluster::live(&inner, &files, &stopped));
        let standin = Self {
            api: Mutex::new(Some(api::serve(shared.clone(), listener))),
            shared,
            address,
            stop,
            life: Some(life),
            folder,
        };
        standin.write_kubeconfig(TOKEN);
        standin
    }

    /// Where it is told how the cluster is reached.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn write_kubeconfig(&self, token: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: standin\n\
             clusters: [{{name: standin, cluster: {{server: \"http://{}\"}}}}]\n\
             users: [{{name: standin, user: {{token: {token}}}}}]\n\
             contexts: [{{name: standin, context: {{cluster: standin, user: standin, \
             namespace: {NAMESPACE}}}}}]\n",
            self.address
        );
        std::fs::write(self.kubeconfig(), text).unwrap();
    }

    /// Another token is known from now on, and written into the kubeconfig.
    pub(crate) fn renew_token(&self, token: &str) {
        token.clone_into(&mut self.shared.token.lock().unwrap());
        self.write_kubeconfig(token);
    }

    /// The API server goes away with all its connections; containers run on.
    pub(crate) fn take_away(&self) {
        if let Some(api) = self.api.lock().unwrap().take() {
            // It waits, which an asynchronous test must not do on its own thread.
            let shutdown = move || api.shutdown_timeout(Duration::from_secs(5));
            std::thread::spawn(shutdown).join().unwrap();
        }
    }

    /// And comes back, where it was.
    pub(crate) fn bring_back(&self) {
        let listener = std::iter::repeat_with(|| TcpListener::bind(self.address))
            .take(100)
            .find_map(|bound| {
                if bound.is_err() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                bound.ok()
            });
        let api = api::serve(self.shared.clone(), listener.unwrap());
        *self.api.lock().unwrap() = Some(api);
    }

    /// What happens to the next requests that make something.
    pub(crate) fn mishaps(&self, mishaps: &[Mishap]) {
        *self.shared.mishaps.lock().unwrap() = mishaps.to_vec();
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared
            .requests
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// All objects of a kind.
    pub(crate) fn objects(&self, kind: Kind) -> Vec<Value> {
        self.shared.store().all(kind).cloned().collect()
    }

    /// Changes an object as something in the cluster would.
    pub(crate) fn change(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.shared.store();
        let mut object = store.get(kind, name).cloned().unwrap();
        change(&mut object);
        store.put(kind, object);
        drop(store);
        self.shared.announce();
    }

    /// Makes an object that is there before anybody asks.
    pub(crate) fn add(&self, kind: Kind, object: Value) {
        self.shared.store().put(kind, object);
        self.shared.announce();
    }

    /// Forgets old versions and cuts all watches, which then find theirs too old.
    pub(crate) fn compact(&self) {
        self.shared.store().compact();
        self.take_away();
        self.bring_back();
    }

    /// Ends a pod as the scheduler does for one of higher priority.
    pub(crate) fn preempt(&self, pod: &str) {
        self.change(Kind::Pod, pod, |pod| {
            status::set_condition(
                pod,
                &json!({
                    "type": "DisruptionTarget", "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": "default-scheduler: preempting to accommodate a higher priority pod",
                }),
            );
            cluster::terminate(pod);
        });
    }

    /// The folder with the files of Secrets that are mounted.
    pub(crate) fn files(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(life) = self.life.take() {
            // If it panicked, the test has failed for that already.
            let _ = life.join();
        }
        if let Ok(Some(api)) = self.api.get_mut().map(Option::take) {
            api.shutdown_background();
        }
    }
}
