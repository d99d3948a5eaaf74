//! A site that lets nobody in: all goes through an agent's own process.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use fairway_api::public::TokenRequest;
use fairway_model::{CeStatus, Role, SiteName, TaskState};
use rustix::process::Signal;

use crate::common::{
    Fairway, History, Setup, User, assert_each_once, counting_payload, lines, over, process,
    submit, sweep, until, until_true,
};

fn here() -> SiteName {
    "here".parse().unwrap()
}

async fn admin(fairway: &Fairway) -> User {
    let request = TokenRequest {
        name: "carol".parse().unwrap(),
        group: None,
        role: Role::SiteAdmin,
        sites: vec![here()],
        valid_s: None,
    };
    let created = fairway.operator.client.create_token(&request).await;
    fairway.holder(created.unwrap())
}

/// The description of this machine as the site `here`, with two pilots of two cores.
fn describe(fairway: &Fairway) -> PathBuf {
    let file = fairway.folder().join("site.toml");
    let text = "name = \"here\"\n\
                adapter = { kind = \"local\", cores = 4 }\n\
                [[ces]]\n\
                name = \"queue\"\n\
                shape = { cores = 2, memory_mib = 0, walltime_s = 3600 }\n\
                limits = { pilots_max = 2, queued_max = 2 }\n";
    std::fs::write(&file, text).unwrap();
    file
}

/// An agent's process.
struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn start(fairway: &Fairway, admin: &User) -> Self {
        let log = fairway.folder().join("agent.log");
        let mut options = std::fs::OpenOptions::new();
        let stderr = options.create(true).append(true).open(&log).unwrap();
        let file = describe(fairway).display().to_string();
        let state_dir = fairway.folder().join("agent").display().to_string();
        let mut command = admin.command(&["site", "agent", &file, "--state-dir", &state_dir]);
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn();
        Self {
            child: child.unwrap(),
            log,
        }
    }

    /// As a crash would end it.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As its admin would end it.
    async fn stop(mut self) {
        process::signal(i32::try_from(self.child.id()).unwrap(), Signal::TERM);
        let ended = async || self.child.try_wait().unwrap();
        let status = until("the agent has ended", ended).await;
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(status.success(), "{status}\n{log}");
        assert!(!log.contains("secret"), "{log}");
    }
}

async fn published(user: &User) -> Option<(CeStatus, String)> {
    let site = user.client.site(&here()).await.ok()?;
    let state = site.states.first()?.published.clone()?;
    Some((state.status, state.reason.unwrap_or_default()))
}

#[tokio::test]
async fn a_sweep_at_a_site_with_an_agent_survives_the_loss_of_either_side() {
    const TASKS: u32 = 120;
    let mut fairway = Setup::new().start().await;
    let admin = admin(&fairway).await;
    let agent = Agent::start(&fairway, &admin);
    let alice = fairway.user("alice").await;
    let payload = counting_payload(&fairway, "0.4");
    let folder = fairway.folder().to_owned();
    let (started, ended) = (folder.join("started"), folder.join("ended"));
    let job = submit(&alice.client, sweep("sweep", TASKS, &payload)).await;
    let at_least = async |count: usize| {
        until_true("the sweep is under way", async || {
            lines(&ended).len() >= count
        })
        .await;
    };
    let carries_on = async || at_least(lines(&ended).len() + 1).await;

    at_least(6).await;
    fairway.kill();
    carries_on().await;
    fairway.start_again().await;
    until_true("the agent has found the server again", async || {
        let site = admin.client.site(&here()).await.unwrap();
        site.agent.is_some()
    })
    .await;

    at_least(30).await;
    agent.kill();
    carries_on().await;
    let agent = Agent::start(&fairway, &admin);

    at_least(60).await;
    agent.stop().await;
    carries_on().await;
    let agent = Agent::start(&fairway, &admin);

    let view = over(&alice.client, job).await;
    assert_eq!(view.count(TaskState::Succeeded), TASKS);
    assert_each_once(&lines(&started), TASKS);
    assert_each_once(&lines(&ended), TASKS);
    let history = History::all(&fairway.operator.client).await;
    assert_eq!(history.assert_each_succeeded_once(job, TASKS), 0);
    assert_eq!(history.pilots_planned(), 2, "{history:?}");
    until_true("no pilot is left", async || {
        fairway.live_pilots().await.is_empty() && process::pilots(&folder).is_empty()
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn pilots_that_nobody_needs_are_ended_through_the_agent() {
    let fairway = Setup::new().start().await;
    let admin = admin(&fairway).await;
    let agent = Agent::start(&fairway, &admin);
    until_true("the site is in production", async || {
        published(&admin)
            .await
            .is_some_and(|it| it.0 == CeStatus::Production)
    })
    .await;
    let shown = admin.run(&["site", "show", "here"]).await.ok();
    assert!(shown.contains("heard of"), "{shown}");

    // A pilot that hangs before it calls home is ended in the batch system all the same.
    let alice = fairway.user("alice").await;
    let payload = fairway.script("work.sh", "sleep 600");
    let job = submit(&alice.client, sweep("sweep", 1, &payload)).await;
    let pilot = until("a pilot works", async || {
        let pilots = fairway.live_pilots().await;
        pilots.into_iter().find(|pilot| !pilot.tasks.is_empty())
    })
    .await;
    alice.run(&["cancel", &job.to_string()]).await.ok();
    fairway.operator.client.kill_pilot(pilot.id).await.unwrap();
    until_true("no pilot is left", async || {
        process::pilots(fairway.folder()).is_empty()
    })
    .await;

    // Without its agent the site is out of reach, with a word on why.
    agent.kill();
    let (_, reason) = until("the site is unreachable", async || {
        published(&admin)
            .await
            .filter(|it| it.0 == CeStatus::Unreachable)
    })
    .await;
    assert!(reason.contains("last heard of"), "{reason}");
}

#[tokio::test]
async fn an_agent_that_the_server_does_not_want_ends_and_says_why() {
    let fairway = Setup::new().start().await;
    let alice = fairway.user("alice").await;
    let file = describe(&fairway).display().to_string();
    let said = alice.run(&["site", "agent", &file]).await.fails(3);
    assert!(said.contains("admins"), "{said}");
    std::fs::write(
        &file,
        "name = \"here\"\nadapter = { kind = \"agent\" }\nces = []\n",
    )
    .unwrap();
    let said = alice.run(&["site", "agent", &file]).await.fails(3);
    assert!(said.contains("adapter"), "{said}");
}
