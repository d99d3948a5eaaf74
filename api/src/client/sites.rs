//! Sites and the pilots there.

use fairway_model::{PilotId, Site, SiteName};
use reqwest::Method;

use super::transport::Repeat;
use super::{Check, Client, ClientError};
use crate::public::{
    CeProvisioning, CheckQuery, MaintenancePlan, ModeChange, NodeRelease, Page, PilotView,
    PilotsQuery, SiteView,
};

impl Client {
    /// All sites.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn sites(&self) -> Result<Vec<SiteView>, ClientError> {
        self.get(&["sites"]).await
    }

    /// A site.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn site(&self, site: &SiteName) -> Result<SiteView, ClientError> {
        self.get(&["sites", site.as_str()]).await
    }

    /// Registers a site.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_site(&self, site: &Site) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["sites"]).json(site);
        self.send(request, Repeat::OnlyUnsent).await.map(drop)
    }

    /// Replaces the description of a site.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_site(&self, site: &Site) -> Result<(), ClientError> {
        let request = self
            .request(Method::PUT, &["sites", site.name.as_str()])
            .json(site);
        self.send(request, Repeat::Harmless).await.map(drop)
    }

    /// Removes a site.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_site(&self, site: &SiteName) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &["sites", site.as_str()]);
        self.send(request, Repeat::OnlyUnsent).await.map(drop)
    }

    /// Opens, drains or closes a site or one of its CEs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_mode(&self, site: &SiteName, change: &ModeChange) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &["sites", site.as_str(), "mode"])
            .json(change);
        self.send(request, Repeat::Harmless).await.map(drop)
    }

    /// Says when a site is not to be used.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan_maintenance(
        &self,
        site: &SiteName,
        plan: &MaintenancePlan,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::PUT, &["sites", site.as_str(), "maintenance"])
            .json(plan);
        self.send(request, Repeat::Harmless).await.map(drop)
    }

    /// Tries a site, step by step.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check_site(
        &self,
        site: &SiteName,
        query: &CheckQuery,
    ) -> Result<Check, ClientError> {
        let request = self
            .request(Method::POST, &["sites", site.as_str(), "check"])
            .header(reqwest::header::ACCEPT, "text/event-stream")
            .query(query);
        Ok(Check::new(self.download(request).await?))
    }

    /// A site in the terms of GLUE 2.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn site_glue2(&self, site: &SiteName) -> Result<serde_json::Value, ClientError> {
        self.get(&["sites", site.as_str(), "glue2"]).await
    }

    /// Why each CE of a site has the pilots that it has.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn provisioning(&self, site: &SiteName) -> Result<Vec<CeProvisioning>, ClientError> {
        self.get(&["sites", site.as_str(), "provisioning"]).await
    }

    /// Gives a node tasks again that was set aside.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn release_node(
        &self,
        site: &SiteName,
        release: &NodeRelease,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &["sites", site.as_str(), "release"])
            .json(release);
        self.send(request, Repeat::OnlyUnsent).await.map(drop)
    }

    /// A page of pilots.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pilots(&self, query: &PilotsQuery) -> Result<Page<PilotView>, ClientError> {
        self.get_with(&["pilots"], query).await
    }

    /// A pilot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pilot(&self, pilot: PilotId) -> Result<PilotView, ClientError> {
        self.get(&["pilots", &pilot.to_string()]).await
    }

    /// Lets a pilot finish the tasks that it has, and end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain_pilot(&self, pilot: PilotId) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["pilots", &pilot.to_string(), "drain"]);
        self.send(request, Repeat::Harmless).await.map(drop)
    }

    /// Ends a pilot at once; its tasks go back to the queue.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn kill_pilot(&self, pilot: PilotId) -> Result<(), ClientError> {
        let request = self.request(Method::POST, &["pilots", &pilot.to_string(), "kill"]);
        self.send(request, Repeat::Harmless).await.map(drop)
    }
}
