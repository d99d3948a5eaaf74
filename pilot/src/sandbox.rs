//! A payload's folder: bringing inputs in, taking outputs out, and letting nothing
//! in or out of it that does not belong there.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fairway_api::pilot::{InputFile, Lease};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::client::{CallError, Client, persist};
use crate::folders::TMP;
use crate::machine::Key;

/// Tries to fetch an input that arrives damaged.
const DAMAGED_TRIES: u32 = 3;
/// All cached inputs together; beyond that, inputs are fetched anew each time.
const CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Most files in one output archive.
const OUTPUT_FILES_MAX: usize = 10_000;
/// Deepest folder that outputs are looked for in.
const OUTPUT_DEPTH_MAX: usize = 32;

/// The path of a file in the folder. Names that are absolute or go upwards are refused.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let stays = !name.contains('\0') && path.components().all(plain);
    if stays && path.file_name().is_some() {
        Ok(folder.join(path))
    } else {
        Err(format!(
            "`{name}` is not a file name within the task's folder"
        ))
    }
}

/// Makes a folder unless it is there; only the pilot's user may enter it.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

/// Removes a payload's folder with all that is in it, without following links.
pub(crate) fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %e, "a task's folder cannot be removed");
        }
        _ => {}
    }
}

/// Inputs that were fetched before: tasks of one job mostly share them.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    bytes: u64,
    /// By digest: held while the file is fetched, so that it is fetched once; true when
    /// it is there.
    entries: HashMap<String, Arc<tokio::sync::Mutex<bool>>>,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        make_folder(&folder)?;
        Ok(Self {
            folder,
            state: Mutex::default(),
        })
    }

    /// The entry for a file, or `None` if the cache is full.
    fn entry(&self, input: &InputFile) -> Option<Arc<tokio::sync::Mutex<bool>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = state.entries.get(&input.sha256) {
            return Some(Arc::clone(entry));
        }
        let bytes = state.bytes.saturating_add(input.bytes);
        if bytes > CACHE_BYTES_MAX {
            return None;
        }
        state.bytes = bytes;
        Some(Arc::clone(
            state.entries.entry(input.sha256.clone()).or_default(),
        ))
    }
}

/// Why inputs are not there.
pub(crate) enum StageError {
    /// For the user.
    Failed(String),
    /// The whole session is over.
    SessionOver(String),
}

/// Makes the folder and brings all inputs of the lease into it.
pub(crate) async fn stage(
    client: &Client,
    cache: &Cache,
    lease: &Lease,
    folder: &Path,
) -> Result<(), StageError> {
    let local = |e: io::Error| StageError::Failed(format!("its folder cannot be filled: {e}"));
    make_folder(folder).map_err(local)?;
    make_folder(&folder.join(TMP)).map_err(local)?;
    let key = Key::from(lease);
    for input in &lease.payload.inputs {
        let well_named = Path::new(&input.name).components().count() == 1;
        let target = inside(folder, &input.name).map_err(StageError::Failed)?;
        let well_hashed =
            input.sha256.len() == 64 && input.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !(well_named && well_hashed) {
            let reason = format!("the input `{}` is not well described", input.name);
            return Err(StageError::Failed(reason));
        }
        if let Some(entry) = cache.entry(input) {
            let cached = cache.folder.join(&input.sha256);
            let mut there = entry.lock().await;
            if !*there {
                fetch(client, key, input, &cached).await?;
                *there = true;
            }
            drop(there);
            // A copy, not a link: a payload may write to its inputs.
            tokio::fs::copy(&cached, &target).await.map_err(local)?;
        } else {
            fetch(client, key, input, &target).await?;
        }
        let runs =
            input.executable || lease.payload.executable.trim_start_matches("./") == input.name;
        let mode = fs::Permissions::from_mode(if runs { 0o755 } else { 0o644 });
        tokio::fs::set_permissions(&target, mode)
            .await
            .map_err(local)?;
    }
    Ok(())
}

async fn fetch(
    client: &Client,
    key: Key,
    input: &InputFile,
    target: &Path,
) -> Result<(), StageError> {
    let mut damaged = String::new();
    for _ in 0..DAMAGED_TRIES {
        let fetched = persist("fetching an input", || async {
            let local = |e: io::Error| CallError::Local(format!("the file cannot be written: {e}"));
            let mut file = tokio::fs::File::create(target).await.map_err(local)?;
            let mut hash = Sha256::new();
            let bytes = client
                .input(key, &input.stored_as, input.bytes, &mut file, |piece| {
                    hash.update(piece)
                })
                .await?;
            file.flush().await.map_err(local)?;
            Ok((bytes, hex(&hash.finalize())))
        })
        .await;
        match fetched {
            Ok((bytes, _)) if bytes != input.bytes => {
                damaged = format!("{bytes} bytes came instead of {}", input.bytes);
            }
            Ok((_, sha256)) if !sha256.eq_ignore_ascii_case(&input.sha256) => {
                damaged = "its checksum is wrong".to_owned();
            }
            Ok(_) => return Ok(()),
            Err(CallError::SessionOver(reason)) => return Err(StageError::SessionOver(reason)),
            Err(error) => {
                let reason = format!("the input `{}` cannot be fetched: {error}", input.name);
                return Err(StageError::Failed(reason));
            }
        }
    }
    Err(StageError::Failed(format!(
        "the input `{}` arrived damaged: {damaged}",
        input.name
    )))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Packs the files that match `patterns` into `archive`. `Ok(false)` if there are none.
///
/// A pattern is matched against paths relative to the folder, part by part; a folder that
/// matches stands for all files in it. Links are packed as the file that they lead to, if
/// that is in the folder, and else left out, as is what is neither file nor folder.
pub(crate) fn pack(folder: &Path, patterns: &[String], archive: &Path) -> Result<bool, String> {
    let cannot = |e: io::Error| format!("the outputs cannot be packed: {e}");
    let root = folder.canonicalize().map_err(cannot)?;
    let mut found = Vec::new();
    for pattern in patterns {
        inside(folder, pattern)?;
        let parts: Vec<&str> = pattern
            .split('/')
            .filter(|p| !matches!(*p, "" | "."))
            .collect();
        let before = found.len();
        find(&root, Path::new(""), &parts, 0, &mut found).map_err(cannot)?;
        if found.len() == before {
            tracing::info!(pattern, "no file matches an output of the task");
        }
        if found.len() > OUTPUT_FILES_MAX {
            return Err(format!(
                "there are more than {OUTPUT_FILES_MAX} output files"
            ));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Ok(false);
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(archive);
    let gzip = flate2::write::GzEncoder::new(file.map_err(cannot)?, flate2::Compression::fast());
    let mut tar = tar::Builder::new(io::BufWriter::new(gzip));
    for name in found {
        let mut file = open_within(&root, &name).map_err(cannot)?;
        tar.append_file(&name, &mut file).map_err(cannot)?;
    }
    let buffered = tar.into_inner().map_err(cannot)?;
    let gzip = buffered.into_inner().map_err(|e| cannot(e.into_error()))?;
    gzip.finish().map_err(cannot)?;
    Ok(true)
}

/// Collects the regular files below `root/at` that match; all of them if `parts` is used up.
fn find(
    root: &Path,
    at: &Path,
    parts: &[&str],
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    if depth > OUTPUT_DEPTH_MAX || found.len() > OUTPUT_FILES_MAX {
        return Ok(());
    }
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = match parts.first() {
            Some(part) => matches(part.as_bytes(), name.as_encoded_bytes()),
            None => true,
        };
        // The pilot's own folder for temporary files is not the payload's work.
        if !wanted || (depth == 0 && name == TMP) {
            continue;
        }
        let rest = parts.get(1..).unwrap_or_default();
        let path = at.join(&name);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            find(root, &path, rest, depth + 1, found)?;
        } else if rest.is_empty() && parts.len() <= 1 {
            if open_within(root, &path).is_ok() {
                found.push(path);
            } else {
                tracing::warn!(file = %path.display(), "an output is no readable file of the folder");
            }
        }
    }
    Ok(())
}

/// Opens a regular file of the folder; a link only if it leads to one.
fn open_within(root: &Path, name: &Path) -> io::Result<File> {
    let real = root.join(name).canonicalize()?;
    if !real.starts_with(root) {
        return Err(io::Error::other("it leads out of the task's folder"));
    }
    // Not blocking: opening a named pipe would wait for its other end.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(real)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Whether a name matches a pattern of `*` (any text) and `?` (any one byte).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // On a mismatch the last star takes one byte more: linear in practice, and at most
    // the product of the lengths.
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else {
                    return false;
                };
                star = Some((star_p, star_n + 1));
                (p, n) = (star_p + 1, star_n + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let folder = Path::new("/w");
        assert_eq!(inside(folder, "a/b").unwrap(), Path::new("/w/a/b"));
        for name in ["", ".", "..", "/etc/passwd", "a/../../b", "../b", "a\0b"] {
            assert!(inside(folder, name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn patterns_match() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxbxxa", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    fn unpack(archive: &Path) -> Vec<(String, String)> {
        let file = flate2::read::GzDecoder::new(File::open(archive).unwrap());
        let mut tar = tar::Archive::new(file);
        let files = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            (name, io::read_to_string(&mut entry).unwrap())
        });
        files.collect()
    }

    #[test]
    fn outputs_are_packed_and_links_out_are_not() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("task");
        fs::create_dir_all(folder.join("sub/deep")).unwrap();
        fs::create_dir(folder.join(".tmp")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        for name in [
            "a.txt",
            "b.dat",
            "sub/c.txt",
            "sub/deep/d.txt",
            ".tmp/e.txt",
        ] {
            fs::write(folder.join(name), name).unwrap();
        }
        let link =
            |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        link("../secret", "out.txt");
        link("/etc/passwd", "passwd.txt");
        link("a.txt", "in.txt");
        link("..", "up");
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe.txt"), 0o600.into()).unwrap();
        let archive = outer.path().join("out.tar.gz");

        let patterns = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let pack = |list: &[&str]| pack(&folder, &patterns(list), &archive);
        assert_eq!(
            pack(&["*.txt", "sub", "a.txt", "up/secret", "no"]),
            Ok(true)
        );
        let names: Vec<_> = unpack(&archive).into_iter().collect();
        let expected = [
            ("a.txt", "a.txt"),
            ("in.txt", "a.txt"),
            ("sub/c.txt", "sub/c.txt"),
            ("sub/deep/d.txt", "sub/deep/d.txt"),
        ];
        assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(pack(&["out.txt"]), Ok(false));
        assert!(pack(&["../secret"]).is_err());
    }
}
