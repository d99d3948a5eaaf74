//! `fairway cancel`, `hold`, `release`, `retry`, `suspend` and `resume`

use fairway_api::public::{TasksChange, TasksChanged};
use fairway_model::{TaskId, TaskVerb};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::Subject;
use crate::render;
use crate::screen::Format;

/// How many tasks the server takes at a time.
const TASKS_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// Jobs such as 12 (all their tasks), nodes of compound jobs such as 12/fit (all their
    /// tasks), and tasks such as 12.0
    #[arg(required = true, value_name = "JOB|NODE|TASK")]
    subjects: Vec<Subject>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Change {
    pub(super) async fn run(self, verb: TaskVerb) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let mut all = TasksChanged::default();
        let mut tasks: Vec<TaskId> = Vec::new();
        for subject in &self.subjects {
            match subject {
                Subject::Job(job) => add(&mut all, client.change_job(*job, verb).await?),
                Subject::Node(job, node) => {
                    add(&mut all, client.change_node(*job, node, verb).await?);
                }
                Subject::Task(task) => tasks.push(*task),
            }
        }
        for some in tasks.chunks(TASKS_MAX) {
            let change = TasksChange {
                tasks: some.to_vec(),
            };
            add(&mut all, client.change_tasks(&change, verb).await?);
        }
        self.format
            .show(&all, || render::jobs::changed(verb, &all))?;
        // Tasks that were left as they are is no failure: the reasons say what becomes of them.
        let missing = all.left.iter().filter(|left| left.missing);
        let missing: Vec<_> = missing.map(|left| left.task.to_string()).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            let missing = missing.join(", ");
            Err(Failure::Refused(format!("there is no task {missing}")))
        }
    }
}

fn add(all: &mut TasksChanged, some: TasksChanged) {
    all.changed += some.changed;
    all.left.extend(some.left);
}
