//! Kubernetes: a stand-in of our own, or a real cluster.
//!
//! With `FAIRWAY_TEST_KUBECONFIG=FILE` the same suite runs on the cluster that the file leads to,
//! in its context's namespace. That cluster needs: a quota `requests.cpu: 4` in the namespace and
//! at least as much room, nobody else in it, no enforced security standard (the jobs' files are
//! on the node's `/tmp`, so the node is this machine), and the image `FAIRWAY_TEST_KUBE_IMAGE`
//! with a shell, `cat`, `touch` and `sleep`.

use std::path::Path;
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, KubernetesSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use super::gate::Gate;
use super::{Bed, ce};
use crate::standin::{IMAGE, Settings, Standin};

/// A cluster.
pub(crate) struct KubernetesBed {
    system: Arc<dyn BatchSystem>,
    cluster: Cluster,
}

enum Cluster {
    Standin(Standin),
    /// One test has it at a time.
    Real {
        gate: Gate,
        _alone: MutexGuard<'static, ()>,
    },
}

static REAL: Mutex<()> = Mutex::const_new(());

impl KubernetesBed {
    pub(crate) async fn new() -> Option<Self> {
        let Ok(kubeconfig) = std::env::var("FAIRWAY_TEST_KUBECONFIG") else {
            let standin = Standin::start(Settings::default());
            let settings = KubernetesSettings {
                kubeconfig: Some(standin.kubeconfig().to_str().unwrap().to_owned()),
                image: Some(IMAGE.to_owned()),
                ..KubernetesSettings::default()
            };
            return Some(Self {
                system: open(settings),
                cluster: Cluster::Standin(standin),
            });
        };
        let alone = REAL.lock().await;
        let gate = Gate::before(&kubeconfig);
        let image = std::env::var("FAIRWAY_TEST_KUBE_IMAGE")
            .expect("FAIRWAY_TEST_KUBE_IMAGE must name an image with a shell");
        let user = rustix::process::getuid().as_raw();
        let settings = KubernetesSettings {
            kubeconfig: Some(gate.kubeconfig().to_owned()),
            image: Some(image),
            // The jobs' files are where the tests look for them, and theirs.
            pod_template_patch: Some(json!({"spec": {
                "securityContext": {
                    "runAsNonRoot": null, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
                },
                "volumes": [{
                    "name": "tmp", "emptyDir": null,
                    "hostPath": {"path": "/tmp", "type": "Directory"},
                }],
            }})),
            ..KubernetesSettings::default()
        };
        Some(Self {
            system: open(settings),
            cluster: Cluster::Real {
                gate,
                _alone: alone,
            },
        })
    }
}

fn open(settings: KubernetesSettings) -> Arc<dyn BatchSystem> {
    let settings = AdapterSettings::Kubernetes(Box::new(settings));
    connect(&"bed".parse().unwrap(), &settings, Path::new("/unused")).unwrap()
}

impl Bed for KubernetesBed {
    fn system(&self) -> &dyn BatchSystem {
        &*self.system
    }

    fn ce(&self) -> Ce {
        serde_json::from_value(json!({"name": "ce"})).unwrap()
    }

    fn take_away(&self) {
        match &self.cluster {
            Cluster::Standin(standin) => standin.take_away(),
            Cluster::Real { gate, .. } => gate.shut(),
        }
    }

    fn bring_back(&self) {
        match &self.cluster {
            Cluster::Standin(standin) => standin.bring_back(),
            Cluster::Real { gate, .. } => gate.open(),
        }
    }

    fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
        let mut nowhere = job.clone();
        nowhere.ce.constraint = Some("tier=no such label!".into());
        let mut long = job.clone();
        long.walltime_s = 1 << 40;
        vec![
            (
                nowhere,
                "a valid label must be an empty string or consist of",
            ),
            (long, "must be between 1 and 2147483647"),
        ]
    }

    fn absent_ce(&self) -> Option<Ce> {
        Some(ce("nosuch"))
    }
}
