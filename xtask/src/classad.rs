//! The reference of the ClassAd language: HTCondor's own library, with its Python bindings, in a
//! virtual environment of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{run, target};

/// The package on PyPI, in the version that our evaluator is compared with.
const PACKAGE: &str = "htcondor==25.14.1";

/// Makes the environment if it is not there; gives its Python.
pub(crate) fn ensure() -> anyhow::Result<PathBuf> {
    let folder = target().join("classad-reference");
    let python = folder.join("bin/python");
    // Written last: an environment without it is half made, or of another version.
    let complete = folder.join("complete");
    if std::fs::read_to_string(&complete).is_ok_and(|package| package == PACKAGE) {
        return Ok(python);
    }
    println!("installing {PACKAGE} from PyPI");
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ]))?;
    std::fs::write(complete, PACKAGE)?;
    Ok(python)
}
