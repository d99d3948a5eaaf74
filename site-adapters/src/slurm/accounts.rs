//! The accounts at the site that pilots were submitted under besides our own. Slurm lists one's
//! own jobs, or those of users who are named; so the names outlive a restart, in a small file.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::AdapterError;

/// Names that are kept, each once.
pub(super) struct Accounts {
    file: PathBuf,
    names: Mutex<Option<BTreeSet<String>>>,
}

impl Accounts {
    /// Those in `state_dir`. Nothing is read yet.
    pub(super) fn in_folder(state_dir: &Path) -> Self {
        Self {
            file: state_dir.join("slurm-accounts"),
            names: Mutex::default(),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// `Unreachable` if the file cannot be read: some jobs would look lost.
    pub(super) fn names(&self) -> Result<BTreeSet<String>, AdapterError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = &*names {
            return Ok(names.clone());
        }
        let read = match std::fs::read_to_string(&self.file) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(self.trouble(&error)),
        };
        *names = Some(read.clone());
        Ok(read)
    }

    /// Remembers a name. When this returns, it is on the disk.
    ///
    /// # Errors
    /// `Unreachable` if it cannot be written.
    pub(super) fn remember(&self, name: &str) -> Result<(), AdapterError> {
        if self.names()?.contains(name) {
            return Ok(());
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_default();
        names.insert(name.to_owned());
        self.write(names).map_err(|error| {
            names.remove(name);
            self.trouble(&error)
        })
    }

    fn write(&self, names: &BTreeSet<String>) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = self.file.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        for name in names {
            writeln!(file, "{name}")?;
        }
        file.sync_all()?;
        std::fs::rename(new, &self.file)
    }

    fn trouble(&self, error: &std::io::Error) -> AdapterError {
        AdapterError::Unreachable(format!(
            "the accounts that pilots run under are kept in {}: {error}",
            self.file.display()
        ))
    }
}
