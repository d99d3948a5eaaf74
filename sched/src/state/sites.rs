//! Sites and CEs: described, opened and closed, published, removed.

use fairway_model::{
    CeId, CeName, CeState, EventKind, Maintenance, PilotEnd, PilotId, PilotState, Site, SiteMode,
    SiteName, Timestamp, UserName,
};

use super::{State, refused};
use crate::command::{Change, Refused, RefusedKind, Reply};
use crate::element::Element;

impl State {
    pub(super) fn put_site(&mut self, site: Site, by: UserName, now: Timestamp) -> Reply {
        let before = self.sites.get(&site.name);
        if before == Some(&site) {
            return Reply::Done;
        }
        let what = match before {
            Some(_) => "changed",
            None => "registered",
        };
        self.site_changed(site, what.to_owned(), by, now);
        Reply::Done
    }

    pub(super) fn remove_site(
        &mut self,
        name: &SiteName,
        by: UserName,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        if self.sites.remove(name).is_none() {
            return Err(no_site(name));
        }
        let gone = self.elements_of(name);
        for id in gone {
            self.remove_element(&id, now);
        }
        self.changes.push(Change::SiteRemoved(name.clone()));
        let kind = EventKind::SiteChanged {
            site: name.clone(),
            what: "removed".into(),
            by,
        };
        self.event(kind, now);
        Ok(Reply::Done)
    }

    pub(super) fn set_mode(
        &mut self,
        name: &SiteName,
        ce: Option<CeName>,
        mode: SiteMode,
        by: UserName,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let mut site = self.sites.get(name).cloned().ok_or_else(|| no_site(name))?;
        let word = match mode {
            SiteMode::Open => "open",
            SiteMode::Draining => "draining",
            SiteMode::Closed => "closed",
        };
        let (target, what) = match ce {
            None => (&mut site.mode, format!("now {word}")),
            Some(ce) => {
                let found = site.ces.iter_mut().find(|known| known.name == ce);
                let missing = || {
                    let reason = format!("site {name} has no CE {ce}");
                    refused(RefusedKind::NotFound, reason)
                };
                let found = found.ok_or_else(missing)?;
                (&mut found.mode, format!("CE {ce} now {word}"))
            }
        };
        if *target == mode {
            return Ok(Reply::Done);
        }
        *target = mode;
        self.site_changed(site, what, by, now);
        Ok(Reply::Done)
    }

    pub(super) fn plan_maintenance(
        &mut self,
        name: &SiteName,
        maintenance: Vec<Maintenance>,
        by: UserName,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
        let mut site = self.sites.get(name).cloned().ok_or_else(|| no_site(name))?;
        if site.maintenance != maintenance {
            site.maintenance = maintenance;
            let what = match site.maintenance.len() {
                0 => "no maintenance planned any more".to_owned(),
                1 => "maintenance planned".to_owned(),
                times => format!("{times} times of maintenance planned"),
            };
            self.site_changed(site, what, by, now);
        }
        Ok(Reply::Done)
    }

    pub(super) fn publish(&mut self, states: Vec<CeState>) -> Reply {
        for state in states {
            let id = state.ce.clone();
            // A CE may have been removed while it was looked at.
            if let Some(element) = self.elements.get_mut(&id)
                && element.publish(state)
            {
                self.judge_element(&id);
            }
        }
        Reply::Done
    }

    fn site_changed(&mut self, site: Site, what: String, by: UserName, now: Timestamp) {
        self.describe(&site, now);
        self.changes.push(Change::Site(site.clone()));
        let kind = EventKind::SiteChanged {
            site: site.name.clone(),
            what,
            by,
        };
        self.sites.insert(site.name.clone(), site);
        self.event(kind, now);
    }

    /// Brings the elements in line with the site's description.
    pub(super) fn describe(&mut self, site: &Site, now: Timestamp) {
        let named = |ce: &CeName| CeId {
            site: site.name.clone(),
            ce: ce.clone(),
        };
        for id in self.elements_of(&site.name) {
            if !site.ces.iter().any(|ce| ce.name == id.ce) {
                self.remove_element(&id, now);
            }
        }
        for ce in &site.ces {
            let id = named(&ce.name);
            let mut element = Element::new(id.clone(), ce.clone(), site);
            match self.elements.remove(&id) {
                Some(before) => element.succeed(before),
                None => self.give_back(&mut element),
            }
            element.judge_all(self.queue.classes());
            for pilot in element.parked.iter() {
                if let Some(live) = self.pilots.get_mut(&pilot)
                    && let Some(wish) = &mut live.wish
                {
                    wish.until = element.usable_until(wish.until, now);
                }
            }
            let closed = element.mode() != SiteMode::Open;
            let parked: Vec<PilotId> = element.parked.iter().collect();
            self.elements.insert(id, element);
            if closed {
                parked.into_iter().for_each(|pilot| self.tell(pilot));
            }
        }
        self.wishes_may_be_granted = true;
    }

    /// Gives a CE that was removed, and is described again, those of its pilots that are not over.
    fn give_back(&mut self, element: &mut Element) {
        for (id, live) in &self.pilots {
            if live.pilot.ce != element.id {
                continue;
            }
            element.pilots.insert(*id);
            if let Some(wish) = live.wish {
                element
                    .parked
                    .insert(&live.pilot.owner, *id, live.reach(wish));
                self.parked_at.insert(element.id.clone());
            }
        }
    }

    fn elements_of(&self, site: &SiteName) -> Vec<CeId> {
        let ids = self.elements.keys().filter(|id| id.site == *site);
        ids.cloned().collect()
    }

    /// A CE is no more: pilots that have not called home are over, the others drain.
    fn remove_element(&mut self, id: &CeId, now: Timestamp) {
        let Some(element) = self.elements.get(id) else {
            return;
        };
        let pilots: Vec<(PilotId, PilotState)> = element
            .pilots
            .iter()
            .filter_map(|id| Some((*id, self.pilots.get(id)?.pilot.state)))
            .collect();
        for (pilot, state) in pilots {
            if state.is_expected() {
                let reason = format!("CE {id} was removed");
                self.end_pilot(pilot, PilotEnd::Cancelled { reason }, now);
            } else {
                self.drain(pilot, "its CE was removed", now);
            }
        }
        self.elements.remove(id);
        self.latch.forget_ce(id);
    }
}

fn no_site(name: &SiteName) -> Refused {
    refused(RefusedKind::NotFound, format!("there is no site {name}"))
}
