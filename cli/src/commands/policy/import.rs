//! `fairway policy import`

use std::path::PathBuf;

use serde_json::json;

use super::Because;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen::Format;

/// Put a policy file in force (operators)
///
/// If the file was exported and the policy was changed since, it is refused: the changes
/// meanwhile would be lost. Export it again, or give --force.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Policy file (TOML or JSON); `-` is standard input
    file: PathBuf,
    /// Also if the policy was changed since the file was exported
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Import {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let document = super::document::read(&self.file)?;
        let client = self.connect.client()?;
        let before = client.versioned_policy().await?;
        let from = document.version.unwrap_or(before.version);
        let from = (!self.force).then_some(from.as_str());
        let reason = self.because.reason();
        let version = client
            .change_policy(&document.policy, from, &reason)
            .await?;
        let changes = before.policy.changes(&document.policy);
        let result = json!({ "version": version, "changes": changes });
        self.format
            .show(&result, || render::policy::changes(&changes))
    }
}
