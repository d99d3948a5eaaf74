//! A database of its own for each test, and the things to put into it.

use fairway_jdl::JobSpec;
use fairway_model::{
    Attempt, AttemptEnd, CeId, Event, EventKind, Job, JobId, Pilot, PilotId, PilotOwner,
    PilotState, Resources, Task, TaskId, TaskState, Timestamp, UsageRecord,
};
use fairway_sched::Change;
use fairway_sched::command::Snapshot;
use fairway_wms::store::Store;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};

/// A database of its own.
pub(crate) struct Bed {
    pub(crate) url: String,
    place: Place,
}

enum Place {
    Folder(#[expect(dead_code, reason = "held until the test ends")] tempfile::TempDir),
    /// The server's own URL and the schema in it.
    Schema(String, String),
}

impl Bed {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite://{}", folder.path().join("fairway.db").display()),
            place: Place::Folder(folder),
        }
    }

    /// `None` if PostgreSQL is left out by an explicit wish.
    pub(crate) async fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var("FAIRWAY_TEST_POSTGRES") else {
            let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
            assert!(
                is("FAIRWAY_TEST_SKIP_POSTGRES", "1") && !is("CI", "true"),
                "set FAIRWAY_TEST_POSTGRES to the URL of a PostgreSQL database in which tests may \
                 make schemas (`cargo xtask test` does), or FAIRWAY_TEST_SKIP_POSTGRES=1 to leave \
                 these tests out"
            );
            eprintln!("left out: FAIRWAY_TEST_SKIP_POSTGRES is set");
            return None;
        };
        let schema = format!("test_{:016x}", rand::random::<u64>());
        execute(&server, &format!("CREATE SCHEMA {schema}")).await;
        Some(Self {
            url: format!("{server}?options[search_path]={schema}"),
            place: Place::Schema(server, schema),
        })
    }

    pub(crate) async fn drop_schema(self) {
        if let Place::Schema(server, schema) = &self.place {
            execute(server, &format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Schema(..))
    }

    /// The store, with the right to write.
    pub(crate) async fn leader(&self) -> Store {
        let store = self.open().await;
        store.lead().await.unwrap();
        store
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    /// Runs a statement behind the store's back.
    pub(crate) async fn sql(&self, statement: &str) {
        execute(&self.url, statement).await;
    }

    /// A connection behind the store's back.
    pub(crate) async fn connect(&self) -> DatabaseConnection {
        connect(&self.url).await
    }
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn execute(url: &str, statement: &str) {
    let db = connect(url).await;
    db.execute_unprepared(statement).await.unwrap();
    db.close().await.unwrap();
}

/// When everything of a test happens, unless it says otherwise.
pub(crate) const NOW: Timestamp = Timestamp(1_760_000_000_123);

/// A job of `tasks` tasks.
pub(crate) fn job(id: u64, owner: &str, tasks: u32) -> Job {
    Job {
        id: JobId(id),
        name: format!("job-{id}"),
        owner: owner.parse().unwrap(),
        group: None,
        submitted_at: NOW,
        jdl: format!(
            "[ JobType = \"Parametric\"; Executable = \"/bin/true\"; Parameters = {tasks}; \
             ParameterStart = 0; ParameterStep = 1; ]"
        ),
        task_count: tasks,
        sandbox: None,
    }
}

pub(crate) fn new_job(id: u64, owner: &str, tasks: u32) -> Change {
    Change::NewJob {
        job: job(id, owner, tasks),
        nodes: Vec::new(),
        idempotency: None,
        waits: false,
    }
}

/// A job of the nodes `fetch`, `sweep` of 3 tasks after it, `plot` after that, and `alone`.
pub(crate) fn new_graph(id: u64, owner: &str) -> (Change, JobSpec) {
    const JDL: &str = r#"[ Type = "dag"; Nodes = [
        fetch = [ Executable = "/bin/true"; ];
        sweep = [ JobType = "Parametric"; Executable = "/bin/true"; Arguments = "_PARAM_";
                  Parameters = 3; ParameterStart = 0; ParameterStep = 1; ];
        plot = [ Executable = "/bin/true"; ];
        alone = [ Executable = "/bin/true"; ];
        Dependencies = { { fetch, sweep }, { { fetch, sweep }, plot } };
    ]; ]"#;
    let (spec, _) = JobSpec::read(JDL).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let job = Job {
        jdl: JDL.to_owned(),
        ..job(id, owner, spec.task_count())
    };
    let nodes = spec.nodes().to_vec();
    let new = Change::NewJob {
        job,
        nodes,
        idempotency: None,
        waits: false,
    };
    (new, spec)
}

pub(crate) fn id(job: u64, index: u32) -> TaskId {
    TaskId::new(JobId(job), index)
}

/// A task in a state, with what that state implies.
pub(crate) fn task(job: u64, index: u32, state: TaskState) -> Task {
    let mut task = Task::new(id(job, index), NOW);
    task.state = state;
    if state.is_live() || state.is_final() {
        task.attempt = Attempt(1);
        task.pilot = Some(PilotId(1));
        task.cores = 3;
        task.seats = vec![PilotId(2), PilotId(3)];
        task.leased_at = Some(Timestamp(NOW.0 - 20));
    }
    if state == TaskState::Failed {
        task.last_end = Some(AttemptEnd::Exited { code: 3 });
        task.deep_failures = 1;
    }
    task
}

pub(crate) fn ce() -> CeId {
    "lyon/short".parse().unwrap()
}

pub(crate) fn pilot(id: u64, state: PilotState) -> Pilot {
    Pilot {
        id: PilotId(id),
        ce: ce(),
        owner: PilotOwner::Group("biomed".parse().unwrap()),
        allocation: PilotId(1),
        state,
        since: NOW,
        planned_at: NOW,
        batch_id: None,
        resources: Resources {
            cores: 4,
            memory_mib: 8000,
            gpus: 1,
        },
        custom: [("fpga".to_owned(), 2)].into_iter().collect(),
        whole_node: true,
        walltime_s: 3600,
        bootstrap_hash: "b".repeat(64),
        session_hash: None,
        nonce_hash: None,
        host: None,
        started_at: None,
        ends_at: None,
        end: None,
    }
}

pub(crate) fn event(seq: u64, kind: EventKind) -> Change {
    Change::Event(Event { seq, at: NOW, kind })
}

pub(crate) fn submitted(seq: u64, job: u64, by: &str) -> Change {
    event(
        seq,
        EventKind::JobSubmitted {
            job: JobId(job),
            tasks: 1,
            by: by.parse().unwrap(),
        },
    )
}

pub(crate) fn started(seq: u64, task: TaskId) -> Change {
    event(
        seq,
        EventKind::TaskStarted {
            task,
            attempt: Attempt(1),
        },
    )
}

pub(crate) fn usage(task: TaskId, attempt: u32, user: &str, code: i32) -> UsageRecord {
    UsageRecord {
        task,
        attempt: Attempt(attempt),
        user: user.parse().unwrap(),
        group: None,
        ce: ce(),
        pilot: PilotId(1),
        cores: 2,
        leased_at: NOW,
        started_at: Some(NOW),
        ended_at: Timestamp(NOW.0 + 1000),
        wall_ms: 1000,
        cpu_ms: 900,
        memory_peak_kib: 500,
        end: AttemptEnd::Exited { code },
    }
}

/// All tasks that are not over, as a restart would see them.
pub(crate) async fn active_tasks(store: &Store) -> Vec<Task> {
    store.load().await.unwrap().tasks
}

/// A user's name.
pub(crate) fn user(name: &str) -> fairway_model::UserName {
    name.parse().unwrap()
}

/// How many tasks the description of each job has.
pub(crate) fn task_counts(snapshot: &Snapshot) -> Vec<u32> {
    let specs = snapshot.jobs.iter().map(|(_, spec, _)| spec);
    specs.map(|spec| spec.task_count()).collect()
}
