//! How a submission comes in: as a text, within JSON, or with its files in a form.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use fairway_api::ProblemCode;
use fairway_api::public::{JobDescription, SubmitRequest};
use fairway_jdl::InputName;
use fairway_model::GroupName;
use futures::StreamExt;

use super::content::{Content, listed};
use crate::files::{FileName, FilesError, NewSandbox, SandboxLimits};
use crate::http::extract::{media_type, parse_json};
use crate::http::{App, Failure, JDL_BYTES_MAX};

/// The media type by which a client says that a sandbox file may be executed.
const EXECUTABLE_TYPE: &str = "application/x-executable";

pub(super) async fn receive(app: &App, request: Request) -> Result<Content, Failure> {
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
