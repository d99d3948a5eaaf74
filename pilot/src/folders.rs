//! The folders that payloads run in, made, used again, and removed.
//!
//! Making and removing a folder costs more than starting a short payload. A folder
//! whose payload left it just as it was is therefore kept for a later one. That takes
//! two proofs: no process is left that could still write into it, and the folder and
//! all in it look as they did before the payload, down to the inodes and the time of
//! their last change. Whatever cannot be proved means that the folder is removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender, TrySendError};

use crate::sandbox;

/// Folder for temporary files within a payload's folder.
pub(crate) const TMP: &str = ".tmp";
/// Where the standard output goes unless the job says otherwise.
pub(crate) const STDOUT: &str = "stdout";
/// Where the standard error goes unless the job says otherwise.
pub(crate) const STDERR: &str = "stderr";
/// Folders that are kept to be used again.
const KEPT_MAX: usize = 256;
/// Folders waiting to be removed before removing holds up starting.
const REMOVALS_MAX: usize = 512;

/// A payload's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What it looked like before the payload; `None` if it is not to be used again.
    before: Option<Box<Look>>,
}

impl Folder {
    /// A folder for this one payload only.
    pub(crate) fn once(path: PathBuf) -> Self {
        Self { path, before: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// To be called before the payload starts in a folder that holds nothing but its
    /// empty streams: makes the folder one that can be used again.
    pub(crate) fn remember(&mut self) {
        if self.before.is_none() {
            // Without it, the folder is removed in the end.
            self.before = Look::at(&self.path).ok().map(Box::new);
        }
    }

    /// Rules out that it is used again.
    pub(crate) fn forget(&mut self) {
        self.before = None;
    }

    fn is_as_before(&self) -> bool {
        let before = self.before.as_deref();
        before.is_some_and(|before| Look::at(&self.path).is_ok_and(|now| now == *before))
    }
}

/// A folder, its folder for temporary files, and its streams, with how many entries the
/// two folders have.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    inodes: [Inode; 4],
    entries: [usize; 2],
}

impl Look {
    fn at(folder: &Path) -> io::Result<Self> {
        let tmp = folder.join(TMP);
        let entries = |folder| fs::read_dir(folder).map(Iterator::count);
        Ok(Self {
            inodes: [
                Inode::at(folder)?,
                Inode::at(&tmp)?,
                Inode::at(&folder.join(STDOUT))?,
                Inode::at(&folder.join(STDERR))?,
            ],
            entries: [entries(folder)?, entries(&tmp)?],
        })
    }
}

/// What tells whether a file or folder was replaced or changed in any way. The kernel's
/// clock for times of change ticks in milliseconds; what matters shows in the rest.
#[derive(Debug, PartialEq, Eq)]
struct Inode {
    number: (u64, u64),
    mode: u32,
    owner: (u32, u32),
    links: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Inode {
    fn at(path: &Path) -> io::Result<Self> {
        let inode = fs::symlink_metadata(path)?;
        Ok(Self {
            number: (inode.dev(), inode.ino()),
            mode: inode.mode(),
            owner: (inode.uid(), inode.gid()),
            links: inode.nlink(),
            bytes: inode.size(),
            changed: (inode.ctime(), inode.ctime_nsec()),
        })
    }
}

/// Hands out folders and takes them back.
#[derive(Debug)]
pub(crate) struct Folders {
    parent: PathBuf,
    /// How many were made: they are numbered.
    made: u64,
    kept: Vec<Folder>,
    /// The children of the pilot's first thread.
    adopted: Option<File>,
    removals: SyncSender<PathBuf>,
}

impl Folders {
    pub(crate) fn new(parent: PathBuf) -> Self {
        // The kernel gives orphans to the first thread of the pilot, while payloads
        // themselves are children of the launcher's thread.
        let own = std::process::id();
        let adopted = File::open(format!("/proc/self/task/{own}/children"));
        if let Err(error) = &adopted {
            tracing::debug!(%error, "no folder is used again");
        }
        Self::with(parent, adopted.ok())
    }

    fn with(parent: PathBuf, adopted: Option<File>) -> Self {
        // Folders are removed beside the launcher, so that the next start does not wait
        // for it; by the launcher itself if too many wait.
        let (removals, to_remove) = mpsc::sync_channel::<PathBuf>(REMOVALS_MAX);
        let tidier = std::thread::Builder::new().name("tidier".to_owned());
        let tidier = tidier.spawn(move || to_remove.iter().for_each(|path| sandbox::remove(&path)));
        if let Err(error) = tidier {
            tracing::debug!(%error, "no thread to remove folders; the launcher does it");
        }
        Self {
            parent,
            made: 0,
            kept: Vec::new(),
            adopted,
            removals,
        }
    }

    /// A folder with nothing in it but [`TMP`] and, if `plain`, perhaps empty streams of
    /// the usual names.
    pub(crate) fn take(&mut self, plain: bool) -> io::Result<Folder> {
        if plain && let Some(folder) = self.kept.pop() {
            return Ok(folder);
        }
        self.made += 1;
        let path = self.parent.join(format!("w{}", self.made));
        sandbox::make_folder(&path)?;
        sandbox::make_folder(&path.join(TMP))?;
        Ok(Folder::once(path))
    }

    /// Takes back the folder of a payload that is over, to be used again or removed.
    pub(crate) fn give_back(&mut self, folder: Folder) {
        // In this order: nobody can change the folder after it was looked at.
        if self.kept.len() < KEPT_MAX && self.nobody_is_left() && folder.is_as_before() {
            self.kept.push(folder);
        } else if let Err(TrySendError::Full(path) | TrySendError::Disconnected(path)) =
            self.removals.try_send(folder.path)
        {
            sandbox::remove(&path);
        }
    }

    /// Whether no process of any payload that is over lives. The pilot is a subreaper: of
    /// whatever an ended payload left behind, the topmost became the pilot's child, before
    /// the payload's end could be seen. The one exception, a process that was started with
    /// `CLONE_PARENT` by the payload's first, is left to the census.
    fn nobody_is_left(&self) -> bool {
        let first = |children: &File| children.read_at(&mut [0], 0);
        matches!(self.adopted.as_ref().map(first), Some(Ok(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// `children`: what the kernel tells of adopted processes.
    fn folders(parent: &Path, children: &str) -> Folders {
        let list = parent.join("children");
        fs::write(&list, children).unwrap();
        Folders::with(parent.to_owned(), Some(File::open(list).unwrap()))
    }

    fn start(folders: &mut Folders) -> Folder {
        let mut folder = folders.take(true).unwrap();
        for stream in [STDOUT, STDERR] {
            let mut options = File::options();
            let options = options.append(true).create(true);
            options.open(folder.path().join(stream)).unwrap();
        }
        folder.remember();
        folder
    }

    /// Whether the next payload gets the folder in which `payload` ran.
    fn used_again(folders: &mut Folders, payload: impl FnOnce(&Path)) -> bool {
        let folder = start(folders);
        let path = folder.path().to_owned();
        payload(&path);
        folders.give_back(folder);
        start(folders).path() == path
    }

    #[test]
    fn a_folder_is_used_again_if_nothing_was_done_to_it() {
        let parent = tempfile::tempdir().unwrap();
        let folders = &mut folders(parent.path(), "");
        let folder = start(folders);
        let path = folder.path().to_owned();
        folders.give_back(folder);
        for _ in 0..3 {
            let again = start(folders);
            assert_eq!(again.path(), path);
            folders.give_back(again);
        }
        let with_other_streams = folders.take(false).unwrap();
        assert_ne!(with_other_streams.path(), path);
    }

    #[test]
    fn a_folder_that_was_changed_is_not_used_again() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 10] = [
            ("a file", |at| fs::write(at.join("x"), "").unwrap()),
            ("output", |at| fs::write(at.join(STDOUT), "x").unwrap()),
            ("temporary", |at| fs::write(at.join(".tmp/x"), "").unwrap()),
            ("mode", |at| {
                fs::set_permissions(at, fs::Permissions::from_mode(0o770)).unwrap();
            }),
            ("a stream's mode", |at| {
                let mode = fs::Permissions::from_mode(0o400);
                fs::set_permissions(at.join(STDERR), mode).unwrap();
            }),
            ("another file", |at| {
                fs::write(at.join("x"), "").unwrap();
                fs::rename(at.join("x"), at.join(STDERR)).unwrap();
            }),
            ("a link", |at| {
                fs::remove_file(at.join(STDOUT)).unwrap();
                symlink("stderr", at.join(STDOUT)).unwrap();
            }),
            ("a second name", |at| {
                let name = at.with_file_name("outside");
                fs::hard_link(at.join(STDOUT), name).unwrap();
            }),
            ("no stream", |at| fs::remove_file(at.join(STDERR)).unwrap()),
            ("no folder", |at| fs::remove_dir_all(at).unwrap()),
        ];
        for (what, change) in changes {
            let parent = tempfile::tempdir().unwrap();
            let folders = &mut folders(parent.path(), "");
            assert!(!used_again(folders, change), "{what}");
        }
    }

    #[test]
    fn no_folder_is_used_again_while_processes_are_left() {
        let parent = tempfile::tempdir().unwrap();
        assert!(!used_again(&mut folders(parent.path(), "71 "), |_| {}));
        let parent = tempfile::tempdir().unwrap();
        let unknown = &mut Folders::with(parent.path().to_owned(), None);
        assert!(!used_again(unknown, |_| {}));
    }

    #[test]
    fn only_so_many_folders_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let folders = &mut folders(parent.path(), "");
        let taken: Vec<Folder> = (0..=KEPT_MAX).map(|_| start(folders)).collect();
        for folder in taken {
            folders.give_back(folder);
        }
        assert_eq!(folders.kept.len(), KEPT_MAX);
    }
}
