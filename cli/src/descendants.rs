//! The processes that `run` starts through the site adapter. A pilot detaches itself
//! so as to outlive its server, which here would leave it behind: this program
//! adopts what is detached, and ends only after the last of it.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use tokio::time::Instant;

use crate::exit::Failure;

/// Pause between two looks; what is waited for is about to end.
const PAUSE: Duration = Duration::from_millis(5);

/// Makes detached descendants children of this process from now on.
pub(crate) fn adopt() -> Result<(), Failure> {
    set_child_subreaper(Some(getpid()))
        .map_err(|error| Failure::Local(format!("cannot adopt processes: {error}")))
}

/// Waits until this process has no children any more; false if that takes longer than
/// `patience`. To be called when nobody else waits for children.
pub(crate) async fn gone(patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        match wait(WaitOptions::NOHANG) {
            // One has ended; there may be more.
            Ok(Some(_)) => continue,
            Err(Errno::CHILD) => return true,
            Ok(None) | Err(_) if Instant::now() >= until => return false,
            Ok(None) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
