//! What users get of a full platform against what they were promised, with real pilots that run
//! real processes: many users with unequal targets, and tasks of unequal width and length.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fairway_api::client::{Client, Submission};
use fairway_api::public::{JobsQuery, TokenRequest, UsageQuery};
use fairway_model::policy::Share;
use fairway_model::{Metric, Policy, PolicyKind, Role, SiteMode, TaskState, Timestamp, UserName};

use crate::server::{Server, Shape};

/// Cores of a pilot: no more than small machines have, since a pilot offers no cores that it does
/// not find. There are many pilots; their tasks sleep, so that they do not need the cores.
const PILOT_CORES: u32 = 2;
/// Tasks of a job. Users have many jobs, of one width each.
const JOB_TASKS: u32 = 30;
/// The cores of a task of a user's first job, their second, …, and again from the front.
const WIDTHS: [u32; 3] = [1, 2, 1];
/// The lengths of tasks in seconds; each job begins at another.
const LENGTHS_S: [f64; 7] = [0.7, 1.0, 3.1, 0.8, 1.4, 4.2, 1.9];
/// Nobody may run out of work: so many times as much is submitted as can be done.
const PLENTY: f64 = 3.0;

#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Args {
    /// Users who compete for their shares
    #[arg(long, default_value_t = 50)]
    share_users: u32,
    /// Pilots of two cores that they compete for
    #[arg(long, default_value_t = 80)]
    share_pilots: u32,
    /// In this time usage loses most of its weight, in seconds; then shares are measured for as
    /// long
    #[arg(long, default_value_t = 120)]
    share_decay_s: u32,
}

impl Args {
    fn cores(self) -> u32 {
        self.share_pilots * PILOT_CORES
    }
}

/// A user and their target.
struct Rival {
    name: UserName,
    target: f64,
    client: Client,
}

pub(crate) async fn measure(fairway: &Path, args: Args) -> anyhow::Result<()> {
    let program = fairway.display().to_string();
    let shape = Shape {
        pilots: args.share_pilots,
        pilot_cores: PILOT_CORES,
    };
    let server = Server::start(fairway, None, shape, |_| {
        vec![program.clone(), "pilot-agent".into()]
    })
    .await?;
    let operator = server.client()?;
    let rivals = rivals(&server, &operator, args.share_users).await?;
    operator.set_policy(&policy(&rivals, args)).await?;
    // All are there before anybody is served: who had everything for himself at first would pay
    // for it later.
    server.set_mode(SiteMode::Closed).await?;
    let jobs = submit(&rivals, args).await?;
    server.set_mode(SiteMode::Open).await?;
    all_pilots(&server, args.share_pilots).await?;
    let decay = Duration::from_secs(args.share_decay_s.into());
    tokio::time::sleep(decay).await;
    let from = now();
    tokio::time::sleep(decay).await;
    let (tasks, core_s) = usage(&operator, &rivals, from, now()).await?;
    anyhow::ensure!(
        all_have_work(&rivals).await?,
        "somebody ran out of work: no policy could have given them their share"
    );
    let targets: Vec<f64> = rivals.iter().map(|rival| rival.target).collect();
    let error = fairway_sim::share_error(&tasks, &targets).context("nothing ran")?;
    let busy = core_s / f64::from(args.cores()) / decay.as_secs_f64();
    println!(
        "shares with real pilots: {} users, {} cores, {jobs} jobs of {JOB_TASKS} tasks: {:.2} % of \
         {} tasks in wrong hands, after a decay time of {} s; {:.0} % of all cores busy",
        rivals.len(),
        args.cores(),
        100.0 * error,
        tasks.iter().sum::<f64>(),
        args.share_decay_s,
        100.0 * busy
    );
    server.stop().await
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Users whose targets are unequal: from 1 to 10.
async fn rivals(server: &Server, operator: &Client, count: u32) -> anyhow::Result<Vec<Rival>> {
    let mut rivals = Vec::new();
    for n in 0..count {
        let name: UserName = format!("u{n:03}").parse()?;
        let request = TokenRequest {
            name: name.clone(),
            group: None,
            role: Role::User,
            sites: Vec::new(),
            valid_s: None,
        };
        let token = operator.create_token(&request).await?.token;
        rivals.push(Rival {
            name,
            target: 1.0 + f64::from(n * 37 % 91) / 10.0,
            client: server.client_of(token)?,
        });
    }
    Ok(rivals)
}

fn policy(rivals: &[Rival], args: Args) -> Policy {
    let mut policy = Policy {
        kind: PolicyKind::Fairshare,
        wait_max_s: None,
        ..Policy::default()
    };
    // Cores are charged for as time passes. Tasks as short as these are over before that tells on
    // whose turn it is.
    policy.usage.metric = Metric::TasksStarted;
    policy.fairshare.max_depth = 5;
    policy.fairshare.duration_s = u64::from(args.share_decay_s / 5).max(1);
    let share = |rival: &Rival| Share {
        path: rival.name.as_str().into(),
        share: rival.target,
        user: true,
    };
    policy.shares = rivals.iter().map(share).collect();
    policy
}

/// Gives everybody more work than they can get done; how many jobs that are.
async fn submit(rivals: &[Rival], args: Args) -> anyhow::Result<u32> {
    let mean = |of: &mut dyn Iterator<Item = f64>, count: usize| of.sum::<f64>() / count as f64;
    let width = mean(&mut WIDTHS.iter().map(|it| f64::from(*it)), WIDTHS.len());
    let length_s = mean(&mut LENGTHS_S.iter().copied(), LENGTHS_S.len());
    let all_core_s = 2.0 * f64::from(args.share_decay_s) * f64::from(args.cores());
    let tasks = all_core_s / width / length_s;
    let targets: f64 = rivals.iter().map(|rival| rival.target).sum();
    let mut count = 0;
    for rival in rivals {
        let due = tasks * rival.target / targets;
        let jobs = (PLENTY * due / f64::from(JOB_TASKS)).ceil() as u32 + 1;
        for n in 0..jobs {
            let submission = Submission {
                jdl: jdl(n),
                ..Submission::default()
            };
            rival.client.submit(&submission).await?;
        }
        count += jobs;
    }
    Ok(count)
}

/// A user's job number `n`.
fn jdl(n: u32) -> String {
    let width = WIDTHS[n as usize % WIDTHS.len()];
    let mut lengths = String::new();
    for task in n..n + JOB_TASKS {
        let length_s = LENGTHS_S[task as usize % LENGTHS_S.len()];
        let _ = write!(
            lengths,
            "{}\"{length_s}\"",
            if task == n { "" } else { ", " }
        );
    }
    format!(
        "[ JobType = \"Parametric\"; Executable = \"/bin/sleep\"; Arguments = \"_PARAM_\"; \
         Parameters = {{ {lengths} }}; CpuNumber = {width}; WallTime = 60; ]"
    )
}

/// Returns when all pilots are there.
async fn all_pilots(server: &Server, count: u32) -> anyhow::Result<()> {
    for _ in 0..600 {
        let pilots = server.live_pilots().await?;
        let there = pilots.iter().filter(|it| it.started_at.is_some());
        if there.count() == count as usize {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    anyhow::bail!("after five minutes not all {count} pilots are there")
}

/// How many tasks each had that ended from `from` to `until`; and the core-seconds of all.
async fn usage(
    operator: &Client,
    rivals: &[Rival],
    from: Timestamp,
    until: Timestamp,
) -> anyhow::Result<(Vec<f64>, f64)> {
    let query = UsageQuery {
        from: Some(from.0),
        until: Some(until.0),
        ..UsageQuery::default()
    };
    let lines = operator.usage(&query).await?;
    let of = |rival: &Rival| {
        let line = lines.iter().find(|it| it.key == rival.name.as_str());
        line.map_or(0.0, |it| it.attempts as f64)
    };
    let core_ms: u64 = lines.iter().map(|it| it.core_ms).sum();
    Ok((rivals.iter().map(of).collect(), core_ms as f64 / 1000.0))
}

/// Whether everybody still has tasks that wait.
async fn all_have_work(rivals: &[Rival]) -> anyhow::Result<bool> {
    for rival in rivals {
        let jobs = rival.client.jobs(&JobsQuery::default()).await?.items;
        if jobs.iter().all(|it| it.count(TaskState::Waiting) == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
