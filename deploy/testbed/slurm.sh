#!/bin/bash
# A throw-away Slurm cluster on this machine, for the tests. See README.md.
#
#   slurm.sh up DIR [--nodes N] [--accounting] [--rest]
#                                   start it in the new folder DIR, ready when it returns
#   slurm.sh down DIR               stop it, with all of its jobs, and remove DIR
#   slurm.sh stop-controller DIR    stop only slurmctld: the batch system is away, jobs run on
#   slurm.sh start-controller DIR   and back
#
# Everything runs as the caller (root or not) on 127.0.0.1 with ports, key, socket and state of
# its own. The system's Slurm and munge, if there are any, are neither used nor touched.
# --accounting adds a MariaDB and slurmdbd, with limits that are enforced. --rest adds slurmrestd;
# it refuses to run as root and as Slurm's own user, so this needs root, and it runs as nobody.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

readonly CPUS_PER_NODE=4
readonly MEMORY_PER_NODE_MIB=4096
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# --- processes -----------------------------------------------------------------------------

# Whether a process belongs to this bed: an id from an old file may be somebody else's by now.
is_ours() {
    is_alive "$1" &&
        { tr '\0' '\n' <"/proc/$1/environ"; } 2>/dev/null | grep -qxF "FAIRWAY_TESTBED=$DIR"
}

# start NAME COMMAND...: runs a daemon that stays in the foreground, detached from us.
start() {
    local name=$1
    shift
    FAIRWAY_TESTBED=$DIR setsid "$@" >>"$DIR/log/$name.out" 2>&1 </dev/null &
    echo $! >"$DIR/run/$name"
}

# The processes that run this bed's jobs. They wipe their environment, but have its log open.
steps() {
    local pid
    for pid in $(grep -lx slurmstepd /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3); do
        readlink "/proc/$pid/fd/"* 2>/dev/null | grep -q "^$DIR/log/" && echo "$pid"
    done
    return 0
}

# The processes of this bed's jobs, also those that left their parents: told by two variables
# together, because whoever just uses the bed has the first one too.
payloads() {
    local files
    files=$(grep -lzxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ 2>/dev/null) || return 0
    # shellcheck disable=SC2086 # names without blanks
    grep -lz '^SLURM_JOB_ID=' $files 2>/dev/null | cut -d/ -f3
}

# Kills what runs jobs, and the jobs with all that they started: they outlive slurmd by design.
kill_jobs() {
    local pid all new
    new=$(steps && payloads)
    all=$new
    while [[ -n $new ]]; do
        new=$(pgrep --parent "${new//$'\n'/,}" || true)
        all+=$'\n'$new
    done
    for pid in $all; do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in $all; do
        wait_for 5 is_over "$pid" || die "process $pid of a job does not end"
    done
}

# --- configuration -------------------------------------------------------------------------

write_config() {
    local nodes=$1 port host user accounting=none
    # slurmctld, slurmdbd, MariaDB, slurmrestd, and one for each node.
    port=$(free_ports $((nodes + 4)))
    host=$(hostname -s)
    user=$(id -un)
    ((ACCOUNTING == 0)) || accounting=slurmdbd
    echo "$((port + 2))" >"$DIR/run/.mariadbd-port"
    echo "$((port + 3))" >"$DIR/run/.slurmrestd-port"
    cat >"$DIR/slurm.conf" <<EOF
ClusterName=fairway-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
CredType=cred/munge
# Loopback only.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

StateSaveLocation=$DIR/state
SlurmctldPidFile=$DIR/state/slurmctld.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
# Several slurmd on one machine: %n is the node's name.
SlurmdPidFile=$DIR/spool/%n.pid
SlurmdLogFile=$DIR/log/%n.log
SlurmdSpoolDir=$DIR/spool/%n
# The nodes have the processors and the memory that are written here, whatever the machine has.
SlurmdParameters=config_overrides

ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/$accounting
MpiDefault=none
SwitchType=switch/none
PropagateResourceLimits=NONE

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
SchedulerType=sched/backfill
# Jobs start, and the absence of the controller shows, as soon as possible.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
MessageTimeout=3
TCPTimeout=1
KillWait=3
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=60
ReturnToService=2
# What is over a limit is refused, rather than left waiting for ever.
EnforcePartLimits=ALL

GresTypes=gpu
NodeName=DEFAULT CPUs=$CPUS_PER_NODE RealMemory=$MEMORY_PER_NODE_MIB State=UNKNOWN
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 4)) Feature=bed,fast Gres=gpu:fake:2
NodeName=n[2-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 5))-$((port + nodes + 3))] Feature=bed
PartitionName=short Nodes=n[1-$nodes] MaxTime=00:30:00 DefaultTime=00:05:00 PriorityTier=10 Default=YES
PartitionName=long Nodes=n[1-$((nodes - 1))] MaxTime=2-00:00:00 DefaultTime=01:00:00 PriorityTier=5
PartitionName=tiny Nodes=n$nodes MaxTime=00:05:00 DefaultTime=00:01:00 PriorityTier=20
EOF
    # Files stand for the devices: they are counted, and nothing opens them.
    touch "$DIR/gpu0" "$DIR/gpu1"
    echo "NodeName=n1 Name=gpu Type=fake File=$DIR/gpu[0-1]" >"$DIR/gres.conf"
    ((ACCOUNTING == 0)) || write_accounting_config "$host" "$user" "$port"
    ((REST == 0)) || write_token_config
    # %q: the folder may have any name that Slurm can live with.
    printf 'export SLURM_CONF=%q\n' "$DIR/slurm.conf" >"$DIR/env"
    printf '%s\n' "export PATH=\$PATH:/usr/sbin" >>"$DIR/env"
}

write_accounting_config() {
    local host=$1 user=$2 port=$3
    cat >>"$DIR/slurm.conf" <<EOF

AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
# The commands' way to slurmdbd; AuthInfo is not used for it.
AccountingStoragePass=$DIR/munge/socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
EOF
    cat >"$DIR/slurmdbd.conf" <<EOF
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
DbdAddr=127.0.0.1
DbdHost=$host
DbdPort=$((port + 1))
CommunicationParameters=NoInAddrAny
SlurmUser=$user
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/state/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
EOF
    # It holds a password, so slurmdbd insists.
    chmod 600 "$DIR/slurmdbd.conf"
}

write_token_config() {
    local file
    head -c 32 /dev/urandom >"$DIR/jwt.key"
    chmod 600 "$DIR/jwt.key"
    for file in "$DIR/slurm.conf" "$DIR/slurmdbd.conf"; do
        [[ -e $file ]] || continue
        printf '%s\n' AuthAltTypes=auth/jwt "AuthAltParameters=jwt_key=$DIR/jwt.key" >>"$file"
    done
}

# --- the database --------------------------------------------------------------------------

# Nothing here outlives the bed, so nothing waits for the disk.
readonly SQL_OPTIONS=(--innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync
    --innodb-log-file-size=8M --innodb-buffer-pool-size=64M --skip-name-resolve)

sql() { mariadb --no-defaults --user=root --socket="$DIR/sql/socket" "$@" 2>/dev/null; }

make_database() {
    mkdir -m 700 "$DIR/sql"
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$DIR/sql/data" --skip-test-db \
        --auth-root-authentication-method=normal "${SQL_OPTIONS[@]}" >"$DIR/log/sql-install.out" 2>&1
}

start_database() {
    start mariadbd mariadbd --no-defaults --user="$(id -un)" --datadir="$DIR/sql/data" \
        --socket="$DIR/sql/socket" --pid-file="$DIR/sql/pid" --bind-address=127.0.0.1 \
        --port="$(<"$DIR/run/.mariadbd-port")" --skip-log-bin --performance-schema=OFF \
        --innodb-lock-wait-timeout=900 "${SQL_OPTIONS[@]}"
    wait_for 30 sql --execute='select 1' >/dev/null || return 1
    sql --execute="create database slurm; create user slurm@'127.0.0.1' identified by 'slurm';
        grant all on slurm.* to slurm@'127.0.0.1'"
}

accounting_answers() { sacctmgr --noheader list cluster >/dev/null 2>&1; }

start_accounting() {
    start_database || return 1
    start slurmdbd slurmdbd -D
    wait_for 30 accounting_answers || return 1
    # slurmctld has to find its cluster there when it first starts.
    sacctmgr --immediate --quiet add cluster fairway-test >/dev/null
}

# Accounts and a quality of service with limits, for the caller.
make_accounts() {
    local user
    user=$(id -un)
    sacctmgr --immediate --quiet add account grid,small Description=bed Organization=bed
    sacctmgr --immediate --quiet add qos narrow set MaxWall=00:10:00 MaxTRESPerJob=cpu=2 \
        MaxJobsPerUser=2 MaxSubmitJobsPerUser=4
    sacctmgr --immediate --quiet add user "$user" Account=grid DefaultAccount=grid \
        QOS=normal,narrow DefaultQOS=normal
    sacctmgr --immediate --quiet add user "$user" Account=small QOS=normal,narrow DefaultQOS=normal \
        MaxJobs=3 MaxSubmitJobs=5 MaxWall=00:20:00 MaxTRES=cpu=3,node=1
    [[ ! -e $DIR/other-user ]] ||
        sacctmgr --immediate --quiet add user "$(<"$DIR/other-user")" Account=grid
} >/dev/null

# --- the cluster ---------------------------------------------------------------------------

munge_answers() { munge --no-input --socket="$DIR/munge/socket" >/dev/null 2>&1; }

controller_answers() { scontrol ping >/dev/null 2>&1; }

start_controller() {
    start slurmctld slurmctld -D
    wait_for 20 controller_answers || return 1
}

nodes_are_idle() {
    [[ $(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l) == "$1" ]]
}

rest_answers() {
    curl --silent --fail --output /dev/null --header "X-SLURM-USER-NAME: $(id -un)" \
        --header "X-SLURM-USER-TOKEN: $(<"$DIR/rest.token")" "$(<"$DIR/rest.url")/openapi/v3"
}

start_rest() {
    local port plugins=
    port=$(<"$DIR/run/.slurmrestd-port")
    # The plugins for the accounting are fatal where there is none.
    ((ACCOUNTING == 1)) || plugins=openapi/v0.0.38,openapi/v0.0.37
    SLURM_JWT=daemon start slurmrestd setpriv --reuid=nobody --regid=nogroup --clear-groups \
        slurmrestd -a rest_auth/jwt ${plugins:+-s "$plugins"} "127.0.0.1:$port"
    echo "http://127.0.0.1:$port" >"$DIR/rest.url"
    id -un >"$DIR/rest.user"
    (umask 077 && scontrol token lifespan=86400 | sed 's/^SLURM_JWT=//' >"$DIR/rest.token")
    wait_for 10 rest_answers
}

bring_up() {
    local nodes=$1 node database=
    mkdir -p "$DIR"/{log,run,spool,state}
    # Whom root may run jobs as besides itself.
    ((EUID != 0)) || ! command -v sudo >/dev/null || echo nobody >"$DIR/other-user"
    if ((ACCOUNTING == 1)); then
        make_database &
        database=$!
    fi
    mkdir -m 755 "$DIR/munge"
    head -c 128 /dev/urandom >"$DIR/munge/key"
    chmod 400 "$DIR/munge/key"
    write_config "$nodes"
    start munged munged --foreground --key-file="$DIR/munge/key" --socket="$DIR/munge/socket" \
        --pid-file="$DIR/munge/pid" --seed-file="$DIR/munge/seed" --log-file="$DIR/log/munged.log"
    wait_for 10 munge_answers || return 1
    if [[ -n $database ]]; then
        wait "$database" || return 1
        start_accounting || return 1
    fi
    start_controller || return 1
    for ((node = 1; node <= nodes; node++)); do
        mkdir "$DIR/spool/n$node"
        start "n$node" slurmd -D -N "n$node"
    done
    ((ACCOUNTING == 0)) || make_accounts || return 1
    wait_for 20 nodes_are_idle "$nodes" || return 1
    ((REST == 0)) || start_rest || return 1
}

take_down() {
    local file name
    # The state is thrown away with the folder, so nobody needs time to write it.
    stop slurmctld KILL
    for file in "$DIR"/run/n[0-9]*; do
        [[ -e $file ]] || continue
        name=${file##*/}
        stop "$name" KILL
    done
    kill_jobs
    stop slurmrestd KILL
    stop slurmdbd KILL
    stop mariadbd KILL
    stop munged
}

up() {
    local nodes=$1 program
    ((nodes >= 2)) || die "at least 2 nodes, so that the partitions differ"
    for program in munged munge slurmctld slurmd sbatch pgrep; do
        command -v "$program" >/dev/null ||
            die "$program is missing: apt-get install slurm-wlm munge procps"
    done
    for program in slurmdbd mariadbd mariadb-install-db mariadb; do
        ((ACCOUNTING == 0)) || command -v "$program" >/dev/null ||
            die "$program is missing: apt-get install slurmdbd mariadb-server"
    done
    for program in slurmrestd setpriv curl; do
        ((REST == 0)) || command -v "$program" >/dev/null ||
            die "$program is missing: apt-get install slurmrestd slurm-wlm-jwt-plugin curl"
    done
    ((REST == 0 || EUID == 0)) || die "--rest needs root: slurmrestd must not run as Slurm's user"
    [[ ! -e $DIR || -z $(ls -A "$DIR") ]] || die "$DIR is not empty: 'slurm.sh down $DIR' first"
    trap 'take_down; exit 130' INT TERM
    if ! bring_up "$nodes"; then
        tail -n 5 "$DIR"/log/* >&2
        take_down
        die "the cluster did not come up; the logs are in $DIR/log"
    fi
    echo "ready: $nodes nodes of $CPUS_PER_NODE cores; source $DIR/env"
}

down() {
    [[ -e $DIR/slurm.conf ]] || die "there is no test bed in $DIR"
    take_down
    rm -rf "$DIR"
}

usage() { die "usage: slurm.sh up DIR [--nodes N] [--accounting] [--rest] | down DIR | stop-controller DIR | start-controller DIR"; }
(($# >= 2)) || usage
command=$1
DIR=$(realpath -m -- "$2")
[[ $DIR != *[[:space:]%\#\"]* ]] || die "Slurm cannot live in a folder of that name: $DIR"
shift 2
nodes=4
ACCOUNTING=0
REST=0
while [[ $command == up && $# -gt 0 ]]; do
    case $1 in
    --nodes)
        [[ ${2:-} =~ ^[0-9]+$ ]] || usage
        nodes=$2
        shift
        ;;
    --accounting) ACCOUNTING=1 ;;
    --rest) REST=1 ;;
    *) usage ;;
    esac
    shift
done
(($# == 0)) || usage
export SLURM_CONF=$DIR/slurm.conf
case $command in
up) up "$nodes" ;;
down) down ;;
stop-controller) stop slurmctld ;;
start-controller) start_controller || die "the controller does not answer; see $DIR/log" ;;
*) usage ;;
esac
