//! What a site's agent says.

use fairway_model::SiteName;
use reqwest::Method;

use super::{Client, ClientError};
use crate::agent::{ExchangeReply, ExchangeRequest};

impl Client {
    /// One exchange of a site's agent with the server. Not repeated: the agent makes a new one,
    /// with what is true by then.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exchange(
        &self,
        site: &SiteName,
        exchange: &ExchangeRequest,
    ) -> Result<ExchangeReply, ClientError> {
        let request = self
            .request(Method::POST, &["agent", site.as_str(), "exchange"])
            .json(exchange);
        let response = self.send_once(request).await?;
        self.decode(response).await
    }
}
