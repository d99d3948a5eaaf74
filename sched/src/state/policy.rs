//! Changing the policy, and what follows from it for bounds.

use fairway_jdl::Needs;
use fairway_model::{EventKind, PilotId, Policy, Resources, Timestamp, UserName};

use super::{State, refused};
use crate::bounds::{Bounds, Subject};
use crate::command::{Change, Refused, RefusedKind, Reply};
use crate::shares::AccountId;

impl State {
    /// Puts another policy in force if the one that it was made `from` still is.
    pub(super) fn set_policy(
        &mut self,
        policy: Policy,
        from: Option<Box<Policy>>,
        (by, because): (UserName, Option<String>),
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        if policy == *self.shares.policy() {
            return Ok(Reply::Done);
        }
        if from.is_some_and(|from| *from != *self.shares.policy()) {
            return Err(refused(
                RefusedKind::PolicyChanged,
                "another policy has been put in force meanwhile; look at it, and make the change anew"
                    .into(),
            ));
        }
        let text = serde_json::to_string(&policy).unwrap_or_default();
        self.change_policy(&policy, now);
        self.changes.push(Change::Policy(policy));
        let kind = EventKind::PolicyChanged {
            policy: text,
            by,
            because,
        };
        self.event(kind, now);
        Ok(Reply::Done)
    }

    /// Puts another policy in force, in memory alone.
    fn change_policy(&mut self, policy: &Policy, now: Timestamp) {
        self.shares.set_policy(policy.clone(), now);
        self.bounds = self.bounds_now();
        self.queue.rearrange(&self.shares);
        self.queue.note_overdue(now);
        self.bounds.note_spent(&self.shares);
        self.note_bounds();
        self.wishes_may_be_granted = true;
    }

    /// The bounds of the policy in force, with what runs.
    pub(super) fn bounds_now(&self) -> Bounds {
        let leases = self.pilots.values().flat_map(|live| {
            let site = &live.pilot.ce.site;
            live.leases.iter().map(move |lease| (lease, site))
        });
        let running = leases.filter_map(|(lease, site)| {
            let needs = &*self.queue.class(lease.class)?.needs;
            Some((lease.account, needs, site, lease.all.cores))
        });
        Bounds::counting(&self.shares, running)
    }

    /// Counts a live attempt more, or less, in shares and bounds.
    pub(super) fn note_live(
        &mut self,
        pilot: PilotId,
        account: AccountId,
        needs: &Needs,
        has: Resources,
        begins: bool,
    ) {
        self.shares.note_live(account, has, begins);
        let site = self.pilots.get(&pilot).map(|live| &live.pilot.ce.site);
        let subject = Subject {
            shares: &self.shares,
            account,
            needs,
            site,
        };
        self.bounds.note(subject, has.cores, begins);
        if self.bounds.has_user_limits() {
            let user = self.shares.books(account).user.clone();
            let accounts: Vec<AccountId> = self.queue.accounts_of(&user).collect();
            for account in accounts.into_iter().chain([account]) {
                let barred = self.bounds.bars(&self.shares, account);
                self.queue.bar(&self.shares, account, barred);
            }
        }
        self.queue.rekey(&self.shares, account);
    }

    /// Finds out anew of whom nothing may be started.
    pub(super) fn note_bounds(&mut self) {
        if !self.bounds.has_user_limits() && !self.queue.bars_any() {
            return;
        }
        let accounts: Vec<AccountId> = self.shares.accounts().collect();
        for account in accounts {
            let barred = self.bounds.bars(&self.shares, account);
            self.queue.bar(&self.shares, account, barred);
        }
    }
}
