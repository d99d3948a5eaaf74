//! Descriptions of tasks that are known by a few numbers: made as JDL and read as one, each
//! different one once.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_jdl::JobSpec;

use crate::SimError;

/// What is known of the tasks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) tasks: u32,
    pub(super) cores: u32,
    pub(super) memory_mib: u64,
    pub(super) gpus: u32,
    pub(super) walltime_s: u64,
    pub(super) retries: u32,
}

/// Each different description, once.
#[derive(Debug, Default)]
pub(super) struct Specs {
    pub(super) all: Vec<Arc<JobSpec>>,
    places: BTreeMap<Shape, u32>,
}

impl Specs {
    /// The place of the description of a shape.
    pub(super) fn place(&mut self, shape: Shape) -> Result<u32, SimError> {
        if let Some(&place) = self.places.get(&shape) {
            return Ok(place);
        }
        let text = jdl(shape);
        let (spec, _) = JobSpec::read(&text).map_err(|errors| SimError::Text {
            what: "workload",
            reason: errors
                .first()
                .map_or_else(String::new, |error| error.message.clone()),
        })?;
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Arc::new(spec));
        self.places.insert(shape, place);
        Ok(place)
    }
}

fn jdl(shape: Shape) -> String {
    let Shape {
        tasks,
        cores,
        memory_mib,
        gpus,
        walltime_s,
        retries,
    } = shape;
    let mut text = format!(
        "Executable = \"/bin/task\"; CpuNumber = {cores}; WallTime = {walltime_s}; \
         RetryCount = {retries};"
    );
    if memory_mib > 0 {
        text.push_str(&format!(" Memory = {memory_mib};"));
    }
    if gpus > 0 {
        text.push_str(&format!(" GPUNumber = {gpus};"));
    }
    if tasks > 1 {
        text.push_str(&format!(
            " JobType = \"Parametric\"; Arguments = \"_PARAM_\"; Parameters = {tasks}; \
             ParameterStart = 0; ParameterStep = 1;"
        ));
    }
    text
}

/// A walltime that a user might ask for: the next of those that people write. Few different ones
/// make few classes of tasks.
pub(super) fn round_walltime(seconds: u64) -> u64 {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;
    const DAY: u64 = 86_400;
    let usual = [
        MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        3 * DAY,
        5 * DAY,
        7 * DAY,
    ];
    let found = usual.into_iter().find(|&it| it >= seconds);
    found.unwrap_or_else(|| seconds.div_ceil(7 * DAY).saturating_mul(7 * DAY))
}
