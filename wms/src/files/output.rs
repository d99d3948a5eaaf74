//! Output sandboxes: `outputs/<job>/<index>/<attempt>.tar.gz`, one for each
//! attempt that brought something back.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use fairway_model::{Attempt, JobId, TaskId};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::{Files, FilesError, Object};

const FOLDER: &str = "outputs";
const SUFFIX: &str = ".tar.gz";

/// Bytes of a job's archive that are made ahead of its reader.
const PIPE_BYTES: usize = 256 * 1024;

impl Files {
    /// Keeps the archive of an attempt, in place of an earlier one of the same attempt.
    ///
    /// # Errors
    /// See [`FilesError`]; nothing is kept then.
    pub async fn put_output(
        &self,
        task: TaskId,
        attempt: Attempt,
        content: impl Stream<Item = Result<Bytes, FilesError>>,
        bytes_max: u64,
    ) -> Result<u64, FilesError> {
        self.write(archive_path(task, attempt), content, bytes_max, |_| {})
            .await
    }

    /// The archive of the last attempt of `task` that brought one back.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] if none did; [`FilesError::Storage`]
    pub async fn output(&self, task: TaskId) -> Result<Object, FilesError> {
        let folder = Path::from_iter([FOLDER, &task.job.to_string(), &task.index.to_string()]);
        let attempt = self.last_attempts(&folder).await?.remove(&task.index);
        let attempt = attempt.ok_or(FilesError::NotFound)?;
        self.read(&archive_path(task, attempt)).await
    }

    /// One archive with the outputs of these tasks of a job, each in the folder that its index
    /// is given. Made while it is read; an error ends the stream.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] if there are none; [`FilesError::Storage`]
    pub async fn job_output<F>(
        &self,
        job: JobId,
        tasks: Range<u32>,
        folder: F,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + use<F>, FilesError>
    where
        F: Fn(u32) -> PathBuf + Send + 'static,
    {
        let mut parts = self
            .last_attempts(&Path::from_iter([FOLDER, &job.to_string()]))
            .await?;
        parts.retain(|index, _| tasks.contains(index));
        if parts.is_empty() {
            return Err(FilesError::NotFound);
        }
        let (reader, writer) = tokio::io::duplex(PIPE_BYTES);
        let files = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            let sink = SyncIoBridge::new(writer);
            let mut archive = tar::Builder::new(GzEncoder::new(sink, Compression::fast()));
            for (index, attempt) in parts {
                let path = archive_path(TaskId::new(job, index), attempt);
                let part = runtime
                    .block_on(files.read(&path))
                    .map_err(io::Error::other)?;
                let part =
                    SyncIoBridge::new(StreamReader::new(part.content.map_err(io::Error::other)));
                copy_entries(part, &folder(index), &mut archive)?;
            }
            archive.into_inner()?.finish()?.flush()
        });
        // The reader just ends if the maker fails: only its result tells the two apart.
        let verdict = futures::stream::once(async move {
            made.await.map_err(io::Error::other)??;
            Ok(Bytes::new())
        });
        Ok(ReaderStream::new(reader).chain(verdict))
    }

    /// For each task with archives in `folder`, the last attempt that has one.
    async fn last_attempts(&self, folder: &Path) -> Result<BTreeMap<u32, Attempt>, FilesError> {
        let mut last = BTreeMap::new();
        let mut objects = self.0.objects.list(Some(folder));
        while let Some(object) = objects.try_next().await? {
            if let Some((index, attempt)) = parse_path(&object.location) {
                let known = last.entry(index).or_insert(attempt);
                *known = attempt.max(*known);
            }
        }
        Ok(last)
    }
}

/// Copies what a task brought back into a folder of its own. A pilot packs nothing but
/// files and folders; anything else in a forged archive (links, devices, names that lead
/// elsewhere) is left out, so that unpacking is safe for the user.
fn copy_entries(
    part: impl io::Read,
    folder: &std::path::Path,
    archive: &mut tar::Builder<impl Write>,
) -> io::Result<()> {
    let mut entries = tar::Archive::new(GzDecoder::new(part));
    for entry in entries.entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let path = entry.path()?.into_owned();
        let harmless = path.components().all(|part| {
            matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        if !harmless || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        let mut header = entry.header().clone();
        archive.append_data(&mut header, folder.join(path), entry)?;
    }
    Ok(())
}

fn archive_path(task: TaskId, attempt: Attempt) -> Path {
    Path::from_iter([
        FOLDER,
        &task.job.to_string(),
        &task.index.to_string(),
        &format!("{attempt}{SUFFIX}"),
    ])
}

/// Index and attempt of an archive.
fn parse_path(path: &Path) -> Option<(u32, Attempt)> {
    let mut parts = path.as_ref().rsplit('/');
    let attempt = parts.next()?.strip_suffix(SUFFIX)?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, Attempt(attempt)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures::stream;

    use super::*;

    fn packed(name: &str, text: &str) -> Bytes {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive
            .append_link(&mut link, "link", "/etc/passwd")
            .unwrap();
        archive.into_inner().unwrap().finish().unwrap().into()
    }

    async fn put(files: &Files, index: u32, attempt: u32, text: &str) {
        let content = stream::iter([Ok(packed("out.txt", text))]);
        files
            .put_output(
                TaskId::new(JobId(7), index),
                Attempt(attempt),
                content,
                1 << 20,
            )
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_s_outputs_come_as_one_archive() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        put(&files, 0, 1, "first try").await;
        put(&files, 0, 2, "second try").await;
        put(&files, 10, 1, "ten").await;
        let chunks: Vec<Bytes> = files
            .job_output(JobId(7), 0..u32::MAX, |index| index.to_string().into())
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let bytes = chunks.concat();
        let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        assert_eq!(
            found,
            [
                ("0/out.txt".to_owned(), "second try".to_owned()),
                ("10/out.txt".to_owned(), "ten".to_owned()),
            ]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broken_part_is_an_error_not_a_short_archive() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let content = stream::iter([Ok(Bytes::from_static(b"not an archive"))]);
        files
            .put_output(TaskId::new(JobId(7), 0), Attempt(1), content, 100)
            .await
            .unwrap();
        let read: io::Result<Vec<Bytes>> = files
            .job_output(JobId(7), 0..u32::MAX, |index| index.to_string().into())
            .await
            .unwrap()
            .try_collect()
            .await;
        assert!(read.is_err());
    }

    #[tokio::test]
    async fn too_large_an_output_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let task = TaskId::new(JobId(7), 0);
        let content = stream::iter([Ok(Bytes::from_static(b"123")), Ok(Bytes::from_static(b"4"))]);
        let error = files
            .put_output(task, Attempt(1), content, 3)
            .await
            .unwrap_err();
        assert!(
            matches!(error, FilesError::TooLarge { limit: 3 }),
            "{error}"
        );
        assert!(matches!(
            files.output(task).await,
            Err(FilesError::NotFound)
        ));
    }
}
