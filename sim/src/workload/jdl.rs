//! A folder of job descriptions as a workload.

use std::path::Path;
use std::sync::Arc;

use fairway_jdl::JobSpec;
use fairway_model::{GroupName, Timestamp, UserName};

use super::{SimJob, Workload};
use crate::SimError;
use crate::numbers::{Distribution, Rng};

/// How long tasks run whose description does not say what to expect.
#[derive(Clone, Debug)]
pub enum RuntimeSource {
    /// As long as `ExpectedDuration` says; a task without one is an error.
    Expected,
    /// As drawn, whatever the description says.
    Drawn(Distribution),
}

/// What descriptions do not say.
#[derive(Clone, Debug)]
pub struct JdlOptions {
    /// Who submits them.
    pub owner: UserName,
    /// For which group.
    pub group: Option<GroupName>,
    /// How long the tasks run.
    pub runtimes: RuntimeSource,
    /// For what is drawn.
    pub seed: u64,
}

/// Reads one file: its name and its text.
pub(super) fn text(path: &Path) -> Result<(String, String), SimError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| SimError::Read {
        path: name.clone(),
        error,
    })?;
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The JDL files of a folder, by name.
pub(super) fn texts(folder: &Path) -> Result<Vec<(String, String)>, SimError> {
    let unreadable = |error| SimError::Read {
        path: folder.display().to_string(),
        error,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == "jdl") && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(SimError::Text {
            what: "workload",
            reason: "there is no file `*.jdl` in it".into(),
        });
    }
    paths.sort();
    paths.iter().map(|path| text(path)).collect()
}

/// All are submitted at the first moment, in order.
pub(super) fn read(texts: &[(String, String)], options: &JdlOptions) -> Result<Workload, SimError> {
    let mut workload = Workload {
        users: vec![options.owner.clone()],
        groups: options.group.iter().cloned().collect(),
        ..Workload::default()
    };
    for (place, (name, text)) in (0..).zip(texts) {
        let refuse = |reason: String| SimError::Text {
            what: "description",
            reason: format!("{name}: {reason}"),
        };
        let (spec, _) = JobSpec::read(text).map_err(|errors| {
            let worst = errors
                .iter()
                .find(|it| it.severity == fairway_jdl::Severity::Error);
            refuse(worst.map_or_else(String::new, |error| {
                format!("{} (`fairway jdl check` says more)", error.message)
            }))
        })?;
        workload.jobs.push(SimJob {
            at: Timestamp(0),
            user: 0,
            group: options.group.as_ref().map(|_| 0),
            spec: place,
            first: workload.runtimes_ms.len(),
        });
        for index in 0..spec.task_count() {
            let runtime_ms = match &options.runtimes {
                RuntimeSource::Expected => {
                    let expected_s = spec.needs(index).expected_s;
                    expected_s.map(|seconds| seconds.saturating_mul(1000))
                }
                RuntimeSource::Drawn(distribution) => {
                    let key = [u64::from(place), u64::from(index)];
                    let mut rng = Rng::keyed(options.seed, &key);
                    Some(distribution.draw_ms(&mut rng))
                }
            };
            workload.runtimes_ms.push(runtime_ms.ok_or_else(|| {
                refuse(format!(
                    "task {index} does not say how long it runs: add `ExpectedDuration` to the \
                     description, or give a runtime for all tasks"
                ))
            })?);
        }
        workload.specs.push(Arc::new(spec));
    }
    Ok(workload)
}
