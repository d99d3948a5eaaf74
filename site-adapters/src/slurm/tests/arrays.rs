//! Job arrays.

use super::*;

fn numbered(numbers: std::ops::Range<u64>) -> Vec<PilotJob> {
    let job = |number| PilotJob {
        pilot: PilotId(number),
        name: format!("fw-a-p{number}"),
        stdin: format!("document of {number}"),
        ..job()
    };
    numbers.map(job).collect()
}

#[test]
fn renders_an_array() {
    let mut jobs = numbered(41..44);
    jobs[1].stdin = "END_OF_BOOTSTRAP\n;;\nesac\n".into();
    let rules = bulk::Rules {
        index_end: 1001,
        contiguous: false,
    };
    let batches = bulk::batches(&jobs, rules);
    let place = Place {
        work_dir: Some("/scratch/fairway".into()),
        bin_dir: None,
    };
    let args = render::submit_args(&batches[0], &place).unwrap();
    let script = render::script(&batches[0], &place).unwrap();
    insta::assert_snapshot!(format!("sbatch {}\n\n{script}", args.join("\n  ")));
}

#[tokio::test]
async fn equal_pilots_are_one_submission() {
    let (slurm, recording) = replay(vec![
        ("scontrol", answer(0, fixture!("scontrol-config.out"), "")),
        ("sbatch", answer(0, "21\n", "")),
        ("sbatch", answer(0, "22\n", "")),
    ]);
    let mut jobs = numbered(42..46);
    jobs[1].walltime_s = 60;
    let ids = ["21_0", "22", "21_2", "21_3"].map(|id| Ok(id.to_owned()));
    assert_eq!(slurm.submit(&jobs).await, ids);
    assert!(recording.asked()[1].args.contains(&"--array=0,2-3".into()));

    // A name that was refused does not harm the others.
    let (slurm, _) = replay(vec![
        ("scontrol", answer(0, fixture!("scontrol-config.out"), "")),
        ("sbatch", answer(1, "", fixture!("err-partition.err"))),
        ("sbatch", answer(0, "23\n", "")),
    ]);
    let mut jobs = numbered(42..45);
    jobs[1].ce = ce("nosuch");
    jobs[2].ce = ce("nosuch");
    jobs.swap(0, 2);
    let results = slurm.submit(&jobs).await;
    assert!(results[0].is_ok() != results[2].is_ok());
    assert_eq!(results[0].is_ok(), results[1].is_ok());
}

#[tokio::test]
async fn no_arrays_without_an_answer_or_where_there_are_none() {
    let (slurm, recording) = replay(vec![(
        "scontrol",
        answer(
            1,
            "",
            "scontrol: error: Unable to contact slurm controller\n",
        ),
    )]);
    for result in slurm.submit(&numbered(1..9)).await {
        assert!(matches!(result, Err(AdapterError::Unreachable(_))));
    }
    assert_eq!(recording.asked().len(), 1);

    let (slurm, _) = replay(vec![
        ("scontrol", answer(0, "MaxArraySize = 0\n", "")),
        ("sbatch", answer(0, "1\n", "")),
        ("sbatch", answer(0, "2\n", "")),
    ]);
    let ids = ["1", "2"].map(|id| Ok(id.to_owned()));
    assert_eq!(slurm.submit(&numbered(1..3)).await, ids);
}

#[tokio::test]
async fn members_of_arrays_are_told_apart() {
    let (slurm, recording) = replay(vec![
        ("squeue", answer(0, fixture!("squeue-array.out"), "")),
        ("squeue", answer(0, "", "")),
        ("sacct", answer(0, fixture!("sacct-array.out"), "")),
    ]);
    let known = ["21_0", "21_3", "21_6"].map(str::to_owned);
    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 6);
    assert_eq!(*find(&jobs, "21_0"), BatchState::Running);
    assert_eq!(*find(&jobs, "21_6"), queued("Resources"));
    let name = |id: &str| {
        jobs.iter()
            .find(|job| job.batch_id == id)
            .map(|job| &*job.name)
    };
    assert_eq!(
        (name("21_0"), name("21_6")),
        (Some("fw-a-p42"), Some("fw-a-p48"))
    );

    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 3, "only what was asked for");
    assert_eq!(*find(&jobs, "21_6"), ended("CANCELLED by 0"));
    assert_eq!(recording.asked()[2].args.last().unwrap(), "--jobs=21");
}

#[tokio::test]
async fn a_member_that_slurm_forgets_was_cancelled() {
    let (slurm, recording) = replay(vec![
        ("squeue", answer(0, fixture!("squeue-array.out"), "")),
        ("scancel", answer(0, "", "")),
        ("squeue", answer(0, "", "")),
        ("sacct", answer(1, "", fixture!("nodb-sacct.err"))),
    ]);
    let known = ["21_3", "21_5", "21_6"].map(str::to_owned);
    slurm.poll("fw-a-", &known).await.unwrap();
    slurm
        .cancel(&[known[1].clone(), known[2].clone(), "7".into()])
        .await
        .unwrap();
    assert_eq!(recording.asked()[1].args, ["7", "21_[5-6]"]);
    let jobs = slurm.poll("fw-a-", &known).await.unwrap();
    assert_eq!(jobs.len(), 2, "of 21_3 nothing is known: {jobs:?}");
    assert_eq!(*find(&jobs, "21_6"), ended("CANCELLED"));
    assert_eq!(jobs[0].name, "fw-a-p47");
}
