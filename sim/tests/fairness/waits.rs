//! Nobody starves, whoever floods the machine: under every kind a bound holds for how long a
//! task waits.

use fairway_model::{Policy, PolicyKind};
use fairway_sim::Workload;

use crate::machine::{Seen, for_seeds, standing, watch};

/// See [`Policy::wait_max_s`].
const WAIT_MAX_S: u64 = 1800;
/// No task runs longer.
const LONGEST_S: u64 = 300;
/// A clock that ticks each second notices what has waited for too long.
const TICK_S: f64 = 1.0;

/// One floods the machine from the beginning, and goes on; the other comes with one task.
fn flooded(kind: PolicyKind, cores: u32, seed: u64) -> Seen {
    let text = format!(
        "[[stream]]\nname = \"heavy\"\ntasks = 1100\ntasks_per_job = 20\n\
         arrivals = {{ kind = \"at-once\" }}\n\
         runtime = {{ kind = \"uniform\", from_s = 10, to_s = {LONGEST_S} }}\n\
         [[stream]]\nname = \"later\"\ntasks = 700\ntasks_per_job = 20\n\
         arrivals = {{ kind = \"poisson\", load = 0.7, from_s = 500 }}\n\
         runtime = {{ kind = \"uniform\", from_s = 10, to_s = {LONGEST_S} }}\n\
         [[stream]]\nname = \"light\"\ntasks = 1\ncores = [[{cores}, 1]]\n\
         arrivals = {{ kind = \"at-once\", from_s = 2500 }}\n\
         runtime = {{ kind = \"fixed\", seconds = 100 }}\n"
    );
    let workload = Workload::generated(&text, 32, seed).unwrap();
    let policy = Policy {
        kind,
        wait_max_s: Some(WAIT_MAX_S),
        ..Policy::default()
    };
    watch(&standing(1, 32, seed, None), &workload, policy)
}

/// When the light user came, in seconds.
const CAME_S: f64 = 2500.0;

/// When the light user's task was given out.
fn served_at(seen: &Seen) -> f64 {
    let mut leased = seen.leased.iter();
    leased.find(|it| it.1.as_str() == "light").unwrap().0
}

/// By arrival and by priority what came before goes before, however much it is.
fn by_arrival(kind: PolicyKind) -> bool {
    matches!(kind, PolicyKind::Fifo | PolicyKind::Maui)
}

#[test]
fn a_heavy_user_does_not_starve_a_light_one() {
    for_seeds(1, "a_heavy_user", |seed| {
        for kind in PolicyKind::ALL
            .into_iter()
            .filter(|kind| !by_arrival(*kind))
        {
            let waited = served_at(&flooded(kind, 1, seed)) - CAME_S;
            // A core is free when the next task ends.
            let bound = (WAIT_MAX_S + LONGEST_S) as f64 + TICK_S;
            assert!(waited <= bound, "{}: {waited} s", kind.name());
        }
    });
}

#[test]
fn what_came_later_does_not_go_before_where_arrival_counts() {
    for_seeds(1, "what_came_later", |seed| {
        for kind in [PolicyKind::Fifo, PolicyKind::Maui] {
            let seen = flooded(kind, 1, seed);
            let place = seen.leased.iter().position(|it| it.1.as_str() == "light");
            let before = &seen.leased[..place.unwrap()];
            let came = |job| seen.owners[job].1;
            let all_earlier = before.iter().all(|(_, _, job, _)| came(job) <= CAME_S);
            assert!(all_earlier, "{}", kind.name());
        }
    });
}

#[test]
fn small_tasks_do_not_starve_one_of_all_cores() {
    for_seeds(1, "small_tasks", |seed| {
        for kind in PolicyKind::ALL {
            let seen = flooded(kind, 32, seed);
            let at = served_at(&seen);
            // By arrival and by priority it is the turn of what came before, however long that
            // takes; then that of this one.
            let before = seen
                .leased
                .iter()
                .filter(|it| seen.owners[&it.2].1 <= CAME_S);
            let before = before.filter(|it| it.1.as_str() != "light").map(|it| it.0);
            let turn = if by_arrival(kind) {
                before.fold(CAME_S, f64::max)
            } else {
                CAME_S + WAIT_MAX_S as f64
            };
            let bound = turn + LONGEST_S as f64 + TICK_S;
            assert!(at <= bound, "{}: at {at} s, not by {bound} s", kind.name());
        }
    });
}
