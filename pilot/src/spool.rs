//! Bringing an ended attempt's logs and outputs to the server. They lie in the work
//! folder until that is done, however long the server is away; the report of the
//! attempt's end waits for it. Reports themselves are few (at most two for each
//! attempt that is held, and none is taken while the server is away) and are kept by
//! the [`machine`](crate::machine).

use std::path::{Path, PathBuf};

use crate::client::{CallError, Client, persist};
use crate::logs::Logs;
use crate::machine::Key;
use crate::sandbox;

/// The outputs of one attempt.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// The attempt's folder.
    pub(crate) folder: PathBuf,
    /// Names and patterns of what to bring.
    pub(crate) patterns: Vec<String>,
}

/// Brings all; `Ok(Some(reason))` if the outputs are lost for good.
pub(crate) async fn deliver(
    client: &Client,
    key: Key,
    mut logs: Logs,
    outputs: Option<Outputs>,
) -> Result<Option<String>, CallError> {
    logs.flush(client, key).await?;
    let Some(Outputs { folder, patterns }) = outputs else {
        return Ok(None);
    };
    let archive = folder.with_file_name(format!("{key}.tar.gz"));
    let outcome = send(client, key, folder, patterns, &archive).await;
    match tokio::fs::remove_file(&archive).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%key, %e, "an output archive cannot be removed");
        }
        _ => {}
    }
    outcome
}

async fn send(
    client: &Client,
    key: Key,
    folder: PathBuf,
    patterns: Vec<String>,
    archive: &Path,
) -> Result<Option<String>, CallError> {
    let target = archive.to_owned();
    let packed =
        tokio::task::spawn_blocking(move || sandbox::pack(&folder, &patterns, &target)).await;
    match packed {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Ok(None),
        Ok(Err(reason)) => return Ok(Some(reason)),
        Err(_) => return Ok(Some("packing the outputs failed".to_owned())),
    }
    match persist("sending the outputs", || client.output(key, archive)).await {
        Ok(()) => Ok(None),
        Err(error @ (CallError::Refused(_) | CallError::Local(_))) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}
