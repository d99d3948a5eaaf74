#!/bin/sh
# A throw-away PostgreSQL on loopback, for tests.
#
#   postgres.sh up DIR     makes and starts one in DIR, prints its URL; does nothing but
#                          print the URL if it runs already
#   postgres.sh down DIR   stops it and removes what it made in DIR
#
# Needs Debian's package `postgresql` (or initdb and pg_ctl on the PATH). As root it runs the
# server as user `postgres`, because PostgreSQL refuses to run as root. Everything is as it
# would be in service: passwords are asked for and every commit waits for the disk.
set -eu

fail() {
    echo "postgres.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: postgres.sh up|down DIR"
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
data=$dir/server

# The newest of the installed versions; Debian keeps these programs off the PATH.
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
PATH=${bin:+$bin:}$PATH
command -v initdb >/dev/null || fail "initdb is missing; install the package postgresql"

as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

running() {
    [ -d "$data/base" ] && as_server pg_ctl -s -D "$data/base" status >/dev/null
}

up() {
    if running; then
        cat "$data/url"
        return
    fi
    rm -rf "$data"
    mkdir -m 700 "$data"
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$password" >"$data/password")
    if [ "$(id -u)" -eq 0 ]; then
        chown -R postgres:postgres "$data"
        as_server test -x "$data" || fail "user postgres cannot enter $dir; choose another DIR"
    fi
    cd /
    as_server initdb -D "$data/base" -U fairway --pwfile="$data/password" \
        --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync >"$data/initdb.log" ||
        fail "initdb failed, see $data/initdb.log"
    # A port cannot be asked for atomically: try some.
    for port in $(shuf -i 20000-29999 -n 10); do
        if as_server pg_ctl -s -w -t 30 -D "$data/base" -l "$data/log" \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" \
            start 2>/dev/null; then
            echo "postgres://fairway:$password@127.0.0.1:$port/postgres" >"$data/url"
            chmod 600 "$data/url"
            cat "$data/url"
            return
        fi
    done
    tail -n 20 "$data/log" >&2
    fail "the server does not start, see $data/log"
}

down() {
    if running; then
        cd /
        as_server pg_ctl -s -w -t 30 -D "$data/base" -m fast stop
    fi
    rm -rf "$data"
}

case $verb in
up | down) "$verb" ;;
*) fail "usage: postgres.sh up|down DIR" ;;
esac
