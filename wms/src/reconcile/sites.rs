//! One connection to each site's batch system, made when it is first needed
//! and made again when the site's settings change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fairway_model::{AdapterSettings, Site, SiteName};
use fairway_site_adapters::AdapterError;

use super::Connection;
use super::agents::Agents;

pub(super) struct Sites {
    /// Folder that adapters may keep things in, one folder a site.
    state_dir: PathBuf,
    agents: Agents,
    connections: Mutex<BTreeMap<SiteName, (AdapterSettings, Connection)>>,
}

impl Sites {
    pub(super) fn new(state_dir: PathBuf, agents: Agents) -> Self {
        Self {
            state_dir,
            agents,
            connections: Mutex::default(),
        }
    }

    /// The connection to the site.
    pub(super) fn connect(&self, site: &Site) -> Result<Connection, AdapterError> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, connection)) = connections.get(&site.name)
            && *settings == site.adapter
        {
            return Ok(connection.clone());
        }
        let connection = match &site.adapter {
            AdapterSettings::Agent(_) => self.agents.connect(&site.name),
            settings => {
                let folder = self.state_dir.join(site.name.as_str());
                fairway_site_adapters::connect(&site.name, settings, &folder)?
            }
        };
        connections.insert(
            site.name.clone(),
            (site.adapter.clone(), connection.clone()),
        );
        Ok(connection)
    }

    /// The connection to a site that was connected before, also if it is no longer registered:
    /// its last pilots must still be ended.
    pub(super) fn get(&self, site: &SiteName) -> Option<Connection> {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connections
            .get(site)
            .map(|(_, connection)| connection.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fairway_model::{AgentSettings, Ce, LocalSettings};

    use super::*;
    use crate::engine::wall_clock;

    #[tokio::test]
    async fn a_site_that_gets_another_adapter_is_connected_anew() {
        let folder = tempfile::tempdir().unwrap();
        let sites = Sites::new(folder.path().to_owned(), Agents::default());
        let by_agent = AdapterSettings::Agent(AgentSettings::default());
        let ces = vec![Ce::new("short".parse().unwrap())];
        let mut site = Site::new("lyon".parse().unwrap(), by_agent.clone(), ces);
        let first = sites.connect(&site).unwrap();
        assert!(Arc::ptr_eq(&first, &sites.connect(&site).unwrap()));

        site.adapter = AdapterSettings::Local(LocalSettings::default());
        let local = sites.connect(&site).unwrap();
        let states = local.publish(&site.ces, wall_clock()).await.unwrap();
        assert_eq!(states[0].lrms.0, "local");

        site.adapter = by_agent;
        let again = sites.connect(&site).unwrap();
        assert!(!Arc::ptr_eq(&local, &again) && !Arc::ptr_eq(&first, &again));
        assert!(Arc::ptr_eq(&again, &sites.get(&site.name).unwrap()));
    }
}
