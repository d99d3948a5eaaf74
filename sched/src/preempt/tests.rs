use fairway_model::JobId;
use fairway_model::policy::Qos;
use proptest::prelude::*;

use super::*;

fn cores(cores: u32) -> Resources {
    Resources {
        cores,
        ..Resources::default()
    }
}

fn candidate(index: u32, tier: i32, wide: u32, lost_core_ms: u64) -> Candidate {
    Candidate {
        task: TaskId::new(JobId(1), index),
        tier,
        frees: cores(wide),
        lost_core_ms,
    }
}

/// The indices of those who are chosen.
fn chosen(free: u32, demand: u32, candidates: &[Candidate]) -> Option<Vec<u32>> {
    let victims = cheapest(cores(free), cores(demand), candidates)?;
    Some(victims.tasks().iter().map(|task| task.index).collect())
}

#[test]
fn one_wide_task_may_be_cheaper_than_many_narrow_ones() {
    let narrow = |i| candidate(i, 0, 1, 10);
    let all = [
        narrow(0),
        narrow(1),
        narrow(2),
        narrow(3),
        candidate(4, 0, 4, 35),
    ];
    assert_eq!(chosen(0, 4, &all), Some(vec![4]));
    assert_eq!(chosen(1, 4, &all), Some(vec![0, 1, 2]));
    assert_eq!(chosen(4, 4, &all), Some(vec![]));
    assert_eq!(chosen(0, 9, &all), None);
}

#[test]
fn a_higher_tier_is_spared_whatever_the_lower_one_costs() {
    let all = [
        candidate(0, 1, 2, 1),
        candidate(1, 0, 1, 500),
        candidate(2, 0, 1, 500),
    ];
    assert_eq!(chosen(0, 2, &all), Some(vec![1, 2]));
    // Of the lower tier alone there is not enough: then the fewest core-seconds decide.
    assert_eq!(chosen(0, 3, &all), Some(vec![0, 1]));
}

#[test]
fn equal_ones_by_their_ids() {
    let all = [
        candidate(2, 0, 1, 5),
        candidate(0, 0, 1, 5),
        candidate(1, 0, 1, 5),
    ];
    assert_eq!(chosen(0, 1, &all), Some(vec![0]));
}

#[test]
fn what_frees_no_memory_does_not_help_who_needs_it() {
    let with_memory = |memory_mib| Resources {
        memory_mib,
        ..cores(1)
    };
    let mut all = [candidate(0, 0, 1, 0), candidate(1, 0, 1, 99)];
    all[1].frees = with_memory(100);
    let victims = cheapest(cores(0), with_memory(100), &all).unwrap();
    assert_eq!(victims.tasks(), [all[1].task]);
}

#[test]
fn tiers_and_names_decide_who_goes_before_whom() {
    let named = |name: &str, tier, preempts: &[&str]| Qos {
        name: name.to_owned(),
        tier,
        preempts: preempts.iter().map(|&name| name.to_owned()).collect(),
        ..Qos::default()
    };
    let policy = Policy {
        qos: vec![
            named("high", 1, &[]),
            named("pushy", 0, &["", "pushy"]),
            named("low", -1, &["high"]),
        ],
        ..Policy::default()
    };
    let rank = |qos: &'static str| Rank {
        tier: policy.qos_named(qos).map_or(0, |qos| qos.tier),
        qos,
    };
    let before = |a, b| rank(a).goes_before(&policy, rank(b));
    assert!(before("high", "") && before("high", "pushy") && before("", "low"));
    assert!(before("pushy", "") && before("low", "high"));
    assert!(!before("", "pushy") && !before("", "") && !before("pushy", "pushy"));
    assert!(
        !before("unknown", ""),
        "one that no policy names is like none"
    );
}

proptest! {
    /// Against all sets, which are few enough to be looked at.
    #[test]
    fn no_other_set_is_better(
        all in prop::collection::vec((0..2_i32, 1..4_u32, 0..6_u64), 0..8),
        free in 0..3_u32,
        demand in 1..10_u32,
    ) {
        let all: Vec<Candidate> = (0..)
            .zip(&all)
            .map(|(index, (tier, wide, lost))| candidate(index, *tier, *wide, *lost))
            .collect();
        let room = |set: &[Candidate]| cores(free).plus(sum(set)).holds(cores(demand));
        let set = |bits: u32| -> Vec<Candidate> {
            let chosen = (0..).zip(&all).filter(|(place, _)| bits & (1 << place) != 0);
            chosen.map(|(_, candidate)| *candidate).collect()
        };
        let sets = (0..1_u32 << all.len()).map(set);
        let best = sets.filter(|set| room(set)).map(|set| Victims::of(&set).cost).min();
        let found = cheapest(cores(free), cores(demand), &all).map(|victims| victims.cost);
        prop_assert_eq!(found, best);
    }
}
