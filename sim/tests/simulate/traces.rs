//! Traces and other workloads.

use std::io::Cursor;

use fairway_sim::{Distribution, JdlOptions, RuntimeSource, Workload};

use crate::{run, standing};

const PLAIN: &[u8] = include_bytes!("../data/odd.swf");
const GZIP: &[u8] = include_bytes!("../data/odd.swf.gz");

#[test]
fn every_oddity_of_traces_is_read_or_told() {
    let workload = Workload::from_swf(PLAIN).unwrap();
    let users: Vec<&str> = workload.users().iter().map(|it| it.as_str()).collect();
    insta::assert_debug_snapshot!((workload.job_count(), users, &workload.remarks));
    let outcome = run(&standing(2, 4), &workload, "fifo");
    assert_eq!(outcome.tasks.succeeded, workload.job_count() as u64);
    // 100.5 s on one core, and so on; what ran over its 600 s is cut to them.
    let core_s = 100.5 + 4.0 * 30.0 + 2.0 * 60.0 + 20.0 + 600.0 + 15.0;
    assert!((workload.core_seconds() - core_s).abs() < 1e-6);
}

#[test]
fn a_compressed_trace_is_the_same() {
    let (plain, gzip) = (Workload::from_swf(PLAIN), Workload::from_swf(GZIP));
    assert_eq!(
        format!("{:?}", plain.unwrap()),
        format!("{:?}", gzip.unwrap())
    );
    let cut = Workload::from_swf(&GZIP[..GZIP.len() / 2]).unwrap_err();
    assert!(
        cut.to_string().starts_with("cannot read the trace"),
        "{cut}"
    );
}

#[test]
fn what_is_no_trace_is_told() {
    let told = |bytes: &[u8]| {
        Workload::from_swf(Cursor::new(bytes))
            .unwrap_err()
            .to_string()
    };
    let endless = vec![b'x'; 2 << 20];
    insta::assert_snapshot!(
        [
            told(b""),
            told(b"; nothing\n"),
            told(b"name,age\nanna,7\n"),
            told(&endless)
        ]
        .join("\n")
    );
}

fn options(runtimes: RuntimeSource) -> JdlOptions {
    JdlOptions {
        owner: "anna".parse().unwrap(),
        group: None,
        runtimes,
        seed: 1,
    }
}

#[test]
fn descriptions_say_how_long_they_run_or_are_told() {
    let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let known = named("a.jdl", "Executable = \"/bin/a\"; ExpectedDuration = 90;");
    let sweep = named(
        "b.jdl",
        "Executable = \"/bin/b\"; JobType = \"Parametric\"; Parameters = 3; \
         ParameterStart = 0; ParameterStep = 1; Arguments = \"_PARAM_\";",
    );
    let expected = options(RuntimeSource::Expected);
    let one = Workload::from_jdl(std::slice::from_ref(&known), &expected).unwrap();
    assert_eq!((one.task_count(), one.core_seconds()), (1, 90.0));
    let told = Workload::from_jdl(&[known.clone(), sweep.clone()], &expected).unwrap_err();
    insta::assert_snapshot!(told);
    let drawn = options(RuntimeSource::Drawn(Distribution::Fixed { seconds: 10.0 }));
    let both = Workload::from_jdl(&[known, sweep], &drawn).unwrap();
    assert_eq!((both.task_count(), both.core_seconds()), (4, 40.0));
    let outcome = run(&standing(1, 1), &both, "fifo");
    assert_eq!(outcome.makespan_s, 40.0);
    let wrong = Workload::from_jdl(&[named("c.jdl", "Executable = ;")], &expected).unwrap_err();
    assert!(
        wrong.to_string().starts_with("description: c.jdl: "),
        "{wrong}"
    );
}

#[test]
fn a_generator_keeps_its_word() {
    let text = "[[stream]]\nname = \"a\"\nusers = 4\nskew = 1.0\ntasks = 3000\n\
                tasks_per_job = 5\narrivals = { kind = \"poisson\", load = 0.5 }\n\
                runtime = { kind = \"exponential\", mean_s = 100 }\ncores = [[1, 3], [2, 1]]\n";
    let workload = Workload::generated(text, 100, 1).unwrap();
    let same = Workload::generated(text, 100, 1).unwrap();
    assert_eq!(format!("{workload:?}"), format!("{same:?}"));
    assert_eq!(workload.task_count(), 3000);
    let jobs = workload.job_count() as f64;
    assert!((jobs / 600.0 - 1.0).abs() < 0.1, "{jobs}");
    let mean = workload.core_seconds() / 3000.0;
    assert!((mean / 125.0 - 1.0).abs() < 0.1, "{mean}");
    // Half of 100 cores are busy while jobs come.
    let outcome = run(&standing(25, 4), &workload, "fifo");
    assert!(
        (outcome.utilisation - 0.5).abs() < 0.05,
        "{}",
        outcome.utilisation
    );
    assert_eq!(outcome.users.len(), 4);
}

#[test]
fn what_is_wrong_in_a_generator_is_told() {
    let stream = "[[stream]]\nname = \"a\"\ntasks = 5\n";
    let at_once = "arrivals = { kind = \"at-once\" }\n";
    let runtime = "runtime = { kind = \"fixed\", seconds = 1 }\n";
    let told = |text: &str| Workload::generated(text, 10, 1).unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            told("stream = []"),
            told(""),
            told(&format!("{stream}{at_once}")),
            told(&format!("{stream}{runtime}arrivals = \"at-once\"\n")),
            told(&format!("{stream}{at_once}runtime = 90\n")),
            told(&format!("{stream}{at_once}{runtime}skew = 0.3\n")),
            told(&format!("{stream}{at_once}{runtime}cores = [[0, 1]]\n")),
            told(&format!(
                "{stream}{runtime}arrivals = {{ kind = \"poisson\", load = 0 }}\n"
            )),
            told(&format!(
                "{stream}{at_once}runtime = {{ kind = \"pareto\", min_s = 1, alpha = -1 }}\n"
            )),
        ]
        .join("\n---\n")
    );
}

#[test]
fn a_path_is_told_of_with_as_what_it_was_read() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("workloads");
    let path = |name: &str| folder.join(name);
    std::fs::create_dir_all(path("jobs")).unwrap();
    std::fs::create_dir_all(path("none")).unwrap();
    for name in ["jobs/a.jdl", "b.jdl", "c.toml", "d.swf"] {
        std::fs::write(path(name), "Executable = ;").unwrap();
    }
    std::fs::write(path("c.toml"), "").unwrap();
    let names = ["jobs", "none", "b.jdl", "c.toml", "d.swf", "missing.swf"];
    let told = names.map(|name| {
        let expected = options(RuntimeSource::Expected);
        let wrong = Workload::open(&path(name), 10, 1, &expected).unwrap_err();
        let wrong = wrong.to_string();
        wrong.replace(&format!("{}/", folder.display()), "")
    });
    insta::assert_snapshot!(told.join("\n---\n"));
}

#[test]
fn every_example_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/simulate");
    let (mut clusters, mut workloads) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some("toml") = path.extension().and_then(|it| it.to_str()) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("[[cluster]]") {
            fairway_sim::Clusters::read(&text).unwrap();
            clusters += 1;
        } else {
            fairway_sim::Generator::read(&text).unwrap();
            workloads += 1;
        }
    }
    assert!(
        clusters >= 4 && workloads >= 2,
        "{clusters} and {workloads}"
    );
    for entry in std::fs::read_dir(format!("{folder}/policies")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        fairway_sim::read_policy(&text).unwrap();
    }
}
