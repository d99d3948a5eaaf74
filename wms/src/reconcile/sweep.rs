//! Removes sandboxes that belong to no job: those of submissions that a crash
//! interrupted between the upload and the job.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;

/// Rare: what is swept is what crashes leave behind.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        match shared.around.store.sandboxes().await {
            Ok(known) => {
                if let Err(error) = shared.around.files.collect_garbage(&known).await {
                    tracing::warn!(%error, "sandboxes could not be swept");
                }
            }
            Err(error) => tracing::warn!(%error, "sandboxes are not swept this time"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
