//! Credentials of a site, read where they are kept each time that they are needed: a token that
//! was renewed is the one that is used.

use fairway_model::SecretRef;

use crate::AdapterError;

/// A secret is not longer than this, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// The secret without the blanks around it. Neither it nor a part of it is in an error.
///
/// # Errors
/// `Unreachable` if it cannot be read now: without it nobody is asked anything.
pub(crate) fn read(reference: &SecretRef) -> Result<String, AdapterError> {
    let cannot = |what: String, why: String| {
        AdapterError::Unreachable(format!("the secret in {what} cannot be read: {why}"))
    };
    let (what, text) = match reference {
        SecretRef::Env(name) => {
            let text = std::env::var(name);
            let what = format!("the variable {name}");
            (
                what,
                text.map_err(|_| "it is not set, or not UTF-8".to_owned()),
            )
        }
        SecretRef::File(path) => (format!("the file {path}"), read_file(path)),
    };
    let text = text.map_err(|why| cannot(what.clone(), why))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(cannot(what, "it is empty".to_owned()));
    }
    Ok(text.to_owned())
}

fn read_file(path: &str) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if length.len() > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
