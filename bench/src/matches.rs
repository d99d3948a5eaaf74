//! Matches per second over HTTP: many pilots, each with room for one task, end
//! the task they have and ask for the next in one request.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fairway_api::pilot::{
    Bootstrap, RegisterReply, RegisterRequest, Report, ReportKind, SyncReply, SyncRequest, Used,
    Want,
};
use fairway_model::{AttemptEnd, Resources};

use crate::Args;
use crate::server::Server;

/// Leaves the bootstrap document from standard input in `folder` and stays until that is gone.
pub(crate) fn catch(folder: &Path) -> anyhow::Result<()> {
    let mut document = String::new();
    std::io::stdin().read_to_string(&mut document)?;
    let bootstrap: Bootstrap = serde_json::from_str(&document)?;
    let unfinished = folder.join(format!("{}.part", bootstrap.pilot));
    std::fs::write(&unfinished, document)?;
    std::fs::rename(
        &unfinished,
        folder.join(format!("{}.json", bootstrap.pilot)),
    )?;
    // The folder goes with the benchmark, and this process with the folder.
    while folder.exists() {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

pub(crate) async fn measure(server: &Server, store: &str, args: &Args) -> anyhow::Result<()> {
    let pilots = caught(server, args.pilots).await?;
    let left = Arc::new(AtomicU32::new(args.matches));
    let mut tokens = Vec::new();
    for bootstrap in &pilots {
        tokens.push(register(server, bootstrap).await?);
    }
    let began = Instant::now();
    let mut work = tokio::task::JoinSet::new();
    for token in tokens {
        work.spawn(pull(
            server.http.clone(),
            server.at("/v1/pilot/sync"),
            token,
            left.clone(),
        ));
    }
    let mut slowest = Duration::ZERO;
    while let Some(done) = work.join_next().await {
        slowest = slowest.max(done??);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{store}: {} matches over HTTP, {} pilots, one task a request: {:.0}/s, slowest answer {:.0} ms",
        args.matches,
        pilots.len(),
        f64::from(args.matches) / seconds,
        slowest.as_secs_f64() * 1e3
    );
    Ok(())
}

/// The bootstrap documents of the pilots that the server asked for.
async fn caught(server: &Server, count: u32) -> anyhow::Result<Vec<Bootstrap>> {
    let began = Instant::now();
    loop {
        let mut documents = Vec::new();
        for entry in std::fs::read_dir(server.folder().join("caught"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "json") {
                documents.push(serde_json::from_slice(&std::fs::read(path)?)?);
            }
        }
        if documents.len() >= count as usize {
            return Ok(documents);
        }
        if began.elapsed() > Duration::from_secs(60) {
            bail!("only {} of {count} pilots were asked for", documents.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn register(server: &Server, bootstrap: &Bootstrap) -> anyhow::Result<String> {
    let request = RegisterRequest {
        pilot: bootstrap.pilot,
        secret: bootstrap.secret.clone(),
        nonce: format!("bench-{}", bootstrap.pilot),
        host: "bench".into(),
        resources: Resources {
            cores: 1,
            memory_mib: 1024,
            gpus: 0,
        },
        remaining_s: 3600,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let reply = server
        .http
        .post(server.at("/v1/pilot/register"))
        .json(&request)
        .send()
        .await?;
    let reply: RegisterReply = reply.error_for_status()?.json().await?;
    Ok(reply.token)
}

/// Takes tasks and ends them until `left` is used up; the longest time that an answer took.
async fn pull(
    http: reqwest::Client,
    url: String,
    token: String,
    left: Arc<AtomicU32>,
) -> anyhow::Result<Duration> {
    let mut request = SyncRequest::default();
    let mut round = 0;
    let mut slowest = Duration::ZERO;
    let take = |it: &AtomicU32| {
        it.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
    };
    while take(&left).is_ok() {
        round += 1;
        request.want = Some(Want {
            round,
            remaining_s: 3600,
            backlog: 0,
            staying: false,
        });
        let asked = Instant::now();
        let reply = http
            .post(&url)
            .bearer_auth(&token)
            .json(&request)
            .send()
            .await?;
        let reply: SyncReply = reply.error_for_status()?.json().await?;
        slowest = slowest.max(asked.elapsed());
        let lease = reply.leases.first().context("no task although many wait")?;
        request.holding = vec![(lease.task, lease.attempt)];
        request.reports = vec![Report {
            task: lease.task,
            attempt: lease.attempt,
            what: ReportKind::Ended {
                end: AttemptEnd::Exited { code: 0 },
                used: Used {
                    wall_ms: 1,
                    cpu_ms: 1,
                    memory_peak_kib: 100,
                },
            },
        }];
    }
    // The last task is ended too, so that nothing is left half-way.
    request.want = None;
    http.post(&url)
        .bearer_auth(&token)
        .json(&request)
        .send()
        .await?
        .error_for_status()?;
    Ok(slowest)
}
