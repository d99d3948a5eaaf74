//! Refusals in the form and the words of a real API server.

use serde_json::{Value, json};

use super::store::Kind;

/// A refusal: the HTTP status and the body.
pub(super) type Refusal = (u16, Value);

fn refusal(code: u16, reason: &str, message: &str, details: Value) -> Refusal {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    if details.is_null()
        && let Some(status) = status.as_object_mut()
    {
        status.remove("details");
    }
    (code, status)
}

fn details(kind: Kind, name: &str) -> Value {
    let (plural, group) = kind
        .resource()
        .split_once('.')
        .unwrap_or((kind.resource(), ""));
    if group.is_empty() {
        json!({"name": name, "kind": plural})
    } else {
        json!({"name": name, "group": group, "kind": plural})
    }
}

pub(super) fn unauthorized() -> Refusal {
    refusal(401, "Unauthorized", "Unauthorized", Value::Null)
}

pub(super) fn forbidden(user: &str, verb: &str, resource: &str) -> Refusal {
    let message = format!(
        "{resource} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"\" at the cluster scope"
    );
    refusal(403, "Forbidden", &message, json!({"kind": resource}))
}

pub(super) fn over_quota(kind: Kind, name: &str, words: &str) -> Refusal {
    let message = format!(
        "{} \"{name}\" is forbidden: exceeded quota: pilots, {words}",
        kind.resource()
    );
    refusal(403, "Forbidden", &message, details(kind, name))
}

pub(super) fn not_found(kind: Kind, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" not found", kind.resource());
    refusal(404, "NotFound", &message, details(kind, name))
}

pub(super) fn no_namespace(name: &str) -> Refusal {
    let message = format!("namespaces \"{name}\" not found");
    let details = json!({"name": name, "kind": "namespaces"});
    refusal(404, "NotFound", &message, details)
}

pub(super) fn already_exists(kind: Kind, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" already exists", kind.resource());
    refusal(409, "AlreadyExists", &message, details(kind, name))
}

pub(super) fn uid_conflict(name: &str, asked: &str, is: &str) -> Refusal {
    let message = format!(
        "Operation cannot be fulfilled on Job.batch \"{name}\": the UID in the precondition ({asked}) does not match the UID in record ({is}). The object might have been deleted and then recreated"
    );
    let details = json!({"name": name, "group": "batch", "kind": "Job"});
    refusal(409, "Conflict", &message, details)
}

pub(super) fn bad_request(message: &str) -> Refusal {
    refusal(400, "BadRequest", message, Value::Null)
}

pub(super) fn internal_error() -> Refusal {
    let message = "Internal error occurred: etcdserver: request timed out";
    refusal(500, "InternalError", message, Value::Null)
}

/// `causes` are fields and what is wrong with each.
pub(super) fn invalid(name: &str, causes: &[(String, String)]) -> Refusal {
    let words: Vec<String> = causes.iter().map(|(f, w)| format!("{f}: {w}")).collect();
    let words = match &words[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let message = format!("Job.batch \"{name}\" is invalid: {words}");
    let causes: Vec<Value> = causes
        .iter()
        .map(|(field, message)| {
            json!({"reason": "FieldValueInvalid", "message": message, "field": field})
        })
        .collect();
    let details = json!({"name": name, "group": "batch", "kind": "Job", "causes": causes});
    refusal(422, "Invalid", &message, details)
}

pub(super) fn continue_expired() -> Refusal {
    let message = "The provided continue parameter is too old to display a consistent list result.";
    refusal(410, "Expired", message, Value::Null)
}

/// The first event of a watch from a version that is too old.
pub(super) fn expired_event(asked: u64, kept: u64) -> Value {
    let message = format!("too old resource version: {asked} ({kept})");
    let (_, status) = refusal(410, "Expired", &message, Value::Null);
    json!({"type": "ERROR", "object": status})
}

/// Sets a condition of an object's status in place of one of the same type.
pub(super) fn set_condition(object: &mut Value, condition: &Value) {
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|old| old["type"] != condition["type"]);
        conditions.push(condition.clone());
    }
}
