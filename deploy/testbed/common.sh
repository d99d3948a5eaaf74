# What the scripts of the test beds share; sourced by them. They set DIR, the bed's folder, and say
# with `is_ours PID` which processes are the bed's.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Repeats a command until it succeeds, for at most so many seconds.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# Whether a process runs; one that is over and not reaped does not.
is_alive() {
    local stat
    stat=$({ cat "/proc/$1/stat"; } 2>/dev/null) && [[ ${stat##*) } != [ZX]* ]]
}

is_over() { ! is_alive "$1"; }

# stop NAME [SIGNAL]: ends a daemon and waits for its end.
stop() {
    local file=$DIR/run/$1 pid
    [[ -e $file ]] || return 0
    pid=$(<"$file")
    if is_ours "$pid"; then
        kill "-${2:-TERM}" "$pid" 2>/dev/null || true
        wait_for 10 is_over "$pid" || kill -KILL "$pid" 2>/dev/null || true
        wait_for 5 is_over "$pid" || die "$1 (process $pid) does not end"
    fi
    rm -f "$file"
}

# The first of so many adjacent ports on which nobody listens.
free_ports() {
    local count=$1 taken base port try
    taken=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _; do
        [[ $local == *:* ]] && echo $((16#${local##*:}))
    done)
    for ((try = 0; try < 100; try++)); do
        # Below the range that outgoing connections take theirs from.
        base=$((10000 + RANDOM % 20000))
        for ((port = base; port < base + count; port++)); do
            grep -qx "$port" <<<"$taken" && continue 2
        done
        echo "$base"
        return
    done
    die "no $count free ports next to each other"
}
