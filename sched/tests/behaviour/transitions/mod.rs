//! What each command does to tasks, pilots and sites.

mod ends;
mod jobs;
mod leases;
mod pilots;

use fairway_model::PolicyKind;

use crate::world::World;

fn world() -> World {
    World::new(PolicyKind::Fairshare, &["short"])
}
