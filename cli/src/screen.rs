//! Where words go: results to stdout, remarks to stderr. Colours are taken out
//! where the other side is no terminal, or `NO_COLOR` is set.

use std::io::Write as _;

use serde::Serialize;

use crate::exit::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Format {
    /// Write JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

impl Format {
    /// Writes a result: as JSON, or as what `text` makes of it.
    pub(crate) fn show<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            write_json(value)
        } else {
            write(&text())
        }
    }
}

/// Writes a result as JSON.
pub(crate) fn write_json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Local(format!("cannot write JSON: {error}")))?;
    write(&format!("{json}\n"))
}

/// Writes text to stdout, as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes bytes to stdout, unchanged: a payload's output belongs to its author.
pub(crate) fn write_raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes bytes to stderr, unchanged.
pub(crate) fn write_raw_stderr(bytes: &[u8]) {
    // Where stderr is closed there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// Says something beside the result, on stderr.
pub(crate) fn remark(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}
