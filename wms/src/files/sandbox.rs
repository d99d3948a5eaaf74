//! Input sandboxes: the files that came with a submission.
//!
//! `sandboxes/<key>/files/<name>` (see [`FileName::of_path`]) beside `sandboxes/<key>/manifest.json`, which
//! is written last: a folder without a manifest is an unfinished submission.
//! A sandbox that no job came to own is removed by the submission that made it,
//! or, should the server have died in between, by [`Files::collect_garbage`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairway_model::Timestamp;
use futures::{Stream, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Files, FilesError, Object, lock};
use crate::auth::{hex, new_key};
use crate::engine::wall_clock;

const FOLDER: &str = "sandboxes";
const MANIFEST: &str = "manifest.json";

/// An unowned sandbox is garbage only at this age: a younger one may belong to a
/// submission that is under way.
const ORPHAN_AGE_MIN: Duration = Duration::from_secs(24 * 3600);

/// Most manifests kept in memory.
const MANIFESTS_MAX: usize = 1024;

/// Longest file name, in bytes: what file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// The name of a file in a folder: one path component that cannot lead out of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// The name that a sandbox keeps the file under which a JDL names by this path: the path
    /// itself if it is one component, else its SHA-256 (hex), so that files of equal base names
    /// in different folders stay different files.
    ///
    /// # Errors
    /// [`FilesError::BadName`] if the last component is not a file's name.
    pub fn of_path(path: &str) -> Result<Self, FilesError> {
        let base = path.rsplit('/').next().unwrap_or(path);
        let base: Self = base.parse()?;
        if base.0 == path {
            return Ok(base);
        }
        Ok(Self(hex(&Sha256::digest(path))))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for FileName {
    type Err = FilesError;

    fn from_str(text: &str) -> Result<Self, FilesError> {
        let because = if text.is_empty() {
            "it is empty"
        } else if text == "." || text == ".." {
            "it means a folder"
        } else if text.contains(['/', '\\']) {
            "it would leave the sandbox's folder"
        } else if text.chars().any(char::is_control) {
            "it contains control characters"
        } else if text.len() > NAME_BYTES_MAX {
            "it is longer than 255 bytes"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(FilesError::BadName {
            name: shown(text),
            because,
        })
    }
}

/// The beginning of a name, for a message.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    short.escape_debug().to_string()
}

/// A file of a sandbox, as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// The [`FileName`] that it is kept under.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// How large an input sandbox may be.
#[derive(Clone, Copy, Debug)]
pub struct SandboxLimits {
    /// All its files together, in bytes.
    pub bytes_max: u64,
    /// How many files.
    pub files_max: usize,
}

/// An input sandbox that is being received. Removed again unless it is [sealed](Self::seal).
pub struct NewSandbox {
    files: Files,
    key: String,
    limits: SandboxLimits,
    bytes: u64,
    manifest: Vec<StoredFile>,
    sealed: bool,
}

impl NewSandbox {
    /// Adds the file that the JDL names by `path`, from what arrives of it.
    ///
    /// # Errors
    /// See [`FilesError`]; the sandbox is of no use after one.
    pub async fn add(
        &mut self,
        path: &str,
        executable: bool,
        content: impl Stream<Item = Result<Bytes, FilesError>>,
    ) -> Result<(), FilesError> {
        if self.manifest.len() >= self.limits.files_max {
            return Err(FilesError::TooMany {
                limit: self.limits.files_max,
            });
        }
        let name = FileName::of_path(path)?;
        if self.manifest.iter().any(|file| file.name == name.as_str()) {
            return Err(FilesError::BadName {
                name: shown(path),
                because: "there is another file of that name",
            });
        }
        let mut checksum = Sha256::new();
        let bytes = self
            .files
            .write(
                file_path(&self.key, name.as_str()),
                content,
                self.limits.bytes_max - self.bytes,
                |chunk| checksum.update(chunk),
            )
            .await
            .map_err(|error| match error {
                FilesError::TooLarge { .. } => FilesError::TooLarge {
                    limit: self.limits.bytes_max,
                },
                other => other,
            })?;
        self.bytes += bytes;
        self.manifest.push(StoredFile {
            name: name.as_str().to_owned(),
            bytes,
            sha256: hex(&checksum.finalize()),
            executable,
        });
        Ok(())
    }

    /// What has been added.
    pub fn manifest(&self) -> &[StoredFile] {
        &self.manifest
    }

    /// Makes the sandbox complete and durable and returns its key. From here on it is the
    /// caller's to [remove](Files::remove_sandbox), as long as no job owns it.
    ///
    /// # Errors
    /// [`FilesError::Storage`]
    pub async fn seal(mut self) -> Result<String, FilesError> {
        let manifest = serde_json::to_vec(&self.manifest)
            .map_err(|error| FilesError::Storage(error.to_string()))?;
        let path = sandbox_path(&self.key).join(MANIFEST);
        self.files.0.objects.put(&path, manifest.into()).await?;
        self.sealed = true;
        Ok(self.key.clone())
    }
}

impl Drop for NewSandbox {
    fn drop(&mut self) {
        if self.sealed || self.manifest.is_empty() {
            return;
        }
        let (files, key) = (self.files.clone(), std::mem::take(&mut self.key));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { files.remove_sandbox(&key).await });
        }
    }
}

impl Files {
    /// Begins an input sandbox.
    pub fn new_sandbox(&self, limits: SandboxLimits) -> NewSandbox {
        NewSandbox {
            files: self.clone(),
            key: new_key(),
            limits,
            bytes: 0,
            manifest: Vec::new(),
            sealed: false,
        }
    }

    /// The files of a sandbox.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], [`FilesError::Storage`]
    pub async fn sandbox_manifest(&self, key: &str) -> Result<Arc<[StoredFile]>, FilesError> {
        if let Some(manifest) = lock(&self.0.manifests).get(key) {
            return Ok(manifest.clone());
        }
        let bytes = self
            .0
            .objects
            .get(&sandbox_path(key).join(MANIFEST))
            .await?
            .bytes()
            .await?;
        let manifest: Arc<[StoredFile]> = serde_json::from_slice(&bytes)
            .map_err(|error| FilesError::Storage(format!("manifest of sandbox {key}: {error}")))?;
        let mut manifests = lock(&self.0.manifests);
        if manifests.len() >= MANIFESTS_MAX {
            manifests.clear();
        }
        manifests.insert(key.to_owned(), manifest.clone());
        Ok(manifest)
    }

    /// Opens one file of a sandbox.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], [`FilesError::Storage`]
    pub async fn open_input(&self, key: &str, name: &FileName) -> Result<Object, FilesError> {
        self.read(&file_path(key, name.as_str())).await
    }

    /// Removes a sandbox that no job owns. What cannot be removed is logged and left to
    /// [`collect_garbage`](Self::collect_garbage).
    pub async fn remove_sandbox(&self, key: &str) {
        lock(&self.0.manifests).remove(key);
        if let Err(error) = self.remove_all(&sandbox_path(key)).await {
            tracing::warn!(sandbox = key, %error, "a sandbox could not be removed");
        }
    }

    /// Removes every sandbox whose key is not among `known` (those that jobs own) and that is
    /// a day old. Returns how many were removed.
    ///
    /// # Errors
    /// [`FilesError::Storage`]
    pub async fn collect_garbage(&self, known: &[String]) -> Result<u32, FilesError> {
        self.collect_garbage_at(known, wall_clock()).await
    }

    async fn collect_garbage_at(
        &self,
        known: &[String],
        now: Timestamp,
    ) -> Result<u32, FilesError> {
        let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
        let folders = self
            .0
            .objects
            .list_with_delimiter(Some(&Path::from(FOLDER)))
            .await?
            .common_prefixes;
        let mut removed = 0;
        for folder in folders {
            if folder.filename().is_some_and(|key| known.contains(key)) {
                continue;
            }
            let changed_ms = self
                .0
                .objects
                .list(Some(&folder))
                .map_ok(|object| object.last_modified.timestamp_millis())
                .try_fold(i64::MIN, |newest, at| async move { Ok(newest.max(at)) })
                .await?;
            if now.since(Timestamp(changed_ms)) >= ORPHAN_AGE_MIN {
                self.remove_all(&folder).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn remove_all(&self, folder: &Path) -> Result<(), FilesError> {
        let objects: Vec<_> = self.0.objects.list(Some(folder)).try_collect().await?;
        for object in objects {
            match self.0.objects.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn sandbox_path(key: &str) -> Path {
    Path::from_iter([FOLDER, key])
}

fn file_path(key: &str, name: &str) -> Path {
    Path::from_iter([FOLDER, key, "files", name])
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    const LIMITS: SandboxLimits = SandboxLimits {
        bytes_max: 10,
        files_max: 2,
    };

    fn content(text: &'static str) -> impl Stream<Item = Result<Bytes, FilesError>> {
        stream::iter([Ok(Bytes::from_static(text.as_bytes()))])
    }

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for text in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "a\0b",
            "a\nb",
        ] {
            assert!(text.parse::<FileName>().is_err(), "{text:?}");
        }
        assert!("x".repeat(256).parse::<FileName>().is_err());
        for text in ["a", "..a", ".profile", "a b", "é#%~.txt"] {
            assert!(text.parse::<FileName>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn equal_base_names_in_two_folders_are_two_names() {
        let of = |path: &str| FileName::of_path(path).unwrap();
        assert_eq!(of("in.txt").as_str(), "in.txt");
        assert_ne!(of("a/in.txt"), of("b/in.txt"));
        assert_eq!(of("a/in.txt"), of("a/in.txt"));
        assert!(FileName::of_path("a/..").is_err());
        assert!(FileName::of_path("a/").is_err());
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let mut sandbox = files.new_sandbox(LIMITS);
        sandbox.add("é#%~.txt", true, content("abc")).await.unwrap();
        sandbox
            .add("manifest.json", false, content(""))
            .await
            .unwrap();
        let key = sandbox.seal().await.unwrap();

        let manifest = files.sandbox_manifest(&key).await.unwrap();
        assert_eq!(manifest[0].bytes, 3);
        assert_eq!(
            manifest[0].sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(manifest[0].executable && !manifest[1].executable);
        let object = files.open_input(&key, &name("é#%~.txt")).await.unwrap();
        let chunks: Vec<Bytes> = object.content.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"abc");
    }

    #[tokio::test]
    async fn limits_hold() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let mut sandbox = files.new_sandbox(LIMITS);
        sandbox.add("a", false, content("12345678")).await.unwrap();
        let error = sandbox.add("b", false, content("123")).await.unwrap_err();
        assert!(
            matches!(error, FilesError::TooLarge { limit: 10 }),
            "{error}"
        );
        let error = sandbox.add("a", false, content("")).await.unwrap_err();
        assert!(matches!(error, FilesError::BadName { .. }), "{error}");
        sandbox.add("b", false, content("12")).await.unwrap();
        let error = sandbox.add("c", false, content("")).await.unwrap_err();
        assert!(matches!(error, FilesError::TooMany { limit: 2 }), "{error}");
    }

    #[tokio::test]
    async fn only_old_orphans_are_garbage() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let mut keys = Vec::new();
        for _ in 0..2 {
            let mut sandbox = files.new_sandbox(LIMITS);
            sandbox.add("a", false, content("x")).await.unwrap();
            keys.push(sandbox.seal().await.unwrap());
        }
        let known = [keys[0].clone()];
        assert_eq!(files.collect_garbage(&known).await.unwrap(), 0);
        let in_two_days = wall_clock().plus(Duration::from_secs(2 * 86_400));
        assert_eq!(
            files.collect_garbage_at(&known, in_two_days).await.unwrap(),
            1
        );
        assert!(files.open_input(&keys[0], &name("a")).await.is_ok());
        assert!(matches!(
            files.open_input(&keys[1], &name("a")).await,
            Err(FilesError::NotFound)
        ));
        assert!(!dir.path().join("sandboxes").join(&keys[1]).exists());
    }
}
