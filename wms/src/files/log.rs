//! Logs: what payloads write to stdout and stderr, while they write it.
//!
//! `logs/<job>/<index>/<attempt>.stdout`, appended to at offsets that the pilot
//! names, so that a chunk sent twice is kept once. Logs are not fsynced: after a
//! loss of power the pilot learns from `WrongOffset` where to go on.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use fairway_api::pilot::ChunkReply;
use fairway_model::{Attempt, TaskId};
use tokio::sync::watch;

use super::{Files, FilesError, lock};

/// Bytes read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// Appends to one file must come one after the other; files share this many locks.
const LOCKS: usize = 64;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// Which of the two.
    pub kind: LogKind,
}

/// A part of a log, read to where it ended at that moment.
#[derive(Debug, Default)]
pub struct LogPart {
    /// What is in it; at most 64 KiB.
    pub bytes: Vec<u8>,
    /// Where it ends in the log.
    pub end: u64,
}

/// All logs of a server.
pub(super) struct LogBook {
    folder: PathBuf,
    locks: [Mutex<()>; LOCKS],
    hasher: RandomState,
    /// Who waits for more of a log. Holds only logs that someone follows.
    followed: Mutex<HashMap<LogId, watch::Sender<()>>>,
}

impl LogBook {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            locks: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            followed: Mutex::default(),
        }
    }

    fn path(&self, log: LogId) -> PathBuf {
        let suffix = match log.kind {
            LogKind::Stdout => "stdout",
            LogKind::Stderr => "stderr",
        };
        self.folder
            .join(log.task.job.to_string())
            .join(log.task.index.to_string())
            .join(format!("{}.{suffix}", log.attempt))
    }

    fn lock_of(&self, log: LogId) -> &Mutex<()> {
        // Below LOCKS, so the cast is exact.
        &self.locks[(self.hasher.hash_one(log) % LOCKS as u64) as usize]
    }

    fn tell_followers(&self, log: LogId) {
        let mut followed = lock(&self.followed);
        if let Some(sender) = followed.get(&log)
            && sender.send(()).is_err()
        {
            followed.remove(&log);
        }
    }
}

impl Files {
    /// Appends a chunk that begins at `offset`. What the log has already is not written
    /// again; what would make it longer than `bytes_max` is dropped.
    ///
    /// # Errors
    /// [`FilesError::WrongOffset`] if the log ends before `offset`; [`FilesError::Storage`]
    pub async fn append_log(
        &self,
        log: LogId,
        offset: u64,
        chunk: Bytes,
        bytes_max: u64,
    ) -> Result<ChunkReply, FilesError> {
        let files = self.clone();
        let reply = blocking(move || {
            let logs = &files.0.logs;
            let _one_at_a_time = lock(logs.lock_of(log));
            append(&logs.path(log), offset, &chunk, bytes_max)
        })
        .await?;
        self.0.logs.tell_followers(log);
        Ok(reply)
    }

    /// Reads on from `offset`. Empty at the end of the log, or if there is none yet.
    ///
    /// # Errors
    /// [`FilesError::Storage`]
    pub async fn read_log(&self, log: LogId, offset: u64) -> Result<LogPart, FilesError> {
        let path = self.0.logs.path(log);
        blocking(move || {
            let Some(mut file) = open_existing(&path)? else {
                return Ok(LogPart {
                    bytes: Vec::new(),
                    end: offset,
                });
            };
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
            Ok(LogPart {
                end: offset + bytes.len() as u64,
                bytes,
            })
        })
        .await
    }

    /// Where the last `lines` lines of a log begin, and where it ends.
    ///
    /// # Errors
    /// [`FilesError::Storage`]
    pub async fn log_extent(
        &self,
        log: LogId,
        lines: Option<u32>,
    ) -> Result<std::ops::Range<u64>, FilesError> {
        let path = self.0.logs.path(log);
        blocking(move || {
            let Some(mut file) = open_existing(&path)? else {
                return Ok(0..0);
            };
            let end = file.metadata()?.len();
            let begin = match lines {
                Some(lines) => last_lines(&mut file, end, lines)?,
                None => 0,
            };
            Ok(begin..end)
        })
        .await
    }

    /// Is told whenever a log has grown. Ask first, then read: nothing is missed.
    pub fn follow_log(&self, log: LogId) -> watch::Receiver<()> {
        let mut followed = lock(&self.0.logs.followed);
        followed.retain(|_, sender| !sender.is_closed());
        followed
            .entry(log)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(FilesError::Storage(error.to_string())))
}

fn open_existing(path: &Path) -> Result<Option<std::fs::File>, FilesError> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn append(
    path: &Path,
    offset: u64,
    chunk: &[u8],
    bytes_max: u64,
) -> Result<ChunkReply, FilesError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    let length = file.metadata()?.len();
    let Some(known) = length.checked_sub(offset) else {
        return Err(FilesError::WrongOffset { expected: length });
    };
    let fresh = usize::try_from(known)
        .ok()
        .and_then(|known| chunk.get(known..))
        .unwrap_or(&[]);
    let room = usize::try_from(bytes_max.saturating_sub(length)).unwrap_or(usize::MAX);
    let kept = &fresh[..fresh.len().min(room)];
    file.write_all(kept)?;
    let next_offset = length + kept.len() as u64;
    Ok(ChunkReply {
        next_offset,
        full: next_offset >= bytes_max,
    })
}

/// Where the last `lines` lines before `end` begin; reads backwards, in blocks.
fn last_lines(file: &mut std::fs::File, end: u64, lines: u32) -> Result<u64, FilesError> {
    if lines == 0 {
        return Ok(end);
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut newlines = 0;
    let mut position = end;
    while position > 0 {
        let size = position.min(BLOCK_BYTES as u64);
        position -= size;
        // At most BLOCK_BYTES, so the cast is exact.
        let block = &mut block[..size as usize];
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(block)?;
        for (at, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let after = position + at as u64 + 1;
            // A newline at the very end ends the last line and begins no other.
            if after == end {
                continue;
            }
            newlines += 1;
            if newlines == lines {
                return Ok(after);
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use fairway_model::JobId;

    use super::*;

    const LOG: LogId = LogId {
        task: TaskId::new(JobId(1), 0),
        attempt: Attempt(1),
        kind: LogKind::Stdout,
    };

    async fn whole(files: &Files) -> String {
        String::from_utf8(files.read_log(LOG, 0).await.unwrap().bytes).unwrap()
    }

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        (dir, files)
    }

    #[tokio::test]
    async fn a_repeated_chunk_is_kept_once() {
        let (_dir, files) = files();
        let append = |offset, text: &'static str| {
            files.append_log(LOG, offset, Bytes::from_static(text.as_bytes()), 100)
        };
        assert_eq!(append(0, "abc").await.unwrap().next_offset, 3);
        assert_eq!(append(0, "abc").await.unwrap().next_offset, 3);
        assert_eq!(append(2, "cde").await.unwrap().next_offset, 5);
        assert!(matches!(
            append(9, "x").await,
            Err(FilesError::WrongOffset { expected: 5 })
        ));
        assert_eq!(whole(&files).await, "abcde");
    }

    #[tokio::test]
    async fn a_full_log_takes_no_more() {
        let (_dir, files) = files();
        let reply = files
            .append_log(LOG, 0, Bytes::from_static(b"abcdef"), 4)
            .await
            .unwrap();
        assert!(reply.full);
        assert_eq!(reply.next_offset, 4);
        let reply = files
            .append_log(LOG, 4, Bytes::from_static(b"ef"), 4)
            .await
            .unwrap();
        assert!(reply.full);
        assert_eq!(whole(&files).await, "abcd");
    }

    #[tokio::test]
    async fn tails_count_lines_from_the_end() {
        let (_dir, files) = files();
        assert_eq!(files.log_extent(LOG, Some(2)).await.unwrap(), 0..0);
        let long = format!("{}\ntwo\nthree\n", "x".repeat(3 * BLOCK_BYTES));
        let end = long.len() as u64;
        files
            .append_log(LOG, 0, long.into(), u64::MAX)
            .await
            .unwrap();
        assert_eq!(files.log_extent(LOG, Some(0)).await.unwrap().start, end);
        assert_eq!(files.log_extent(LOG, Some(1)).await.unwrap().start, end - 6);
        assert_eq!(
            files.log_extent(LOG, Some(2)).await.unwrap().start,
            end - 10
        );
        assert_eq!(files.log_extent(LOG, Some(3)).await.unwrap().start, 0);
        assert_eq!(files.log_extent(LOG, Some(9)).await.unwrap().start, 0);
        files
            .append_log(LOG, end, Bytes::from_static(b"four"), u64::MAX)
            .await
            .unwrap();
        assert_eq!(files.log_extent(LOG, Some(1)).await.unwrap().start, end);
    }

    #[tokio::test]
    async fn followers_are_told() {
        let (_dir, files) = files();
        let mut news = files.follow_log(LOG);
        files
            .append_log(LOG, 0, Bytes::from_static(b"x"), 10)
            .await
            .unwrap();
        news.changed().await.unwrap();
        drop(news);
        files
            .append_log(LOG, 1, Bytes::from_static(b"y"), 10)
            .await
            .unwrap();
        assert!(lock(&files.0.logs.followed).is_empty());
    }
}
