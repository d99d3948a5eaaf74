//! Whether a site's description makes sense ([`faults`]), and whether whoever wrote it may
//! write that ([`overreach`]). What only the batch system can know, such as which queues there
//! are, is found out by trying the site (`reconcile::check`).

mod adapter;
mod ce;
mod powers;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use fairway_model::{Maintenance, Site, UserName};

pub(crate) use powers::overreach;
use words::{is_plain, is_text};

const CES_MAX: usize = 1000;
const MAINTENANCES_MAX: usize = 100;
const ACCOUNTS_MAX: usize = 10_000;

/// All that is wrong with a description, in words; nothing if it makes sense.
pub(crate) fn faults(site: &Site) -> Vec<String> {
    let mut faults = Vec::new();
    adapter::faults(&site.adapter, &mut faults);
    if site.ces.is_empty() {
        faults.push("it needs at least one CE".to_owned());
    }
    if site.ces.len() > CES_MAX {
        faults.push(format!("it has more than {CES_MAX} CEs"));
    }
    let mut names = BTreeSet::new();
    for ce in &site.ces {
        if !names.insert(&ce.name) {
            faults.push(format!("two CEs are called {}", ce.name));
        }
        ce::faults(ce, site, &mut faults);
    }
    maintenance(&site.maintenance, &mut faults);
    accounts(&site.accounts, &mut faults);
    faults
}

fn maintenance(windows: &[Maintenance], faults: &mut Vec<String>) {
    if windows.len() > MAINTENANCES_MAX {
        faults.push(format!(
            "maintenance has more than {MAINTENANCES_MAX} entries; leave out those that are over"
        ));
    }
    for window in windows {
        if window.from >= window.to {
            faults.push(format!(
                "maintenance from {} to {} must begin before it ends",
                window.from, window.to
            ));
        }
        if !is_text(&window.why) {
            faults.push(format!(
                "maintenance from {}: why must be a short text without control characters",
                window.from
            ));
        }
    }
}

fn accounts(accounts: &BTreeMap<UserName, String>, faults: &mut Vec<String>) {
    if accounts.len() > ACCOUNTS_MAX {
        faults.push(format!("accounts has more than {ACCOUNTS_MAX} entries"));
    }
    for (user, account) in accounts {
        if !is_plain(account) {
            faults.push(format!("accounts.{user} must be {}", words::PLAIN));
        } else if account == "root" {
            faults.push(format!(
                "accounts.{user} must not be root: payloads would run with its rights"
            ));
        }
    }
}
