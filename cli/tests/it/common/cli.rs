//! The command line as users have it.

use std::path::Path;
use std::process::Stdio;

use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::PATIENCE;

/// The program under test.
pub(crate) const FAIRWAY: &str = env!("CARGO_BIN_EXE_fairway");

/// What is left of the environment, so that neither the settings of whoever runs the tests nor
/// those of another test are seen.
const KEPT: [&str; 2] = ["PATH", "LANG"];

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed; it must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// What it printed, as JSON; it must have succeeded.
    pub(crate) fn json<T: DeserializeOwned>(self) -> T {
        let what = self.to_string();
        serde_json::from_str(&self.ok()).unwrap_or_else(|error| panic!("{error}: {what}"))
    }

    /// What it said on stderr; it must have ended with that exit code.
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "{what}: {code:?}\n{stdout}\n{stderr}")
    }
}

/// `program` in `folder`, with an environment that names the folder and next to nothing else.
pub(crate) fn command(program: &str, folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    command
        .env_clear()
        .envs(kept)
        .env("HOME", folder.join("home"))
        .env("TMPDIR", folder.join("tmp"))
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) async fn run(command: std::process::Command) -> Ran {
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = Command::from(command).kill_on_drop(true).output();
    let output = match tokio::time::timeout(PATIENCE, output).await {
        Ok(output) => output.unwrap(),
        Err(_) => panic!("{what} does not end"),
    };
    Ran {
        what,
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
