//! What is asked of Slurm alone, by its commands and by its API.

use fairway_model::{Ce, CeState, CeStatus};
use fairway_site_adapters::AdapterError;

use crate::bed::{Bed, SlurmBed, SlurmRestBed, ce};
use crate::bench::Bench;

fn with(account: Option<&str>, qos: Option<&str>) -> Ce {
    let mut ce = ce("short");
    ce.account = account.map(str::to_owned);
    ce.qos = qos.map(str::to_owned);
    ce
}

fn limits(state: &CeState) -> [Option<u32>; 4] {
    [
        state.job_cores_max,
        state.job_nodes_max,
        state.own_running_max,
        state.own_jobs_max,
    ]
}

async fn limits_are_published_and_held(bed: &dyn Bed, has_accounting: bool) {
    let bench = Bench::new(bed);
    let small = bench.published(with(Some("small"), None)).await;
    let narrow = bench.published(with(Some("small"), Some("narrow"))).await;
    let grid = bench.published(with(None, None)).await;
    assert_eq!(grid.walltime_max_s, Some(1800));
    assert_eq!(limits(&grid), [None; 4]);
    if !has_accounting {
        assert_eq!(limits(&narrow), [None; 4]);
        return;
    }
    assert_eq!(small.walltime_max_s, Some(1200));
    assert_eq!(limits(&small), [Some(3), Some(1), Some(3), Some(5)]);
    assert_eq!(narrow.walltime_max_s, Some(600));
    assert_eq!(limits(&narrow), [Some(2), Some(1), Some(2), Some(4)]);

    let mut job = bench.job("over", 3, "");
    job.ce = with(None, Some("narrow"));
    match bed.system().submit(&[job]).await.remove(0) {
        Err(AdapterError::Refused(words)) => {
            assert!(
                words.contains("3 cores") && words.contains("allow 2"),
                "{words}"
            );
        }
        other => panic!("{other:?}"),
    }
    // Slurm would have taken it.
    assert_eq!(bench.jobs(&[]).await, []);

    let stranger = bench.published(with(Some("nosuch"), None)).await;
    assert_eq!(stranger.status, CeStatus::Closed);
}

async fn gpus_and_features_are_published_and_asked_for(bed: &dyn Bed) {
    let bench = Bench::new(bed);
    let state = bench.published(ce("short")).await;
    assert_eq!((state.gpus_total, state.nodes_total), (Some(2), Some(4)));
    assert_eq!(state.features, ["bed", "fast"]);
    assert_eq!((state.nodes_free, state.cores_used), (Some(4), Some(0)));

    let mut job = bench.job("with-gpu", 1, "");
    job.program[2] = format!("env >\"$0.env\"; {}", job.program[2]);
    job.resources.gpus = 2;
    job.ce = ce("short");
    job.ce.gpu_type = Some("fake".into());
    job.ce.constraint = Some("fast&bed".into());
    job.ce.shape.whole_node = true;
    let id = bed.system().submit(&[job]).await.remove(0).unwrap();
    bench.until_running(&id).await;
    bench.until_exists("with-gpu", "up").await;
    let env = std::fs::read_to_string(bench.path("with-gpu", "env")).unwrap();
    assert!(env.contains("\nSLURM_GPUS_ON_NODE=2\n"), "{env}");
    assert!(env.contains("\nSLURMD_NODENAME=n1\n"), "{env}");
    let busy = bench.published(ce("short")).await;
    assert_eq!(
        (busy.nodes_free, busy.cores_used),
        (Some(3), Some(4)),
        "the whole node"
    );
    bench.clear().await;
}

macro_rules! for_both {
    ($($test:ident($($argument:ident)?);)*) => {
        mod by_commands {
            $(#[tokio::test]
            async fn $test() {
                if let Some(bed) = super::SlurmBed::new().await {
                    super::$test(&bed $(, bed.$argument())?).await;
                }
            })*
        }
        mod by_rest {
            $(#[tokio::test]
            async fn $test() {
                if let Some(bed) = super::SlurmRestBed::new().await {
                    super::$test(&bed $(, bed.$argument())?).await;
                }
            })*
        }
    };
}

for_both! {
    limits_are_published_and_held(has_accounting);
    gpus_and_features_are_published_and_asked_for();
}

#[tokio::test]
async fn pilots_under_another_account_are_seen_and_cancelled() {
    let Some(bed) = SlurmBed::new().await else {
        return;
    };
    let Some(account) = bed.other_account() else {
        println!("left out: the test bed has no other account, which takes root and sudo");
        return;
    };
    let bench = Bench::new(&bed);
    let ours = bench.submit("ours", 1, "").await;
    let mut job = bench.job("theirs", 1, "");
    job.run_as = Some(account.trim().to_owned());
    // It cannot write where our jobs do.
    job.program = ["/bin/sleep", "60"].map(str::to_owned).to_vec();
    let theirs = bed.system().submit(&[job]).await.remove(0).unwrap();
    bench.until_running(&theirs).await;
    bench.until_running(&ours).await;
    let both = [ours, theirs];
    assert_eq!(bench.jobs(&both).await.len(), 2);
    bed.system().cancel(&both).await.unwrap();
    for id in &both {
        bench.until_ended(id).await;
    }
    bench.clear().await;
}

/// The commands alone can be told more.
#[tokio::test]
async fn nodes_are_avoided_and_options_passed_on() {
    let Some(bed) = SlurmBed::new().await else {
        return;
    };
    let bench = Bench::new(&bed);
    bench.published(ce("short")).await;
    let mut job = bench.job("choosy", 1, "");
    job.program[2] = format!("env >\"$0.env\"; {}", job.program[2]);
    job.ce = ce("short");
    job.ce.options = vec!["--comment=from-the-site".into()];
    job.avoid = ["n1.example.org", "n2", "n4", "gone"]
        .map(str::to_owned)
        .into();
    bed.system().submit(&[job]).await.remove(0).unwrap();
    bench.until_exists("choosy", "up").await;
    let env = std::fs::read_to_string(bench.path("choosy", "env")).unwrap();
    assert!(env.contains("\nSLURMD_NODENAME=n3\n"), "{env}");
    bench.clear().await;
}
