//! Computing anew, some accounts at a time, what depends on what others used: with many accounts
//! nobody waits for all of them.

use fairway_model::PolicyKind;

use super::maui::Maui;
use super::{AccountId, Shares};

impl Shares {
    /// As [`refresh`](Self::refresh), for at most `most` accounts from `first` on. Gives back
    /// whose standings may have changed, and whether those of all may have.
    pub(crate) fn refresh_some(&mut self, first: usize, most: usize) -> (Vec<AccountId>, bool) {
        let to = self.accounts.len().min(first.saturating_add(most));
        let ids = (first..to).filter_map(|at| u32::try_from(at).ok());
        let ids: Vec<AccountId> = ids.map(AccountId).collect();
        match self.policy.kind {
            PolicyKind::HalfLife | PolicyKind::UserPriority => {
                for id in &ids {
                    let node = self.books(*id).node;
                    let (due, effective) = (self.tree.due(node), self.effective(node));
                    let account = &mut self.accounts[id.0 as usize];
                    (account.due, account.effective) = (due, effective);
                }
                (ids, false)
            }
            PolicyKind::Maui => {
                let all = first == 0 && Maui::name_again(self);
                for id in &ids {
                    let part = Maui::part_of(self, *id);
                    self.maui.set(*id, part);
                }
                (ids, all)
            }
            _ => (Vec::new(), false),
        }
    }
}
