//! Whether a site's description makes sense. What only the batch system can
//! know, such as which queues there are, its adapter finds out.

use std::collections::BTreeSet;

use fairway_api::ProblemCode;
use fairway_model::{AdapterSettings, Ce, Site};

use crate::http::Failure;

const CES_MAX: usize = 1000;
const TEXT_BYTES_MAX: usize = 256;

/// Refuses a description that makes no sense, with all that is wrong with it.
pub(super) fn site(site: &Site) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    adapter(&site.adapter, &mut wrong);
    if site.ces.is_empty() {
        wrong.push("it needs at least one CE".to_owned());
    }
    if site.ces.len() > CES_MAX {
        wrong.push(format!("it has more than {CES_MAX} CEs"));
    }
    let mut names = BTreeSet::new();
    for one in &site.ces {
        if !names.insert(&one.name) {
            wrong.push(format!("two CEs are called {}", one.name));
        }
        ce(one, &mut wrong);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::InvalidSite,
        format!("the site {}: {}", site.name, wrong.join("; ")),
    ))
}

fn adapter(settings: &AdapterSettings, wrong: &mut Vec<String>) {
    match settings {
        AdapterSettings::Local(settings) => {
            if settings.cores == Some(0) {
                wrong.push("adapter.cores must be at least 1".to_owned());
            }
        }
        AdapterSettings::Slurm(settings) => {
            for (name, path) in [
                ("bin_dir", &settings.bin_dir),
                ("conf", &settings.conf),
                ("work_dir", &settings.work_dir),
            ] {
                if path
                    .as_ref()
                    .is_some_and(|path| !path.starts_with('/') || !is_text(path))
                {
                    wrong.push(format!("adapter.{name} must be an absolute path"));
                }
            }
        }
        AdapterSettings::Pbs(_)
        | AdapterSettings::Oar(_)
        | AdapterSettings::Kubernetes(_)
        | AdapterSettings::Agent(_) => {}
    }
}

fn ce(ce: &Ce, wrong: &mut Vec<String>) {
    let mut complain = |what: &str| wrong.push(format!("CE {}: {what}", ce.name));
    if ce.shape.cores == 0 {
        complain("shape.cores must be at least 1");
    }
    if ce.shape.walltime_s == 0 {
        complain("shape.walltime_s must be at least 1");
    }
    if ce.limits.queued_max > ce.limits.pilots_max {
        complain("limits.queued_max must not be larger than limits.pilots_max");
    }
    for (name, text) in [
        ("queue", &ce.queue),
        ("account", &ce.account),
        ("qos", &ce.qos),
    ] {
        // These become words of a batch job's directives.
        if text.as_ref().is_some_and(|text| {
            text.is_empty()
                || text.starts_with('-')
                || text.contains(char::is_whitespace)
                || !is_text(text)
        }) {
            complain(&format!("{name} must be one word"));
        }
    }
    if ce
        .pilot_program
        .as_ref()
        .is_some_and(|path| path.is_empty() || !is_text(path))
    {
        complain("pilot_program must be a path");
    }
    if ce.tags.iter().any(|tag| tag.is_empty() || !is_text(tag)) {
        complain("tags must be texts without control characters");
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let described: Site = serde_json::from_str(text).unwrap();
        site(&described).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_least_description_will_do() {
        check(r#"{"name": "lyon", "adapter": {"kind": "local"}, "ces": [{"name": "all"}]}"#)
            .unwrap();
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let told = check(
            r#"{"name": "lyon", "adapter": {"kind": "slurm", "conf": "slurm.conf"}, "ces": [
                {"name": "a", "queue": "x\n#SBATCH -p y", "shape": {"cores": 0}},
                {"name": "a", "limits": {"pilots_max": 1, "queued_max": 2}}]}"#,
        )
        .unwrap_err();
        for part in [
            "adapter.conf",
            "queue",
            "shape.cores",
            "two CEs",
            "queued_max",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
