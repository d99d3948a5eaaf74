//! Kinds that go by turns or by arrival, held against the order in which tasks were given out.

use std::collections::BTreeMap;

use fairway_model::{Policy, PolicyKind};
use fairway_sim::Workload;

use crate::machine::{Draw, Seen, for_seeds, standing, watch};

const GROUPS: u64 = 4;

/// Ten users with unequal numbers of tasks; user `a1x2` is the second of group `a1`.
fn seen(kind: PolicyKind, arrivals: &str, seed: u64) -> Seen {
    let mut draw = Draw(seed);
    let stream = |n: u64| {
        let (group, tasks) = (draw.below(GROUPS), 5 + draw.below(60));
        format!(
            "[[stream]]\nname = \"a{group}x{n}\"\ngroup = \"a{group}\"\ntasks = {tasks}\n\
             tasks_per_job = 5\narrivals = {arrivals}\nwalltime_factor = 100\n\
             runtime = {{ kind = \"pareto\", min_s = 20, alpha = 1.3, max_s = 600 }}\n"
        )
    };
    let text: String = (0..10).map(stream).collect();
    let workload = Workload::generated(&text, 12, seed).unwrap();
    let policy = Policy {
        kind,
        ..Policy::default()
    };
    watch(&standing(3, 4, seed, None), &workload, policy)
}

/// Whoever is served had no more than any other that still has work. Everybody's numbers are
/// then the same within one, as long as they have work.
fn in_turn(names: &[String]) {
    let mut left: BTreeMap<&str, u32> = BTreeMap::new();
    for name in names {
        *left.entry(name).or_default() += 1;
    }
    let mut had: BTreeMap<&str, u32> = left.keys().map(|name| (*name, 0)).collect();
    for (place, name) in names.iter().enumerate() {
        let with_work = left.iter().filter(|(_, left)| **left > 0);
        let least = with_work.map(|(name, _)| had[name]).min().unwrap();
        assert_eq!(had[name.as_str()], least, "{name} at {place} in {had:?}");
        *had.get_mut(name.as_str()).unwrap() += 1;
        *left.get_mut(name.as_str()).unwrap() -= 1;
    }
}

fn group_of(user: &str) -> &str {
    user.split('x').next().unwrap()
}

#[test]
fn users_in_turn_have_the_same_number_of_tasks() {
    for_seeds(4, "users_in_turn", |seed| {
        let seen = seen(PolicyKind::RoundRobin, "{ kind = \"at-once\" }", seed);
        let users: Vec<String> = seen.leased.iter().map(|it| it.1.to_string()).collect();
        assert!(users.len() > 100);
        in_turn(&users);
    });
}

#[test]
fn groups_in_turn_have_the_same_number_of_tasks_and_so_have_their_users() {
    for_seeds(4, "groups_in_turn", |seed| {
        let seen = seen(PolicyKind::RoundRobinGroups, "{ kind = \"at-once\" }", seed);
        let users: Vec<String> = seen.leased.iter().map(|it| it.1.to_string()).collect();
        let groups: Vec<String> = users.iter().map(|it| group_of(it).to_owned()).collect();
        in_turn(&groups);
        for group in 0..GROUPS {
            let of = |user: &&String| group_of(user) == format!("a{group}");
            in_turn(&users.iter().filter(of).cloned().collect::<Vec<_>>());
        }
    });
}

#[test]
fn by_arrival_tasks_start_in_just_that_order() {
    for_seeds(4, "by_arrival", |seed| {
        let arrivals = "{ kind = \"poisson\", load = 0.3 }";
        let seen = seen(PolicyKind::Fifo, arrivals, seed);
        let order: Vec<_> = seen.leased.iter().map(|it| (it.2, it.3)).collect();
        assert!(order.len() > 100);
        assert!(order.is_sorted(), "{order:?}");
    });
}
