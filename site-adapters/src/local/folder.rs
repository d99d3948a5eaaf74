//! The folder of one local job: what must survive the server.
//!
//! | file | holds | written |
//! |---|---|---|
//! | `job.json` | what was asked for | before the folder gets its name |
//! | `stdin` | the bootstrap document; readable by the server's user only | likewise; removed by the wrapper once open |
//! | `process` | id and start of the wrapper | by the wrapper, first of all |
//! | `cancel` | why the job was told to end | before it is signalled |
//! | `exit` | exit code, or words if there is none | by the wrapper at its end, or the server |
//! | `log` | the job's output | by the job |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::Process;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Place in the queue; grows.
    pub(super) place: u64,
    /// The job's name, and its id.
    pub(super) name: String,
    /// Cores.
    pub(super) cores: u32,
    /// Walltime in seconds.
    pub(super) walltime_s: u64,
    /// Program and arguments.
    pub(super) program: Vec<String>,
}

/// The folder of one job.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder of a new job. It appears complete or not at all.
    pub(super) fn create(root: &Path, spec: &Spec, stdin: &str) -> io::Result<Self> {
        // A name that no job has, and that `list` clears away.
        let draft = root.join(format!(".{}", spec.name));
        let folder = root.join(&spec.name);
        let fill = || {
            DirBuilder::new().mode(0o700).create(&draft)?;
            write_private(&draft.join("stdin"), stdin)?;
            write_private(&draft.join("job.json"), &serde_json::to_string(spec)?)?;
            fs::rename(&draft, &folder)
        };
        match fill() {
            Ok(()) => Ok(Self(folder)),
            Err(error) => {
                // The first error is the one to tell; what is left over goes at the next start.
                drop(fs::remove_dir_all(&draft));
                Err(error)
            }
        }
    }

    /// The folders of all jobs. Drafts of jobs that were never accepted are removed.
    pub(super) fn list(root: &Path) -> io::Result<Vec<Self>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                fs::remove_dir_all(entry.path())?;
            } else {
                folders.push(Self(entry.path()));
            }
        }
        Ok(folders)
    }

    /// What was asked for.
    pub(super) fn spec(&self) -> io::Result<Spec> {
        Ok(serde_json::from_str(&fs::read_to_string(
            self.0.join("job.json"),
        )?)?)
    }

    /// Starts the job.
    pub(super) fn start(&self, program: &[String]) -> io::Result<(Process, tokio::process::Child)> {
        let stdin = File::open(self.0.join("stdin"))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.0.join("log"))?;
        Process::start(&self.0, program, stdin, log)
    }

    /// The process that took the job, with the time since then. A record that a power failure
    /// left empty names nobody, and keeps others from taking the job all the same.
    pub(super) fn process(&self) -> io::Result<Option<(Process, Duration)>> {
        let record = self.read("process")?;
        Ok(record.and_then(|(record, age)| Some((Process::parse(&record)?, age))))
    }

    /// Why the job was told to end, with the time since then.
    pub(super) fn cancel(&self) -> io::Result<Option<(String, Duration)>> {
        self.read("cancel")
    }

    /// Notes why the job is told to end.
    pub(super) fn set_cancel(&self, reason: &str) -> io::Result<()> {
        self.write("cancel", reason)
    }

    /// The exit code, or words if there was none.
    pub(super) fn exit(&self) -> io::Result<Option<String>> {
        Ok(self.read("exit")?.map(|(text, _)| text))
    }

    /// Notes that the job is over without an exit code. The secret goes, if it is still there.
    pub(super) fn set_exit(&self, words: &str) -> io::Result<()> {
        self.write("exit", words)?;
        absent_is_none(fs::remove_file(self.0.join("stdin")))?;
        Ok(())
    }

    /// The last line of the job's output, shortened, or nothing.
    pub(super) fn last_words(&self) -> io::Result<String> {
        const BYTES_MAX: u64 = 400;
        let Some(mut log) = absent_is_none(File::open(self.0.join("log")))? else {
            return Ok(String::new());
        };
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
        let mut end = Vec::new();
        log.take(BYTES_MAX).read_to_end(&mut end)?;
        let end = String::from_utf8_lossy(&end);
        Ok(end.trim_end().lines().last().unwrap_or_default().to_owned())
    }

    /// Removes the folder.
    pub(super) fn remove(&self) -> io::Result<()> {
        absent_is_none(fs::remove_dir_all(&self.0))?;
        Ok(())
    }

    /// The text of a file and its age; `None` if there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<(String, Duration)>> {
        let path = self.0.join(name);
        let Some(text) = absent_is_none(fs::read_to_string(&path))? else {
            return Ok(None);
        };
        let written = fs::metadata(&path)?.modified()?;
        // A clock that was set back makes the file as good as new.
        let age = written.elapsed().unwrap_or_default();
        Ok(Some((text.trim().to_owned(), age)))
    }

    /// Writes a file that appears complete or not at all.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let draft = self.0.join(format!("{name}.new"));
        absent_is_none(fs::remove_file(&draft))?;
        write_private(&draft, text)?;
        fs::rename(draft, self.0.join(name))
    }
}

/// Writes a file that only the server's user may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
