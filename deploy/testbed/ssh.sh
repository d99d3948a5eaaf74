#!/bin/bash
# A throw-away SSH server on loopback, for the tests. See README.md.
#
#   ssh.sh up DIR      start it in the new folder DIR; DIR/ssh_config then knows the host `bed`
#   ssh.sh down DIR    stop it and remove DIR
#   ssh.sh stop DIR    stop only the server: the machine is away
#   ssh.sh start DIR   and back
#
# It runs as the caller, who logs in as himself with a key made for this bed. Neither the
# system's SSH server nor anybody's ~/.ssh is used or touched.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

answers() { ssh -F "$DIR/ssh_config" -o ConnectTimeout=2 bed true 2>/dev/null; }

start() {
    # The server wants its own full path, and as root a folder to lock its helpers into.
    local server
    server=$(command -v sshd || echo /usr/sbin/sshd)
    [[ $(id -u) != 0 ]] || mkdir -p -m 755 /run/sshd
    setsid "$server" -D -f "$DIR/sshd_config" -E "$DIR/log" </dev/null >/dev/null 2>&1 &
    echo $! >"$DIR/pid"
    wait_for 10 answers
}

# Ends the server and all its connections. Its children have no pid files: they are found as
# its session's, before it is gone.
stop() {
    local pid all
    [[ -e $DIR/pid ]] || return 0
    pid=$(<"$DIR/pid")
    if is_alive "$pid" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$DIR/sshd_config"; then
        all=$(pgrep --parent "$pid" || true)
        kill -TERM "$pid"
        for pid in $all; do kill -TERM "$pid" 2>/dev/null || true; done
        wait_for 5 is_over "$(<"$DIR/pid")" || die "the server does not end"
    fi
    rm -f "$DIR/pid"
}

write_config() {
    local port=$1
    cat >"$DIR/sshd_config" <<END
ListenAddress 127.0.0.1
Port $port
HostKey $DIR/host_key
AuthorizedKeysFile $DIR/key.pub
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
# The folder may lie in one that everybody can write to.
StrictModes no
END
    cat >"$DIR/ssh_config" <<END
Host bed
    HostName 127.0.0.1
    Port $port
    User $(id -un)
    IdentityFile $DIR/key
    IdentitiesOnly yes
    UserKnownHostsFile $DIR/known_hosts
    GlobalKnownHostsFile /dev/null
END
    echo "[127.0.0.1]:$port $(<"$DIR/host_key.pub")" >"$DIR/known_hosts"
}

up() {
    local program
    for program in ssh ssh-keygen pgrep; do
        command -v "$program" >/dev/null || die "$program is missing: apt-get install openssh-client procps"
    done
    [[ -x $(command -v sshd || echo /usr/sbin/sshd) ]] || die "sshd is missing: apt-get install openssh-server"
    [[ ! -e $DIR || -z $(ls -A "$DIR") ]] || die "$DIR is not empty: 'ssh.sh down $DIR' first"
    mkdir -p "$DIR"
    ssh-keygen -q -t ed25519 -N '' -C fairway-test -f "$DIR/host_key"
    ssh-keygen -q -t ed25519 -N '' -C fairway-test -f "$DIR/key"
    write_config "$(free_ports 1)"
    if ! start; then
        tail -n 5 "$DIR/log" >&2 || true
        stop
        die "the server did not come up; its log is $DIR/log"
    fi
    echo "ready: ssh -F $DIR/ssh_config bed"
}

down() {
    [[ -e $DIR/sshd_config ]] || die "there is no test bed in $DIR"
    stop
    rm -rf "$DIR"
}

usage() { die "usage: ssh.sh up DIR | down DIR | stop DIR | start DIR"; }
(($# == 2)) || usage
DIR=$(realpath -m -- "$2")
[[ $DIR != *[[:space:]%\#\"]* ]] || die "SSH cannot live in a folder of that name: $DIR"
case $1 in
up | down | stop) "$1" ;;
start) start || die "the server does not answer; see $DIR/log" ;;
*) usage ;;
esac
