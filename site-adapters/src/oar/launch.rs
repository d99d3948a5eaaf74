//! The script of a pilot on the first of its nodes. Pure.

use crate::{AdapterError, PilotJob, script};

/// Starts the program on every node of the job, each with the whole document on its standard
/// input and a number of its own, and ends when all have ended.
///
/// OAR starts a job on its first node only. `oarsh` reaches the others, and it is `ssh`: it hands
/// no signal on, and what it started lives on when it is gone. So the connection itself is the
/// signal: what comes behind the document is nothing, and then the end of it. The program on a
/// node is sent SIGTERM as soon as its connection is closed, which happens when this script hears
/// SIGTERM, and also when it is killed. The word `@LENGTH@` stands for the length of the document
/// in bytes.
const ON_EVERY_NODE: &str = r#"quote() { printf "'"; printf %s "$1" | sed "s/'/'\\\\''/g"; printf "'"; }
on_node() {
    # What watches the connection is no process of its own: that would hold it open for ever.
    remote='exec 3<&0; document=$(head -c @LENGTH@ <&3; echo .)
        printf %s "${document%.}" | FAIRWAY_NODE='"$2$program"' & program=$!
        { while read -r _ <&3; do :; done; kill -TERM $program; } >/dev/null 2>&1 & watch=$!
        wait $program; code=$?; kill $watch 2>/dev/null; exit $code'
    exec 3>&-
    { printf %s "$document"; exec cat <&4; } >"$folder/$2" & feeder=$!
    exec 5<"$folder/$2" 4<&-
    rm "$folder/$2"
    oarsh "$1" "exec sh -c $(quote "$remote")" <&5
    code=$?
    kill $feeder 2>/dev/null
    exit $code
}
on_every_node() {
    document=$(cat; echo .)
    document=${document%.}
    program=
    for word; do program="$program $(quote "$word")"; done
    folder=$(mktemp -d) && mkfifo "$folder/open" || exit 1
    # Nobody writes to this pipe: it is open for as long as the nodes are to run.
    exec 3<>"$folder/open" 4<"$folder/open"
    trap 'exec 3>&-' TERM
    node=0 nodes=
    for host in $(sort -u "$OAR_NODEFILE"); do
        mkfifo "$folder/$node" || exit 1
        on_node "$host" $node &
        nodes="$nodes $!" node=$((node + 1))
    done
    status=0
    for node in $nodes; do
        while :; do
            wait "$node"
            code=$?
            # A signal ends the wait, not the node.
            [ $code -gt 128 ] && kill -0 "$node" 2>/dev/null || break
        done
        [ $code -eq 0 ] || status=$code
    done
    rm -rf "$folder"
    exit $status
}
"#;

/// The script. It removes itself before anything else: the document in it holds a secret, and the
/// folder that it is in outlives the job.
///
/// # Errors
/// `Refused` if the program or the document cannot be written so.
pub(super) fn script(job: &PilotJob) -> Result<String, AdapterError> {
    const ALONE: &str = "rm -f -- \"$0\"\n";
    if job.nodes <= 1 {
        return script::script(job, ALONE, "exec");
    }
    // The here-document ends with a newline in any case.
    let length = job.stdin.len() + usize::from(!job.stdin.ends_with('\n'));
    let preamble = format!("{ALONE}{ON_EVERY_NODE}").replace("@LENGTH@", &length.to_string());
    script::script(job, &preamble, "on_every_node")
}

/// What writes scripts into `folder`: a program for a shell, to be read from its standard input
/// because of the secrets in it. Nobody else can read them, not for a moment, and nobody else's file
/// is written to.
pub(super) fn place(folder: &str, scripts: &[(String, String)]) -> String {
    use std::fmt::Write as _;

    let mut text = format!("set -eC; umask 077; cd {}\n", script::quote(folder));
    for (file, content) in scripts {
        let file = script::quote(file);
        let mark = script::end_mark(content);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "rm -f -- {file}\ncat >{file} <<'{mark}'\n{content}{mark}\nchmod 700 -- {file}\n"
        );
    }
    text
}
