//! What operators look at and decide: shares, usage, events, tokens, health.

use fairway_model::{Event, Principal};
use reqwest::Method;

use super::transport::Repeat;
use super::{Client, ClientError};
use crate::public::{
    EventsQuery, Health, Page, SharesView, SimulateReply, SimulateRequest, TokenCreated,
    TokenRequest, TokenView, UsageQuery, UsageView,
};

impl Client {
    /// All users' standing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn shares(&self) -> Result<SharesView, ClientError> {
        self.get(&["shares"]).await
    }

    /// Lets the present queue play out under the policy in force and under others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn simulate(&self, request: &SimulateRequest) -> Result<SimulateReply, ClientError> {
        let request = self.request(Method::POST, &["simulate"]).json(request);
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// Usage, summed up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageView>, ClientError> {
        self.get_with(&["usage"], query).await
    }

    /// A page of events, oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, query: &EventsQuery) -> Result<Page<Event>, ClientError> {
        self.get_with(&["events"], query).await
    }

    /// Creates a token. A reply that is lost leaves a token that nobody knows; it can be revoked.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(&self, token: &TokenRequest) -> Result<TokenCreated, ClientError> {
        let request = self.request(Method::POST, &["tokens"]).json(token);
        let response = self.send(request, Repeat::OnlyUnsent).await?;
        self.decode(response).await
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenView>, ClientError> {
        self.get(&["tokens"]).await
    }

    /// Revokes a token by its public part.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &["tokens", id]);
        self.send(request, Repeat::Harmless).await.map(drop)
    }

    /// Who the server takes this client for.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn whoami(&self) -> Result<Principal, ClientError> {
        self.get(&["whoami"]).await
    }

    /// Whether the server is ready, and how it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.get(&["health", "ready"]).await
    }
}
