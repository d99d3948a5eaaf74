//! What OAR costs: pilots submitted per second, one by one and in arrays, and one look at many.
//! `FAIRWAY_TEST_OAR=DIR cargo bench -p fairway-site-adapters --bench oar -- [PILOTS]`, with a test bed
//! that `deploy/testbed/oar.sh up DIR` has started.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and its figures are what it is for"
)]

use std::path::Path;
use std::time::Instant;

use fairway_model::{AdapterSettings, OarSettings, PilotId, Resources, RestSettings, SecretRef};
use fairway_site_adapters::{BatchSystem, PilotJob, connect};

/// A pilot that never finds room, so that all of them are there to be looked at.
fn job(prefix: &str, number: u32) -> PilotJob {
    let ce = serde_json::json!({"name": "default", "options": ["--hold"]});
    PilotJob {
        pilot: PilotId(1),
        ce: serde_json::from_value(ce).unwrap(),
        name: format!("{prefix}p{number}"),
        resources: Resources {
            cores: 1,
            memory_mib: 0,
            gpus: 0,
        },
        nodes: 1,
        run_as: None,
        reserve_at: None,
        avoid: Vec::new(),
        walltime_s: 600,
        program: vec!["/bin/true".into()],
        stdin: "{}\n".into(),
    }
}

fn rate(what: &str, count: usize, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "  {what}: {count} in {seconds:.2} s, {:.1} a second",
        count as f64 / seconds
    );
}

async fn measure(name: &str, system: &dyn BatchSystem, pilots: u32) {
    println!("{name}");
    let prefix = format!("fw-bench{}-{name}-", std::process::id());
    let alone: Vec<PilotJob> = (0..20).map(|number| job(&prefix, 2 * number)).collect();
    let began = Instant::now();
    let mut ids: Vec<String> = Vec::new();
    for result in system.submit(&alone).await {
        ids.push(result.unwrap());
    }
    rate("submitted one by one", alone.len(), began);

    let row: Vec<PilotJob> = (0..pilots)
        .map(|number| job(&prefix, 1000 + number))
        .collect();
    let began = Instant::now();
    for result in system.submit(&row).await {
        ids.push(result.unwrap());
    }
    rate("submitted in arrays", row.len(), began);

    let began = Instant::now();
    let told = system.poll(&prefix, &ids).await.unwrap();
    println!(
        "  one look at {}: {:.2} s",
        told.len(),
        began.elapsed().as_secs_f64()
    );
    assert_eq!(told.len(), ids.len());

    let ces = [alone[0].ce.clone()];
    let began = Instant::now();
    system
        .publish(&ces, fairway_model::Timestamp(0))
        .await
        .unwrap();
    println!(
        "  what a CE publishes meanwhile: {:.2} s",
        began.elapsed().as_secs_f64()
    );

    let began = Instant::now();
    system.cancel(&ids).await.unwrap();
    rate("cancelled", ids.len(), began);
}

fn main() {
    // `cargo test` runs what is not a test too, and has no bed for it.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(folder) = std::env::var_os("FAIRWAY_TEST_OAR") else {
        println!("FAIRWAY_TEST_OAR does not name an OAR test bed");
        return;
    };
    let pilots = args.next().map_or(2000, |count| count.parse().unwrap());
    let path = |name: &str| Path::new(&folder).join(name).to_str().unwrap().to_owned();
    let commands = OarSettings {
        bin_dir: Some(path("bin")),
        work_dir: Some(path("work")),
        ..OarSettings::default()
    };
    let api = OarSettings {
        rest: Some(RestSettings {
            url: std::fs::read_to_string(path("api-url"))
                .unwrap()
                .trim()
                .to_owned(),
            user: None,
            secret: Some(SecretRef::File(path("api-secret"))),
            ca: None,
        }),
        work_dir: Some(path("work")),
        ..OarSettings::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (name, settings) in [("commands", commands), ("rest", api)] {
        let settings = AdapterSettings::Oar(settings);
        let system = connect(&"bed".parse().unwrap(), &settings, Path::new("/unused")).unwrap();
        runtime.block_on(measure(name, &*system, pilots));
    }
}
