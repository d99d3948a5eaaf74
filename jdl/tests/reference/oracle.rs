//! HTCondor's library in a child process, asked through its Python bindings.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

/// The variable that names the Python interpreter.
const PYTHON: &str = "FAIRWAY_TEST_CLASSAD_PYTHON";

pub(crate) struct Oracle {
    python: String,
    process: Process,
}

struct Process {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// `None`, with a remark, where the library is not installed. In CI it must be.
    pub(crate) fn find() -> Option<Self> {
        let Ok(python) = std::env::var(PYTHON) else {
            let help = format!(
                "the comparison with HTCondor's library is left out: `cargo xtask test` installs \
                 it; or make a virtual environment, `pip install htcondor`, and set {PYTHON} to \
                 its interpreter"
            );
            assert!(std::env::var_os("CI").is_none(), "{help}");
            eprintln!("{help}");
            return None;
        };
        let process = Process::start(&python);
        Some(Self { python, process })
    }

    /// What the library makes of an expression; `None` if it crashed over it.
    pub(crate) fn value(&mut self, expr: &str, my: &str, target: Option<&str>) -> Option<Json> {
        self.ask(&json!({ "expr": expr, "my": my, "target": target }))
    }

    /// How the library matches and ranks two ads; `None` if it crashed over them.
    pub(crate) fn pair(&mut self, left: &str, right: &str) -> Option<Json> {
        self.ask(&json!({ "left": left, "right": right }))
    }

    fn ask(&mut self, request: &Json) -> Option<Json> {
        if let Some(answer) = self.process.ask(request) {
            return Some(answer);
        }
        let _ = self.process.child.wait();
        self.process = Process::start(&self.python);
        None
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
    }
}

impl Process {
    fn start(python: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/reference.py");
        let mut child = Command::new(python)
            .arg(script)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{PYTHON} ({python}) does not start: {error}"));
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            requests,
            answers,
        }
    }

    fn ask(&mut self, request: &Json) -> Option<Json> {
        writeln!(self.requests, "{request}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
}
