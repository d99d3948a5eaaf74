#!/usr/bin/python3 -IS
"""A stand-in for OpenPBS, which Debian does not have. See ../README.md.

    openpbs.py up DIR [--hosts N] [--no-history]   make one in the new folder DIR
    openpbs.py down DIR                            kill its jobs, remove the folder
    openpbs.py stop-server DIR                     the server is away, jobs run on
    openpbs.py start-server DIR                    and back

DIR/bin holds qsub, qstat, qdel, qselect, pbsnodes and pbsdsh. They answer in the forms, words and
exit codes that were recorded from OpenPBS 23.06.06 (site-adapters/tests/fixtures/openpbs); jobs
really run, as processes of the caller. There is no daemon: each command, and the end of each job,
takes the lock, looks at what has ended and starts what has room.
"""

import contextlib
import fcntl
import getopt
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time

SERVER = "pbshost"
VERSION = "23.06.06"
HOST_CORES = 4
HOST_MEMORY_KIB = 8 << 20
KILL_DELAY_S = 10
STARTING_S = 2.0  # substate 41: the node has not answered yet
EXITING_S = 0.2
MAX_ARRAY_SIZE = 10000

# As the queues of the recorded server. max_queued and max_run are per user.
QUEUES = {
    "workq": {},
    "short": {
        "Priority": 50,
        "max_queued": "[u:PBS_GENERIC=300]",
        "resources_max": {"ncpus": 4, "walltime": "00:10:00"},
        "resources_default": {"walltime": "00:05:00"},
        "max_run": "[u:PBS_GENERIC=4]",
    },
    "long": {
        "resources_max": {"walltime": "24:00:00"},
        "resources_min": {"walltime": "00:10:01"},
        "max_run": "[o:PBS_ALL=2]",
    },
    "tiny": {"max_queued": "[u:PBS_GENERIC=2]", "started": False},
    "closed": {"enabled": False},
    "restricted": {"acl_user_enable": True, "acl_users": "nobody"},
}

USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""


class Refusal(Exception):
    """What a command says on standard error, and its exit code."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code
        self.text = text


# --- state ---------------------------------------------------------------------------------


class Site:
    """One server in its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.state = None

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def is_down(self):
        return os.path.exists(self.path("down"))

    @contextlib.contextmanager
    def locked(self):
        """The state, under the lock; written back with what the scheduler made of it."""
        with open(self.path("lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(self.path("state.json")) as file:
                before = file.read()
            self.state = json.loads(before)
            self.cycle()
            yield self.state
            self.cycle()
            after = json.dumps(self.state)
            if after != before:
                with open(self.path("state.new"), "w") as file:
                    file.write(after)
                os.rename(self.path("state.new"), self.path("state.json"))

    def jobs(self):
        return self.state["jobs"]

    # --- the scheduler -----------------------------------------------------------------------

    def cycle(self):
        now = time.time()
        for job_id, job in self.jobs().items():
            if job["state"] == "R":
                self.harvest(job_id, job, now)
        free = self.free()
        running = [job for job in self.jobs().values() if job["state"] == "R"]
        for job_id, job in self.jobs().items():
            if job["state"] == "Q" and "members" not in job:
                if self.schedule(job_id, job, free, running, now):
                    running.append(job)
        for job in self.jobs().values():
            if "members" in job and job["state"] != "F":
                self.look_at_array(job, now)
        if not self.state["history"]:
            over = [job_id for job_id, job in self.jobs().items() if job["state"] == "F"]
            for job_id in over:
                del self.jobs()[job_id]

    def harvest(self, job_id, job, now):
        try:
            with open(self.path("jobs", job_id + ".end")) as file:
                end = json.load(file)
        except FileNotFoundError:
            return
        if now - end["time"] < EXITING_S:
            job["exiting"] = True
            return
        status = end["status"]
        words = "finished" if status == 0 else "failed"
        substate = 92 if status == 0 else 93
        if end["why"] == "walltime":
            status, words = -29, "exceeded resource walltime"
        elif end["why"] == "deleted":
            status, substate = 271, 91
            words = f"terminated by {job['deleted_by']}"
        self.finish(job, now, substate, f"{job['comment']} and {words}")
        job.update(exit=status, obittime=end["time"])

    def finish(self, job, now, substate, comment):
        job.pop("exiting", None)
        job.update(state="F", substate=substate, comment=comment, mtime=now, history=now)

    def schedule(self, job_id, job, free, running, now):
        """Starts a job if there is room, which is taken from `free`; else says why not."""
        queue = QUEUES[job["queue"]]
        if not queue.get("started", True):
            job["comment"] = "Not Running: Queue not started."
            return False
        nodes, ncpus, cores = job["nodes"], job["ncpus"], self.state["cores"]
        total, asked = cores * self.state["hosts"], nodes * ncpus
        amounts = f"Insufficient amount of resource: ncpus (R: {asked} A: {sum(free)} T: {total})"
        if asked > total:
            job["comment"] = f"Can Never Run: {amounts}"
            return False
        limit = queue.get("max_run", "")
        mine = [it for it in running if it["queue"] == job["queue"]]
        if limit.startswith("[u:"):
            mine = [it for it in mine if it["owner"] == job["owner"]]
        if limit and len(mine) >= limit_of(limit):
            who = "User" if limit.startswith("[u:") else "Queue"
            of = f"queue {job['queue']}" if who == "User" else job["queue"]
            job["comment"] = f"Not Running: {who} has reached {of} running job limit."
            return False
        need = cores if job["exclusive"] else ncpus
        hosts = [host for host, room in enumerate(free) if room >= need][:nodes]
        if len(hosts) < nodes:
            job["comment"] = f"Not Running: {amounts}"
            return False
        for host in hosts:
            free[host] -= need
        self.start(job_id, job, hosts, now)
        return True

    def free(self):
        free = [self.state["cores"]] * self.state["hosts"]
        for job in self.jobs().values():
            if job["state"] == "R":
                for host in job["on"]:
                    free[host] -= self.state["cores"] if job["exclusive"] else job["ncpus"]
        return [max(room, 0) for room in free]

    def start(self, job_id, job, hosts, now):
        place = "+".join(f"({host_name(host)}:ncpus={job['ncpus']})" for host in hosts)
        when = time.strftime("%a %b %d at %H:%M", time.localtime(now))
        job.update(
            state="R",
            on=hosts,
            stime=now,
            mtime=now,
            run_count=job.get("run_count", 0) + 1,
            comment=f"Job run at {when} on {place}",
        )
        # In a session of its own, with nothing of ours open.
        subprocess.Popen(
            [sys.executable, "-IS", os.path.realpath(__file__), "mom", self.folder, job_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def look_at_array(self, array, now):
        members = [self.jobs()[member] for member in array["members"]]
        if all(member["state"] == "F" for member in members):
            bad = any(member.get("exit") != 0 for member in members)
            words = "failed" if bad else "finished"
            self.finish(array, now, 93 if bad else 92, f"{array['comment'] or 'Job Array'} and {words}")
            array.update(exit=int(bad), obittime=now)
        elif array["state"] == "Q" and any(member["state"] != "Q" for member in members):
            when = time.strftime("%a %b %d at %H:%M", time.localtime(now))
            array.update(state="B", stime=now, comment=f"Job Array Began at {when}")

    # --- finding jobs ------------------------------------------------------------------------

    def find(self, text):
        """The id of a job in the state for what a user calls it, or None."""
        name = text if "." in text else f"{text}.{SERVER}"
        return name if name in self.jobs() else None


def host_name(number):
    return SERVER if number == 0 else f"{SERVER}{number}"


def limit_of(text):
    return int(text.rstrip("]").split("=")[1])


def seconds(text):
    parts = text.split(":")
    if len(parts) > 3 or not all(part.isdigit() for part in parts):
        raise Refusal(166, "qsub: Illegal attribute or resource value Resource_List.walltime")
    value = 0
    for part in parts:
        value = value * 60 + int(part)
    return value


def clock(value):
    value = int(value)
    return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"


def ctime(value):
    return time.ctime(value)


# --- how things are printed ------------------------------------------------------------------


def is_bare(text):
    """Whether the 23.06 client prints a text as a number: whatever strtod takes, `inf` included."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)", text, re.I)


def print_json(section, rows):
    out = ["{", f'    "timestamp":{int(time.time())},', f'    "pbs_version":"{VERSION}",']
    out.append(f'    "pbs_server":"{SERVER}"' + ("," if rows else ""))
    if rows:
        out.append(f'    "{section}":{{')
        out.extend(json_lines(rows, 2))
        out.append("    }")
    sys.stdout.write("\n".join(out) + "\n}" + ("\n" if rows else ""))


def json_lines(values, depth):
    pad = "    " * depth
    last = len(values) - 1
    for number, (key, value) in enumerate(values.items()):
        comma = "," if number < last else ""
        if isinstance(value, dict):
            yield f'{pad}"{key}":{{'
            yield from json_lines(value, depth + 1)
            yield f"{pad}}}{comma}"
        elif isinstance(value, list):
            yield f'{pad}"{key}":['
            for place, one in enumerate(value):
                yield f'{pad}    "{one}"' + ("," if place < len(value) - 1 else "")
            yield f"{pad}]{comma}"
        elif is_bare(str(value)):
            yield f'{pad}"{key}":{value}{comma}'
        else:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            yield f'{pad}"{key}":"{text}"{comma}'


def print_text(heading, rows):
    for name, values in rows.items():
        print(f"{heading}{name}")
        for key, value in values.items():
            if key == "Variable_List":
                print(f"    {key} = " + ",".join(f"{k}={v}" for k, v in value.items()))
            elif isinstance(value, dict):
                for inner, one in value.items():
                    print(f"    {key}.{inner} = {one}")
            elif isinstance(value, list):
                print(f"    {key} = " + ", ".join(value))
            else:
                print(f"    {key} = {value}")
        print()


def job_row(job_id, job):
    """The attributes of a job in the order in which the server tells them."""
    now = time.time()
    sequence = job_id.split(".")[0]
    is_member = "array_id" in job
    is_array = "members" in job
    is_over = job["state"] == "F"
    has_run = "stime" in job
    is_up = has_run and not is_array and (is_over or now - job["stime"] >= STARTING_S)
    home = os.path.expanduser("~")
    spool = re.sub(r"\[(\d*)\]", lambda it: "." + (it[1] or "^array_index^"), sequence)
    row = {"Job_Name": job["name"], "Job_Owner": f"{job['owner']}@{SERVER}"}
    if is_up:
        end = job.get("obittime", now)
        row["resources_used"] = {
            "cpupercent": 0,
            "cput": "00:00:00",
            "mem": "0kb",
            "ncpus": job["ncpus"],
            "vmem": "0kb",
            "walltime": clock(end - job["stime"]),
        }
    row["job_state"] = "E" if job.get("exiting") else job["state"]
    if is_member and is_over and not job.get("array_over"):
        row["job_state"] = "X"
    row.update(queue=job["queue"], server=SERVER)
    if not is_member:
        row["Checkpoint"] = "u"
    row["ctime"] = ctime(job["ctime"])
    row["Error_Path"] = f"{SERVER}:{home}/{job['name']}.e{spool}"
    if has_run and not is_array:
        row["exec_host"] = "+".join(f"{host_name(host)}/0" for host in job["on"])
        row["exec_vnode"] = job["comment"].split(" on ", 1)[1].split(" and ")[0]
    if not is_member:
        row["Hold_Types"] = "n"
    row.update(
        Join_Path=job["join"], Keep_Files="n", Mail_Points="a", mtime=ctime(job["mtime"]),
        Output_Path=f"{SERVER}:{job['output'] or f'{home}/' + job['name'] + '.o' + spool}",
        Priority=0, qtime=ctime(job["ctime"]), Rerunable=job["rerunable"],
        Resource_List=job["resources"],
    )
    if has_run:
        row["stime"] = ctime(job["stime"])
        if "obittime" in job:
            row["obittime"] = ctime(job["obittime"])
        if is_up:
            row.update(session_id=job.get("session", 10042), jobdir=home)
    substate = 70 if is_array else 42 if is_up else 41
    row["substate"] = job["substate"] if is_over else substate if has_run else 10
    row["Variable_List"] = {
        "PBS_O_HOME": home, "PBS_O_LANG": "C.UTF-8", "PBS_O_LOGNAME": job["owner"],
        "PBS_O_PATH": "/opt/pbs/bin:/usr/local/bin:/usr/bin:/bin", "PBS_O_SHELL": "/bin/bash",
        "PBS_O_WORKDIR": home, "PBS_O_SYSTEM": "Linux", "PBS_O_QUEUE": job["queue"],
        "PBS_O_HOST": SERVER,
    }
    if job["comment"]:
        row["comment"] = job["comment"]
    row["etime"] = ctime(job["ctime"])
    if job.get("run_count"):
        row["run_count"] = job["run_count"]
    row["eligible_time"] = "00:00:00"
    if "exit" in job:
        row.update(Stageout_status=1, Exit_status=job["exit"])
    if job.get("account"):
        row["Account_Name"] = job["account"]
    if not is_member:
        row["Submit_arguments"] = job["arguments"]
    if is_array:
        counts = array_counts(job)
        row.update(
            array="True", array_state_count=counts,
            array_indices_submitted=job["indices"], array_indices_remaining=job["remaining"],
        )
    if is_member:
        row.update(array_id=job["array_id"], array_index=job["array_index"])
    if is_over:
        row["history_timestamp"] = int(job["history"])
    row.update(project="_pbs_project_default", Submit_Host=SERVER)
    return row


def array_counts(array):
    queued, running, exiting, expired = array["counts"]
    return f"Queued:{queued} Running:{running} Exiting:{exiting} Expired:{expired}"


def state_count(jobs):
    def count(state):
        return sum(job["state"] == state for job in jobs if "array_id" not in job or state == "R")

    return (
        f"Transit:0 Queued:{count('Q')} Held:0 Waiting:0 Running:{count('R')} Exiting:0 "
        f"Begun:{count('B')} "
    )


def word(value):
    return "True" if value else "False"


def assigned(jobs):
    running = [job for job in jobs if job["state"] == "R"]
    if not running:
        return {}
    cores = sum(job["ncpus"] * len(job["on"]) for job in running)
    return {"resources_assigned": {"mem": "0mb", "ncpus": cores, "nodect": len(running)}}


def queue_row(site, name):
    queue = QUEUES[name]
    jobs = [job for job in site.jobs().values() if job["queue"] == name and job["state"] != "F"]
    row = {"queue_type": "Execution"}
    row.update({key: queue[key] for key in ["Priority"] if key in queue})
    row.update(total_jobs=len([it for it in jobs if "array_id" not in it]), state_count=state_count(jobs))
    row.update({key: queue[key] for key in ["max_queued"] if key in queue})
    if queue.get("acl_user_enable"):
        row.update(acl_user_enable="True", acl_users=queue["acl_users"])
    for key in ["resources_max", "resources_min", "resources_default"]:
        row.update({key: queue[key]} if key in queue else {})
    row.update(assigned(jobs))
    row.update({key: queue[key] for key in ["max_run"] if key in queue})
    row.update(enabled=word(queue.get("enabled", True)), started=word(queue.get("started", True)))
    return row


def server_row(site):
    jobs = list(site.jobs().values())
    row = {
        "server_state": "Active", "server_host": SERVER, "scheduling": "True",
        "total_jobs": len([job for job in jobs if "array_id" not in job]),
        "state_count": state_count(jobs), "default_queue": "workq", "log_events": 511,
        "mailer": "/usr/sbin/sendmail", "mail_from": "adm", "query_other_jobs": "True",
        "resources_default": {"ncpus": 1}, "default_chunk": {"ncpus": 1},
    }
    row.update(assigned(jobs))
    row.update(
        scheduler_iteration=600, flatuid="True", resv_enable="True", node_fail_requeue=310,
        max_array_size=MAX_ARRAY_SIZE, pbs_license_min=0, pbs_license_max=2147483647,
        pbs_license_linger_time=31536000,
        license_count="Avail_Global:1000000 Avail_Local:1000000 Used:0 High_Use:0",
        pbs_version=VERSION, eligible_time_enable="True",
        job_history_enable=word(site.state["history"]), job_history_duration="24:00:00",
        max_concurrent_provision=5, max_job_sequence_id=9999999,
    )
    return row


def node_row(site, number, free):
    name = host_name(number)
    here = {
        job_id: job for job_id, job in site.jobs().items()
        if job["state"] == "R" and number in job["on"]
    }
    cores = site.state["cores"]
    state = "job-busy" if free[number] == 0 else "free"
    if any(job["exclusive"] for job in here.values()):
        state = "job-exclusive"
    row = {"Mom": name, "ntype": "PBS", "state": state, "pcpus": cores}
    if here:
        row["jobs"] = list(here)
    row["resources_available"] = {
        "arch": "linux", "host": name, "mem": "8gb", "ncpus": cores, "vnode": name,
    }
    used = sum(job["ncpus"] for job in here.values())
    row["resources_assigned"] = {"mem": "0kb", "ncpus": used} if here else {}
    row.update(
        resv_enable="True", sharing="default_shared", license="l",
        last_state_change_time=int(site.state["since"]),
    )
    if site.jobs():
        row["last_used_time"] = int(time.time())
    return row


# --- the commands ------------------------------------------------------------------------------


def require_server(site, code, text):
    if site.is_down():
        raise Refusal(code, f"Connection refused\n{text}")


def qsub(site, argv):
    try:
        options, rest = getopt.gnu_getopt(argv, "a:A:c:C:e:fhj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:W:v:Vz")
    except getopt.GetoptError as error:
        raise Refusal(2, f"qsub: invalid option -- '{error.opt}'\n{USAGE}".rstrip())
    given = dict(options)
    name = given.get("-N", "STDIN")
    if len(name) > 230:
        raise Refusal(2, "qsub: Job name is too long ")
    if not re.fullmatch(r"[A-Za-z][!-~]*", name):
        raise Refusal(2, f"qsub: illegal -N value\n{USAGE}".rstrip())
    if rest:
        raise Refusal(1, "qsub: script file:: No such file or directory")
    script = sys.stdin.read()
    require_server(site, 162, f"qsub: cannot connect to server {SERVER} (errno=15010)")
    with site.locked() as state:
        job = new_job(site, name, given, options, argv)
        sequence = state["next"]
        state["next"] += 1
        with open(site.path("jobs", f"{sequence}.sh"), "w", opener=private) as file:
            file.write(script)
        print(add_jobs(site, sequence, job, given.get("-J")))


def private(path, flags):
    return os.open(path, flags, 0o700)


def new_job(site, name, given, options, argv):
    owner = pwd.getpwuid(os.getuid()).pw_name
    queue_name = given.get("-q", "workq").split("@")[0]
    queue = QUEUES.get(queue_name)
    if queue is None:
        raise Refusal(170, "qsub: Unknown queue")
    asked = resources([value for option, value in options if option == "-l"])
    members = array_size(given["-J"]) if "-J" in given else 1
    check_limits(site, queue_name, queue, owner, asked, members)
    walltime = asked.get("walltime") or queue.get("resources_default", {}).get("walltime")
    listed = {}
    if asked["mem"]:
        listed["mem"] = asked["mem"]
    nodes, ncpus = asked["nodes"], asked["ncpus"]
    listed.update(ncpus=nodes * ncpus, nodect=nodes, place=asked["place"], select=asked["select"])
    if walltime:
        listed["walltime"] = clock(seconds(walltime))
    now = time.time()
    return {
        "name": name, "owner": owner, "queue": queue_name, "state": "Q", "comment": "",
        "ctime": now, "mtime": now, "nodes": nodes, "ncpus": ncpus,
        "exclusive": "excl" in asked["place"], "walltime": seconds(walltime) if walltime else None,
        "resources": listed, "join": given.get("-j", "n"), "output": given.get("-o"),
        "rerunable": word(given.get("-r", "y") != "n"), "account": given.get("-A"),
        "arguments": " ".join(argv),
    }


def array_size(text):
    match = re.fullmatch(r"0-(\d+)", text)
    if not match or int(match[1]) < 1:
        raise Refusal(2, f"qsub: illegal -J value\n{USAGE}".rstrip())
    return int(match[1]) + 1


def resources(lists):
    asked = {"nodes": 1, "ncpus": 1, "mem": None, "place": "pack", "select": "1:ncpus=1"}
    for word_ in [word_ for one in lists for word_ in one.split(",")]:
        key, _, value = word_.partition("=")
        if key == "select":
            asked["select"] = value
            read_select(value, asked)
        elif key == "walltime":
            seconds(value)
            asked["walltime"] = value
        elif key == "place":
            asked["place"] = value
        elif key in ("ncpus", "mem"):
            asked[key] = int(value) if key == "ncpus" else value
        else:
            raise Refusal(187, f"qsub: Unknown resource Resource_List.{key}")
    return asked


def read_select(text, asked):
    count, *chunk = text.split(":")
    if not count.isdigit():
        raise Refusal(166, "qsub: Illegal attribute or resource value Resource_List.select")
    asked["nodes"] = int(count)
    for word_ in chunk:
        key, _, value = word_.partition("=")
        if key == "ncpus" and value.isdigit():
            asked["ncpus"] = int(value)
        elif key == "mem":
            if not re.fullmatch(r"\d+([kmgt]?[bw])?", value):
                raise Refusal(166, "qsub: Illegal attribute or resource value select.mem")
            asked["mem"] = value
        elif key not in ("ngpus", "arch", "host", "vnode", "mpiprocs"):
            raise Refusal(187, f"qsub: Unknown resource: {key}")


def check_limits(site, name, queue, owner, asked, members):
    if not queue.get("enabled", True):
        raise Refusal(173, "qsub: Queue is not enabled")
    if queue.get("acl_user_enable") and owner not in queue["acl_users"].split(","):
        raise Refusal(159, "qsub: Unauthorized Request ")
    most, least = queue.get("resources_max", {}), queue.get("resources_min", {})
    walltime = seconds(asked["walltime"]) if "walltime" in asked else None
    too_many = asked["nodes"] * asked["ncpus"] > most.get("ncpus", 1 << 30)
    too_long = walltime and "walltime" in most and walltime > seconds(most["walltime"])
    too_short = walltime and "walltime" in least and walltime < seconds(least["walltime"])
    if too_many or too_long or too_short:
        raise Refusal(188, "qsub: Job violates queue and/or server resource limits")
    if "max_queued" in queue:
        jobs = site.jobs().values()
        mine = [
            job for job in jobs
            if job["queue"] == name and job["owner"] == owner
            and job["state"] not in "FB" and "members" not in job
        ]
        if len(mine) + members > limit_of(queue["max_queued"]):
            raise Refusal(38, "qsub: would exceed queue generic's per-user limit")
    if members > MAX_ARRAY_SIZE:
        raise Refusal(3, "qsub: Array job exceeds server or queue size limit")


def add_jobs(site, sequence, job, indices):
    if indices is None:
        job_id = f"{sequence}.{SERVER}"
        site.jobs()[job_id] = dict(job, script=f"{sequence}.sh")
        return job_id
    array_id = f"{sequence}[].{SERVER}"
    members = [f"{sequence}[{index}].{SERVER}" for index in range(array_size(indices))]
    site.jobs()[array_id] = dict(job, members=members, indices=indices)
    for index, member in enumerate(members):
        site.jobs()[member] = dict(
            job, script=f"{sequence}.sh", array_id=array_id, array_index=index
        )
    return array_id


def qstat(site, argv):
    try:
        options, names = getopt.gnu_getopt(argv, "fF:txwQB", ["version"])
    except getopt.GetoptError as error:
        raise Refusal(2, f"qstat: invalid option -- '{error.opt}'")
    given = dict(options)
    if "--version" in given:
        print(f"pbs_version = {VERSION}")
        return
    is_json = given.get("-F") == "json"
    if site.is_down():
        if is_json:
            print_json("Jobs", {})
        require_server(site, 255, f"qstat: cannot connect to server {SERVER} (errno=15010)")
    with site.locked():
        if "-Q" in given:
            section, heading, (rows, refusals) = "Queue", "Queue: ", queue_rows(site, names)
        elif "-B" in given:
            section, heading, rows, refusals = "Server", "Server: ", {SERVER: server_row(site)}, []
        else:
            section, heading = "Jobs", "Job Id: "
            rows, refusals = job_rows(site, names, "-x" in given, "-t" in given)
    if is_json:
        print_json(section, rows)
    else:
        print_text(heading, rows)
    if refusals:
        sys.stdout.flush()
        raise Refusal(refusals[-1].code, "\n".join(one.text for one in refusals))


def queue_rows(site, names):
    rows, refusals = {}, []
    for name in names or QUEUES:
        if name in QUEUES:
            rows[name] = queue_row(site, name)
        else:
            refusals.append(Refusal(170, f"qstat: Unknown queue {name}"))
    return rows, refusals


def job_rows(site, names, with_history, with_members):
    jobs, rows, refusals = site.jobs(), {}, []

    def tell(job_id):
        job = jobs[job_id]
        if "members" in job:
            members = [jobs[member] for member in job["members"] if member in jobs]
            states = "".join(member["state"] for member in members)
            job = dict(job, counts=[states.count("Q"), states.count("R"), 0, states.count("F")])
            queued = [str(member["array_index"]) for member in members if member["state"] == "Q"]
            job["remaining"] = ",".join(queued) or "-"
        if "array_id" in job:
            array = jobs.get(job["array_id"])
            job = dict(job, array_over=array is None or array["state"] == "F")
        rows[job_id] = job_row(job_id, job)

    def tell_with_members(job_id):
        tell(job_id)
        if with_members:
            for member in jobs[job_id].get("members", []):
                if member in jobs:
                    tell(member)

    if not names:
        for job_id, job in jobs.items():
            if "array_id" not in job and (with_history or job["state"] != "F"):
                tell_with_members(job_id)
    for name in names:
        if not name[:1].isdigit():
            refusals.append(Refusal(170, f"qstat: Unknown queue destination {name}"))
            continue
        job_id = site.find(name)
        full = name if "." in name else f"{name}.{SERVER}"
        if job_id is None and with_history and not site.state["history"]:
            refusals.append(Refusal(0, f"qstat: PBS is not configured to maintain job history {full}"))
        elif job_id is None:
            refusals.append(Refusal(153, f"qstat: Unknown Job Id {full}"))
        elif jobs[job_id]["state"] == "F" and not with_history and "array_id" not in jobs[job_id]:
            text = "Job has finished, use -x or -H to obtain historical job information"
            refusals.append(Refusal(35, f"qstat: {full} {text}"))
        else:
            tell_with_members(job_id)
    return rows, refusals


def qdel(site, argv):
    if not argv:
        raise Refusal(2, "usage: qdel [-W force|suppress_email=X] [-x] job_identifier...")
    require_server(site, 162, f"Couldn't connect to cluster: {SERVER}")
    refusals = []
    with site.locked():
        for name in argv:
            if not re.match(r"\d+", name):
                refusals.append(Refusal(1, f"qdel: illegally formed job identifier: {name}"))
                continue
            job_id = site.find(name)
            if job_id is None:
                refusals.append(Refusal(153, f"qdel: Unknown Job Id {name}"))
            elif site.jobs()[job_id]["state"] == "F":
                refusals.append(Refusal(35, f"qdel: Job has finished {name}"))
            else:
                delete(site, job_id)
    if refusals:
        raise Refusal(refusals[-1].code, "\n".join(one.text for one in refusals))


def delete(site, job_id):
    job, now = site.jobs()[job_id], time.time()
    for member in job.get("members", []):
        if site.jobs()[member]["state"] != "F":
            delete(site, member)
    who = f"{pwd.getpwuid(os.getuid()).pw_name}@{SERVER}"
    if "members" in job:
        return
    if job["state"] == "R":
        job["deleted_by"] = who
        open(site.path("jobs", job_id + ".kill"), "w").close()
    else:
        site.finish(job, now, 91, f"{job['comment'] or 'Job'} and terminated")


def qselect(site, argv):
    options, _ = getopt.getopt(argv, "N:u:q:s:xt")
    given = dict(options)
    require_server(site, 162, f"qselect: cannot connect to server {SERVER} (errno=15010)")
    with site.locked():
        for job_id, job in site.jobs().items():
            is_live = "-x" in given or job["state"] != "F"
            is_named = given.get("-N", job["name"]) == job["name"]
            if is_live and is_named and given.get("-q", job["queue"]) == job["queue"]:
                if "array_id" not in job:
                    print(job_id)


def pbsnodes(site, argv):
    options, names = getopt.gnu_getopt(argv, "avF:lS")
    given = dict(options)
    require_server(site, 1, f"pbsnodes: cannot connect to server {SERVER}, error=15010")
    with site.locked():
        free = site.free()
        known = {host_name(number): number for number in range(site.state["hosts"])}
        rows = {}
        for name in names or known:
            row = {"Error": "Unknown node "}
            if name in known:
                row = node_row(site, known[name], free)
            rows[name] = row
    if given.get("-F") == "json":
        print_json("nodes", rows)
    else:
        print_text("", rows)


def pbsdsh(site, argv):
    """Runs a program once for each chunk, without input, as the node's daemon does."""
    if argv[:1] == ["--"]:
        argv = argv[1:]
    with site.locked():
        hosts = site.jobs()[os.environ["PBS_JOBID"]]["on"]
    tasks = []
    for number, _host in enumerate(hosts):
        env = dict(os.environ, PBS_NODENUM=str(number), PBS_TASKNUM=str(number + 2))
        tasks.append(subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL))
    sys.exit(max(task.wait() for task in tasks))


# --- running a job -------------------------------------------------------------------------------


def session_processes(session):
    """The processes of a session that are not over."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(name))
    return found


def signal_session(session, number):
    for process in session_processes(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def mom(site, job_id):
    """Runs one job to its end, and writes down how that came."""
    with open(site.path("state.json")) as file:
        job = json.load(file)["jobs"].get(job_id)
    deadline = time.time() + 5
    while job is None or job["state"] != "R":
        # The command that started this has not written the state yet.
        if time.time() > deadline:
            return
        time.sleep(0.02)
        with open(site.path("state.json")) as file:
            job = json.load(file)["jobs"].get(job_id)
    process = subprocess.Popen(
        [site.path("jobs", job["script"])],
        env=job_environment(site, job_id, job),
        cwd=os.path.expanduser("~"),
        stdin=subprocess.DEVNULL,
        stdout=job_output(job),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with open(site.path("jobs", job_id + ".session"), "w") as file:
        file.write(str(process.pid))
    status, why = watch(site, job_id, job, process)
    with open(site.path("jobs", job_id + ".tmp"), "w") as file:
        json.dump({"status": status, "why": why, "time": time.time()}, file)
    os.rename(site.path("jobs", job_id + ".tmp"), site.path("jobs", job_id + ".end"))
    time.sleep(EXITING_S)
    if not site.is_down():
        with site.locked():
            pass


def job_environment(site, job_id, job):
    env = {
        name: os.environ[name] for name in ["HOME", "USER", "LOGNAME", "SHELL"] if name in os.environ
    }
    env.update(
        PATH="/usr/local/bin:/usr/bin:/bin", PBS_JOBID=job_id, PBS_JOBNAME=job["name"],
        PBS_QUEUE=job["queue"], PBS_ENVIRONMENT="PBS_BATCH", ENVIRONMENT="BATCH",
        NCPUS=str(job["ncpus"]), OMP_NUM_THREADS=str(job["ncpus"]), PBS_NODENUM="0",
        PBS_EXEC=site.folder, PBS_CONF_FILE=site.path("pbs.conf"),
        PBS_NODEFILE=site.path("jobs", job_id + ".nodes"),
    )
    with open(env["PBS_NODEFILE"], "w") as file:
        file.writelines(f"{host_name(host)}\n" for host in job["on"])
    if "array_id" in job:
        env.update(PBS_ARRAY_INDEX=str(job["array_index"]), PBS_ARRAY_ID=job["array_id"])
    return env


def job_output(job):
    output = job["output"]
    if not output:
        return subprocess.DEVNULL
    path = output.replace("^array_index^", str(job.get("array_index", "")))
    return open(path, "ab")


def watch(site, job_id, job, process):
    """Waits for the end: exit status, and why it came. Then nothing of the session is left."""
    why, kill_at = "", None
    limit = job["stime"] + job["walltime"] if job["walltime"] else float("inf")
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(0.05)
            break
        if kill_at is not None:
            if time.time() > kill_at:
                signal_session(process.pid, signal.SIGKILL)
        elif os.path.exists(site.path("jobs", job_id + ".kill")) or time.time() > limit:
            why = "walltime" if time.time() > limit else "deleted"
            signal_session(process.pid, signal.SIGTERM)
            kill_at = time.time() + KILL_DELAY_S
    signal_session(process.pid, signal.SIGKILL)
    # The login shell between the node's daemon and the script makes 128 + n of a signal.
    return (status if status >= 0 else 128 - status), why


# --- the test bed --------------------------------------------------------------------------------


def up(folder, argv):
    options, _ = getopt.getopt(argv, "", ["hosts=", "no-history"])
    given = dict(options)
    site = Site(folder)
    os.makedirs(site.path("jobs"))
    os.makedirs(site.path("bin"))
    for name in COMMANDS:
        os.symlink(os.path.realpath(__file__), site.path("bin", name))
    state = {
        "next": 0, "jobs": {}, "hosts": int(given.get("--hosts", 1)), "cores": HOST_CORES,
        "history": "--no-history" not in given, "since": time.time(),
    }
    with open(site.path("state.json"), "w") as file:
        json.dump(state, file)
    print(f"ready: {state['hosts']} hosts of {HOST_CORES} cores; commands in {site.path('bin')}")


def down(folder):
    site = Site(folder)
    open(site.path("down"), "w").close()
    for name in os.listdir(site.path("jobs")):
        if name.endswith(".session"):
            with open(site.path("jobs", name)) as file:
                signal_session(int(file.read() or 0) or -1, signal.SIGKILL)
    # The processes that watch over jobs notice their end and go.
    deadline = time.time() + 5
    while watchers(folder) and time.time() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder)


def watchers(folder):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                if b"mom" in words and folder.encode() in words:
                    found.append(int(name))
    return found


COMMANDS = {
    "qsub": qsub, "qstat": qstat, "qdel": qdel, "qselect": qselect, "pbsnodes": pbsnodes,
    "pbsdsh": pbsdsh,
}


def main():
    name = os.path.basename(sys.argv[0])
    if name in COMMANDS:
        site = Site(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))))
        try:
            COMMANDS[name](site, sys.argv[1:])
        except Refusal as refusal:
            print(refusal.text, file=sys.stderr)
            sys.exit(refusal.code)
        return
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    verb, folder, rest = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]
    if verb == "up":
        up(folder, rest)
    elif verb == "down":
        down(folder)
    elif verb == "stop-server":
        open(os.path.join(folder, "down"), "w").close()
    elif verb == "start-server":
        os.unlink(os.path.join(folder, "down"))
    elif verb == "mom":
        mom(Site(folder), *rest)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
