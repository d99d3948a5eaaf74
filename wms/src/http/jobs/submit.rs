//! `POST /v1/jobs`: a JDL text becomes a durable job.
//!
//! The order is what makes it safe: the JDL is read and refused first; then the
//! sandbox files are received and made durable; then the engine is asked. A
//! sandbox is removed again as soon as it is certain that no job owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fairway_api::public::{JobDescription, SubmitReply, SubmitRequest};
use fairway_api::{Problem, ProblemCode, problem};
use fairway_jdl::job::KINDS_MAX;
use fairway_jdl::json::jdl_of;
use fairway_jdl::{Diagnostic, InputName, JobSpec, Severity};
use fairway_model::{GroupName, JobId, Principal};
use fairway_sched::command::{NamedJob, RefusedKind, Submission};
use fairway_sched::provision::{OutlookKind, critical_remark, job_outlook};
use fairway_sched::{Command, Reply};
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::auth::{Authenticated, hex};
use crate::engine::EngineError;
use crate::files::{FileName, FilesError, NewSandbox, SandboxLimits};
use crate::http::extract::{media_type, parse_json};
use crate::http::{App, Failure, Failures, JDL_BYTES_MAX};
use crate::store::StoreError;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// So often at most are the jobs read that one waits for.
const NAMED_READS_MAX: u32 = 3;

/// Most names that are told in one message.
const NAMES_SHOWN_MAX: usize = 10;

/// The media type by which a client says that a sandbox file may be executed.
const EXECUTABLE_TYPE: &str = "application/x-executable";

/// Submits a job.
///
/// The body is a job description, either a JDL text (`application/jdl` or `text/plain`) or the same
/// as JSON (`application/jdl+json`); a JSON document with either; or a form
/// (`multipart/form-data`) whose first part `jdl` is either, perhaps followed by a part `group`, and
/// then one part `input` for each file of the input sandbox. The part's file name is
/// the file's path as written in the JDL; its type `application/x-executable` makes it executable.
///
/// A repeated request with the same `Idempotency-Key` is answered with the job of the first one.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "submit_job",
    params(
        ("Idempotency-Key" = Option<String>, Header,
         description = "1 to 128 visible ASCII characters, new for each submission"),
    ),
    request_body(content(
        (String = "application/jdl"),
        (JobDescription = "application/jdl+json"),
        (SubmitRequest = "application/json"),
        (String = "multipart/form-data"),
    )),
    responses(
        (status = CREATED, body = SubmitReply),
        (status = OK, description = "The job of an earlier request", body = SubmitReply),
        Failures,
    ),
)]
pub(super) async fn submit(
    State(app): State<App>,
    Authenticated(who): Authenticated,
    request: Request,
) -> Result<Response, Failure> {
    let key = idempotency_key(request.headers())?;
    let content = receive(&app, request).await?;
    let group = content.group(&app, &who).await?;
    let idempotency = key.map(|key| (key, content.fingerprint(group.as_ref())));
    if let Some((key, fingerprint)) = &idempotency
        && let Some(reply) = earlier(&app, &who, key, fingerprint, &content.warnings).await?
    {
        return Ok(answer(reply));
    }
    let warnings = content.warnings;
    let sandbox = match content.sandbox {
        Some(sandbox) => Some(sandbox.seal().await?),
        None => None,
    };
    let submission = Submission {
        owner: who.name.clone(),
        named: Vec::new(),
        group,
        jdl: content.jdl,
        spec: content.spec,
        sandbox: sandbox.clone(),
        idempotency,
    };
    let reply = accept(&app, &who, submission, sandbox.as_deref(), warnings).await?;
    Ok(answer(reply))
}

/// Has the engine accept the job. The sandbox is removed where it is certain that no job owns it.
async fn accept(
    app: &App,
    who: &Principal,
    submission: Submission,
    sandbox: Option<&str>,
    mut warnings: Vec<problem::Diagnostic>,
) -> Result<SubmitReply, Failure> {
    let reply = match submission.spec.depends() {
        None => app.engine.ask(Command::Submit(submission)).await,
        Some(_) => ask_with_named(app, who, submission).await,
    };
    let unowned = matches!(
        reply,
        Ok(Reply::Submitted { repeated: true, .. })
            | Err(EngineError::Refused(_) | EngineError::Overloaded)
    );
    if unowned && let Some(sandbox) = sandbox {
        app.files.remove_sandbox(sandbox).await;
    }
    match reply? {
        Reply::Submitted {
            job,
            tasks,
            repeated,
        } => {
            warnings.extend(remarks(app, job).await);
            Ok(SubmitReply {
                job,
                tasks,
                warnings,
                repeated,
            })
        }
        other => Err(Failure::internal(format!(
            "a submission was answered by {other:?}"
        ))),
    }
}

/// Has the engine accept a job that waits for others. How those stand is brought to it from the
/// store, as far as `who` may see them: the engine does not know any more what is over. No task is
/// retried meanwhile, so that what was read of ended tasks stays true; only a job may come to its
/// end in between, and is then read once more.
async fn ask_with_named(
    app: &App,
    who: &Principal,
    mut submission: Submission,
) -> Result<Reply, EngineError> {
    let _no_retries = app.retries.lock().await;
    let mut reads_left = NAMED_READS_MAX;
    loop {
        let named = named_jobs(app, who, &submission.spec).await;
        submission.named = named.map_err(|error| EngineError::Store(error.to_string()))?;
        reads_left -= 1;
        match app.engine.ask(Command::Submit(submission.clone())).await {
            Err(EngineError::Refused(refused))
                if refused.kind == RefusedKind::Conflict && reads_left > 0 => {}
            outcome => return outcome,
        }
    }
}

/// The jobs that are waited for and that `who` may see.
async fn named_jobs(
    app: &App,
    who: &Principal,
    spec: &JobSpec,
) -> Result<Vec<NamedJob>, StoreError> {
    let mut named = app.store.named(spec).await?;
    let ids = named.iter().map(|job| job.id).collect();
    let owners = app.store.job_owners(&ids).await?;
    named.retain(|job| {
        let owner = owners.get(&job.id);
        owner.is_some_and(|(owner, _)| who.may_touch(owner))
    });
    Ok(named)
}

/// What is to be said of a job that was accepted: that a deadline is not sure to be met, and that
/// no pilots are kept for time-critical tasks. The job is durable; if the engine cannot be asked
/// any more, nothing is said.
async fn remarks(app: &App, job: JobId) -> Vec<problem::Diagnostic> {
    let look = app.engine.look(move |state, now| {
        let deadline = job_outlook(state, job, now)
            .filter(|outlook| outlook.kind != OutlookKind::Met)
            .map(|outlook| format!("{}: {}", outlook.kind.name(), outlook.because));
        deadline.into_iter().chain(critical_remark(state, job))
    });
    let told = look.await.into_iter().flatten();
    told.map(remark).collect()
}

/// A remark that has no place in the JDL.
fn remark(message: String) -> problem::Diagnostic {
    problem::Diagnostic {
        severity: Severity::Warning.name().to_owned(),
        rendered: format!("{}: {message}", Severity::Warning.name()),
        message,
        line: 0,
        column: 0,
        help: None,
    }
}

/// The reply of an earlier submission with this key, if there was one.
async fn earlier(
    app: &App,
    who: &Principal,
    key: &str,
    fingerprint: &str,
    warnings: &[problem::Diagnostic],
) -> Result<Option<SubmitReply>, Failure> {
    match app.store.find_idempotent(&who.name, key).await? {
        None => Ok(None),
        Some((job, tasks, known)) if known == fingerprint => Ok(Some(SubmitReply {
            job,
            tasks,
            warnings: warnings.to_vec(),
            repeated: true,
        })),
        Some((job, ..)) => Err(Failure::new(
            ProblemCode::IdempotencyConflict,
            format!(
                "this Idempotency-Key came with another content before, which is job {job}; \
                 draw a new key for each submission"
            ),
        )),
    }
}

fn answer(reply: SubmitReply) -> Response {
    let status = if reply.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let location = format!("/v1/jobs/{}", reply.job);
    (status, [(header::LOCATION, location)], Json(reply)).into_response()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let length_fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    if length_fits && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Some(key.to_owned()))
    } else {
        Err(Failure::bad_request(format!(
            "an Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"
        )))
    }
}

/// A submission as it was received: read, complete, not yet accepted.
struct Content {
    jdl: String,
    spec: Arc<JobSpec>,
    warnings: Vec<problem::Diagnostic>,
    group: Option<GroupName>,
    sandbox: Option<NewSandbox>,
}

impl Content {
    async fn read(description: Bytes) -> Result<Self, Failure> {
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
    async fn group(&self, app: &App, who: &Principal) -> Result<Option<GroupName>, Failure> {
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
    fn fingerprint(&self, group: Option<&GroupName>) -> String {
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
    fn complete(self) -> Result<Self, Failure> {
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

async fn receive(app: &App, request: Request) -> Result<Content, Failure> {
    match media_type(request.headers()).as_str() {
        "application/jdl" | "application/jdl+json" | "text/plain" => {
            Content::read(whole(request.into_body(), "the JDL").await?)
                .await?
                .complete()
        }
        "application/json" => {
            let body = whole(request.into_body(), "the JDL").await?;
            let SubmitRequest { jdl, group } = parse_json(&body)?;
            let jdl = match jdl {
                JobDescription::Text(text) => text.into_bytes(),
                JobDescription::Json(json) => {
                    serde_json::to_vec(&json).map_err(Failure::internal)?
                }
            };
            let content = Content::read(jdl.into()).await?;
            Content { group, ..content }.complete()
        }
        "multipart/form-data" => {
            let form = Multipart::from_request(request, app)
                .await
                .map_err(|rejection| {
                    Failure::bad_request(format!(
                        "the form cannot be read: {}",
                        rejection.body_text()
                    ))
                })?;
            receive_form(app, form).await?.complete()
        }
        _ => Err(Failure::new(
            ProblemCode::UnsupportedMediaType,
            "send the job description as application/jdl or application/jdl+json, within JSON \
             (application/json), or with its files as multipart/form-data",
        )),
    }
}

async fn receive_form(app: &App, mut form: Multipart) -> Result<Content, Failure> {
    let jdl = match next(app, &mut form).await? {
        Some(field) if field.name() == Some("jdl") => field,
        _ => {
            return Err(Failure::bad_request(
                "the form's first part must be `jdl`, the JDL text, so that it is checked before \
                 the files are sent",
            ));
        }
    };
    let mut content = Content::read(whole_field(jdl, "the JDL").await?).await?;
    let inputs = content.spec.inputs();
    while let Some(field) = next(app, &mut form).await? {
        match field.name() {
            Some("group") if content.sandbox.is_none() => {
                let text = whole_field(field, "the group's name").await?;
                let text = String::from_utf8_lossy(&text);
                let group = text.trim().parse::<GroupName>();
                content.group =
                    Some(group.map_err(|error| Failure::bad_request(error.to_string()))?);
            }
            Some("input") => {
                let sandbox = content.sandbox.get_or_insert_with(|| {
                    app.files.new_sandbox(SandboxLimits {
                        bytes_max: app.limits.input_bytes_max,
                        files_max: app.limits.input_files_max,
                    })
                });
                receive_file(sandbox, &inputs, app.limits.input_bytes_max, field).await?;
            }
            other => {
                return Err(Failure::bad_request(format!(
                    "the form has a part `{}` where only `jdl`, `group` and then `input` parts \
                     are understood",
                    other
                        .unwrap_or_default()
                        .chars()
                        .take(80)
                        .collect::<String>()
                )));
            }
        }
    }
    Ok(content)
}

async fn receive_file(
    sandbox: &mut NewSandbox,
    inputs: &[InputName],
    bytes_max: u64,
    field: Field<'_>,
) -> Result<(), Failure> {
    let invalid = |detail: String| Failure::new(ProblemCode::InvalidSandbox, detail);
    let sent = field
        .file_name()
        .ok_or_else(|| invalid("a part `input` has no file name".into()))?
        .to_owned();
    let Some(path) = path_of(&sent, inputs)? else {
        // A name that is no file's name at all deserves to be told so.
        sent.parse::<FileName>()?;
        return Err(invalid(format!(
            "a file `{sent}` came that the JDL's InputSandbox does not name"
        )));
    };
    let executable = field.content_type() == Some(EXECUTABLE_TYPE);
    let content = field.map(|chunk| chunk.map_err(|error| broken_form(&error, bytes_max)));
    Ok(sandbox.add(path, executable, content).await?)
}

/// The path by which the JDL names a file that was sent under this name: the name itself, or the
/// only one whose file is called so in the task's folder.
fn path_of<'inputs>(
    sent: &str,
    inputs: &'inputs [InputName],
) -> Result<Option<&'inputs str>, Failure> {
    if let Some(input) = inputs.iter().find(|input| input.path == sent) {
        return Ok(Some(&input.path));
    }
    let called = inputs.iter().filter(|input| input.name == sent);
    let paths: BTreeSet<&str> = called.map(|input| input.path.as_str()).collect();
    if paths.len() > 1 {
        let paths: Vec<_> = paths.into_iter().map(str::to_owned).collect();
        return Err(Failure::new(
            ProblemCode::InvalidSandbox,
            format!(
                "a file `{sent}` came, which could be any of {}: send each under its path as \
                 the JDL writes it",
                listed(&paths)
            ),
        ));
    }
    Ok(paths.first().copied())
}

/// The first of the names, for a message.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN_MAX);
    let shown: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

async fn next<'form>(
    app: &App,
    form: &'form mut Multipart,
) -> Result<Option<Field<'form>>, Failure> {
    let bytes_max = app.limits.input_bytes_max;
    form.next_field()
        .await
        .map_err(|error| broken_form(&error, bytes_max).into())
}

fn broken_form(error: &MultipartError, bytes_max: u64) -> FilesError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        FilesError::TooLarge { limit: bytes_max }
    } else {
        FilesError::Source(error.body_text())
    }
}

async fn whole_field(field: Field<'_>, what: &str) -> Result<Bytes, Failure> {
    let chunks =
        field.map(|chunk| chunk.map_err(|error| broken_form(&error, JDL_BYTES_MAX).into()));
    collect(chunks, what).await
}

async fn whole(body: Body, what: &str) -> Result<Bytes, Failure> {
    let chunks = body
        .into_data_stream()
        .map(|chunk| chunk.map_err(|_| Failure::bad_request("the body did not arrive as a whole")));
    collect(chunks, what).await
}

async fn collect(
    chunks: impl futures::Stream<Item = Result<Bytes, Failure>>,
    what: &str,
) -> Result<Bytes, Failure> {
    let mut chunks = std::pin::pin!(chunks);
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        whole.extend_from_slice(&chunk?);
        if whole.len() as u64 > JDL_BYTES_MAX {
            return Err(Failure::too_large(what, JDL_BYTES_MAX));
        }
    }
    Ok(whole.into())
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
