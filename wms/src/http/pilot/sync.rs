//! `POST /v1/pilot/sync`: heartbeat, reports, and the wish for work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fairway_api::ProblemCode;
use fairway_api::pilot::{
    AttemptOrder, InputFile, Lease, Payload, PayloadHost, Report, ReportKind, SyncReply,
    SyncRequest, Want,
};
use fairway_jdl::{JobSpec, TaskSpec};
use fairway_model::{AttemptEnd, PilotId};
use fairway_sched::command::{AttemptNews, AttemptReport, GrantedHost, PilotWant};
use fairway_sched::{Command, Grant, Reply};

use crate::auth::PilotSession;
use crate::engine::EngineError;
use crate::files::FileName;
use crate::http::extract::Json;
use crate::http::{App, Failure, Failures};

/// Heartbeat, reports, and the wish for work in one. With a wish and no reports it is a long poll.
#[utoipa::path(
    post, path = "/v1/pilot/sync", tag = "pilot protocol", operation_id = "pilot_sync",
    request_body = SyncRequest,
    responses((status = OK, body = SyncReply), Failures),
)]
pub(super) async fn sync(
    State(app): State<App>,
    PilotSession(pilot): PilotSession,
    Json(request): Json<SyncRequest>,
) -> Result<Answer<SyncReply>, Failure> {
    let SyncRequest {
        reports,
        holding,
        want,
    } = request;
    // Who reports wants to know soon that the reports are safe.
    let wait = if reports.is_empty() {
        app.limits.poll
    } else {
        Duration::ZERO
    };
    let command = Command::Sync {
        pilot,
        reports: reports.into_iter().map(report).collect(),
        holding,
        want: want.map(wish),
    };
    match app.engine.sync(command, wait).await.map_err(Failure::from) {
        Ok(Reply::Synced {
            grants,
            orders,
            drain,
            stay,
        }) => {
            let leases = leases(&app, pilot, grants).await?;
            let orders = orders
                .into_iter()
                .map(|(task, attempt, what)| AttemptOrder {
                    task,
                    attempt,
                    what,
                })
                .collect();
            Ok(Answer(SyncReply {
                leases,
                orders,
                drain,
                stay,
            }))
        }
        Ok(other) => Err(Failure::internal(format!(
            "a sync was answered by {other:?}"
        ))),
        Err(failure) => {
            if failure.code() == ProblemCode::PilotEnded {
                app.auth.forget_pilot(pilot);
            }
            Err(failure)
        }
    }
}

fn report(report: Report) -> AttemptReport {
    let Report {
        task,
        attempt,
        what,
    } = report;
    let what = match what {
        ReportKind::Started => AttemptNews::Started,
        ReportKind::Suspended => AttemptNews::Suspended,
        ReportKind::Resumed => AttemptNews::Resumed,
        ReportKind::Ended { end, used } => AttemptNews::Ended {
            end,
            wall_ms: used.wall_ms,
            cpu_ms: used.cpu_ms,
            memory_peak_kib: used.memory_peak_kib,
        },
    };
    AttemptReport {
        task,
        attempt,
        what,
    }
}

fn wish(
    Want {
        round,
        remaining_s,
        backlog,
        staying,
    }: Want,
) -> PilotWant {
    PilotWant {
        round,
        remaining_s,
        backlog,
        staying,
    }
}

/// What was granted, as the pilot is told of it. A task whose sandbox cannot be read here could
/// not start there: its attempt ends at once, as one that did not start.
async fn leases(app: &App, pilot: PilotId, grants: Vec<Grant>) -> Result<Vec<Lease>, Failure> {
    let mut leases = Vec::with_capacity(grants.len());
    let mut unfit = Vec::new();
    for grant in grants {
        let task = described(app, &grant).await?;
        match payload(app, &grant, task).await {
            Ok(payload) => {
                leases.push(Lease {
                    task: grant.task,
                    attempt: grant.attempt,
                    payload,
                });
            }
            Err(reason) => {
                tracing::error!(task = %grant.task, reason, "a task cannot be given away");
                unfit.push(AttemptReport {
                    task: grant.task,
                    attempt: grant.attempt,
                    what: AttemptNews::Ended {
                        end: AttemptEnd::NotStarted {
                            reason: "the server could not read its input sandbox".to_owned(),
                        },
                        wall_ms: 0,
                        cpu_ms: 0,
                        memory_peak_kib: 0,
                    },
                });
            }
        }
    }
    if !unfit.is_empty() {
        give_up(app, pilot, unfit).await?;
    }
    Ok(leases)
}

async fn give_up(
    app: &App,
    pilot: PilotId,
    reports: Vec<AttemptReport>,
) -> Result<(), EngineError> {
    let command = Command::Sync {
        pilot,
        reports,
        holding: Vec::new(),
        want: None,
    };
    app.engine.ask(command).await.map(drop)
}

fn host(GrantedHost { name, cores }: &GrantedHost) -> PayloadHost {
    PayloadHost {
        name: name.clone(),
        cores: *cores,
    }
}

/// What to run. If it cannot be looked up, nothing is told of the task: the pilot asks again.
async fn described(app: &App, grant: &Grant) -> Result<TaskSpec, Failure> {
    if let Some(spec) = &grant.spec {
        return Ok(spec.task(grant.task));
    }
    let job = app.store.job(grant.task.job).await?;
    let job = job.ok_or_else(|| Failure::internal("a job that runs is not in the store"))?;
    let (spec, _) = tokio::task::spawn_blocking(move || JobSpec::read(&job.jdl))
        .await
        .map_err(Failure::internal)?
        .map_err(|_| Failure::internal("a JDL that was accepted is no longer understood"))?;
    Ok(spec.task(grant.task))
}

async fn payload(app: &App, grant: &Grant, task: TaskSpec) -> Result<Payload, String> {
    let mut inputs: Vec<InputFile> = Vec::with_capacity(task.inputs.len());
    if let Some(key) = grant.sandbox.as_ref().filter(|_| !task.inputs.is_empty()) {
        let manifest = app
            .files
            .sandbox_manifest(key)
            .await
            .map_err(|error| error.to_string())?;
        for input in &*task.inputs {
            let stored_as = FileName::of_path(&input.path).map_err(|error| error.to_string())?;
            let file = manifest.iter().find(|it| it.name == stored_as.as_str());
            let file = file.ok_or_else(|| format!("no file {} in {key}", input.path))?;
            inputs.push(InputFile {
                name: input.name.clone(),
                stored_as: file.name.clone(),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
                executable: file.executable,
            });
        }
    } else if let Some(input) = task.inputs.first() {
        return Err(format!("no sandbox for {}", input.name));
    }
    let text = |text: &Arc<str>| text.to_string();
    let texts = |texts: &[Arc<str>]| texts.iter().map(text).collect();
    let environment = task.environment.iter();
    Ok(Payload {
        executable: text(&task.executable),
        arguments: texts(&task.arguments),
        environment: environment
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        stdin: task.stdin.as_ref().map(text),
        stdout: task.stdout.as_ref().map(text),
        stderr: task.stderr.as_ref().map(text),
        inputs,
        outputs: texts(&task.outputs),
        resources: grant.resources,
        hosts: grant.hosts.iter().map(host).collect(),
        walltime_s: task.needs.walltime_s,
    })
}
