//! The server of Fairway.
//!
//! - [`config`]: every setting, from file, environment and flags.
//! - [`store`]: what is durable: group commit, queries, SQLite and PostgreSQL.
//! - [`engine`]: the single writer: one loop over `fairway_sched::State`.
//! - [`reconcile`]: background work that brings the world in line with the state.
//! - [`http`]: the REST API and the pilots' protocol.
//! - [`auth`]: tokens, and who may do what.
//! - [`files`]: input sandboxes, outputs and logs on disk.
//! - `site_rules`: whether a site's description makes sense, and who may write what in it.
//! - `foresight`: forecasts and simulations from copies of the state.
//! - [`server`]: all of it put together, started and stopped.

pub mod auth;
pub mod config;
pub mod engine;
pub mod files;
mod foresight;
pub mod http;
pub mod reconcile;
pub mod server;
mod site_rules;
pub mod store;
pub mod telemetry;
