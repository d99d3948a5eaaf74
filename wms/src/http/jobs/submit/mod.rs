//! `POST /v1/jobs`: a JDL text becomes a durable job.
//!
//! The order is what makes it safe: the JDL is read and refused first; then the
//! sandbox files are received and made durable; then the engine is asked. A
//! sandbox is removed again as soon as it is certain that no job owns it.

mod content;
mod receive;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fairway_api::public::{JobDescription, SubmitReply, SubmitRequest};
use fairway_api::{ProblemCode, problem};
use fairway_jdl::{JobSpec, Severity};
use fairway_model::{JobId, Principal};
use fairway_sched::command::{NamedJob, RefusedKind, Submission};
use fairway_sched::provision::{OutlookKind, critical_remark, job_outlook};
use fairway_sched::{Command, Reply};

use self::receive::receive;
use crate::auth::Authenticated;
use crate::engine::EngineError;
use crate::http::{App, Failure, Failures};
use crate::store::StoreError;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// So often at most are the jobs read that one waits for.
const NAMED_READS_MAX: u32 = 3;

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
