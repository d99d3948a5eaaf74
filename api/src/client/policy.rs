//! The policy: who is served next, and within which bounds.

use fairway_model::Policy;
use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Method, Response};

use super::transport::Repeat;
use super::{Client, ClientError};
use crate::public::{Page, PolicyChange, PolicyDiff, PolicyHistoryQuery, PolicyReason};

/// A policy with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// The policy.
    pub policy: Policy,
    /// Its version, as the server gives it.
    pub version: String,
}

impl Client {
    /// The policy in force.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy(&self) -> Result<Policy, ClientError> {
        Ok(self.versioned_policy().await?.policy)
    }

    /// The policy in force, with its version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn versioned_policy(&self) -> Result<Versioned, ClientError> {
        let request = self.request(Method::GET, &["policy"]);
        let response = self.send(request, Repeat::Harmless).await?;
        let version = version_of(&response);
        Ok(Versioned {
            policy: self.decode(response).await?,
            version,
        })
    }

    /// Puts a policy in force, whichever is in force now.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_policy(&self, policy: &Policy) -> Result<(), ClientError> {
        let reason = PolicyReason::default();
        self.change_policy(policy, None, &reason).await.map(drop)
    }

    /// Puts a policy in force, if the one in force still has the version `from`. The version of
    /// the new one comes back.
    ///
    /// # Errors
    /// See [`ClientError`]; of the code `policy-changed` if it has another version.
    pub async fn change_policy(
        &self,
        policy: &Policy,
        from: Option<&str>,
        reason: &PolicyReason,
    ) -> Result<String, ClientError> {
        let mut request = self.request(Method::PUT, &["policy"]);
        request = request.query(reason).json(policy);
        if let Some(version) = from {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        // A repetition finds the same policy in force, which is no change.
        let response = self.send(request, Repeat::Harmless).await?;
        Ok(version_of(&response))
    }

    /// What would follow if a policy were put in force now.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn diff_policy(&self, policy: &Policy) -> Result<PolicyDiff, ClientError> {
        let request = self.request(Method::POST, &["policy", "diff"]).json(policy);
        let response = self.send(request, Repeat::Harmless).await?;
        self.decode(response).await
    }

    /// A page of the changes of the policy, the latest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy_history(
        &self,
        query: &PolicyHistoryQuery,
    ) -> Result<Page<PolicyChange>, ClientError> {
        self.get_with(&["policy", "history"], query).await
    }
}

/// The version in an answer's `ETag`; empty if a proxy took it away.
fn version_of(response: &Response) -> String {
    let tag = response.headers().get(ETAG);
    let tag = tag.and_then(|tag| tag.to_str().ok()).unwrap_or_default();
    // A proxy that compresses makes the tag a weak one.
    tag.trim_start_matches("W/").trim_matches('"').to_owned()
}
