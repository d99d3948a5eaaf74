use std::path::Path;
fn main() {
    let mut args = std::env::args().skip(1);
    let clusters =
        fairway_sim::Clusters::read(&std::fs::read_to_string(args.next().unwrap()).unwrap())
            .unwrap();
    let t = std::time::Instant::now();
    let options = fairway_sim::JdlOptions {
        owner: "me".parse().unwrap(),
        group: None,
        runtimes: fairway_sim::RuntimeSource::Expected,
        seed: 1,
    };
    let workload = fairway_sim::Workload::open(
        Path::new(&args.next().unwrap()),
        clusters.cores(),
        1,
        &options,
    )
    .unwrap_or_else(|e| panic!("{e}"));
    eprintln!(
        "read {} jobs {} tasks {:.0} core-h in {:?}: {:?}",
        workload.job_count(),
        workload.task_count(),
        workload.core_seconds() / 3600.0,
        t.elapsed(),
        workload.remarks
    );
    let setup = fairway_sim::Setup {
        clusters,
        seed: 1,
        until_s: None,
        targets: Default::default(),
    };
    let mut outcomes = vec![];
    for file in args {
        let policy = fairway_sim::read_policy(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let t = std::time::Instant::now();
        let name = Path::new(&file)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        outcomes.push(fairway_sim::simulate(&setup, &workload, &name, policy).unwrap());
        eprintln!("{name}: {:?}", t.elapsed());
    }
    println!("{}", fairway_sim::report::table(&outcomes));
    std::fs::write(
        "/tmp/sim.html",
        fairway_sim::report::html("A try", &["x".into()], &outcomes),
    )
    .unwrap();
}
