use fairway_jdl::{JobSpec, Needs};
use fairway_model::policy::Share;
use fairway_model::{Metric, PolicyKind, Resources};

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn needs() -> Arc<Needs> {
    let (spec, _) = JobSpec::read("[ Executable = \"/bin/true\" ]").unwrap();
    spec.needs(0)
}

/// Books with accounts of users without a group.
struct Books {
    shares: Shares,
    needs: Arc<Needs>,
}

impl Books {
    fn new(policy: Policy) -> Self {
        Self {
            shares: Shares::new(policy, Timestamp(0)),
            needs: needs(),
        }
    }

    fn account(&mut self, name: &str) -> AccountId {
        self.shares.account(&name.parse().unwrap(), None)
    }

    fn charge(&mut self, name: &str, used: Used) {
        let account = self.account(name);
        let needs = self.needs.clone();
        self.shares.charge(Charge {
            account,
            needs: &needs,
            used,
        });
    }

    fn fs(&mut self, name: &str) -> f64 {
        let account = self.account(name);
        self.shares.worth(self.shares.books(account).node)
    }

    fn key(&mut self, name: &str) -> Key {
        let account = self.account(name);
        self.shares.key(self.shares.books(account).node)
    }
}

fn cores(cores: u32) -> Resources {
    Resources {
        cores,
        ..Resources::default()
    }
}

fn core_hours(hours: u64) -> Used {
    Used {
        core_ms: hours * 3_600_000,
        ..Used::default()
    }
}

/// The mission's setting: Duration 1 h, Max_depth 5, Decay_rate 0.85.
#[test]
fn the_formula_worked_by_hand() {
    let mut books = Books::new(Policy::default());
    // Alice: 10 in each of the hours 0 to 5. Bob: 40 in hour 0 only, 8 in hour 5.
    for hour in 0..=5 {
        books.shares.rotate(Timestamp(hour * HOUR_MS + 1));
        books.charge("alice", Used::tasks(10));
        if hour == 0 {
            books.charge("bob", Used::tasks(40));
        }
    }
    books.charge("bob", Used::tasks(8));
    // Hour 5 is interval 0, hour 0 would be interval 5 and does not count any more:
    // alice 10 * (1 + 0.85 + 0.7225 + 0.614125 + 0.52200625) = 37.0863125, bob 8.
    assert!((books.fs("alice") - 37.086_312_5).abs() < 1e-12);
    assert!((books.fs("bob") - 8.0).abs() < 1e-12);
    assert!(books.key("bob") < books.key("alice"));
    // One hour on, with nothing executed: 10 * (0.85 + … + 0.52200625) and 8 * 0.85.
    books.shares.rotate(Timestamp(6 * HOUR_MS));
    assert!((books.fs("alice") - 27.086_312_5).abs() < 1e-12);
    assert!((books.fs("bob") - 6.8).abs() < 1e-12);
    // Five hours later nothing counts.
    books.shares.rotate(Timestamp(11 * HOUR_MS));
    assert!(books.fs("alice") == 0.0 && books.fs("bob") == 0.0);
}

#[test]
fn each_metric_counts_something_else() {
    let used = Used {
        tasks_started: 1,
        core_ms: 2000,
        cpu_ms: 1500,
        normalised_ms: 3000,
        memory_gib_ms: 16_000,
        gpu_ms: 1000,
    };
    // With a GiB at a quarter of a core and a GPU at 16.
    let expected = [1.0, 2.0, 1.5, 3.0, 2.0 + 4.0 + 16.0, 16.0];
    for (metric, expected) in Metric::ALL.into_iter().zip(expected) {
        let mut policy = Policy::default();
        policy.usage.metric = metric;
        let mut books = Books::new(policy);
        books.charge("alice", used);
        assert_eq!(books.fs("alice"), expected, "{metric:?}");
    }
}

#[test]
fn a_clock_going_backwards_changes_nothing() {
    let mut shares = Shares::new(Policy::default(), Timestamp(5 * HOUR_MS));
    assert!(!shares.rotate(Timestamp(4 * HOUR_MS)));
    assert_eq!(shares.current(), Timestamp(5 * HOUR_MS));
}

#[test]
fn old_intervals_count_as_the_new_ones_that_they_began_in() {
    let mut policy = Policy::default();
    policy.fairshare.duration_s = 1800;
    let mut books = Books::new(policy.clone());
    books.charge("alice", Used::tasks(1));
    books.shares.rotate(Timestamp(HOUR_MS / 2));
    books.charge("alice", Used::tasks(2));
    books.shares.rotate(Timestamp(HOUR_MS));
    policy.fairshare.duration_s = 3600;
    books.shares.set_policy(policy, Timestamp(HOUR_MS));
    assert!((books.fs("alice") - 0.85 * 3.0).abs() < 1e-12);
}

#[test]
fn half_of_the_weight_is_left_after_a_half_life() {
    let mut policy = Policy {
        kind: PolicyKind::FairTree,
        ..Policy::default()
    };
    policy.usage.metric = Metric::CoreSeconds;
    policy.half_life.half_life_s = 24 * 3600;
    let mut books = Books::new(policy);
    books.charge("alice", core_hours(2));
    books.shares.rotate(Timestamp(24 * HOUR_MS));
    assert!((books.fs("alice") - 3600.0).abs() < 1e-9);
    // After ten of them nothing counts.
    books.shares.rotate(Timestamp(241 * HOUR_MS));
    assert_eq!(books.fs("alice"), 0.0);
}

#[test]
fn larger_shares_may_use_more() {
    let share = |path: &str, share| Share {
        path: path.into(),
        share,
        user: true,
    };
    for kind in [
        PolicyKind::Fairshare,
        PolicyKind::FairTree,
        PolicyKind::HalfLife,
        PolicyKind::UserPriority,
    ] {
        let mut policy = Policy {
            kind,
            shares: vec![share("alice", 3.0), share("bob", 1.0)],
            ..Policy::default()
        };
        policy.usage.metric = Metric::CoreSeconds;
        policy.half_life.half_life_s = 3600;
        let mut books = Books::new(policy);
        books.charge("bob", core_hours(10));
        books.charge("alice", core_hours(29));
        books.shares.refresh();
        assert!(books.key("alice") < books.key("bob"), "{kind:?}");
        books.charge("alice", core_hours(2));
        books.shares.refresh();
        assert!(books.key("bob") < books.key("alice"), "{kind:?}");
    }
}

#[test]
fn parts_of_a_task_add_up() {
    let qos = |name: &str, usage_factor| fairway_model::policy::Qos {
        name: name.into(),
        usage_factor,
        ..Default::default()
    };
    let mut books = Books::new(Policy {
        qos: vec![qos("third", 0.3), qos("free", 0.0), qos("half", 0.5)],
        ..Policy::default()
    });
    for (name, user, counted) in [
        ("third", "alice", 300.0),
        ("free", "bob", 0.0),
        ("half", "carol", 500.0),
    ] {
        let mut needs = Needs::clone(&books.needs);
        needs.qos = Some(name.into());
        books.needs = Arc::new(needs);
        for _ in 0..1000 {
            books.charge(user, Used::tasks(1));
        }
        assert_eq!(books.fs(user), counted, "{name}");
    }
}

/// What a charge changes of an account's own priority it changes at once.
#[test]
fn maui_does_not_serve_the_same_until_it_counts_again() {
    let mut policy = Policy {
        kind: PolicyKind::Maui,
        ..Policy::default()
    };
    for user in ["alice", "bob"] {
        policy.maui.users.insert(user.into(), "50".parse().unwrap());
    }
    let mut books = Books::new(policy);
    let (alice, bob) = (books.account("alice"), books.account("bob"));
    books.charge("alice", Used::tasks(1));
    books.charge("bob", Used::tasks(1));
    books.shares.refresh();
    books.charge("alice", Used::tasks(1));
    let priority = |account| books.shares.priority(account, &books.needs).unwrap();
    assert!(priority(bob) > priority(alice));
}

/// Users who have had their parts get just them: in the long run it is parts that count, not
/// their square roots.
#[test]
fn user_priority_goes_by_cores_whatever_the_metric() {
    let share = |path: &str, share| Share {
        path: path.into(),
        share,
        user: true,
    };
    let mut policy = Policy {
        kind: PolicyKind::UserPriority,
        shares: vec![share("alice", 4.0), share("bob", 1.0)],
        ..Policy::default()
    };
    policy.half_life.half_life_s = 3600;
    let mut books = Books::new(policy);
    let (alice, bob) = (books.account("alice"), books.account("bob"));
    books.shares.refresh();
    books.charge("alice", core_hours(400));
    books.charge("bob", core_hours(100));
    books.charge("alice", Used::tasks(1000));
    books.shares.note_live(alice, cores(400), true);
    books.shares.note_live(bob, cores(100), true);
    // Four to one is what they are to have: the one core that each would get decides.
    assert!(books.key("alice") < books.key("bob"));
    books.shares.note_live(alice, cores(4), true);
    assert!(books.key("bob") < books.key("alice"));
}

/// Slurm's example of a user whose group has used much: they stand behind others although they
/// used nothing themselves.
#[test]
fn what_a_group_used_counts_for_its_users() {
    let group = |path: &str| Share {
        path: path.into(),
        share: 1.0,
        user: false,
    };
    let mut policy = Policy {
        kind: PolicyKind::HalfLife,
        shares: vec![group("atlas"), group("cms")],
        ..Policy::default()
    };
    policy.usage.metric = Metric::CoreSeconds;
    let mut books = Books::new(policy);
    let named = |books: &mut Books, user: &str, group: &str| {
        let group = group.parse().unwrap();
        books.shares.account(&user.parse().unwrap(), Some(&group))
    };
    let heavy = named(&mut books, "alice", "atlas");
    let light = named(&mut books, "bob", "atlas");
    let other = named(&mut books, "carol", "cms");
    for (account, hours) in [(heavy, 8), (other, 4)] {
        let needs = books.needs.clone();
        books.shares.charge(Charge {
            account,
            needs: &needs,
            used: core_hours(hours),
        });
    }
    books.shares.refresh();
    // bob: U = 0 + (8 - 0) * 1/2 = 4 h, S = 1/2 * 1/2; carol: U = 4 h, S = 1/2;
    // alice: U = 8 + 0, S = 1/4.
    let effective = |account| books.shares.books(account).effective;
    assert!((effective(light) - 4.0 * 3600.0 / 0.25).abs() < 1e-6);
    assert!((effective(other) - 4.0 * 3600.0 / 0.5).abs() < 1e-6);
    assert!((effective(heavy) - 8.0 * 3600.0 / 0.25).abs() < 1e-6);
}
