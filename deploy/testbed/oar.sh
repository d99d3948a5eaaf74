#!/bin/bash
# A throw-away OAR cluster on this machine, for the tests. See README.md.
#
#   oar.sh up DIR [--nodes N]   start it in the new folder DIR, ready when it returns
#   oar.sh down DIR             stop it, with all of its jobs, and remove DIR
#   oar.sh stop-server DIR      stop Almighty and the database: the batch system is away, jobs run on
#   oar.sh start-server DIR     and back
#
# OAR insists on /etc/oar, /var/lib/oar, host names and users of the system. So the bed lives in a
# mount namespace of its own, where files of DIR cover those of the system: nothing of the machine is
# changed, and nothing is to be restored. That takes root. Everything listens on loopback only.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

readonly CORES_PER_NODE=4
readonly MEMORY_PER_NODE_MIB=4096
# Whom jobs belong to: OAR refuses those of root. The account exists inside the namespace only.
readonly USER_NAME=fwpilot
readonly API_PASSWORD=fwpilot-pw
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Perl warns of every locale that is not there.
export LC_ALL=C.UTF-8

# --- processes -----------------------------------------------------------------------------

# The mount namespace of this bed, as the kernel names it.
namespace() { readlink "/proc/$(<"$DIR/run/namespace")/ns/mnt"; }

# Whether a process belongs to this bed: an id from an old file may be somebody else's by now.
is_ours() { [[ $(readlink "/proc/$1/ns/mnt" 2>/dev/null) == "$(<"$DIR/namespace")" ]]; }

# Runs a command inside the namespace.
inside() { nsenter --mount --target "$(<"$DIR/run/namespace")" -- "$@"; }

# inside_as USER COMMAND...: the same as somebody else.
inside_as() {
    local user=$1
    shift
    inside setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
}

# start NAME COMMAND...: runs a daemon that stays in the foreground, detached from us.
start() {
    local name=$1
    shift
    setsid nsenter --mount --target "$(<"$DIR/run/namespace")" -- "$@" \
        >>"$DIR/log/$name.out" 2>&1 </dev/null &
    echo $! >"$DIR/run/$name"
}

# Kills whatever still lives in the namespace: jobs, helpers of the daemons, forgotten commands.
kill_all() {
    local pid pids
    [[ -e $DIR/namespace ]] || return 0
    pids=$(find /proc -maxdepth 1 -name '[0-9]*' -printf '%f\n')
    for pid in $pids; do is_ours "$pid" && kill -KILL "$pid" 2>/dev/null || true; done
    for pid in $pids; do
        is_ours "$pid" || continue
        wait_for 5 is_over "$pid" || die "process $pid does not end"
    done
}

# --- configuration -------------------------------------------------------------------------

address() { echo "127.0.1.$1"; }

# The user, the host names, and what OAR keeps in the system's folders.
write_system() {
    local node
    mkdir "$DIR/system" "$DIR/system/run" "$DIR/system/run/sshd"
    cp -p /etc/passwd /etc/group /etc/shadow /etc/hosts "$DIR/system/"
    cp -a /etc/oar "$DIR/system/etc-oar"
    cp -a /var/lib/oar "$DIR/system/lib-oar"
    cp -p /usr/lib/oar/Almighty "$DIR/system/almighty"
    local id=61184
    while getent passwd "$id" >/dev/null || getent group "$id" >/dev/null; do id=$((id + 1)); done
    echo "$USER_NAME:x:$id:$id::$DIR/home:/bin/bash" >>"$DIR/system/passwd"
    echo "$USER_NAME:x:$id:" >>"$DIR/system/group"
    echo "$USER_NAME:*:19000::::::" >>"$DIR/system/shadow"
    # `oar` logs in to the nodes with a key; a locked password would keep it out without PAM.
    sed -i 's/^oar:[^:]*:/oar:*:/' "$DIR/system/shadow"
    for ((node = 1; node <= NODES; node++)); do
        echo "$(address "$node") oarnode$node" >>"$DIR/system/hosts"
    done
    # Almighty listens everywhere, and looks at its jobs every ten seconds.
    sed -i -e 's/INET->new(LocalPort=> \$serverport,/INET->new(LocalAddr=>"127.0.0.1",LocalPort=>$serverport,/' \
        -e 's/^my \$read_commands_timeout = .*/my $read_commands_timeout = 1;/' \
        -e 's/^my \$schedulertimeout = .*/my $schedulertimeout = 10;/' \
        -e 's/^my \$villainstimeout = .*/my $villainstimeout = 1;/' "$DIR/system/almighty"
    grep -q 'LocalAddr=>"127.0.0.1"' "$DIR/system/almighty" || die "this Almighty is not the one of OAR 2.5"
    mkdir -m 755 "$DIR/home" "$DIR/work" "$DIR/bin"
    touch "$DIR/home/.bashrc"
    chown -R "$id:$id" "$DIR/home" "$DIR/work"
}

# setting NAME VALUE: sets it in oar.conf; an empty value takes it out.
setting() {
    local file=$DIR/system/etc-oar/oar.conf
    sed -i "/^$1=/d" "$file"
    [[ -z $2 ]] || printf '%s="%s"\n' "$1" "$2" >>"$file"
}

write_config() {
    local port
    port=$(free_ports 4)
    DATABASE_PORT=$port SERVER_PORT=$((port + 1)) SSH_PORT=$((port + 2)) API_PORT=$((port + 3))
    setting DB_TYPE Pg
    setting DB_HOSTNAME 127.0.0.1
    setting DB_PORT "$DATABASE_PORT"
    setting DB_BASE_NAME oar
    setting DB_BASE_LOGIN oar
    setting DB_BASE_PASSWD none
    setting DB_BASE_LOGIN_RO oar_ro
    setting DB_BASE_PASSWD_RO none
    setting SERVER_HOSTNAME localhost
    setting SERVER_PORT "$SERVER_PORT"
    setting OPENSSH_CMD "/usr/bin/ssh -p $SSH_PORT -e none"
    setting LOG_FILE "$DIR/log/oar.log"
    setting DEPLOY_HOSTNAME oarnode1
    setting COSYSTEM_HOSTNAME oarnode1
    # Jobs start, and end, as soon as possible.
    setting SCHEDULER_MIN_TIME_BETWEEN_2_CALLS 1
    setting SCHEDULER_JOB_SECURITY_TIME 1
    setting SCHEDULER_GANTT_HOLE_MINIMUM_TIME 1
    setting JOBDEL_WALLTIME 60
    setting JOBDEL_SOFTWALLTIME 10
    # Otherwise only 30 jobs of a user are looked at.
    setting SCHEDULER_FAIRSHARING_MAX_JOB_PER_USER 200
    setting FINAUD_FREQUENCY 0
    setting PINGCHECKER_SENTINELLE_SCRIPT_COMMAND ""
    setting PINGCHECKER_GENERIC_COMMAND /bin/true
    # No cpusets: they need version 1 of the kernel's control groups. Jobs get a name for one all
    # the same, by which `oarsh` knows whose they are.
    setting CPUSET_PATH ""
    setting JOB_RESOURCE_MANAGER_PROPERTY_DB_FIELD cpuset
    setting JOB_RESOURCE_MANAGER_FILE /etc/oar/no_resource_manager.pl
    printf '%s\n' 'my @job = <STDIN>;' 'exit(0);' >"$DIR/system/etc-oar/no_resource_manager.pl"
    setting API_TRUST_IDENT 1
    touch "$DIR/log/oar.log" "$DIR/log/api.log"
    chown oar "$DIR/log/oar.log" "$DIR/log/api.log"
    write_sshd
    write_api
    write_commands
    cat >"$DIR/env" <<EOF
export PATH=$DIR/bin:\$PATH
export OAR_API=http://127.0.0.1:$API_PORT/oarapi-priv
export OAR_API_USER=$USER_NAME:$API_PASSWORD
EOF
    printf '%s' "$USER_NAME:$API_PASSWORD" >"$DIR/api-secret"
    echo "http://127.0.0.1:$API_PORT/oarapi-priv" >"$DIR/api-url"
}

# What logs in to the nodes: they are addresses of this machine.
write_sshd() {
    local node
    {
        grep -vE '^(Port|ListenAddress|UsePrivilegeSeparation|Protocol|KeepAlive)\b' /etc/oar/sshd_config
        echo "Port $SSH_PORT"
        echo "PidFile none"
        echo "UseDNS no"
        for ((node = 1; node <= NODES; node++)); do echo "ListenAddress $(address "$node")"; done
    } >"$DIR/sshd.conf"
}

# The REST API. Its FastCGI process gets a new environment with each request, which must name the
# configuration; a header by which a caller could say who it is never gets through.
write_api() {
    local module
    htpasswd -bcB -C 4 "$DIR/api-users" "$USER_NAME" "$API_PASSWORD" 2>/dev/null
    mkdir "$DIR/api"
    chown oar:oar "$DIR/api"
    {
        for module in mpm_event authn_core authn_file authz_core authz_user auth_basic alias env headers rewrite fcgid; do
            echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
        done
        cat <<EOF
ServerRoot $DIR
ServerName localhost
Listen 127.0.0.1:$API_PORT
PidFile $DIR/api/httpd.pid
DefaultRuntimeDir $DIR/api
User oar
Group oar
ErrorLog $DIR/log/api.log
FcgidIPCDir $DIR/api/sockets
FcgidProcessTableFile $DIR/api/processes
FcgidMaxProcesses 4
FcgidIOTimeout 120
FcgidMaxRequestLen 16777216
SetEnv OARCONFFILE /etc/oar/oar.conf
SetEnv OARDIR /usr/lib/oar
SetEnv OARUSER oar
SetEnv PATH /bin:/sbin:/usr/bin:/usr/sbin:/usr/lib/oar/oardodo
ScriptAlias /oarapi-priv /usr/lib/cgi-bin/oarapi/oarapi.cgi
<Directory /usr/lib/cgi-bin/oarapi>
  Options +ExecCGI
  SetHandler fcgid-script
</Directory>
<Location /oarapi-priv>
  AuthType Basic
  AuthBasicProvider file
  AuthUserFile $DIR/api-users
  AuthName "OAR"
  Require valid-user
  RewriteEngine On
  RewriteCond %{REMOTE_USER} (.+)
  RewriteRule .* - [E=X_REMOTE_IDENT:%1]
  RequestHeader unset X_REMOTE_IDENT
  RequestHeader set X-REMOTE-IDENT %{X_REMOTE_IDENT}e
</Location>
EOF
    } >"$DIR/httpd.conf"
}

# The users' commands for whoever is outside the namespace, as the jobs' user. What the caller left
# in the work folder is made that user's, as if it had been the caller.
write_commands() {
    local command
    for command in oarsub oardel oarstat oarnodes oarhold oarresume; do
        cat >"$DIR/bin/$command" <<EOF
#!/bin/sh
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=$DIR/home USER=$USER_NAME LOGNAME=$USER_NAME
holder=\$(cat $DIR/run/namespace)
[ $command != oarsub ] || nsenter --mount --target "\$holder" -- chown -R $USER_NAME: $DIR/work
cd $DIR/home
exec nsenter --mount --target "\$holder" -- setpriv --reuid=$USER_NAME --regid=$USER_NAME --init-groups -- $command "\$@"
EOF
        chmod 755 "$DIR/bin/$command"
    done
}

# --- the cluster ---------------------------------------------------------------------------

# Makes the namespace, with the bed's files over the system's, and a process that holds it.
enter_namespace() {
    # shellcheck disable=SC2016 # for the shell inside
    setsid unshare --mount --propagation private -- bash -euc '
        cd "$1/system"
        for name in passwd group shadow hosts; do mount --bind "$name" "/etc/$name"; done
        mount --bind etc-oar /etc/oar
        mount --bind lib-oar /var/lib/oar
        mount --bind almighty /usr/lib/oar/Almighty
        mount --bind run /run
        touch "$1/run/mounted"
        exec sleep infinity' namespace "$DIR" >>"$DIR/log/namespace.out" 2>&1 </dev/null &
    echo $! >"$DIR/run/namespace"
    wait_for 5 test -e "$DIR/run/mounted" || return 1
    namespace >"$DIR/namespace"
}

postgres() { inside_as postgres "$@"; }

database_answers() { postgres "$PGBIN/pg_isready" -q -h 127.0.0.1 -p "$1"; }

database_port() { sed -n 's/^DB_PORT="\(.*\)"/\1/p' "$DIR/system/etc-oar/oar.conf"; }

server_port() { sed -n 's/^SERVER_PORT="\(.*\)"/\1/p' "$DIR/system/etc-oar/oar.conf"; }

start_database() {
    local port
    port=$(database_port)
    # The tests need no safety from a loss of power.
    start database setpriv --reuid=postgres --regid=postgres --init-groups -- \
        "$PGBIN/postgres" -D "$DIR/database" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c max_connections=200 -c shared_buffers=32MB
    wait_for 20 database_answers "$port"
}

# Tables, rules and queues as the package has them; the nodes; a queue that is for short jobs.
fill_database() {
    local psql=("$PGBIN/psql" -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$DATABASE_PORT" -U oar)
    local sql=/usr/lib/oar/database
    inside "${psql[@]}" -d postgres -c 'CREATE DATABASE oar' >/dev/null
    {
        cat $sql/pg_structure.sql $sql/pg_default_admission_rules.sql $sql/default_data.sql
        echo "CREATE ROLE oar_ro LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO oar_ro;"
        echo "INSERT INTO queues (queue_name, priority, scheduler_policy)
              SELECT 'tiny', 3, scheduler_policy FROM queues WHERE queue_name = 'default';"
        cat <<'EOF'
INSERT INTO admission_rules (priority, rule) VALUES (18, $rule$
if ($queue_name eq "tiny") {
  foreach my $mold (@{$ref_resource_list}) {
    die("[ADMISSION RULE] walltime too long for the tiny queue (max 0:5:0)\n")
      if defined($mold->[1]) and $mold->[1] > 300;
  }
}
$rule$);
ALTER TABLE resources ADD COLUMN cluster VARCHAR(255), ADD COLUMN host VARCHAR(255),
  ADD COLUMN cpu INT, ADD COLUMN core INT, ADD COLUMN memnode INT,
  ADD COLUMN cpuarch VARCHAR(255), ADD COLUMN os VARCHAR(255);
EOF
        cat <<EOF
INSERT INTO resources (network_address, state, state_num, host, cluster, cpu, core, memnode, cpuarch, os)
  SELECT 'oarnode' || node, 'Alive', 1, 'oarnode' || node, 'testbed', node,
         (node - 1) * $CORES_PER_NODE + place, $MEMORY_PER_NODE_MIB, 'x86_64', 'Debian 12'
  FROM generate_series(1, $NODES) AS node, generate_series(1, $CORES_PER_NODE) AS place ORDER BY node, place;
INSERT INTO resource_logs (resource_id, attribute, value, date_start)
  SELECT resource_id, 'state', 'Alive', extract(epoch from now())::int FROM resources;
EOF
    } >"$DIR/database.sql"
    inside "${psql[@]}" -d oar -1 -f "$DIR/database.sql" >"$DIR/log/database.sql.out" 2>&1
}

server_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_almighty() {
    start almighty setpriv --reuid=oar --regid=oar --init-groups -- \
        env HOME=/var/lib/oar USER=oar OARUSER=oar OARDIR=/usr/lib/oar OARCONFFILE=/etc/oar/oar.conf \
        PATH="$PATH:/usr/lib/oar/oardodo" /usr/lib/oar/Almighty
    wait_for 20 server_answers "$(server_port)"
}

# Almighty's helpers outlive it, and hear nothing but KILL.
stop_almighty() {
    local pids pid
    [[ -e $DIR/run/almighty ]] || return 0
    pids=$(pgrep --parent "$(<"$DIR/run/almighty")" || true)
    [[ -z $pids ]] || pids+=$'\n'$(pgrep --parent "${pids//$'\n'/,}" || true)
    stop almighty
    for pid in $pids; do is_ours "$pid" && kill -KILL "$pid" 2>/dev/null || true; done
}

nodes_are_alive() {
    [[ $("$DIR/bin/oarnodes" -s 2>/dev/null | grep -c Alive) == $((NODES * CORES_PER_NODE)) ]]
}

# The first job shows that all of it works together.
first_job_ends() {
    local id
    id=$("$DIR/bin/oarsub" -l /host=1/core=1,walltime=0:1:0 -O /dev/null -E /dev/null true |
        sed -n 's/^OAR_JOB_ID=//p')
    [[ -n $id ]] && wait_for 60 is_terminated "$id"
}

is_terminated() { "$DIR/bin/oarstat" -s -j "$1" | grep -q Terminated; }

bring_up() {
    mkdir -p "$DIR"/{log,run}
    chmod 755 "$DIR" "$DIR/log"
    write_system
    write_config
    mkdir -m 700 "$DIR/database"
    chown postgres: "$DIR/database"
    enter_namespace || return 1
    postgres "$PGBIN/initdb" -D "$DIR/database" -U oar --auth=trust --encoding=UTF8 --no-locale \
        --no-sync >"$DIR/log/initdb.out" 2>&1 || return 1
    start_database || return 1
    fill_database || return 1
    start sshd /usr/sbin/sshd -D -e -f "$DIR/sshd.conf"
    start api /usr/sbin/apache2 -D FOREGROUND -f "$DIR/httpd.conf"
    start_almighty || return 1
    nodes_are_alive || return 1
    first_job_ends || return 1
}

take_down() {
    # The state is thrown away with the folder, so nobody needs time to write it.
    stop_almighty
    stop api KILL
    stop sshd KILL
    stop database INT
    kill_all
    rm -f "$DIR/run/namespace"
}

up() {
    local program
    ((NODES >= 2)) || die "at least 2 nodes"
    [[ $(id -u) == 0 ]] || die "OAR is started by root only"
    for program in /usr/lib/oar/Almighty /usr/bin/oarsub /usr/lib/cgi-bin/oarapi/oarapi.cgi \
        /usr/sbin/apache2 /usr/bin/htpasswd /usr/lib/apache2/modules/mod_fcgid.so /usr/sbin/sshd \
        "$PGBIN/initdb" /usr/bin/pgrep; do
        [[ -e $program ]] || die "$program is missing; README.md names the packages"
    done
    [[ ! -e $DIR || -z $(ls -A "$DIR") ]] || die "$DIR is not empty: 'oar.sh down $DIR' first"
    trap 'take_down; exit 130' INT TERM
    if ! bring_up; then
        tail -n 5 "$DIR"/log/* >&2
        take_down
        die "the cluster did not come up; the logs are in $DIR/log"
    fi
    echo "ready: $NODES nodes of $CORES_PER_NODE cores; source $DIR/env"
}

down() {
    [[ -e $DIR/system ]] || die "there is no test bed in $DIR"
    take_down
    rm -rf "$DIR"
}

stop_server() {
    stop_almighty
    stop database INT
}

start_server() { start_database && start_almighty; }

usage() { die "usage: oar.sh up DIR [--nodes N] | down DIR | stop-server DIR | start-server DIR"; }
(($# >= 2)) || usage
command=$1
DIR=$(realpath -m -- "$2")
[[ $DIR =~ ^[A-Za-z0-9_./-]+$ ]] || die "OAR cannot live in a folder of that name: $DIR"
shift 2
NODES=3
if [[ $command == up && ${1:-} == --nodes && ${2:-} =~ ^[0-9]+$ ]]; then
    NODES=$2
    shift 2
fi
(($# == 0)) || usage
# The newest of the installed versions; Debian keeps these programs off the PATH.
PGBIN=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
case $command in
up) up ;;
down) down ;;
stop-server) stop_server ;;
start-server) start_server || die "the server does not answer; see $DIR/log" ;;
*) usage ;;
esac
