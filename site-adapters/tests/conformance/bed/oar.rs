//! OAR, by its commands and by its REST API.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairway_model::{AdapterSettings, Ce, OarSettings, RestSettings, SecretRef, SshSettings};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};
use tokio::sync::{Mutex, MutexGuard};

use super::{Bed, FULL, ce, control, started};

/// A cluster that was started for the tests, by its commands. One test has it at a time.
pub(crate) struct OarBed(Cluster);

/// The same by its REST API.
pub(crate) struct OarRestBed(Cluster);

struct Cluster {
    system: Arc<dyn BatchSystem>,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

static OAR: Mutex<()> = Mutex::const_new(());

impl OarBed {
    pub(crate) async fn new() -> Option<Self> {
        Self::over(None).await
    }

    /// With its commands run on another machine, if one is given.
    pub(crate) async fn over(ssh: Option<SshSettings>) -> Option<Self> {
        let commands = |folder: &Path| OarSettings {
            ssh,
            bin_dir: Some(text(&folder.join("bin"))),
            work_dir: Some(text(&folder.join("work"))),
            ..OarSettings::default()
        };
        Cluster::new(commands).await.map(Self)
    }
}

impl OarRestBed {
    pub(crate) async fn new() -> Option<Self> {
        let api = |folder: &Path| OarSettings {
            rest: Some(RestSettings {
                url: std::fs::read_to_string(folder.join("api-url"))
                    .unwrap()
                    .trim()
                    .to_owned(),
                user: None,
                secret: Some(SecretRef::File(text(&folder.join("api-secret")))),
                ca: None,
            }),
            work_dir: Some(text(&folder.join("work"))),
            ..OarSettings::default()
        };
        Cluster::new(api).await.map(Self)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Cluster {
    async fn new(settings: impl FnOnce(&Path) -> OarSettings) -> Option<Self> {
        let folder = started("OAR")?;
        let alone = OAR.lock().await;
        let settings = AdapterSettings::Oar(settings(&folder));
        let system = connect(&"bed".parse().unwrap(), &settings, Path::new("/unused")).unwrap();
        Some(Self {
            system,
            folder,
            _alone: alone,
        })
    }

    fn control(&self, command: &str) {
        control("oar", command, &self.folder);
    }
}

/// OAR's queues share all nodes; a condition makes one of them the queue's own.
fn one_node(queue: &str) -> Ce {
    Ce {
        constraint: Some("host = 'oarnode1'".into()),
        ..ce(queue)
    }
}

fn refused(job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
    let mut nowhere = job.clone();
    nowhere.ce.queue = Some("nosuch".into());
    let mut long = job.clone();
    long.walltime_s = 3600;
    let mut big = job.clone();
    big.resources.cores = FULL + 1;
    let mut nothing = job.clone();
    nothing.ce.constraint = Some("nosuch = 'x'".into());
    let mut unknown = job.clone();
    unknown.ce.types = vec!["nosuch".into()];
    vec![
        (nowhere, "The queue nosuch does not exist"),
        (long, "walltime too long for the tiny queue"),
        (big, "not enough resources"),
        (nothing, "nosuch"),
        (unknown, "unknown job type"),
    ]
}

macro_rules! bed {
    ($name:ty) => {
        impl $name {
            /// The bed's folder.
            pub(crate) fn folder(&self) -> &Path {
                &self.0.folder
            }
        }

        impl Bed for $name {
            fn system(&self) -> &dyn BatchSystem {
                &*self.0.system
            }

            fn ce(&self) -> Ce {
                one_node("tiny")
            }

            fn take_away(&self) {
                self.0.control("stop-server");
            }

            fn bring_back(&self) {
                self.0.control("start-server");
            }

            fn refused(&self, job: &PilotJob) -> Vec<(PilotJob, &'static str)> {
                refused(job)
            }

            fn absent_ce(&self) -> Option<Ce> {
                Some(one_node("nosuch"))
            }

            /// Jobs run as a user of the bed's, whom nothing else knows.
            fn open_folder(&self, folder: &Path) {
                std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
            }
        }
    };
}

bed!(OarBed);
bed!(OarRestBed);
