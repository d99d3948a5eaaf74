//! The agent of a site that lets nobody in. It runs on the site's front end, calls the server
//! over HTTPS, and does there what the server's own adapters do elsewhere: submits pilots, and
//! tells of them and of the site. The server sees no difference.
//!
//! The way through: [`Agent`] keeps the exchange with the server going (`fairway_api::agent`),
//! `ledger` remembers which requests were seen, `execute` carries them out on the batch system,
//! and `description` holds what the site's own file says.
//!
//! # What is trusted
//!
//! The server can have pilots submitted to the CEs of the agent's file, under the accounts of
//! that file, and jobs of the agent's own account told of and ended. How that is done (queue,
//! account, options, commands, paths, credentials) is in the file alone and never leaves the
//! site; requests for a CE or an account that the file does not have are refused. What a
//! pilot runs is the server's: the bootstrap document always, and the pilot program where the
//! CE has no `pilot_program`.
//!
//! # Failures
//!
//! - *The server is away*: requests under way are finished, their replies kept, and the server
//!   is called again, less and less often, until it is back.
//! - *The agent ends*: requests under way are finished first, for a moment. Nothing needs to be
//!   remembered: what runs is found in the batch system by its name.
//! - *Two agents*: the newer one's first exchange ends the older one's session. A request is
//!   given to one of them only.
//! - *Something is said twice*: a request is known by its id and executed once.
//! - *A request comes late*: it says for how long it is of use, and is not begun after that.

mod agent;
mod description;
mod execute;
mod ledger;

use std::path::PathBuf;
use std::sync::Arc;

use fairway_api::client::ClientError;
use fairway_model::Site;
use fairway_site_adapters::{AdapterError, BatchSystem};

pub use agent::Agent;

/// Makes the connection to the batch system that a site's file describes.
pub type Connect = Box<dyn Fn(&Site) -> Result<Arc<dyn BatchSystem>, AdapterError> + Send + Sync>;

/// The site adapters. They may keep things in `state_dir`, in a folder for each site.
pub fn adapters(state_dir: PathBuf) -> Connect {
    Box::new(move |site| {
        let folder = state_dir.join(site.name.as_str());
        fairway_site_adapters::connect(&site.name, &site.adapter, &folder)
    })
}

/// Why an agent does not start, or ends otherwise than by order.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The site's description is none that an agent can serve.
    #[error("{0}")]
    Description(String),
    /// The batch system's adapter cannot be made.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The server refused the agent, and would again.
    #[error(transparent)]
    Refused(ClientError),
}
