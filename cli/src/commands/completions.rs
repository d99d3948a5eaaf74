//! `fairway completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Fairway;
use crate::exit::Failure;
use crate::screen;

/// Print a script that completes commands in a shell
///
/// For bash: fairway completions bash > ~/.local/share/bash-completion/completions/fairway
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Fairway::command(), "fairway", &mut script);
        screen::write_raw(&script)
    }
}
