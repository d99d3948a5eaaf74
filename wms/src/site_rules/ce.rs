//! The settings of a CE.

use fairway_model::{AdapterSettings, Ce, PilotSharing, Site};

use super::words::{self, holds, is_line, is_option, is_plain, is_text, is_word};

/// More is no pilot but a mistake.
const CORES_MAX: u32 = 100_000;
/// Nodes of one allocation.
const NODES_MAX: u32 = 1000;
const GPUS_MAX: u32 = 1000;
/// The most of one custom resource on a node; a task cannot ask for more.
const CUSTOM_MAX: u32 = 1_000_000;
/// Ten years: a machine of one's own has no limit of its own.
const WALLTIME_S_MAX: u64 = 10 * 366 * 86_400;
const OPTIONS_MAX: usize = 100;

pub(super) fn faults(ce: &Ce, site: &Site, faults: &mut Vec<String>) {
    let mut complain = |what: &str| faults.push(format!("CE {}: {what}", ce.name));
    shape(ce, &mut complain);
    limits(ce, site, &mut complain);
    supply(ce, &mut complain);
    submission(ce, &site.adapter, &mut complain);
    if ce.all_tags().any(|tag| tag.is_empty() || !is_text(tag)) {
        complain("tags must be texts without control characters");
    }
}

fn shape(ce: &Ce, complain: &mut impl FnMut(&str)) {
    let shape = &ce.shape;
    for (name, value, least, most) in [
        ("cores", u64::from(shape.cores), 1, u64::from(CORES_MAX)),
        ("nodes", u64::from(shape.nodes), 1, u64::from(NODES_MAX)),
        ("gpus", u64::from(shape.gpus), 0, u64::from(GPUS_MAX)),
        ("walltime_s", shape.walltime_s, 1, WALLTIME_S_MAX),
    ] {
        if !(least..=most).contains(&value) {
            complain(&format!("shape.{name} must be from {least} to {most}"));
        }
    }
    for (name, amount) in shape.custom.iter() {
        if name.is_empty() || !holds(name, "_") {
            complain("names in shape.custom must be of letters, digits and _");
        }
        if amount > CUSTOM_MAX {
            complain(&format!("shape.custom.{name} must be at most {CUSTOM_MAX}"));
        }
    }
    if ce.gpu_type.is_some() && shape.gpus == 0 {
        complain("gpu_type is set, but shape.gpus is 0: set how many GPUs a pilot asks for");
    }
}

fn limits(ce: &Ce, site: &Site, complain: &mut impl FnMut(&str)) {
    let limits = ce.limits;
    if limits.queued_max > limits.pilots_max {
        complain("limits.queued_max must not be larger than limits.pilots_max");
    }
    let nodes = ce.shape.nodes;
    for (name, value) in [
        ("pilots_max", limits.pilots_max),
        ("queued_max", limits.queued_max),
    ] {
        if value > 0 && value < nodes {
            complain(&format!(
                "limits.{name} is {value}, less than the {nodes} pilots of one allocation"
            ));
        }
    }
    let cores = ce.shape.cores.saturating_mul(nodes);
    for (name, value) in [
        ("limits.cores_max", limits.cores_max),
        ("the site's cores_max", site.cores_max),
    ] {
        if value.is_some_and(|value| value < cores) {
            complain(&format!(
                "{name} is less than the {cores} cores of one allocation"
            ));
        }
    }
    if limits.per_owner_max.is_some() && ce.pilots == PilotSharing::Shared {
        complain(
            "limits.per_owner_max is for private pilots: set pilots = \"per-user\" or \
             \"per-group\", or leave it out",
        );
    }
    if limits.per_owner_max == Some(0) {
        complain("limits.per_owner_max must be at least 1");
    }
}

fn supply(ce: &Ce, complain: &mut impl FnMut(&str)) {
    let Some(warm) = ce.supply.warm else { return };
    if warm.pilots == 0 || warm.pilots > ce.limits.pilots_max {
        complain("supply.warm.pilots must be from 1 to limits.pilots_max");
    }
    if warm.idle_s == 0 {
        complain("supply.warm.idle_s must be at least 1");
    }
}

/// What becomes part of a submission.
fn submission(ce: &Ce, adapter: &AdapterSettings, complain: &mut impl FnMut(&str)) {
    for (name, text) in [
        ("queue", &ce.queue),
        ("account", &ce.account),
        ("qos", &ce.qos),
        ("gpu_type", &ce.gpu_type),
        ("reservation", &ce.reservation),
    ] {
        if text.as_ref().is_some_and(|text| !is_plain(text)) {
            complain(&format!("{name} must be {}", words::PLAIN));
        }
    }
    // OAR's properties are conditions of SQL, with blanks between their words.
    let with_blanks = matches!(adapter, AdapterSettings::Oar(_) | AdapterSettings::Agent(_));
    let sound = |text: &str| match with_blanks {
        true => !text.trim().is_empty() && is_line(text),
        false => is_word(text),
    };
    if ce
        .constraint
        .as_ref()
        .is_some_and(|text| text.starts_with('-') || !sound(text))
    {
        complain(
            "constraint must be one word (OAR: one line) that does not begin with -, without \
             \" \\ ` $ ; #",
        );
    }
    if !ce.types.is_empty() && !with_blanks {
        complain("types are OAR's; leave them out");
    }
    let is_type = |text: &String| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && holds(text, "._-@+:=,")
    };
    if !ce.types.iter().all(is_type) {
        complain("types must each be one word such as besteffort or inner=1234");
    }
    if ce.options.len() > OPTIONS_MAX || !ce.options.iter().all(|text| is_option(text)) {
        complain(
            "options must each be one word that begins with -, value included, such as \
             --exclude=node7 or -lnodes=1",
        );
    }
    let program = ce.pilot_program.as_ref();
    if program.is_some_and(|path| path.is_empty() || path.starts_with('-') || !is_text(path)) {
        complain("pilot_program must be a path");
    }
}
