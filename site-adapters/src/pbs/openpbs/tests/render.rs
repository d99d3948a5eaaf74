//! What is told to a server.

use super::*;
use crate::pbs::openpbs::render;

fn rendered(jobs: &[PilotJob], work_dir: Option<&str>) -> String {
    let args = render::submit_args(jobs).unwrap();
    let script = render::script(jobs, work_dir).unwrap();
    format!("qsub {}\n\n{script}", args.join("\n  "))
}

#[test]
fn renders_a_submission() {
    let mut job = job(7);
    job.ce.account = Some("grid".into());
    job.ce.constraint = Some("arch=linux:model=milan".into());
    job.ce.options = vec!["-p".into(), "10".into()];
    insta::assert_snapshot!(rendered(&[job], Some("/scratch/fairway")));
}

#[test]
fn a_small_submission_asks_for_little() {
    let mut job = job(7);
    job.resources = Resources {
        cores: 1,
        memory_mib: 0,
        gpus: 2,
    };
    job.walltime_s = 0;
    insta::assert_snapshot!(rendered(&[job], None));
}

#[test]
fn renders_an_array() {
    insta::assert_snapshot!(rendered(&jobs(7..10), Some("/scratch/fairway")));
}

#[test]
fn renders_several_whole_nodes_in_a_reservation() {
    let mut job = job(7);
    job.nodes = 3;
    job.ce.shape.whole_node = true;
    job.ce.reservation = Some("R123.pbshost".into());
    insta::assert_snapshot!(rendered(
        std::slice::from_ref(&job),
        Some("/scratch/fairway")
    ));
    let error = render::script(&[job], None).unwrap_err();
    assert!(error.to_string().contains("work_dir"), "{error}");
}

#[test]
fn what_could_be_an_option_or_a_script_is_refused() {
    let bad = [
        "",
        "-x",
        "a b",
        "a\n#PBS -u root",
        "a'b",
        "a;b",
        "../a",
        "é",
        "a,b",
    ];
    for text in bad {
        let mut cases = vec![job(7), job(7), job(7), job(7), job(7), job(7)];
        cases[0].name = text.into();
        cases[1].ce.queue = Some(text.into());
        cases[2].ce.account = Some(text.into());
        cases[3].ce.reservation = Some(text.into());
        cases[4].ce.constraint = Some(text.into());
        cases[5].run_as = Some(text.into());
        for job in cases {
            let refusal = render::submit_args(&[job]).unwrap_err();
            assert!(matches!(refusal, AdapterError::Refused(_)), "{text:?}");
        }
    }
    for constraint in ["a+2:ncpus=4", "a=b=c,d", "a=:b", "a::b"] {
        let mut job = job(7);
        job.ce.constraint = Some(constraint.into());
        assert!(render::submit_args(&[job]).is_err(), "{constraint}");
    }
}

#[test]
fn what_pbs_does_not_have_is_refused() {
    let mut reserved = job(7);
    reserved.reserve_at = Some(Timestamp(0));
    let mut with_qos = job(7);
    with_qos.ce.qos = Some("high".into());
    let mut typed = job(7);
    typed.ce.gpu_type = Some("a100".into());
    for (job, words) in [
        (reserved, "pbs_rsub"),
        (with_qos, "quality of service"),
        (typed, "constraint"),
    ] {
        let refusal = render::submit_args(&[job]).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn settings_that_pbs_would_rewrite_are_refused() {
    for path in ["relative", "/a:b", "/a,b", "/$a", "/a b", "/a\nb", "/a'b"] {
        let settings = PbsSettings {
            work_dir: Some(path.into()),
            ..PbsSettings::default()
        };
        let refused = Commands::new("lyon".parse().unwrap(), &settings).is_err();
        assert!(refused, "{path:?}");
    }
    for (name, value) in [("A=B", "c"), ("-u", "c"), ("A", "c\nd"), ("", "c")] {
        let settings = PbsSettings {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..PbsSettings::default()
        };
        let refused = Commands::new("lyon".parse().unwrap(), &settings).is_err();
        assert!(refused, "{name:?}");
    }
}

#[test]
fn only_pilots_that_differ_in_their_documents_share_an_array() {
    let mut jobs = jobs(7..16);
    jobs[1].ce.queue = Some("long".into());
    jobs[3].resources.cores = 1;
    jobs[5].nodes = 2;
    jobs[7].name = "fw-somebody".into();
    let groups = array::groups(&jobs);
    assert!(groups.iter().all(|group| group.len() == 1), "{groups:?}");
    let many = array::groups(&self::jobs(0..1001));
    assert_eq!(many, [0..500, 500..1000, 1000..1001]);
}
