//! From an archive of outputs to files. What is in the archive was written by
//! payloads: nothing in it may land outside the folder that it is unpacked to.

use std::io::Read;
use std::path::{Component, Path};

use fairway_api::client::Download;
use flate2::read::GzDecoder;
use tar::EntryType;
use tokio_util::io::SyncIoBridge;

use crate::exit::Failure;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// A name that would leave the folder.
    #[error(
        "the archive holds `{0}`, which would land outside the folder: nothing more was unpacked"
    )]
    Escapes(String),
    /// The archive is damaged, or a file could not be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// How many files.
    pub(crate) files: u64,
    /// What was left out: links and special files, which could point anywhere.
    pub(crate) left_out: Vec<String>,
}

/// Unpacks a download into `folder`, which is made when the first file comes.
pub(crate) async fn download(download: Download, folder: &Path) -> Result<Unpacked, Failure> {
    let reader = SyncIoBridge::new(Box::pin(download.into_reader()));
    let target = folder.to_owned();
    let outcome = tokio::task::spawn_blocking(move || unpack(reader, &target)).await;
    let describe = |reason: String| {
        Failure::Local(format!(
            "cannot unpack the outputs to {}: {reason}",
            folder.display()
        ))
    };
    match outcome {
        Ok(Ok(unpacked)) => Ok(unpacked),
        Ok(Err(error)) => Err(describe(error.to_string())),
        Err(panic) => Err(describe(panic.to_string())),
    }
}

/// Unpacks a gzipped tar into `folder`.
fn unpack(archive: impl Read, folder: &Path) -> Result<Unpacked, UnpackError> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let mut unpacked = Unpacked::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if !stays_inside(&path) {
            return Err(UnpackError::Escapes(path.display().to_string()));
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {
                std::fs::create_dir_all(folder)?;
                // Checks again that no folder on the way is a link that leads elsewhere.
                if !entry.unpack_in(folder)? {
                    return Err(UnpackError::Escapes(path.display().to_string()));
                }
                if entry.header().entry_type() != EntryType::Directory {
                    unpacked.files += 1;
                }
            }
            _ => unpacked.left_out.push(path.display().to_string()),
        }
    }
    Ok(unpacked)
}

fn stays_inside(path: &Path) -> bool {
    path.components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    /// An archive of entries written by hand: the `tar` crate would not write bad names.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let body = if *kind == EntryType::Symlink {
                header.set_link_name(content).unwrap();
                ""
            } else {
                content
            };
            header.set_size(body.len() as u64);
            header.set_cksum();
            gz.write_all(header.as_bytes()).unwrap();
            gz.write_all(body.as_bytes()).unwrap();
            gz.write_all(&vec![0; body.len().next_multiple_of(512) - body.len()])
                .unwrap();
        }
        gz.write_all(&[0; 1024]).unwrap();
        gz.finish().unwrap()
    }

    #[test]
    fn files_and_folders_come_out() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let bytes = archive(&[
            ("0", EntryType::Directory, ""),
            ("0/result.txt", EntryType::Regular, "42"),
        ]);
        let unpacked = unpack(&bytes[..], &target).unwrap();
        assert_eq!(unpacked.files, 1);
        assert_eq!(
            std::fs::read_to_string(target.join("0/result.txt")).unwrap(),
            "42"
        );
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["../evil", "/tmp/fairway-evil", "a/../../evil"] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("out");
            let bytes = archive(&[(name, EntryType::Regular, "x")]);
            let error = unpack(&bytes[..], &target).unwrap_err();
            assert!(matches!(error, UnpackError::Escapes(_)), "{name}: {error}");
            assert!(!folder.path().join("evil").exists());
        }
        assert!(!Path::new("/tmp/fairway-evil").exists());
    }

    #[test]
    fn links_are_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let bytes = archive(&[
            ("way-out", EntryType::Symlink, "/tmp"),
            ("way-out/file", EntryType::Regular, "x"),
        ]);
        let unpacked = unpack(&bytes[..], &target).unwrap();
        assert_eq!(unpacked.left_out, ["way-out"]);
        assert!(target.join("way-out/file").is_file());
        assert!(target.join("way-out").symlink_metadata().unwrap().is_dir());
    }

    #[test]
    fn a_link_that_was_there_before_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
        std::fs::create_dir_all(&target).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, target.join("sub")).unwrap();
        let bytes = archive(&[("sub/file", EntryType::Regular, "x")]);
        assert!(unpack(&bytes[..], &target).is_err());
        assert!(!elsewhere.join("file").exists());
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = archive(&[("a", EntryType::Regular, "some content")]);
        bytes.truncate(bytes.len() / 2);
        assert!(unpack(&bytes[..], folder.path()).is_err());
        assert!(unpack(&b"no archive"[..], folder.path()).is_err());
    }
}
