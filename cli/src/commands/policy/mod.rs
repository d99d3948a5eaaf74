//! `fairway policy`

mod diff;
mod document;
mod history;
mod import;
mod pause;
mod set;

use fairway_api::public::PolicyReason;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Show or change who is served next, and within which bounds
///
/// The whole of it is one document: export it, edit it, see what would follow (`diff`), and put
/// it in force (`import`). docs/policies.md explains what may stand in it.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    Show(Show),
    Export(document::Export),
    Check(document::Check),
    Diff(diff::Diff),
    Import(import::Import),
    Set(set::Set),
    Pause(pause::Pause),
    Resume(pause::Resume),
    History(history::History),
}

/// Show the policy in force
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Why a change is made.
#[derive(Debug, clap::Args)]
struct Because {
    /// Why, for the record (`fairway policy history`)
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

impl Because {
    fn reason(self) -> PolicyReason {
        PolicyReason {
            because: self.because,
        }
    }
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(show) => {
                let policy = show.connect.client()?.policy().await?;
                show.format.show(&policy, || render::policy::whole(&policy))
            }
            Self::Export(export) => export.run().await,
            Self::Check(check) => check.run(),
            Self::Diff(diff) => diff.run().await,
            Self::Import(import) => import.run().await,
            Self::Set(set) => set.run().await,
            Self::Pause(pause) => pause.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::History(history) => history.run().await,
        }
    }
}
