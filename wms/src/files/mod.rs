//! What is kept in files: input sandboxes, outputs and logs.
//!
//! Input sandboxes ([`sandbox`]) and outputs ([`output`]) are written once and
//! read often: they are objects of an object store (today the server's own disk,
//! each object fsynced together with its folder and put in place by a rename).
//! Logs ([`log`]) grow while they are read: they are plain files.
//!
//! No path here can leave its folder: paths are made from the numbers of typed
//! ids, from keys drawn by this module and from [`FileName`]s, which are single
//! harmless path components. No other text of a client ever reaches a path.
//!
//! Nothing here knows what a job is, or who may read what: that is the callers' work.

pub mod log;
pub mod output;
pub mod sandbox;

use std::collections::HashMap;
use std::path::{Path as DiskPath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

pub use log::{LogId, LogKind, LogPart};
pub use sandbox::{FileName, NewSandbox, SandboxLimits, StoredFile};

/// Bytes held in memory of a file that is being written.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Why a file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A text that cannot name a file in a folder.
    #[error("`{name}` cannot be the name of a file in a sandbox: {because}")]
    BadName {
        /// The text, shortened.
        name: String,
        /// What is wrong with it.
        because: &'static str,
    },
    /// More bytes than allowed.
    #[error("larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// How many bytes are allowed.
        limit: u64,
    },
    /// More files than allowed.
    #[error("more than the {limit} files that are allowed")]
    TooMany {
        /// How many files are allowed.
        limit: usize,
    },
    /// A chunk that begins after the end of the file.
    #[error("the file has only {expected} bytes yet")]
    WrongOffset {
        /// Where the file ends.
        expected: u64,
    },
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// The sender broke off or sent what cannot be read; nothing is wrong on our side.
    #[error("the file did not arrive as a whole: {0}")]
    Source(String),
    /// The disk refused: full, read-only, broken. The text is for the log.
    #[error("storage: {0}")]
    Storage(String),
}

impl From<object_store::Error> for FilesError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Storage(other.to_string()),
        }
    }
}

impl From<std::io::Error> for FilesError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::NotFound {
            Self::NotFound
        } else {
            Self::Storage(error.to_string())
        }
    }
}

/// The state directory's files; cheap to clone.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    logs: log::LogBook,
    /// Manifests read lately: every lease of a job's tasks asks for the same one.
    manifests: Mutex<HashMap<String, Arc<[StoredFile]>>>,
}

/// An object to be sent to someone.
pub struct Object {
    /// How many bytes it has.
    pub bytes: u64,
    /// Its content.
    pub content: BoxStream<'static, Result<Bytes, FilesError>>,
}

impl Files {
    /// Opens the files of the state directory `state_dir`, which must exist.
    ///
    /// # Errors
    /// [`FilesError::Storage`] or [`FilesError::NotFound`] if it cannot be used.
    pub fn open(state_dir: &DiskPath) -> Result<Self, FilesError> {
        let objects = LocalFileSystem::new_with_prefix(state_dir)?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        let logs: PathBuf = state_dir.join("logs");
        std::fs::create_dir_all(&logs)?;
        Ok(Self(Arc::new(Inner {
            objects: Arc::new(objects),
            logs: log::LogBook::new(logs),
            manifests: Mutex::default(),
        })))
    }

    /// Writes `content` to `path`; it is there as a whole, and durable, or not at all.
    /// `seen` is shown every chunk. Returns the size in bytes.
    async fn write(
        &self,
        path: Path,
        content: impl Stream<Item = Result<Bytes, FilesError>>,
        bytes_max: u64,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<u64, FilesError> {
        let mut writer = BufWriter::with_capacity(self.0.objects.clone(), path, WRITE_BUFFER_BYTES);
        let mut content = std::pin::pin!(content);
        let mut bytes = 0_u64;
        while let Some(chunk) = content.next().await {
            let written = match chunk {
                Ok(chunk) => {
                    bytes += chunk.len() as u64;
                    if bytes > bytes_max {
                        Err(FilesError::TooLarge { limit: bytes_max })
                    } else {
                        seen(&chunk);
                        writer.put(chunk).await.map_err(FilesError::from)
                    }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                if let Err(abort) = writer.abort().await {
                    tracing::warn!(%abort, "an unfinished file could not be removed");
                }
                return Err(error);
            }
        }
        tokio::io::AsyncWriteExt::shutdown(&mut writer)
            .await
            .map_err(|error| FilesError::Storage(error.to_string()))?;
        Ok(bytes)
    }

    /// Opens the object at `path`.
    async fn read(&self, path: &Path) -> Result<Object, FilesError> {
        let found = self.0.objects.get(path).await?;
        Ok(Object {
            bytes: found.meta.size,
            content: found.into_stream().map_err(FilesError::from).boxed(),
        })
    }
}

/// The guard of a mutex whose data are sound even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
