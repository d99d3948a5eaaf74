//! Standard output and error of payloads, brought to the server while they grow. The
//! files stay in the payload's folder; what is kept in memory is how much is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fairway_api::ProblemCode;

use crate::client::{CallError, Client, persist};
use crate::machine::Key;

/// Largest chunk in one call.
const CHUNK_BYTES_MAX: u64 = 256 * 1024;

/// One stream of a payload.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    file: Arc<File>,
    /// How much the server has.
    sent: u64,
    /// Whether the server takes no more.
    closed: bool,
}

/// The streams of one payload.
#[derive(Debug)]
pub(crate) struct Logs(Vec<Stream>);

impl Logs {
    /// `stderr` is `None` if it goes to the same file as `stdout`.
    pub(crate) fn new(stdout: File, stderr: Option<File>) -> Self {
        let stream = |name, file| Stream {
            name,
            file: Arc::new(file),
            sent: 0,
            closed: false,
        };
        let mut streams = vec![stream("stdout", stdout)];
        streams.extend(stderr.map(|file| stream("stderr", file)));
        Self(streams)
    }

    /// Whether there is anything to send.
    pub(crate) fn grew(&self) -> bool {
        let grew = |stream: &Stream| {
            let bytes = stream.file.metadata().map_or(0, |metadata| metadata.len());
            !stream.closed && bytes > stream.sent
        };
        self.0.iter().any(grew)
    }

    /// Sends all that is there. What the server refuses is given up, with a line in the log.
    pub(crate) async fn flush(&mut self, client: &Client, key: Key) -> Result<(), CallError> {
        for stream in &mut self.0 {
            while !stream.closed && stream.send_chunk(client, key).await? {}
        }
        Ok(())
    }
}

impl Stream {
    /// Sends the next chunk; false if there is none.
    async fn send_chunk(&mut self, client: &Client, key: Key) -> Result<bool, CallError> {
        let chunk = match self.read_chunk() {
            Ok(chunk) if chunk.is_empty() => return Ok(false),
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::warn!(%key, stream = self.name, %error, "a log cannot be read");
                self.closed = true;
                return Ok(false);
            }
        };
        let call = persist("sending a log", || {
            client.chunk(key, self.name, self.sent, chunk.clone())
        });
        match call.await {
            Ok(reply) => {
                // A server that does not move on must not keep the pilot here for ever.
                self.closed = reply.full || reply.next_offset <= self.sent;
                self.sent = reply.next_offset;
            }
            Err(CallError::Refused(problem)) => match problem.expected_offset {
                // A reply was lost, and the server has more than was known here.
                Some(offset) if problem.code == ProblemCode::WrongOffset && offset > self.sent => {
                    self.sent = offset;
                }
                _ => {
                    tracing::warn!(%key, stream = self.name, %problem, "a log was refused");
                    self.closed = true;
                }
            },
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn read_chunk(&self) -> io::Result<Vec<u8>> {
        let bytes = self
            .file
            .metadata()?
            .len()
            .saturating_sub(self.sent)
            .min(CHUNK_BYTES_MAX);
        let mut chunk = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let read = self.file.read_at(&mut chunk, self.sent)?;
        chunk.truncate(read);
        Ok(chunk)
    }
}
