//! Who is served next: two users with full queues, under each policy, changed at run time. The
//! order is read from the ledger.

use fairway_model::{JobId, SiteMode, TaskState};

use crate::common::{Fairway, History, Setup, User, over, submit, sweep, until_true};

/// Tasks of the user who came first.
const MANY: u32 = 1000;
/// Tasks of the user who came later.
const FEW: u32 = 10;

/// Two users who nobody was served before, with their jobs in a queue that no pilot takes from.
struct Rivals {
    first: (User, JobId),
    second: (User, JobId),
}

impl Rivals {
    async fn queue_up(fairway: &Fairway, policy: &str) -> Self {
        fairway.set_mode(SiteMode::Closed).await;
        until_true("no pilot is left", async || {
            fairway.live_pilots().await.is_empty()
        })
        .await;
        let set = ["policy", "set", "--kind", policy, "--json"];
        let now: fairway_model::Policy = fairway.operator.run(&set).await.json();
        assert_eq!(serde_json::to_value(now.kind).unwrap(), policy);
        let null = std::path::Path::new("/bin/true");
        let first = fairway.user(&format!("first-{policy}")).await;
        let many = submit(&first.client, sweep("many", MANY, null)).await;
        let second = fairway.user(&format!("second-{policy}")).await;
        let few = submit(&second.client, sweep("few", FEW, null)).await;
        Self {
            first: (first, many),
            second: (second, few),
        }
    }

    /// Has pilots take from the queue until all of the second user's tasks are over. The places
    /// of these tasks in the order of service, from 0.
    async fn places_of_second(&self, fairway: &Fairway) -> Vec<usize> {
        fairway.set_mode(SiteMode::Open).await;
        let (second, few) = &self.second;
        let view = over(&second.client, *few).await;
        assert_eq!(view.count(TaskState::Succeeded), FEW);
        let (_, many) = self.first;
        let history = History::all(&fairway.operator.client).await;
        let mut leases = history.leases();
        leases.retain(|task| [many, *few].contains(&task.job));
        let places = leases
            .iter()
            .enumerate()
            .filter(|(_, task)| task.job == *few);
        places.map(|(place, _)| place).collect()
    }

    async fn cancel_first(&self) {
        let (first, many) = &self.first;
        first.run(&["cancel", &many.to_string()]).await.ok();
        over(&first.client, *many).await;
    }
}

#[tokio::test]
async fn users_are_served_in_the_order_of_the_policy() {
    // One task at a time: the pilot asks for the next ones when it has room for them.
    let fairway = Setup::new()
        .local(1, 1)
        .set("policy.kind", "fifo")
        .start()
        .await;

    for policy in ["fairshare", "round-robin"] {
        let rivals = Rivals::queue_up(&fairway, policy).await;
        let places = rivals.places_of_second(&fairway).await;
        // Nobody has used anything, so both policies serve the two in turn.
        assert_eq!(places.len(), FEW as usize);
        let last = *places.last().unwrap();
        assert!(last <= 2 * FEW as usize, "under {policy}: {places:?}");
        rivals.cancel_first().await;
    }

    let rivals = Rivals::queue_up(&fairway, "fifo").await;
    let places = rivals.places_of_second(&fairway).await;
    let (many, few) = (MANY as usize, FEW as usize);
    assert_eq!(places, (many..many + few).collect::<Vec<_>>(), "under fifo");
}

#[tokio::test]
async fn fairshare_remembers_what_was_used() {
    let fairway = Setup::new().local(1, 1).start().await;
    let null = std::path::Path::new("/bin/true");
    let heavy = fairway.user("heavy").await;
    let earlier = submit(&heavy.client, sweep("earlier", 30, null)).await;
    over(&heavy.client, earlier).await;

    fairway.set_mode(SiteMode::Closed).await;
    until_true("no pilot is left", async || {
        fairway.live_pilots().await.is_empty()
    })
    .await;
    let later = submit(&heavy.client, sweep("later", 20, null)).await;
    let light = fairway.user("light").await;
    let first = submit(&light.client, sweep("first", 20, null)).await;
    fairway.set_mode(SiteMode::Open).await;
    over(&heavy.client, later).await;
    over(&light.client, first).await;

    let mut leases = History::all(&fairway.operator.client).await.leases();
    leases.retain(|task| [later, first].contains(&task.job));
    // The formula gives the light user the first 20 places: 30 tasks of FS are between them.
    assert!(
        leases[..20].iter().all(|task| task.job == first),
        "{leases:?}"
    );
    let shares: fairway_api::public::SharesView =
        fairway.operator.run(&["shares", "--json"]).await.json();
    let mut fs: Vec<_> = shares
        .users
        .iter()
        .map(|it| (it.user.to_string(), it.fs))
        .collect();
    fs.sort_by(|one, other| one.0.cmp(&other.0));
    // An hour may have begun meanwhile, which makes earlier usage weigh less.
    let (heavy_fs, light_fs) = (fs[0].1, fs[1].1);
    assert!((50.0 * 0.85..=50.0).contains(&heavy_fs), "{fs:?}");
    assert!((20.0 * 0.85..=20.0).contains(&light_fs), "{fs:?}");
}

/// The policy as a document: exported, edited, tried, put in force, and told of.
#[tokio::test]
async fn the_policy_is_a_document() {
    let fairway = Setup::new().local(1, 1).start().await;
    fairway.set_mode(SiteMode::Closed).await;
    let operator = &fairway.operator;
    let alice = fairway.user("alice").await;
    let null = std::path::Path::new("/bin/true");
    let job = submit(&alice.client, sweep("waits", 7, null)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, old, bad) = (path("policy.toml"), path("old.toml"), path("bad.toml"));

    operator.run(&["policy", "export", "-o", &file]).await.ok();
    std::fs::copy(&file, &old).unwrap();
    let exported = std::fs::read_to_string(&file).unwrap();
    let edited = format!("{exported}[[paused]]\nuser = \"alice\"\nwhy = \"her disk is full\"\n");
    std::fs::write(&file, edited).unwrap();
    operator.run(&["policy", "check", &file]).await.ok();
    let diff = operator.run(&["policy", "diff", &file]).await.ok();
    let told = "user alice has been paused (her disk is full)";
    assert!(
        diff.contains(told) && diff.contains("paused[user=alice].why"),
        "{diff}"
    );
    assert!(
        !operator
            .run(&["policy", "show"])
            .await
            .ok()
            .contains("alice")
    );

    let import = ["policy", "import", &file, "--because", "call 4711"];
    operator.run(&import).await.ok();
    let explained = alice.run(&["explain", &format!("{job}.0")]).await.ok();
    assert!(explained.contains("her disk is full"), "{explained}");
    let history = operator.run(&["policy", "history"]).await.ok();
    let first = history.lines().next().unwrap();
    assert!(first.ends_with("by boss: call 4711"), "{history}");

    // Somebody else's change is not lost.
    let late = operator.run(&["policy", "import", &old]).await.fails(3);
    assert!(late.contains("policy history"), "{late}");
    let resume = [
        "policy",
        "resume",
        "user",
        "alice",
        "--because",
        "she cleaned up",
    ];
    assert_eq!(operator.run(&resume).await.ok(), "nobody is paused\n");
    operator.run(&resume).await.fails(3);
    let pause = [
        "policy", "pause", "tag", "old", "--until", "2h", "--why", "later",
    ];
    operator.run(&pause).await.ok();
    let late = operator
        .run(&["policy", "import", "--force", &old])
        .await
        .ok();
    assert!(late.contains("paused[tag=old].why"), "{late}");

    std::fs::write(
        &bad,
        "kind = \"fifo\"\n[fairshare]\nmax_depth = \"x\"\ndecay = 1\n",
    )
    .unwrap();
    let told = operator.run(&["policy", "check", &bad]).await;
    assert!(
        told.stdout.contains("line 3: ") && told.stdout.contains("line 4: "),
        "{told}"
    );
    told.fails(3);
    operator.run(&["policy", "import", &bad]).await.fails(3);
    alice.run(&["policy", "diff", &old]).await.fails(3);
}
