//! What may happen in a history.

use fairway_model::Policy;
use proptest::prelude::*;

use crate::documents::policy;

/// What tasks differ in.
pub(super) const MORE: [&str; 22] = [
    "",
    "RetryCount = 1; ShallowRetryCount = 1;",
    "CpuNumber = 2;",
    "Rank = other.GlueCEName == \"short\" ? 1 : 0;",
    "Requirements = other.GlueCEName == \"long\" || _PARAM_ >= 3;",
    "Deadline = 40000; ExpectedDuration = 600;",
    "TimeCritical = true;",
    "Priority = 9;",
    "Priority = _PARAM_;",
    "QoS = \"urgent\";",
    "QoS = \"free\"; Priority = 3; CpuNumber = 3;",
    "Tags = { \"night\" };",
    "QueueName = \"slow\"; WallTime = 300;",
    "MinNumberOfProcessors = 1; MaxNumberOfProcessors = 3;",
    "WholeNode = true;",
    "CpuNumber = 2; HostNumber = 2;",
    "CpuNumber = 6; HostNumber = 3; RetryCount = 1;",
    "WholeNodes = true; HostNumber = 2;",
    "CustomResources = [ FPGA = 1 ];",
    "Preemptible = true;",
    "Preemptible = true; Suspendable = true; CpuNumber = 2;",
    "QoS = \"polite\"; CpuNumber = 2;",
];

/// Those of [`MORE`] that give way, or that others give way to.
const GIVING_WAY: [usize; 4] = [9, 19, 20, 21];

pub(super) const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// The last three have private pilots, allocations of two nodes, and whole nodes.
pub(super) const CES: [&str; 5] = ["long", "short", "mine", "wide", "nodes"];

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Arrives,
    RequestLost,
    ReplyLost,
    /// It arrives twice, the second time much later.
    Repeated,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Submit {
        user: usize,
        group: Option<usize>,
        tasks: u32,
        more: usize,
    },
    SubmitGraph {
        user: usize,
        retries: bool,
        /// Of each node: how many tasks, and which of the nodes before it are its parents.
        nodes: Vec<(u32, Vec<prop::sample::Index>)>,
    },
    SubmitAfter {
        user: usize,
        /// How many tasks; a graph if there are none.
        tasks: u32,
        any: bool,
        /// Which kinds, and of which of the user's jobs which part.
        on: Vec<(usize, usize, u32)>,
    },
    NewPilot {
        ce: usize,
        cores: u32,
        /// Whose it is; everybody's if there is none.
        owner: Option<usize>,
    },
    NewAllocation {
        ce: usize,
        cores: u32,
        nodes: u32,
        /// Who submits tasks that run on two of its nodes while all wait for work; nobody if there
        /// is none.
        gang: Option<usize>,
    },
    Sync {
        pilot: usize,
        fate: Fate,
        wish: bool,
        backlog: u32,
    },
    Late {
        message: usize,
    },
    Start {
        pilot: usize,
        which: usize,
    },
    End {
        pilot: usize,
        which: usize,
        how: usize,
    },
    LosePilot {
        pilot: usize,
        observed: bool,
    },
    Goodbye {
        pilot: usize,
    },
    Drain {
        pilot: usize,
    },
    Change {
        verb: usize,
        job: usize,
        some: Option<u32>,
    },
    Retry {
        job: usize,
        some: Option<u32>,
    },
    Pass {
        seconds: u64,
    },
    Serve,
    /// All is well for a minute: what pilots hold starts, and they are heard of.
    Minute,
    Tick,
    Plan,
    Policy(Box<Policy>),
    Publish {
        ce: usize,
        up: bool,
    },
    Restart,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        1 => Just(Fate::RequestLost),
        2 => Just(Fate::ReplyLost),
        1 => Just(Fate::Repeated),
    ];
    prop_oneof![
        3 => (0..3_usize, prop::option::of(0..3_usize), 1..12_u32, 0..MORE.len())
            .prop_map(|(user, group, tasks, more)| Step::Submit { user, group, tasks, more }),
        2 => graph(),
        4 => (0..3_usize, 0..6_u32, any::<bool>(), prop::collection::vec((0..6_usize, 0..8_usize, 0..5_u32), 1..4))
            .prop_map(|(user, tasks, any, on)| Step::SubmitAfter { user, tasks, any, on }),
        3 => (3..5_usize, 1..5_u32, 2..4_u32, prop::option::weighted(0.7, 0..3_usize))
            .prop_map(|(ce, cores, nodes, gang)| Step::NewAllocation { ce, cores, nodes, gang }),
        3 => (0..5_usize, 1..5_u32, prop::option::weighted(0.3, 0..3_usize))
            .prop_map(|(ce, cores, owner)| Step::NewPilot { ce, cores, owner }),
        12 => (0..8_usize, fate, any::<bool>(), 0..3_u32)
            .prop_map(|(pilot, fate, wish, backlog)| Step::Sync { pilot, fate, wish, backlog }),
        2 => (0..64_usize).prop_map(|message| Step::Late { message }),
        6 => (0..8_usize, 0..8_usize).prop_map(|(pilot, which)| Step::Start { pilot, which }),
        8 => (0..8_usize, 0..8_usize, 0..7_usize).prop_map(|(pilot, which, how)| Step::End { pilot, which, how }),
        1 => (0..8_usize, any::<bool>()).prop_map(|(pilot, observed)| Step::LosePilot { pilot, observed }),
        1 => (0..8_usize).prop_map(|pilot| Step::Goodbye { pilot }),
        1 => (0..8_usize).prop_map(|pilot| Step::Drain { pilot }),
        4 => (0..5_usize, 0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(verb, job, some)| Step::Change { verb, job, some }),
        3 => (0..8_usize, prop::option::of(0..12_u32))
            .prop_map(|(job, some)| Step::Retry { job, some }),
        2 => (1..2000_u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => Just(Step::Serve),
        2 => Just(Step::Minute),
        2 => Just(Step::Tick),
        1 => Just(Step::Plan),
        2 => policy().prop_map(|policy| Step::Policy(Box::new(policy))),
        1 => (0..5_usize, any::<bool>()).prop_map(|(ce, up)| Step::Publish { ce, up }),
        1 => Just(Step::Restart),
    ]
}

/// Steps of a busy grid, in which much gives way.
pub(super) fn busy_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..5_u32, prop::sample::select(&GIVING_WAY[..]))
            .prop_map(|(user, tasks, more)| Step::Submit { user, group: None, tasks, more }),
        1 => (1..4_u32).prop_map(|cores| Step::NewPilot { ce: 0, cores, owner: None }),
        8 => Just(Step::Minute),
        3 => (0..8_usize, 0..8_usize, 0..7_usize)
            .prop_map(|(pilot, which, how)| Step::End { pilot, which, how }),
        1 => (3..5_usize, 0..8_usize)
            .prop_map(|(verb, job)| Step::Change { verb, job, some: None }),
        1 => step(),
    ]
}

fn graph() -> impl Strategy<Value = Step> {
    let parents = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let nodes = prop::collection::vec((1..4_u32, parents), 2..7);
    (0..3_usize, any::<bool>(), nodes).prop_map(|(user, retries, nodes)| Step::SubmitGraph {
        user,
        retries,
        nodes,
    })
}
