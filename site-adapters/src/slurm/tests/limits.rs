//! What is known of limits and nodes, held against submissions.

use super::*;

#[tokio::test]
async fn limits_are_held_against_submissions() {
    let (slurm, recording) = replay(published());
    let mut small = ce("short");
    small.account = Some("small".into());
    let mut narrow = small.clone();
    narrow.qos = Some("narrow".into());
    let mut stranger = ce("short");
    stranger.account = Some("nosuch".into());
    let mut kept_out = ce("spare");
    kept_out.account = Some("small".into());
    let spare = ce("spare");
    let ces = [
        small.clone(),
        narrow.clone(),
        stranger.clone(),
        kept_out.clone(),
        spare.clone(),
    ];
    let states = slurm.publish(&ces, Timestamp(0)).await.unwrap();
    let limits: Vec<_> = states
        .iter()
        .map(|state| {
            (
                state.walltime_max_s,
                state.job_cores_max,
                state.job_nodes_max,
                state.own_running_max,
                state.own_jobs_max,
            )
        })
        .collect();
    assert_eq!(limits[0], (Some(1200), Some(3), Some(1), Some(3), Some(5)));
    assert_eq!(limits[1], (Some(600), Some(2), Some(1), Some(2), Some(4)));
    // The partition's QoS holds for those who ask for none.
    assert_eq!(limits[4], (Some(600), Some(2), Some(1), Some(2), Some(4)));
    assert_eq!(states[4].node_cores, Some(3));

    let asked = recording.asked().len();
    let mut words = Vec::new();
    for (ce, cores, nodes, walltime_s) in [
        (&small, 1, 1, 1201),
        (&small, 4, 1, 60),
        (&small, 1, 2, 60),
        (&narrow, 3, 1, 60),
        (&narrow, 1, 1, 601),
        (&spare, 4, 1, 60),
        (&stranger, 1, 1, 60),
        (&kept_out, 1, 1, 60),
    ] {
        let mut job = job();
        job.ce = ce.clone();
        job.resources.cores = cores;
        job.nodes = nodes;
        job.walltime_s = walltime_s;
        match slurm.submit(&[job]).await.remove(0) {
            Err(AdapterError::Refused(text)) => words.push(text),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(words.join("\n"));
    assert_eq!(recording.asked().len(), asked, "nobody was asked");
}

#[tokio::test]
async fn the_accounting_is_asked_from_time_to_time() {
    let mut answers = published();
    let again = published();
    answers.extend(again.into_iter().take(5));
    let (slurm, recording) = replay(answers);
    slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    slurm.publish(&[ce("short")], Timestamp(1)).await.unwrap();
    let asked = recording.asked();
    let sacctmgr = asked.iter().filter(|it| it.program == "sacctmgr").count();
    assert_eq!((sacctmgr, asked.len()), (2, 14));

    // Its absence does not close anything.
    let mut answers = published();
    answers.truncate(7);
    let away = || answer(1, "", "sacctmgr: error: Unable to contact slurmdbd\n");
    answers.extend([("sacctmgr", away()), ("sacctmgr", away())]);
    let (slurm, _) = replay(answers);
    let states = slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    assert_eq!(states[0].status, CeStatus::Production);
    assert_eq!(states[0].own_jobs_max, None);
}

#[tokio::test]
async fn only_nodes_that_are_there_are_avoided() {
    let mut answers = published();
    answers.push(("sbatch", answer(0, "5\n", "")));
    let (slurm, recording) = replay(answers);
    slurm.publish(&[ce("short")], Timestamp(0)).await.unwrap();
    let mut job = job();
    job.avoid = ["n2.example.org", "n3", "gone"].map(str::to_owned).into();
    job.walltime_s = 60;
    slurm.submit(&[job]).await.remove(0).unwrap();
    let args = &recording.asked().pop().unwrap().args;
    assert!(args.contains(&"--exclude=n2,n3".into()), "{args:?}");
}
