//! A body that is read as it comes: logs and archives of any size.

use bytes::Bytes;
use futures::Stream;
use reqwest::{RequestBuilder, Response};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::with_causes;
use super::transport::{Repeat, SILENCE_MAX};
use super::{Client, ClientError};

/// A body on its way. It may take as long as it needs, but not fall silent.
#[derive(Debug)]
pub struct Download {
    response: Response,
}

impl Download {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Interrupted`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(ClientError::Interrupted(with_causes(&error))),
            Err(_) => Err(ClientError::Interrupted(format!(
                "nothing came for {} s",
                SILENCE_MAX.as_secs()
            ))),
        }
    }

    /// The whole as a stream of pieces.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + 'static {
        futures::stream::try_unfold(self, async |mut download| {
            let chunk = download.chunk().await?;
            Ok(chunk.map(|chunk| (chunk, download)))
        })
    }

    /// The whole as a reader.
    pub fn into_reader(self) -> impl AsyncRead + Send + 'static {
        use futures::TryStreamExt as _;
        StreamReader::new(Box::pin(self.into_stream().map_err(std::io::Error::other)))
    }
}

impl Client {
    /// A request without a deadline for the whole of its answer.
    pub(super) async fn download(&self, request: RequestBuilder) -> Result<Download, ClientError> {
        let build = || {
            std::future::ready(request.try_clone().ok_or_else(|| {
                ClientError::Settings("a request's body cannot be sent again".into())
            }))
        };
        let answer = self.send_with(Repeat::Harmless, build);
        match tokio::time::timeout(SILENCE_MAX, answer).await {
            Ok(response) => Ok(Download {
                response: response?,
            }),
            Err(_) => Err(ClientError::Unreachable {
                server: self.server.clone(),
                reason: "no answer in time".into(),
            }),
        }
    }
}
