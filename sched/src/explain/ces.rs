//! What each CE means for a task.

use fairway_jdl::{Needs, Value, eval};
use fairway_model::{GroupName, PilotOwner, SiteName, Timestamp, UserName};

use super::{CeVerdict, Refusal, refusal};
use crate::State;
use crate::bounds::Subject;
use crate::element::Element;
use crate::matching::serves;
use crate::packing::Room;
use crate::provision::{Ledger, Size, closures, misfits, too_few};
use crate::queue::{Class, ClassId};
use crate::shares::AccountId;

pub(super) fn verdict(
    state: &State,
    ledger: &Ledger,
    element: &Element,
    (id, class): (ClassId, &Class),
    (owner, account): (&UserName, AccountId),
    now: Timestamp,
) -> CeVerdict {
    let judged = element.verdicts.get(&id);
    let mut refusals: Vec<Refusal> = Vec::new();
    refusals.extend(requirements(element, &class.needs));
    refusals.extend(element.tags_missing(&class.needs).map(refusal));
    refusals.extend(access(element, owner, class.group.as_ref()));
    refusals.extend(closures(state, element, now).into_iter().map(refusal));
    // What holds everywhere is told once, not at every CE.
    if barrier(state, class, account, None, now).is_none() {
        let site = Some(&element.id.site);
        refusals.extend(barrier(state, class, account, site, now));
    }
    let group = class.group.as_ref();
    let new_for = element.owner_for(owner, group);
    // A pilot that is there already may have more than new ones are asked for.
    if !has_pilot_for(state, element, class, owner, now) {
        refusals.extend(new_for.clone().err().map(refusal));
        let misfits = misfits(state, element, &class.needs, now);
        refusals.extend(misfits.into_iter().map(refusal));
    }
    let eligible = refusals.is_empty();
    if eligible && let Ok(new_for) = new_for {
        refusals.extend(full(state, ledger, element, &new_for, now));
    }
    CeVerdict {
        ce: element.id.clone(),
        eligible,
        rank: judged.and_then(|verdict| verdict.rank),
        refusals,
    }
}

/// The clauses of Requirements that do not hold.
fn requirements(element: &Element, needs: &Needs) -> Vec<Refusal> {
    let Some(expr) = &needs.requirements else {
        return Vec::new();
    };
    let clauses = eval::clauses(expr, &needs.ad, &element.ad);
    clauses
        .into_iter()
        .filter(|clause| clause.value != Value::Boolean(true))
        .map(|clause| Refusal {
            clause: clause.text,
            because: clause.because,
        })
        .collect()
}

fn access(element: &Element, owner: &UserName, group: Option<&GroupName>) -> Option<Refusal> {
    if element.admits(owner, group) {
        return None;
    }
    let users = element.ce.users.iter().map(|user| format!("user {user}"));
    let groups = element
        .ce
        .groups
        .iter()
        .map(|group| format!("group {group}"));
    let admitted: Vec<String> = users.chain(groups).collect();
    let group = group.map_or("no group".into(), |group| format!("group {group}"));
    Some(refusal((
        "users",
        format!(
            "it is user {owner} with {group}, needed {}",
            admitted.join(" or ")
        ),
    )))
}

fn has_pilot_for(
    state: &State,
    element: &Element,
    class: &Class,
    owner: &UserName,
    now: Timestamp,
) -> bool {
    let needs = &class.needs;
    let limits = crate::matching::Limits {
        now,
        remaining_min_s: state.settings.remaining_min_s,
    };
    let mut here = element.pilots.iter().filter_map(|id| state.pilots.get(id));
    here.any(|live| {
        live.pilot.state == fairway_model::PilotState::Active
            && serves(&live.pilot.owner, owner, class.group.as_ref())
            && Room::on(&live.pilot).holds(needs)
            && state.has_hosts(live, class)
            && live
                .pilot
                .ends_at
                .is_some_and(|end| limits.lasts(needs, element.usable_until(end, now)))
    })
}

/// Why no more pilots are asked for at a CE that could run the task.
fn full(
    state: &State,
    ledger: &Ledger,
    element: &Element,
    owner: &PilotOwner,
    now: Timestamp,
) -> Vec<Refusal> {
    let size = Size::of(element);
    let mut limits = ledger.limits(state, element, owner, size);
    limits.push(ledger.ramp(state, element, size));
    let full = limits.iter().filter(|limit| limit.is_full());
    let mut refusals: Vec<Refusal> = full
        .map(|limit| refusal((limit.name, limit.because())))
        .collect();
    if let Some(because) = too_few(state, element, now) {
        refusals.push(refusal(("threshold", because)));
    }
    if let Some((until, reason)) = element.experience.backing_off(now) {
        let because = format!("no pilots are asked for until {until}: {reason}");
        refusals.push(refusal(("back-off", because)));
    }
    refusals
}

/// What of the policy keeps a class of an account from being started, at a site or anywhere.
pub(super) fn barrier(
    state: &State,
    class: &Class,
    account: AccountId,
    site: Option<&SiteName>,
    now: Timestamp,
) -> Option<Refusal> {
    let subject = Subject {
        shares: &state.shares,
        account,
        needs: &class.needs,
        site,
    };
    state.bounds.barrier(subject, now).map(refusal)
}
