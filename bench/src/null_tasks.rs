//! Null tasks per second from submission to the last end, with a real pilot,
//! beside a loop that only spawns and waits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fairway_api::public::JobView;

use crate::server::{Server, Shape};

const PAYLOAD: &str = "/bin/true";

pub(crate) async fn measure(fairway: &Path, tasks: u32) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let one_loop = bare_loops(1, tasks)?;
    println!(
        "bare loop, spawn and wait: {one_loop:.0} tasks/s; {cores} of them: {:.0} tasks/s",
        bare_loops(cores, tasks)?
    );
    let fairway_program = fairway.display().to_string();
    let shape = Shape {
        pilots: u32::try_from(cores)?,
        pilot_cores: 1,
    };
    let server = Server::start(fairway, None, shape, |_| {
        vec![fairway_program.clone(), "pilot-agent".into()]
    })
    .await?;
    // The first task brings up the pilot.
    run(&server, 1).await?;
    let rate = f64::from(tasks) / run(&server, tasks).await?.as_secs_f64();
    println!(
        "null tasks end to end: {rate:.0} tasks/s, {:.0} % of one bare loop",
        rate / one_loop * 100.0
    );
    server.stop().await
}

/// Tasks per second of so many threads that each spawn and wait.
fn bare_loops(threads: usize, tasks: u32) -> anyhow::Result<f64> {
    let each = tasks / u32::try_from(threads)?;
    let began = Instant::now();
    let loops: Vec<_> = (0..threads)
        .map(|_| std::thread::spawn(move || bare_loop(each)))
        .collect();
    for work in loops {
        work.join()
            .map_err(|_| anyhow::anyhow!("a bare loop failed"))??;
    }
    Ok(f64::from(each) * threads as f64 / began.elapsed().as_secs_f64())
}

fn bare_loop(tasks: u32) -> std::io::Result<()> {
    for _ in 0..tasks {
        let mut command = Command::new(PAYLOAD);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status()?;
    }
    Ok(())
}

async fn run(server: &Server, tasks: u32) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let jdl = format!(
        "[ JobType = \"Parametric\"; Executable = \"{PAYLOAD}\"; Arguments = \"_PARAM_\"; \
         Parameters = {tasks}; ParameterStart = 0; ParameterStep = 1; ]"
    );
    let job = server.submit(&jdl).await?.job;
    loop {
        let view: JobView = server.get(&format!("/v1/jobs/{job}")).await?;
        if view.ended_at.is_some() {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
