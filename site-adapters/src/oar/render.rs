//! What OAR is told: the options of a submission, and the conditions by which jobs and resources
//! are asked for. Pure.

use fairway_model::Ce;

use crate::{AdapterError, PilotJob, is_plain, require_plain};

/// So many seconds before its walltime a pilot hears SIGTERM. OAR itself would only kill it.
const WARNING_S: u64 = 30;
/// SIGTERM, as `--signal` takes it.
const SIGTERM: &str = "15";
/// Walltimes are not longer than this, in hours: OAR counts seconds in 32 bits.
const HOURS_MAX: u64 = 500_000;
/// What jobs are over in.
const OVER: &str = "('Terminated', 'Error')";

/// The levels of the site's resource hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// What makes one node, possibly with counts of what is above it: `cluster=1/host`.
    pub(super) node: String,
    /// What makes one core.
    pub(super) core: String,
}

impl Levels {
    /// Refuses what would be more than levels.
    pub(super) fn check(&self) -> Result<(), AdapterError> {
        let is_level = |level: &str| {
            !level.is_empty()
                && level
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let mut above: Vec<&str> = self.node.split('/').collect();
        let node = above.pop().unwrap_or_default();
        let counted = |part: &&str| {
            part.split_once('=')
                .is_some_and(|(level, count)| is_level(level) && count.parse::<u32>().is_ok())
        };
        if is_level(node) && is_level(&self.core) && above.iter().all(counted) {
            return Ok(());
        }
        Err(AdapterError::Refused(format!(
            "node_level must look like host or cluster=1/host, and core_level like core, not {:?} \
             and {:?}",
            self.node, self.core
        )))
    }
}

/// One option of `oarsub`: its long name and its value. The REST API takes the same.
pub(super) type OarOption = (String, String);

/// One or more pilots that one call submits: an array, if they are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    /// The name of the first; the others follow by number.
    pub(super) name: String,
    /// The account to submit as; the caller's own if not set.
    pub(super) account: Option<String>,
    /// How many.
    pub(super) count: usize,
    /// The options, but for the name and the size of the array.
    pub(super) options: Vec<OarOption>,
    /// When an advance reservation is to begin, in seconds since the epoch.
    pub(super) reserve_at: Option<i64>,
}

/// The pilot alone. No secret is among it.
///
/// # Errors
/// `Refused` if something in the job would be taken for something else.
pub(super) fn submission(
    job: &PilotJob,
    levels: &Levels,
    work_dir: &str,
) -> Result<Submission, AdapterError> {
    let ce = &job.ce;
    // The name ends up in SQL as it is.
    require_plain("job name", &job.name)?;
    require_plain("queue", ce.queue())?;
    let mut options = vec![
        option("resource", resources(job, levels)),
        option("queue", ce.queue()),
        option("directory", work_dir),
    ];
    if let Some(properties) = properties(job)? {
        options.push(option("property", properties));
    }
    if let Some(project) = &ce.account {
        require_plain("account", project)?;
        options.push(option("project", project));
    }
    for kind in types(ce)? {
        options.push(option("type", kind));
    }
    if let Some(account) = &job.run_as {
        require_plain("account", account)?;
    }
    let has = |name: &str| ce.options.iter().any(|word| word.starts_with(name));
    if job.walltime_s >= 4 * WARNING_S && !has("--checkpoint") && !has("--signal") {
        options.push(option("checkpoint", WARNING_S.to_string()));
        options.push(option("signal", SIGTERM));
    }
    for word in &ce.options {
        options.push(own_option(word)?);
    }
    Ok(Submission {
        name: job.name.clone(),
        account: job.run_as.clone(),
        count: 1,
        options,
        reserve_at: job.reserve_at.map(|at| at.secs()),
    })
}

impl Submission {
    /// Takes the pilot that `other` is into this array, if it is the next by number and asks for
    /// the same. A job in an array has the name of the array and its place in it, which starts at
    /// 1; so its own name can be told from these.
    pub(super) fn take(&mut self, other: &Self, count_max: usize) -> bool {
        let fits = self.count < count_max
            && self.reserve_at.is_none()
            && other.reserve_at.is_none()
            && self.account == other.account
            && self.options == other.options
            && member_name(&self.name, self.count + 1).as_deref() == Some(&other.name);
        self.count += usize::from(fits);
        fits
    }

    /// The options that come from the whole: name, files, array.
    pub(super) fn own_options(&self, work_dir: &str) -> Vec<OarOption> {
        let log = format!("{work_dir}/{}.%jobid%.log", self.name);
        let mut options = vec![
            option("name", &self.name),
            option("stdout", &log),
            option("stderr", &log),
        ];
        if self.count > 1 {
            options.push(option("array", self.count.to_string()));
        }
        options
    }

    /// The file of the script of member `index`, from 1, in the work folder. Whose it is can be
    /// told from it, because it is his to remove.
    pub(super) fn file(&self, index: usize) -> String {
        format!("{}{index}", self.files())
    }

    fn files(&self) -> String {
        let account = self.account.as_deref().unwrap_or_default();
        format!("{}={account}.pilot.", self.name)
    }

    /// What the jobs run: each its own script. Only the path is there for everybody to see.
    pub(super) fn command(&self, work_dir: &str) -> String {
        format!("{work_dir}/{}$OAR_ARRAY_INDEX", self.files())
    }
}

/// Of a job's command: the account that it was submitted as, if not the adapter's own, and the
/// file of member `index`. `None` if it is none of ours.
pub(super) fn script_of(
    command: &str,
    index: usize,
    work_dir: &str,
) -> Option<(Option<String>, String)> {
    let file = command.strip_prefix(work_dir)?.strip_prefix('/')?;
    let files = file.strip_suffix("$OAR_ARRAY_INDEX")?;
    let (name, account) = files.strip_suffix(".pilot.")?.split_once('=')?;
    if !is_plain(name) || !(account.is_empty() || is_plain(account)) {
        return None;
    }
    let account = (!account.is_empty()).then(|| account.to_owned());
    Some((account, format!("{files}{index}")))
}

/// The name of member `index`, from 1, of the array that is named `first`; `None` if that name
/// does not end in a number.
pub(super) fn member_name(first: &str, index: usize) -> Option<String> {
    if index == 1 {
        return Some(first.to_owned());
    }
    let base = first.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = &first[base.len()..];
    let number: u64 = digits.parse().ok()?;
    let number_text = number.to_string();
    if number_text != digits {
        return None;
    }
    let index = u64::try_from(index).ok()?.checked_sub(1)?;
    Some(format!("{base}{}", number.checked_add(index)?))
}

/// An option of the site administrator's, as it is. A word that is no option would be taken for
/// the command.
fn own_option(word: &str) -> Result<OarOption, AdapterError> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match name.strip_prefix("--") {
        Some(name) if is_plain(name) && !value.chars().any(char::is_control) => {
            Ok(option(name, value))
        }
        _ => Err(AdapterError::Refused(format!(
            "options must look like --name or --name=value, not {word:?}"
        ))),
    }
}

fn option(name: &str, value: impl Into<String>) -> OarOption {
    (name.to_owned(), value.into())
}

/// The resources, from the node down to the core. `host=2/core=3` is three cores on each of two
/// nodes; without a lower level it is all of a node. Memory cannot be asked for.
fn resources(job: &PilotJob, levels: &Levels) -> String {
    let Levels { node, core } = levels;
    let mut text = format!("/{node}={}", job.nodes.max(1));
    if !job.ce.shape.whole_node {
        let (cores, gpus) = (job.resources.cores.max(1), job.resources.gpus);
        if gpus > 0 {
            // The cores are below the GPUs, the same number under each.
            text.push_str(&format!("/gpu={gpus}/{core}={}", cores.div_ceil(gpus)));
        } else {
            text.push_str(&format!("/{core}={cores}"));
        }
    }
    format!("{text},walltime={}", walltime(job.walltime_s))
}

/// `H:M:S`. With fewer parts the first would still be hours.
fn walltime(seconds: u64) -> String {
    let seconds = seconds.clamp(1, HOURS_MAX * 3600);
    format!("{}:{}:{}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What nodes must have, as SQL: the site's own condition, the kind of GPU, the nodes to avoid.
fn properties(job: &PilotJob) -> Result<Option<String>, AdapterError> {
    let mut parts = Vec::new();
    if let Some(condition) = constraint(&job.ce)? {
        parts.push(format!("({condition})"));
    }
    if let Some(model) = job.ce.gpu_type.as_ref().filter(|_| job.resources.gpus > 0) {
        require_plain("kind of GPU", model)?;
        parts.push(format!("gpu_model = '{model}'"));
    }
    // A name that OAR cannot have is none of its nodes.
    for node in job.avoid.iter().filter(|node| is_plain(node)) {
        parts.push(format!("network_address <> '{node}'"));
        if !node.contains('.') {
            // The node may know itself by the first part of the name that OAR has for it.
            parts.push(format!("network_address NOT LIKE '{node}.%'"));
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
}

/// The CE's own condition on resources. It is the site administrator's SQL.
pub(super) fn constraint(ce: &Ce) -> Result<Option<&str>, AdapterError> {
    match ce.constraint.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) if text.chars().any(char::is_control) => Err(AdapterError::Refused(format!(
            "the constraint holds a control character: {text:?}"
        ))),
        Some(text) => Ok(Some(text)),
    }
}

fn types(ce: &Ce) -> Result<Vec<String>, AdapterError> {
    let mut types = ce.types.clone();
    if let Some(container) = &ce.reservation {
        if parse_id(container).is_none() {
            return Err(AdapterError::Refused(format!(
                "a reservation is the number of a container job, not {container:?}"
            )));
        }
        types.push(format!("inner={container}"));
    }
    for kind in &types {
        let harmless = kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.:=,+-".contains(&byte));
        if kind.is_empty() || kind.starts_with('-') || !harmless {
            return Err(AdapterError::Refused(format!("{kind:?} is no type of job")));
        }
        // OAR would start the same pilot a second time, with a secret that was used.
        if kind == "idempotent" {
            return Err(AdapterError::Refused(
                "pilots cannot be idempotent: each is started once".to_owned(),
            ));
        }
    }
    Ok(types)
}

/// A job's id, if `text` can be one.
pub(super) fn parse_id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id: u32 = text.parse().ok().filter(|_| digits)?;
    (id <= i32::MAX.cast_unsigned()).then_some(id)
}

/// The condition for jobs whose name begins with `prefix`: those that are not over, and those
/// submitted after `since` whatever became of them, so that a lost submission is found.
///
/// # Errors
/// `Refused` if the prefix would be more than a text in SQL.
pub(super) fn named(prefix: &str, since: i64) -> Result<String, AdapterError> {
    if !prefix.is_empty() {
        require_plain("beginning of the job names", prefix)?;
    }
    // Members of an array have other numbers than the array's name has. That `_` stands for any
    // letter does no harm: the names are looked at again.
    let prefix = prefix.trim_end_matches(|letter: char| letter.is_ascii_digit());
    Ok(format!(
        "(job_name LIKE '{prefix}%' AND (state NOT IN {OVER} OR submission_time > {since}))"
    ))
}

/// Conditions for the jobs `ids`, none longer than `chars_max` or so. Pilots are submitted one
/// after the other, so there are few gaps.
pub(super) fn with_ids(ids: &[u32], chars_max: usize) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut conditions: Vec<String> = Vec::new();
    for run in ids.chunk_by(|one, next| one + 1 == *next) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let range = format!("job_id BETWEEN {first} AND {last}");
        match conditions.last_mut() {
            Some(text) if text.len() + range.len() + 4 <= chars_max => {
                text.push_str(" OR ");
                text.push_str(&range);
            }
            _ => conditions.push(range),
        }
    }
    conditions
}

/// Everybody's jobs that are not over.
pub(super) fn alive() -> String {
    format!("state NOT IN {OVER}")
}

/// The newest job of all. It is asked for besides, because `oarstat` answers a failed query with
/// success and nothing: an answer without it is none.
pub(super) const NEWEST: &str = "job_id = (SELECT MAX(job_id) FROM jobs)";

/// The condition for the resources of a CE.
pub(super) fn resources_of(ce: &Ce) -> Result<String, AdapterError> {
    Ok(match constraint(ce)? {
        Some(condition) => format!("type = 'default' AND ({condition})"),
        None => "type = 'default'".to_owned(),
    })
}

/// A condition that holds for one resource if there is such a queue; `active`: and it starts jobs.
pub(super) fn queue_is_there(queue: &str, active: bool) -> String {
    let state = if active { " AND state = 'Active'" } else { "" };
    format!(
        "resource_id = (SELECT MIN(resource_id) FROM resources) AND EXISTS \
         (SELECT queue_name FROM queues WHERE queue_name = '{queue}'{state})"
    )
}

/// Several conditions as few, none longer than `chars_max` unless it was before.
pub(super) fn pack(conditions: &[String], chars_max: usize) -> Vec<String> {
    let mut packed: Vec<String> = Vec::new();
    for condition in conditions {
        match packed.last_mut() {
            Some(text) if text.len() + condition.len() + 4 <= chars_max => {
                text.push_str(" OR ");
                text.push_str(condition);
            }
            _ => packed.push(condition.clone()),
        }
    }
    packed
}
