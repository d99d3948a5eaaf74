//! Event streams of the server, read line by line: a log that is followed, a site that is tried.

use fairway_model::TaskState;

use super::{ClientError, Download};
use crate::public::CheckEvent;

/// Longest line of an event stream. The server's chunks are much shorter.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One thing that a followed log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// More of the output.
    Chunk(String),
    /// The task is over, in this state; nothing more comes.
    End(TaskState),
}

/// A log that is followed until its task is over.
#[derive(Debug)]
pub struct Follow(Events);

impl Follow {
    pub(super) fn new(download: Download) -> Self {
        Self(Events::new(download))
    }

    /// The next event. `None` if the stream ended, which it does only after [`LogEvent::End`].
    ///
    /// # Errors
    /// [`ClientError::Interrupted`].
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        self.0.next(log_event).await
    }
}

/// A site that is tried.
#[derive(Debug)]
pub struct Check(Events);

impl Check {
    pub(super) fn new(download: Download) -> Self {
        Self(Events::new(download))
    }

    /// The next step, or the end. `None` if the stream ended, which it does only after
    /// [`CheckEvent::End`].
    ///
    /// # Errors
    /// [`ClientError::Interrupted`].
    pub async fn next(&mut self) -> Result<Option<CheckEvent>, ClientError> {
        self.0.next(check_event).await
    }
}

#[derive(Debug)]
struct Events {
    download: Download,
    parser: Parser,
}

impl Events {
    fn new(download: Download) -> Self {
        Self {
            download,
            parser: Parser::default(),
        }
    }

    /// The next event that `meaning` knows: others are those of a later version of the server.
    async fn next<T>(
        &mut self,
        meaning: fn(Event) -> Result<Option<T>, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(event) = self.parser.next_event() {
                if let Some(known) = meaning(event)? {
                    return Ok(Some(known));
                }
            }
            match self.download.chunk().await? {
                Some(chunk) => self.parser.feed(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

/// An event as it comes: its name, and its data.
#[derive(Debug)]
struct Event {
    name: String,
    data: String,
}

fn log_event(Event { name, data }: Event) -> Result<Option<LogEvent>, ClientError> {
    Ok(match name.as_str() {
        "chunk" => Some(LogEvent::Chunk(read(&data)?)),
        "end" => Some(LogEvent::End(read(&data)?)),
        _ => None,
    })
}

fn check_event(Event { name, data }: Event) -> Result<Option<CheckEvent>, ClientError> {
    Ok(match name.as_str() {
        "step" => Some(CheckEvent::Step(read(&data)?)),
        "end" => Some(CheckEvent::End(read(&data)?)),
        _ => None,
    })
}

/// Takes bytes in, gives events out, as the HTML standard's "event stream
/// interpretation" has it.
#[derive(Debug, Default)]
struct Parser {
    /// Bytes of lines that are not read yet.
    pending: Vec<u8>,
    /// How many bytes of `pending` are known to hold no line end.
    scanned: usize,
    name: String,
    data: String,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > LINE_BYTES_MAX + bytes.len() {
            return Err(ClientError::Interrupted(
                "a line of the event stream is too long".into(),
            ));
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(line) = self.next_line() {
            if !line.is_empty() {
                self.field(&line);
                continue;
            }
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            // Without a name it was a comment by itself.
            if !name.is_empty() {
                return Some(Event { name, data });
            }
        }
        None
    }

    fn next_line(&mut self) -> Option<String> {
        let found = self.pending[self.scanned..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(offset) = found else {
            self.scanned = self.pending.len();
            return None;
        };
        let rest = self.pending.split_off(self.scanned + offset + 1);
        let mut line = std::mem::replace(&mut self.pending, rest);
        self.scanned = 0;
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // `id`, `retry` and comments (an empty field name) say nothing here.
            _ => {}
        }
    }
}

/// The data of an event: JSON, except that a state may come without its quotes.
fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data)
        .or_else(|_| serde_json::from_value(serde_json::Value::String(data.to_owned())))
        .map_err(|error| ClientError::Interrupted(format!("an event cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::CheckEnd;

    /// All events of `text`, fed in pieces of `size` bytes.
    fn events(text: &str, size: usize) -> Vec<LogEvent> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            parser.feed(piece).unwrap();
            while let Some(event) = parser.next_event() {
                events.extend(log_event(event).unwrap());
            }
        }
        events
    }

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let text = ": keep-alive\n\nevent: chunk\ndata: \"é\\n\"\n\nevent:chunk\r\ndata:\"b\"\r\n\r\n\
                    event: later\ndata: 1\n\nevent: end\ndata: succeeded\n\n";
        let expected = vec![
            LogEvent::Chunk("é\n".into()),
            LogEvent::Chunk("b".into()),
            LogEvent::End(TaskState::Succeeded),
        ];
        for size in [1, 2, 7, 4096] {
            assert_eq!(events(text, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_state_may_be_quoted() {
        let text = "event: end\ndata: \"failed\"\n\n";
        assert_eq!(events(text, 64), vec![LogEvent::End(TaskState::Failed)]);
    }

    #[test]
    fn a_check_has_steps_and_an_end() {
        let mut parser = Parser::default();
        let step = r#"{"stage":"queue","ce":"short","outcome":"ok","found":"it is","took_ms":1}"#;
        let text = format!(
            "event: step\ndata: {step}\n\nevent: end\ndata: {{\"failed\":0,\"remarks\":1}}\n\n"
        );
        parser.feed(text.as_bytes()).unwrap();
        let Some(CheckEvent::Step(step)) = check_event(parser.next_event().unwrap()).unwrap()
        else {
            panic!("no step");
        };
        assert_eq!(step.ce.unwrap().as_str(), "short");
        let end = CheckEnd {
            failed: 0,
            remarks: 1,
        };
        assert_eq!(
            check_event(parser.next_event().unwrap()).unwrap(),
            Some(CheckEvent::End(end))
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut parser = Parser::default();
        parser.feed(b"event: end\ndata: nowhere\n\n").unwrap();
        assert!(log_event(parser.next_event().unwrap()).is_err());
    }
}
