//! Submissions: a JDL text with the files of its input sandbox.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_model::GroupName;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder};
use tokio_util::io::ReaderStream;

use super::transport::Repeat;
use super::{Client, ClientError};
use crate::public::SubmitReply;

/// How long a submission may take, all files included.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(3600);

/// What is submitted.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// The JDL text.
    pub jdl: String,
    /// The group to submit for; the token's if not set.
    pub group: Option<GroupName>,
    /// The files of its input sandbox.
    pub files: Vec<InputFile>,
}

/// A file of an input sandbox. It is read when it is sent, never held in memory.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Its path exactly as the JDL writes it: the server finds it by this.
    pub name: String,
    /// Where it is on this machine.
    pub path: PathBuf,
}

impl Client {
    /// Submits a job. A random `Idempotency-Key` makes it one job however often
    /// the request must be repeated.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(&self, submission: &Submission) -> Result<SubmitReply, ClientError> {
        self.submit_with_key(submission, &random_key()).await
    }

    /// As [`submit`](Self::submit) with a key of the caller's: a program that may itself
    /// be started again uses the same one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit_with_key(
        &self,
        submission: &Submission,
        key: &str,
    ) -> Result<SubmitReply, ClientError> {
        let build = || self.submit_request(submission, key);
        let response = self.send_with(Repeat::Harmless, build).await?;
        self.decode(response).await
    }

    async fn submit_request(
        &self,
        submission: &Submission,
        key: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let mut form = Form::new().part("jdl", jdl_part(&submission.jdl)?);
        if let Some(group) = &submission.group {
            form = form.text("group", group.to_string());
        }
        for file in &submission.files {
            form = form.part("input", file_part(file).await?);
        }
        Ok(self
            .request(Method::POST, &["jobs"])
            .timeout(SUBMIT_TIMEOUT)
            .header("Idempotency-Key", key)
            .multipart(form))
    }
}

fn jdl_part(jdl: &str) -> Result<Part, ClientError> {
    media_type(Part::text(jdl.to_owned()), "application/jdl")
}

/// A file as a part: streamed, with its length, and whether it can be executed.
async fn file_part(file: &InputFile) -> Result<Part, ClientError> {
    let unreadable = |source| ClientError::File {
        path: file.path.clone(),
        source,
    };
    let opened = tokio::fs::File::open(&file.path)
        .await
        .map_err(unreadable)?;
    let metadata = opened.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    let length = metadata.len();
    let executable = is_executable(&file.path, &metadata);
    let body = Body::wrap_stream(ReaderStream::new(tokio::io::AsyncReadExt::take(
        // A file that grows meanwhile is sent as long as it was.
        opened, length,
    )));
    let part = Part::stream_with_length(body, length).file_name(file.name.clone());
    let kind = if executable {
        "application/x-executable"
    } else {
        "application/octet-stream"
    };
    media_type(part, kind)
}

#[cfg(unix)]
fn is_executable(_: &Path, metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

/// Elsewhere files have no such bit: scripts and programs are told by their names.
#[cfg(not(unix))]
fn is_executable(path: &Path, _: &std::fs::Metadata) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "sh" || extension == "exe")
}

fn media_type(part: Part, name: &str) -> Result<Part, ClientError> {
    part.mime_str(name)
        .map_err(|error| ClientError::Settings(error.to_string()))
}

/// 128 random bits in hex. They need to be unlikely to meet, not hard to guess:
/// a key counts only together with its owner's token.
fn random_key() -> String {
    let half = || RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        assert_ne!(random_key(), random_key());
        assert_eq!(random_key().len(), 32);
    }
}
