//! How fast descriptions become jobs and tasks.
//!
//! ```sh
//! cargo bench -p fairway-jdl --bench expand
//! ```

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fairway_jdl::JobSpec;
use fairway_model::{JobId, TaskId};

/// Tasks of the jobs with computed values.
const MILLION: u32 = 1_000_000;

/// Values of the job with listed ones.
const LISTED: u32 = 100_000;

/// Nodes of the collection.
const NODES: u32 = 10_000;

fn glite() -> String {
    format!(
        "JobType = \"Parametric\"; Parameters = {MILLION}; Executable = \"run.sh\"; \
         Arguments = \"--seed _PARAM_ --out result\"; Environment = {{ \"MODE=fast\" }}; \
         StdOutput = \"out._PARAM_\"; StdError = \"err._PARAM_\"; \
         InputSandbox = {{ \"run.sh\", \"lib.tar\" }}; \
         OutputSandbox = {{ \"out._PARAM_\", \"err._PARAM_\", \"*.root\" }}; \
         Requirements = other.GlueCEStateStatus == \"Production\";"
    )
}

fn dirac() -> String {
    format!(
        "JobName = \"bench\"; Parameters = {MILLION}; Executable = \"run.sh\"; \
         Arguments = \"%s %n %j\"; StdOutput = \"std.out\"; StdError = \"std.err\"; \
         OutputSandbox = {{ \"std.out\", \"std.err\" }};"
    )
}

fn listed() -> String {
    let values: Vec<String> = (0..LISTED).map(|it| format!("\"value{it}\"")).collect();
    format!(
        "JobType = \"Parametric\"; Parameters = {{ {} }}; Executable = \"run.sh\"; \
         Arguments = \"_PARAM_\"; OutputSandbox = {{ \"out._PARAM_\" }};",
        values.join(", ")
    )
}

fn collection() -> String {
    let node = |it| format!("[ Executable = \"run.sh\"; Arguments = \"{it}\" ]");
    let nodes: Vec<String> = (0..NODES).map(node).collect();
    format!(
        "Type = \"Collection\"; InputSandbox = {{ \"run.sh\" }}; CpuNumber = 2; Nodes = {{ {} }};",
        nodes.join(", ")
    )
}

/// Makes every task of a job: the time of one iteration is that of all.
fn expanding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expand a million tasks");
    group.throughput(Throughput::Elements(u64::from(MILLION)));
    for (name, text) in [("gLite", glite()), ("DIRAC", dirac())] {
        let (spec, _) = JobSpec::read(&text).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for index in 0..MILLION {
                    black_box(spec.task(TaskId::new(JobId(7), index)));
                }
            });
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a job of");
    for (name, count, text) in [
        ("computed values", MILLION, glite()),
        ("listed values", LISTED, listed()),
        ("nodes", NODES, collection()),
    ] {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || text.clone(),
                |text| JobSpec::read(&text).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(8));
    targets = expanding, reading
}
criterion_main!(benches);
