//! `fairway jdl fmt`

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::screen;
use crate::submission::{listed, read_text};

/// Lay job descriptions out in one style; comments and spellings stay
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files are written anew where their layout differs. Standard input goes to standard output.")]
pub(crate) struct Fmt {
    /// JDL files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; name the files whose layout differs, and exit with 1 if there are any
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut differ = 0_u64;
        for file in &self.files {
            let text = read_text(file)?;
            let laid_out = fairway_jdl::syntax::format(&text).map_err(|diagnostics| {
                Failure::Refused(listed(file, "a valid job description", &diagnostics))
            })?;
            let is_stdin = file == Path::new("-");
            if is_stdin && !self.check {
                screen::write(&laid_out)?;
            } else if text != laid_out {
                differ += 1;
                if self.check {
                    screen::write(&format!("{}\n", file.display()))?;
                } else {
                    write_anew(file, &laid_out)?;
                }
            }
        }
        if self.check && differ > 0 {
            let files = crate::render::words::count(differ, "file");
            return Err(Failure::Unsuccessful(format!(
                "{files} would be laid out otherwise: run `fairway jdl fmt` on them"
            )));
        }
        Ok(())
    }
}

/// Puts the text in the file's place in one step: a full disk leaves the old text.
fn write_anew(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file("write", file, &error);
    // A link stays one, and what it leads to is written.
    let target = std::fs::canonicalize(file).map_err(failed)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut new, text.as_bytes()).map_err(failed)?;
    let permissions = std::fs::metadata(&target).map_err(failed)?.permissions();
    new.as_file().set_permissions(permissions).map_err(failed)?;
    new.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}
