//! Tasks on several nodes of one allocation.

use std::collections::BTreeMap;
use std::path::Path;

use fairway_model::TaskId;

use crate::common::own_slurm::OwnSlurm;
use crate::common::{History, Setup, over, submit, sweep, until_true};

/// The names in a file, one on a line, and how often each.
fn names(file: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut names = BTreeMap::new();
    for name in text.lines() {
        *names.entry(name.to_owned()).or_default() += 1;
    }
    names
}

#[tokio::test]
async fn a_task_runs_on_three_nodes_of_an_allocation() {
    const TASKS: u32 = 2;
    let Some(slurm) = OwnSlurm::up(4) else { return };
    let setup = Setup::new();
    let work_dir = setup.folder().join("pilots");
    std::fs::create_dir(&work_dir).unwrap();
    let site = format!(
        "name = \"bed\"\n\
         adapter = {{ kind = \"slurm\", conf = \"{}\", work_dir = \"{}\" }}\n\
         [[ces]]\n\
         name = \"short\"\n\
         shape = {{ cores = 2, memory_mib = 200, walltime_s = 900, nodes = 4 }}\n\
         limits = {{ pilots_max = 4, queued_max = 4 }}\n",
        slurm.conf(),
        work_dir.display()
    );
    let fairway = setup.site(&site).start().await;
    let alice = fairway.user("alice").await;
    let folder = fairway.folder().to_owned();
    // As docs/jdl.md tells authors to.
    let payload = fairway.script(
        "ranks.sh",
        &format!(
            "set -e\n\
             cp \"$FAIRWAY_HOSTFILE\" {folder}/hosts.$1\n\
             srun --overlap --nodes=\"$FAIRWAY_NODES\" --ntasks=\"$FAIRWAY_NODES\" \
             --ntasks-per-node=1 --nodelist=\"$FAIRWAY_HOSTS\" \
             /bin/sh -c 'echo $SLURMD_NODENAME' >{folder}/ran.$1",
            folder = folder.display()
        ),
    );
    let jdl = sweep("ranks", TASKS, &payload);
    let jdl = jdl.replacen('[', "[ CpuNumber = 6; HostNumber = 3; ", 1);
    let job = submit(&alice.client, jdl).await;
    over(&alice.client, job).await;
    History::of(&alice.client, job)
        .await
        .assert_each_succeeded_once(job, TASKS);
    let pilots = fairway.pilots().await;
    assert_eq!(pilots.len(), 4, "one allocation for both: {pilots:?}");
    for index in 0..TASKS {
        let task = alice.client.task(TaskId::new(job, index)).await.unwrap();
        assert_eq!((task.cores, task.seats.len()), (Some(2), 2), "{task:?}");
        let hosts = names(&folder.join(format!("hosts.{index}")));
        assert_eq!(hosts.len(), 3, "{hosts:?}");
        assert!(hosts.values().all(|lines| *lines == 2), "{hosts:?}");
        let ran = names(&folder.join(format!("ran.{index}")));
        assert_eq!(ran.len(), 3, "{ran:?}");
        assert!(ran.keys().eq(hosts.keys()), "{ran:?} on {hosts:?}");
    }
    until_true("no pilot is left", async || {
        fairway.live_pilots().await.is_empty()
    })
    .await;
    until_true("Slurm's queue is empty", async || slurm.jobs().is_empty()).await;
}
