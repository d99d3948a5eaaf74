//! What is submitted: a description that was read, and the files that came with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fairway_api::{Problem, ProblemCode, problem};
use fairway_jdl::job::KINDS_MAX;
use fairway_jdl::json::jdl_of;
use fairway_jdl::{Diagnostic, InputName, JobSpec, Severity};
use fairway_model::{GroupName, Principal};
use sha2::{Digest, Sha256};

use crate::auth::hex;
use crate::files::{FileName, NewSandbox};
use crate::http::{App, Failure};

/// Most names that are told in one message.
const NAMES_SHOWN_MAX: usize = 10;

/// A submission as it was received: read, complete, not yet accepted.
pub(super) struct Content {
    pub(super) jdl: String,
    pub(super) spec: Arc<JobSpec>,
    pub(super) warnings: Vec<problem::Diagnostic>,
    pub(super) group: Option<GroupName>,
    pub(super) sandbox: Option<NewSandbox>,
}

impl Content {
    pub(super) async fn read(description: Bytes) -> Result<Self, Failure> {
        // A long text takes its time: not where other requests wait for theirs.
        let read = tokio::task::spawn_blocking(move || read_description(&description));
        let read = read.await.map_err(Failure::internal)?;
        let (jdl, spec, warnings) = read.map_err(|diagnostics| invalid_jdl(&diagnostics))?;
        Ok(Self {
            jdl,
            spec: Arc::new(spec),
            warnings: warnings.iter().map(wire).collect(),
            group: None,
            sandbox: None,
        })
    }

    /// The group that is asked for, in the request or in the description; `None`: the token's.
    fn group_asked(&self) -> Result<Option<GroupName>, Failure> {
        let Some(account) = self.spec.account() else {
            return Ok(self.group.clone());
        };
        let account: GroupName = account.parse().map_err(|error| {
            Failure::bad_request(format!("the JDL's Account is not a group's name: {error}"))
        })?;
        match &self.group {
            Some(group) if *group != account => Err(Failure::bad_request(format!(
                "the job is submitted for the group {group}, and its JDL says Account = \
                 \"{account}\"; leave one of them out"
            ))),
            _ => Ok(Some(account)),
        }
    }

    /// The group to submit for. Groups open doors (a CE may take only some), so that nobody
    /// names one that neither their token nor the policy's shares have them in.
    pub(super) async fn group(
        &self,
        app: &App,
        who: &Principal,
    ) -> Result<Option<GroupName>, Failure> {
        let Some(group) = self.group_asked()? else {
            return Ok(who.group.clone());
        };
        if who.is_operator() || who.group.as_ref() == Some(&group) {
            return Ok(Some(group));
        }
        let (user, of) = (who.name.clone(), group.clone());
        let named = app
            .engine
            .look(move |state, _| state.policy().has_in(&user, &of));
        if named.await? {
            return Ok(Some(group));
        }
        Err(Failure::new(
            ProblemCode::Forbidden,
            format!(
                "this token is not for the group {group}, and the policy's shares do not have {} \
                 in it; ask an operator for either",
                who.name
            ),
        ))
    }

    /// SHA-256 (hex) of all that makes this submission what it is. Each part is preceded by its
    /// length, so that no two different submissions are the same bytes.
    pub(super) fn fingerprint(&self, group: Option<&GroupName>) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(&self.jdl);
        add(group.map_or("", GroupName::as_str));
        let files = self.sandbox.iter().flat_map(NewSandbox::manifest);
        let sorted: BTreeMap<_, _> = files.map(|file| (&file.name, file)).collect();
        for file in sorted.values() {
            add(&file.name);
            add(&file.sha256);
            add(if file.executable { "x" } else { "" });
        }
        hex(&hash.finalize())
    }

    /// Refuses a submission whose JDL names files that did not come with it, or that cannot be
    /// had: a task would wait its turn only to miss them.
    pub(super) fn complete(self) -> Result<Self, Failure> {
        let remote = self.spec.remote_inputs();
        if !remote.is_empty() {
            return Err(Failure::new(
                ProblemCode::InvalidSandbox,
                format!(
                    "the JDL's InputSandbox names files at places that cannot be fetched from: {}. \
                     Copy them to your machine and name them there, or have the program fetch them",
                    listed(&remote)
                ),
            ));
        }
        let files = self.sandbox.iter().flat_map(NewSandbox::manifest);
        let came: BTreeSet<&str> = files.map(|file| file.name.as_str()).collect();
        let has_come = |input: &InputName| {
            FileName::of_path(&input.path).is_ok_and(|name| came.contains(name.as_str()))
        };
        let named = self.spec.inputs().into_iter();
        let missing = named.filter(|input| !has_come(input));
        let missing: Vec<String> = missing.map(|input| input.path).collect();
        if missing.is_empty() {
            return Ok(self);
        }
        Err(Failure::new(
            ProblemCode::InvalidSandbox,
            format!(
                "the JDL's InputSandbox names files that did not come with the submission: {}. \
                 Send each as a part `input` of a multipart/form-data body",
                listed(&missing)
            ),
        ))
    }
}

/// Reads a description in either form.
fn read_description(bytes: &[u8]) -> Result<(String, JobSpec, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (jdl, mut remarks) = jdl_of(bytes, false)?;
    match JobSpec::read(&jdl) {
        Ok((spec, more)) => {
            remarks.extend(more);
            // Found out here, where it keeps nobody waiting.
            if spec.kinds_within(KINDS_MAX).is_none() {
                remarks.push(too_many_kinds());
                return Err(remarks);
            }
            Ok((jdl, spec, remarks))
        }
        Err(diagnostics) => Err([remarks, diagnostics].concat()),
    }
}

/// Each need is held against every CE: a job has only so many.
fn too_many_kinds() -> Diagnostic {
    let message = format!("the tasks of this job have more than {KINDS_MAX} different needs");
    let help = "let Requirements, Rank, walltime and resources depend less on the parameter, \
                or submit several jobs";
    Diagnostic {
        severity: Severity::Error,
        rendered: format!("error: {message}\nhelp: {help}"),
        message,
        help: Some(help.to_owned()),
        line: 0,
        column: 0,
    }
}

fn invalid_jdl(diagnostics: &[Diagnostic]) -> Failure {
    let errors = diagnostics
        .iter()
        .filter(|it| it.severity == Severity::Error)
        .count();
    let detail = match errors {
        1 => "the JDL has an error; `diagnostics` tells where it is".to_owned(),
        many => format!("the JDL has {many} errors; `diagnostics` tells where they are"),
    };
    Problem {
        diagnostics: diagnostics.iter().map(wire).collect(),
        ..Problem::new(ProblemCode::InvalidJdl, detail)
    }
    .into()
}

fn wire(diagnostic: &Diagnostic) -> problem::Diagnostic {
    problem::Diagnostic {
        severity: diagnostic.severity.name().to_owned(),
        message: diagnostic.message.clone(),
        line: diagnostic.line,
        column: diagnostic.column,
        help: diagnostic.help.clone(),
        rendered: diagnostic.rendered.clone(),
    }
}

/// The first of the names, for a message.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN_MAX);
    let shown: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
