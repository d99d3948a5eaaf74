//! What people see, as snapshots without colours.

use fairway_api::public::{
    Explanation, JobView, NodeView, PilotView, SharesView, SiteView, TaskView,
};
use fairway_model::{Event, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn job() -> JobView {
    read(json!({
        "id": 12, "name": "sweep", "owner": "alice", "group": "biomed",
        "submitted_at": NOW.0 - 125_000, "tasks": 200,
        "states": {"waiting": 100, "leased": 2, "running": 8, "succeeded": 87, "failed": 3},
        "ended_at": null,
    }))
}

fn task() -> TaskView {
    read(json!({
        "id": "12.7", "state": "failed", "since": NOW.0 - 5000, "owner": "alice", "attempt": 3,
        "ce": "lyon/short", "pilot": "p42", "leased_at": NOW.0 - 65_000,
        "started_at": NOW.0 - 64_000, "last_end": {"how": "exited", "code": 2},
        "detail": "exited with 2; no retries left",
    }))
}

#[test]
fn job_list() {
    let ended = JobView {
        name: "evil\u{1b}[2J".into(),
        ended_at: Some(NOW),
        ..job()
    };
    insta::assert_snapshot!(plain(&jobs::list(&[job(), ended], NOW)));
    assert_eq!(jobs::list(&[], NOW), "no jobs\n");
}

#[test]
fn one_job() {
    let ended = JobView {
        ended_at: Some(NOW),
        ..job()
    };
    insta::assert_snapshot!(plain(&jobs::one(&ended, NOW)));
}

#[test]
fn node_list() {
    let read = |value: Value| -> NodeView { read(value) };
    let list = [
        read(
            json!({"name": "fetch", "first": 0, "tasks": 1, "state": "succeeded",
                    "states": {"succeeded": 1}}),
        ),
        read(
            json!({"name": "sweep", "first": 1, "tasks": 40, "state": "running",
                    "states": {"waiting": 12, "running": 8, "succeeded": 20}, "parents": ["fetch"]}),
        ),
        read(
            json!({"name": "evil\u{1b}[2J", "first": 41, "tasks": 1, "state": "blocked",
                    "states": {"blocked": 1}, "parents": ["fetch", "sweep", "a", "b", "c", "d"]}),
        ),
    ];
    let one = jobs::node(fairway_model::JobId(12), &list[1]);
    insta::assert_snapshot!(plain(&format!("{}\n{one}", jobs::nodes(&list))));
}

#[test]
fn task_list_of_a_compound_job() {
    let blocked: TaskView = read(json!({
        "id": "12.41", "node": "plot", "state": "blocked", "since": NOW.0 - 125_000,
        "owner": "alice", "attempt": 0, "ce": null, "pilot": null, "leased_at": null,
        "started_at": null, "last_end": null, "detail": null,
    }));
    let text = format!(
        "{}\n{}",
        tasks::list(std::slice::from_ref(&blocked), NOW),
        tasks::one(&blocked, NOW)
    );
    insta::assert_snapshot!(plain(&text));
}

#[test]
fn task_list() {
    let waiting: TaskView = read(json!({
        "id": "12.150", "state": "waiting", "since": NOW.0 - 125_000, "owner": "alice",
        "attempt": 0, "ce": null, "pilot": null, "leased_at": null, "started_at": null,
        "last_end": null, "detail": null,
    }));
    insta::assert_snapshot!(plain(&tasks::list(&[task(), waiting], NOW)));
}

#[test]
fn one_task() {
    insta::assert_snapshot!(plain(&tasks::one(&task(), NOW)));
}

#[test]
fn history() {
    let kinds = [
        json!({"event": "job-submitted", "job": 12, "tasks": 200, "by": "alice"}),
        json!({"event": "task-leased", "task": "12.7", "attempt": 1, "pilot": "p42", "ce": "lyon/short"}),
        json!({"event": "task-started", "task": "12.7", "attempt": 1}),
        json!({"event": "attempt-ended", "task": "12.7", "attempt": 1,
               "end": {"how": "exited", "code": 2}, "state": "waiting", "because": "exited with 2; 1 retry left"}),
        json!({"event": "task-changed", "task": "12.7", "verb": "cancel", "state": "cancelled", "by": "alice"}),
        json!({"event": "tasks-changed", "job": 12, "from": 8, "to": 200, "verb": "hold",
               "state": "held", "by": "alice"}),
        json!({"event": "tasks-moved", "job": 12, "from": 8, "to": 10, "state": "skipped",
               "because": "task 12.7 of node `fit`, which it depends on, failed"}),
        json!({"event": "pilot-ended", "pilot": "p42", "end": {"why": "done", "reason": "no work"}}),
    ];
    let events: Vec<Event> = kinds
        .into_iter()
        .enumerate()
        .map(|(seq, mut event)| {
            event["seq"] = json!(seq);
            event["at"] = json!(NOW.0 + 1000 * i64::try_from(seq).unwrap());
            read(event)
        })
        .collect();
    insta::assert_snapshot!(plain(&events::list(&events)));
}

fn share() -> Value {
    json!({
        "user": "alice", "group": "atlas", "path": "physics/atlas/alice", "waiting": 100,
        "running": 10, "running_cores": 40, "fs": 12.4, "due": 0.25, "used": 0.31, "place": 2,
        "intervals": [
            {"begins_at": 0, "tasks_started": 9, "core_ms": 65_000, "weight": 1.0},
            {"begins_at": 0, "tasks_started": 4, "core_ms": 1_000, "weight": 0.85},
        ],
    })
}

#[test]
fn explanation_of_a_waiting_task() {
    let explanation: Explanation = read(json!({
        "task": "12.150", "state": "waiting",
        "summary": "It waits for a place at lyon/long, the only CE that it could run at.",
        "ahead": 34, "share": share(),
        "resources": {"cores": 4, "memory_mib": 2048, "gpus": 0}, "walltime_s": 43_200,
        "requirements": "other.GlueCEPolicyMaxWallClockTime >= 720",
        "rank": "-other.GlueCEStateEstimatedResponseTime",
        "ces": [
            {"ce": "lyon/long", "eligible": true, "rank": -20.0, "refusals": []},
            {"ce": "lyon/short", "eligible": false, "rank": null, "refusals": [
                {"clause": "other.GlueCEPolicyMaxWallClockTime >= 720",
                 "because": "GlueCEPolicyMaxWallClockTime is 60, needed >= 720"},
                {"clause": "cores", "because": "a pilot there has 1 core, needed 4"}]},
            {"ce": "nantes/batch", "eligible": false, "rank": null, "refusals": [
                {"clause": "mode", "because": "the site is closed"}]},
        ],
        "pilots": [
            {"pilot": "p7", "ce": "lyon/long", "refusals": []},
            {"pilot": "p3", "ce": "lyon/long", "refusals": [
                {"clause": "cores", "because": "1 of its 8 cores are free, needed 4"}]},
        ],
        "before": [{"path": "biomed/bob", "waiting": 12,
            "because": "the level of biomed is 0.1200, that of physics 0.5000"}],
        "accounts_before": 3, "waited_s": 3700, "qos": "urgent", "tier": 2,
        "priority": {"total": 120.5, "capped": false, "parts": [
            {"name": "fairshare", "value": 60.0}, {"name": "queue_time", "value": 60.5}]},
        "forecast": {"made_at": NOW.0, "earliest": NOW.0 + 60_000, "likely": NOW.0 + 600_000,
            "latest": NOW.0 + 3_600_000, "horizon": NOW.0 + 604_800_000},
        "history": [{"at": NOW.0 - 3_700_000, "what": "submitted by alice, with 199 more"}],
    }));
    insta::assert_snapshot!(plain(&explain::text(&explanation)));
}

#[test]
fn explanation_of_a_task_that_is_over() {
    let explanation: Explanation = read(json!({
        "task": "12.0", "state": "succeeded", "summary": "Its payload exited with 0.",
        "ahead": null, "share": null, "resources": {"cores": 1}, "walltime_s": null,
        "requirements": null, "rank": null, "ces": [],
    }));
    insta::assert_snapshot!(plain(&explain::text(&explanation)));
}

fn site() -> SiteView {
    read(json!({
        "name": "lyon", "mode": "open", "adapter": {"kind": "slurm"},
        "ces": [
            {"name": "short", "shape": {"cores": 8, "memory_mib": 16_384, "walltime_s": 3600}},
            {"name": "long", "mode": "draining", "queue": "batch"},
        ],
        "states": [
            {"published": {
                "ce": "lyon/short", "observed_at": NOW.0 - 4000, "status": "production",
                "reason": null, "lrms": ["slurm", "22.05.8"], "cores_total": 128,
                "cores_free": 16, "cores_offline": 0, "jobs_running": 14, "jobs_waiting": 3,
                "walltime_max_s": 3600, "node_cores": 64, "node_memory_mib": 128_000,
                "architecture": "x86_64", "operating_system": null},
             "glue": {"GlueCEStateStatus": "Production", "GlueCEStateFreeCPUs": 16},
             "pilots": {"queued": 1, "active": 14}},
            {"published": null, "glue": {}, "pilots": {}},
        ],
    }))
}

#[test]
fn site_list() {
    insta::assert_snapshot!(plain(&sites::list(&[site()])));
}

#[test]
fn one_site_with_an_agent() {
    let mut site = site();
    site.agent = Some(read(
        json!({"heard_at": NOW.0 - 4000, "version": "0.1.0", "host": "fe1"}),
    ));
    insta::assert_snapshot!(plain(&sites::one(&site, NOW)));
}

#[test]
fn a_site_with_all_that_can_be_said() {
    let site: SiteView = read(json!({
        "name": "nancy", "pilots_max": 50, "cores_max": 800, "accounts": {"alice": "amartin"},
        "maintenance": [{"from": 1000, "to": 5_000_000, "why": "new\u{1b}[2J switches"}],
        "adapter": {"kind": "pbs", "ssh": {"host": "fairway@login.example.org"}},
        "ces": [{
            "name": "gpu", "queue": "workq", "account": "grid", "qos": "gold", "gpu_type": "a100",
            "constraint": "ib", "reservation": "r1", "types": ["besteffort"],
            "options": ["-lplace=excl"], "pilots": "per-user", "users": ["alice"],
            "groups": ["biomed"],
            "shape": {"cores": 8, "gpus": 2, "nodes": 4, "whole_node": true, "walltime_s": 3600},
            "limits": {"pilots_max": 40, "queued_max": 8, "cores_max": 320, "per_day_max": 100,
                       "per_owner_max": 8},
            "supply": {"threshold": 20, "warm": {"pilots": 2, "idle_s": 600}},
        }],
        "states": [{
            "published": {
                "ce": "nancy/gpu", "observed_at": NOW.0 - 4000, "status": "closed",
                "reason": "stopped by root", "lrms": ["pbs", "22.05.11"], "cores_total": 128,
                "cores_free": 16, "cores_offline": 0, "jobs_running": 14, "jobs_waiting": 3,
                "walltime_max_s": 3600, "node_cores": 64, "node_memory_mib": 128_000,
                "architecture": "x86_64", "operating_system": null},
            "age_s": 4, "response_s": 90, "core_memory_mib": 2000,
            "ours": {"running": 4, "waiting": 1}, "others": {"running": 10, "waiting": 2},
            "glue": {}, "pilots": {"active": 4}}],
    }));
    insta::assert_snapshot!(plain(&sites::one(&site, NOW)));
    let planned = sites::maintenance(&site.site.maintenance);
    assert!(planned.starts_with("1970-01-01T00:00:01Z to "), "{planned}");
    assert_eq!(sites::maintenance(&[]), "no maintenance is planned\n");
}

#[test]
fn a_site_that_is_tried() {
    let step = |value: Value| plain(&check::step(&read(value)));
    let text = [
        step(
            json!({"stage": "description", "outcome": "ok", "found": "it makes sense",
                    "took_ms": 0}),
        ),
        step(
            json!({"stage": "limits", "ce": "gpu", "outcome": "remark", "found": "too long",
                    "remedy": "set it", "took_ms": 20}),
        ),
        step(
            json!({"stage": "pilot", "ce": "gpu", "outcome": "under-way",
                    "found": "waits: \u{1b}[2J", "took_ms": 5200}),
        ),
        step(
            json!({"stage": "pilot", "ce": "gpu", "outcome": "failed", "found": "it did not call",
                    "remedy": "see its log", "took_ms": 65_000}),
        ),
        step(json!({"stage": "queue", "outcome": "skipped", "found": "the rest", "took_ms": 0})),
    ];
    let site: fairway_model::SiteName = "nancy".parse().unwrap();
    let end =
        |failed, remarks| check::end(&site, fairway_api::public::CheckEnd { failed, remarks });
    let text = text.concat() + &end(1, 2) + &end(0, 1) + &end(0, 0);
    insta::assert_snapshot!(text);
}

#[test]
fn why_a_ce_has_its_pilots() {
    let report: Vec<fairway_api::public::CeProvisioning> = read(json!([{
        "ce": "lyon/short", "mode": "open",
        "verdict": {"pilots": 0, "kind": "queued_max",
                    "because": "20 pilots are on the way, at most 20"},
        "wanting": [
            {"needs": "cores=1", "group": "biomed", "waiting": 120, "without_pilot": 40,
             "rank": -3.5, "refusals": []},
            {"needs": "cores=64", "group": null, "waiting": 1, "without_pilot": 1, "rank": null,
             "refusals": [{"clause": "cores", "because": "a pilot has 8 of the 64 cores needed"}]}],
        "sharing": "shared", "resources": {"cores": 8, "memory_mib": 16_384}, "nodes": 2,
        "walltime_s": 3600, "pilots": {"queued": 20, "active": 14},
        "ours": {"running": 14, "waiting": 20}, "others": {"running": 3, "waiting": 0},
        "limits": [
            {"name": "pilots_max", "used": 34, "max": 100, "step": 2, "full": false,
             "because": "34 pilots are not over, at most 100"},
            {"name": "queued_max", "used": 20, "max": 20, "step": 2, "full": true,
             "because": "20 pilots are on the way, at most 20"}],
        "closures": [{"clause": "maintenance", "because": "from now to then"}],
        "backoff": {"until": NOW.0 + 65_000, "because": "pilot p7 refused"},
        "set_aside": [{"host": "node07", "evidence": "3 tasks failed at once",
                       "until": NOW.0 + 600_000}],
        "never_called_home": 3, "asked_in_a_day": 70, "response_s": 90,
        "decisions": [
            {"at": NOW.0 - 120_000, "what": "ordered", "pilots": 4, "because": "40 tasks wait"},
            {"at": NOW.0 - 90_000, "what": "recalled", "pilots": 1, "because": "no work"},
            {"at": NOW.0 - 60_000, "what": "useless", "pilots": 2, "because": "refused"},
            {"at": NOW.0 - 5000, "what": "nothing", "pilots": 0, "because": "queued_max"}],
    }, {
        "ce": "lyon/long", "mode": "closed",
        "verdict": {"pilots": 3, "kind": "orders", "because": "3 tasks that may run here have none"},
        "wanting": [], "sharing": "per-user", "resources": {"cores": 1, "memory_mib": 0},
        "nodes": 1, "walltime_s": 60, "pilots": {}, "ours": {"running": 0, "waiting": 0},
        "others": null, "limits": [], "closures": [], "backoff": null, "set_aside": [],
        "never_called_home": 0, "asked_in_a_day": 0, "response_s": null, "decisions": [],
    }]));
    insta::assert_snapshot!(plain(&why::text(&report, NOW)));
}

#[test]
fn one_site() {
    insta::assert_snapshot!(plain(&sites::one(&site(), NOW)));
}

fn pilot() -> PilotView {
    read(json!({
        "id": "p42", "ce": "lyon/short", "state": "active", "since": NOW.0 - 64_000,
        "planned_at": NOW.0 - 90_000, "batch_id": "4711",
        "resources": {"cores": 8, "memory_mib": 16_384}, "host": "node07",
        "started_at": NOW.0 - 64_000, "ends_at": NOW.0 + 3_536_000, "end": null,
        "tasks": ["12.7", "12.8"],
    }))
}

#[test]
fn pilot_list() {
    insta::assert_snapshot!(plain(&sites::pilots(&[pilot()], NOW)));
}

#[test]
fn one_pilot() {
    insta::assert_snapshot!(plain(&sites::pilot(&pilot(), NOW)));
}

#[test]
fn shares_with_their_numbers() {
    let view: SharesView = read(json!({
        "policy": {}, "interval_begins_at": 0, "users": [share()],
        "tree": [{
            "path": "physics", "due": 0.5, "used": 0.4, "usage": 16.0, "running": 12,
            "running_cores": 48,
        }],
    }));
    insta::assert_snapshot!(plain(&accounts::shares(&view)));
}

#[test]
fn usage_by_user() {
    let lines = [read(json!({
        "key": "alice", "attempts": 203, "succeeded": 197, "wall_ms": 3_725_000,
        "core_ms": 29_800_000, "cpu_ms": 28_000_000, "memory_peak_kib": 1_572_864,
    }))];
    insta::assert_snapshot!(plain(&accounts::usage(&lines, "user")));
}

#[test]
fn token_list() {
    let token = |id: &str, revoked_at: Option<i64>, expires_at: i64| {
        read(json!({
            "id": id, "name": "alice", "group": null, "role": "site-admin",
            "sites": ["lyon", "nantes"], "created_at": 0, "expires_at": expires_at,
            "revoked_at": revoked_at,
        }))
    };
    let tokens = [
        token("a1", None, NOW.0 + 1000),
        token("b2", None, NOW.0),
        token("c3", Some(5000), NOW.0 + 1000),
    ];
    insta::assert_snapshot!(plain(&accounts::tokens(&tokens, NOW)));
}

#[test]
fn changes_and_what_was_left() {
    let changed = read(json!({
        "changed": 3, "left": [{"task": "12.0", "because": "it has succeeded"}],
    }));
    insta::assert_snapshot!(jobs::changed(fairway_model::TaskVerb::Cancel, &changed));
}

#[test]
fn the_whole_policy() {
    let text = r#"
        kind = "fair-tree"
        shares = [
            { path = "physics", share = 3 },
            { path = "physics/alice", share = 1.5, user = true },
        ]
        qos = [
            { name = "express", tier = 10, usage_factor = 2, groups = ["ops"], preempts = ["", "low"] },
            { name = "low", tier = -1 },
        ]
        limits = [
            { user = "*", running_cores_max = 200 },
            { group = "physics", qos = "low", site = "lyon", running_tasks_max = 5 },
            { waiting_tasks_max = 1000000, waiting_cores_max = 4000000 },
        ]
        budgets = [{ user = "*", every = "day", core_hours = 500 }, { group = "physics", core_hours = 2e4 }]
        paused = [{ tag = "old", why = "the disk is full", until = 2026-12-01T08:00:00Z }, { user = "eve" }]
    "#;
    let policy = fairway_model::Policy::read(text).unwrap();
    insta::assert_snapshot!(plain(&policy::whole(&policy)));
}

#[test]
fn what_a_policy_would_change() {
    let diff: fairway_api::public::PolicyDiff = read(json!({
        "version": "3f2a", "waiting": 1_000_400,
        "changes": [
            {"field": "kind", "before": "\"fairshare\"", "after": "\"fair-tree\""},
            {"field": "limits[user=*].running_tasks_max", "after": "10"},
        ],
        "places": [
            {"user": "bob", "group": "biomed", "waiting": 400, "before": 2, "after": 1},
            {"user": "alice", "waiting": 1_000_000, "before": 1, "after": null},
        ],
        "places_left_out": 1,
        "dues": [{"path": "physics/alice", "before": 0.5, "after": 0.25},
                 {"path": "biology", "before": null, "after": 0.1}],
        "dues_left_out": 0,
        "held": [{"user": "alice", "waiting": 1_000_000, "before": 0, "after": 999_990,
                  "clause": "running_tasks_max",
                  "because": "once 10 more of them run, user alice has 10 of 10 tasks running"}],
        "held_left_out": 20,
        "next_before": [{"task": "3.0", "user": "alice"}, {"task": "3.1", "user": "alice"}],
        "next_after": [{"task": "4.0", "user": "bob", "group": "biomed"}],
    }));
    insta::assert_snapshot!(plain(&policy::diff(&diff)));
    let nothing = fairway_api::public::PolicyDiff {
        changes: vec![],
        places: vec![],
        places_left_out: 0,
        dues: vec![],
        held: vec![],
        held_left_out: 0,
        next_before: vec![],
        next_after: vec![],
        ..diff
    };
    insta::assert_snapshot!("no_change", plain(&policy::diff(&nothing)));
}

#[test]
fn policy_history() {
    let all: Vec<fairway_api::public::PolicyChange> = read(json!([
        {"seq": 90, "at": NOW.0, "by": "op", "because": "winter\u{1b}[2J campaign", "version": "3f2a",
         "changes": [{"field": "kind", "before": "\"fifo\"", "after": "\"maui\""},
                     {"field": "wait_max_s", "before": "604800"}]},
        {"seq": 1, "at": NOW.0 - 5000, "by": "configuration", "version": "11aa", "changes": []},
    ]));
    insta::assert_snapshot!(plain(&policy::history(&all)));
}
