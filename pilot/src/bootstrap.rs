//! What the pilot is started with.

use std::io::Read;

use fairway_api::pilot::Bootstrap;

use crate::PilotError;

/// What stands on standard input is not longer than this: an allocation of a thousand nodes has
/// a document for each, with the same certificates in every one.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where the number of this node in its allocation stands, from 0. The first is set by whoever
/// starts the pilot on each node, the others by batch systems. Slurm's stand before those of PBS,
/// which it can be made to set as well. `PBS_TASKNUM` is not among them: it counts from 1, and
/// counts the batch script too.
const NODE_VARIABLES: [&str; 5] = [
    "FAIRWAY_NODE",
    "SLURM_NODEID",
    "SLURM_PROCID",
    "PBS_NODENUM",
    "JOB_COMPLETION_INDEX",
];

/// Reads what the pilot is started with: one document, or a list with one for each node of the
/// allocation, of which this node's is taken.
///
/// # Errors
/// [`PilotError::Bootstrap`]: it cannot be read, or none is for this node.
pub fn read_bootstrap(from: impl Read) -> Result<Bootstrap, PilotError> {
    read(from, |name| std::env::var(name).ok())
}

fn read(
    from: impl Read,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Bootstrap, PilotError> {
    let mut json = Vec::new();
    from.take(BYTES_MAX + 1)
        .read_to_end(&mut json)
        .map_err(|error| unreadable(error.to_string()))?;
    if json.len() as u64 > BYTES_MAX {
        return Err(unreadable(format!("it is longer than {BYTES_MAX} bytes")));
    }
    if json.trim_ascii_start().starts_with(b"[") {
        let documents: Vec<Bootstrap> = serde_json::from_slice(&json).map_err(wrong)?;
        this_node_s(documents, variable)
    } else {
        serde_json::from_slice(&json).map_err(wrong)
    }
}

fn this_node_s(
    mut documents: Vec<Bootstrap>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Bootstrap, PilotError> {
    let nodes = documents.len();
    let told = NODE_VARIABLES
        .iter()
        .find_map(|name| Some((name, variable(name)?)));
    let Some((name, value)) = told else {
        return Err(unreadable(format!(
            "it is for {nodes} nodes, and nothing tells which this one is: none of {} is set",
            NODE_VARIABLES.join(", ")
        )));
    };
    let node = value.trim().parse().ok().filter(|node| *node < nodes);
    let node: usize = node.ok_or_else(|| {
        unreadable(format!(
            "it is for {nodes} nodes, numbered from 0, and {name} is {value:?}"
        ))
    })?;
    Ok(documents.swap_remove(node))
}

fn unreadable(why: String) -> PilotError {
    PilotError::Bootstrap(why)
}

/// Only where, not what: the reader's own words may quote the secret.
fn wrong(error: serde_json::Error) -> PilotError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a field is wrong or missing",
        _ => "it is not whole JSON",
    };
    unreadable(format!(
        "{kind}, at line {} column {}",
        error.line(),
        error.column()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(pilot: u64) -> Value {
        json!({
            "server": "https://wms.example.org", "pilot": format!("p{pilot}"), "ce": "lyon/short",
            "secret": "hush", "resources": {"cores": 1, "memory_mib": 0, "gpus": 0},
            "walltime_s": 60, "idle_s": 60,
        })
    }

    fn read_with(json: &Value, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|it| it.0 == name)?;
            Some(found.1.to_owned())
        };
        read(json.to_string().as_bytes(), variable)
            .map(|bootstrap| bootstrap.pilot.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_document_is_for_every_node() {
        let one = document(7);
        assert_eq!(read_with(&one, &[]), Ok("p7".to_owned()));
        assert_eq!(
            read_with(&one, &[("SLURM_NODEID", "3")]),
            Ok("p7".to_owned())
        );
    }

    #[test]
    fn each_node_gets_its_own_of_several() {
        let several = json!([document(7), document(8), document(9)]);
        for (variables, pilot) in [
            (vec![("FAIRWAY_NODE", "2"), ("SLURM_NODEID", "0")], "p9"),
            (vec![("SLURM_NODEID", "1"), ("PBS_NODENUM", "0")], "p8"),
            (vec![("SLURM_PROCID", "2")], "p9"),
            (vec![("PBS_NODENUM", "0"), ("PBS_TASKNUM", "1")], "p7"),
            (vec![("JOB_COMPLETION_INDEX", "1")], "p8"),
        ] {
            let read = read_with(&several, &variables);
            assert_eq!(read, Ok(pilot.to_owned()), "{variables:?}");
        }
        assert_eq!(
            read_with(&json!([document(7)]), &[("FAIRWAY_NODE", "0")]),
            Ok("p7".to_owned())
        );
    }

    #[test]
    fn a_node_without_a_document_is_told_why() {
        let several = json!([document(7), document(8)]);
        let unknown = read_with(&several, &[]).unwrap_err();
        assert!(unknown.contains("FAIRWAY_NODE"), "{unknown}");
        for value in ["2", "-1", "", "first"] {
            let told = read_with(&several, &[("FAIRWAY_NODE", value)]).unwrap_err();
            assert!(told.contains("2 nodes") && told.contains(value), "{told}");
        }
        assert!(read_with(&json!([]), &[("FAIRWAY_NODE", "0")]).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let mut document = document(7);
        document["walltime_s"] = json!("hush");
        for wrong in [document.clone(), json!([document])] {
            let told = read_with(&wrong, &[("FAIRWAY_NODE", "0")]).unwrap_err();
            assert!(told.contains("column") && !told.contains("hush"), "{told}");
        }
        let cut_off = read(&b"{\"server\": "[..], |_| None).unwrap_err();
        assert!(cut_off.to_string().contains("not whole JSON"), "{cut_off}");
    }
}
