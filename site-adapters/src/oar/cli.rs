//! OAR's commands, here or over SSH.

use std::time::Duration;

use async_trait::async_trait;
use fairway_model::OarSettings;
use serde_json::{Map, Value};
use tracing::debug;

use super::parse::{self, Job};
use super::render::{self, OarOption};
use super::{Front, launch};
use crate::exec::{self, ExecError, Invocation, Output, Runner};
use crate::{AdapterError, script};

/// Longest time for one command. `oarsub` of a reservation waits for the scheduler.
pub(super) const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest condition: the kernel takes words of 128 KiB.
const CONDITION_CHARS_MAX: usize = 100_000;
/// Job ids in one `oardel`, which handles one after the other.
const IDS_PER_DELETION: usize = 200;
/// The same for signals, each of which takes an `ssh` to a node.
const IDS_PER_SIGNAL: usize = 25;

/// The commands.
pub(super) struct CommandLine {
    bin_dir: Option<String>,
    work_dir: String,
    pub(super) runner: Box<dyn Runner>,
}

impl CommandLine {
    /// The commands in `bin_dir` (else in the search path), here or over SSH.
    pub(super) fn new(settings: &OarSettings, work_dir: String) -> Result<Self, AdapterError> {
        if let Some(path) = settings
            .bin_dir
            .as_ref()
            .filter(|path| !path.starts_with('/'))
        {
            return Err(AdapterError::Refused(format!(
                "bin_dir must be an absolute path, not {path:?}"
            )));
        }
        Ok(Self {
            bin_dir: settings.bin_dir.clone(),
            work_dir,
            runner: exec::runner(settings.ssh.as_ref(), COMMAND_TIME_MAX)?,
        })
    }

    async fn run(&self, invocation: Invocation) -> Result<Output, AdapterError> {
        let result = self.runner.run(&invocation).await;
        debug!(?invocation, code = ?result.as_ref().ok().and_then(|output| output.code));
        result.map_err(|error| match error {
            ExecError::TooLong { .. } => AdapterError::Unexpected(error.to_string()),
            ExecError::Start { .. } | ExecError::Timeout { .. } | ExecError::Read { .. } => {
                AdapterError::Unreachable(error.to_string())
            }
        })
    }

    /// Runs one of OAR's commands.
    async fn oar(
        &self,
        program: &str,
        account: Option<&str>,
        args: Vec<String>,
    ) -> Result<Output, AdapterError> {
        self.run(Invocation {
            program: match &self.bin_dir {
                Some(folder) => format!("{folder}/{program}"),
                None => program.to_owned(),
            },
            args,
            run_as: account.map(str::to_owned),
            ..Invocation::default()
        })
        .await
    }

    /// Runs a command that only asks. It has nothing to refuse: whatever fails means that there
    /// is no answer.
    async fn ask(&self, program: &str, args: &[&str]) -> Result<String, AdapterError> {
        let args = args.iter().map(|&word| word.to_owned()).collect();
        let output = self.oar(program, None, args).await?;
        if output.succeeded() {
            Ok(output.stdout)
        } else {
            Err(AdapterError::Unreachable(parse::words(&output)))
        }
    }

    /// Runs a program of the shell, which may hold secrets.
    async fn shell(&self, account: Option<&str>, text: String) -> Result<Output, AdapterError> {
        self.run(Invocation {
            program: "sh".to_owned(),
            stdin: text,
            run_as: account.map(str::to_owned),
            ..Invocation::default()
        })
        .await
    }

    async fn select(&self, full: bool, condition: &str) -> Result<Vec<Job>, AdapterError> {
        let mut args = vec!["--sql", condition, "-J"];
        if full {
            args.insert(0, "-f");
        }
        parse::jobs(
            "oarstat",
            parse::rows("oarstat", &self.ask("oarstat", &args).await?)?,
        )
    }

    /// Deletes jobs that a failed submission left behind.
    async fn withdraw(&self, account: Option<&str>, stdout: &str) {
        let ids = parse::printed_ids(stdout);
        if !ids.is_empty() {
            // The answer changes nothing: the submission is reported as failed in any case.
            drop(self.oar("oardel", account, ids).await);
        }
    }
}

#[async_trait]
impl Front for CommandLine {
    async fn check(&self) -> Result<(), AdapterError> {
        // The cheapest question that the database is needed for.
        self.ask("oarstat", &["-s", "-j", "1", "-J"])
            .await
            .map(drop)
    }

    async fn place(
        &self,
        account: Option<&str>,
        scripts: &[(String, String)],
    ) -> Result<(), AdapterError> {
        let text = launch::place(&self.work_dir, scripts);
        let output = self.shell(account, text).await?;
        if output.succeeded() {
            return Ok(());
        }
        Err(AdapterError::Refused(format!(
            "the scripts of the pilots cannot be written to {}: {}",
            self.work_dir,
            output.words()
        )))
    }

    async fn remove(&self, account: Option<&str>, files: &[String]) -> Result<(), AdapterError> {
        let files: Vec<String> = files.iter().map(|file| script::quote(file)).collect();
        let text = format!(
            "cd {} && rm -f -- {}\n",
            script::quote(&self.work_dir),
            files.join(" ")
        );
        let output = self.shell(account, text).await?;
        match output.succeeded() {
            true => Ok(()),
            false => Err(AdapterError::Refused(output.words())),
        }
    }

    async fn submit(
        &self,
        account: Option<&str>,
        options: &[OarOption],
        command: &str,
        count: usize,
    ) -> Result<Vec<String>, AdapterError> {
        let mut args: Vec<String> = options
            .iter()
            .map(|(name, value)| match value.is_empty() {
                true => format!("--{name}"),
                false => format!("--{name}={value}"),
            })
            .collect();
        args.push(command.to_owned());
        let output = self.oar("oarsub", account, args).await?;
        if output.succeeded() {
            return parse::submitted_ids(&output.stdout, count);
        }
        self.withdraw(account, &output.stdout).await;
        // The sentences of the site's rules may be on either stream.
        let words = match output.stderr.trim().is_empty() {
            true => parse::clean(&output.stdout, output.code),
            false => parse::words(&output),
        };
        Err(parse::submission_failure(output.code, words))
    }

    async fn jobs(&self, conditions: &[String], some: bool) -> Result<Vec<Job>, AdapterError> {
        let mut jobs = Vec::new();
        for condition in render::pack(conditions, CONDITION_CHARS_MAX) {
            let condition = format!("{condition} OR {}", render::NEWEST);
            let found = self.select(false, &condition).await?;
            if found.is_empty() && some {
                return Err(AdapterError::Unreachable(
                    "oarstat tells of no job at all".to_owned(),
                ));
            }
            jobs.extend(found);
        }
        Ok(jobs)
    }

    async fn ends(&self, conditions: &[String]) -> Result<Vec<Job>, AdapterError> {
        let mut jobs = Vec::new();
        for condition in render::pack(conditions, CONDITION_CHARS_MAX) {
            jobs.extend(self.select(true, &condition).await?);
        }
        Ok(jobs)
    }

    async fn load(&self) -> Result<Vec<Job>, AdapterError> {
        self.select(false, &render::alive()).await
    }

    async fn terminate(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError> {
        for ids in ids.chunks(IDS_PER_SIGNAL) {
            let mut args = vec!["-s".to_owned(), "SIGTERM".to_owned()];
            args.extend(ids.iter().map(u32::to_string));
            // A job that does not hear it is deleted all the same.
            self.oar("oardel", account, args).await?;
        }
        Ok(())
    }

    async fn delete(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError> {
        for ids in ids.chunks(IDS_PER_DELETION) {
            let args = ids.iter().map(u32::to_string).collect();
            parse::deletion(&self.oar("oardel", account, args).await?)?;
        }
        Ok(())
    }

    async fn resources(&self, condition: &str) -> Result<Vec<Map<String, Value>>, AdapterError> {
        let stdout = self.ask("oarnodes", &["--sql", condition, "-J"]).await?;
        let rows = parse::rows("oarnodes", &stdout)?;
        let object = |row| match row {
            Value::Object(row) => Ok(row),
            _ => Err(parse::unexpected("oarnodes", &stdout)),
        };
        rows.into_iter().map(object).collect()
    }

    async fn version(&self) -> Result<String, AdapterError> {
        Ok(parse::version(&self.ask("oarstat", &["-V"]).await?))
    }

    async fn local_time(&self, at: i64) -> Result<String, AdapterError> {
        let output = self
            .run(Invocation {
                program: "date".to_owned(),
                args: vec![format!("--date=@{at}"), "+%Y-%m-%d %H:%M:%S".to_owned()],
                ..Invocation::default()
            })
            .await?;
        let text = output.stdout.trim();
        match output.succeeded() && text.len() == "2026-01-01 00:00:00".len() {
            true => Ok(text.to_owned()),
            false => Err(parse::unexpected("date", text)),
        }
    }

    fn condition_chars_max(&self) -> usize {
        CONDITION_CHARS_MAX / 2
    }
}
