//! OAR's REST API (`oarapi`).
//!
//! It is a thin layer over the commands, and pastes what it is given into shell command lines that
//! run as the user: what a shell would take for more than a letter is escaped here. What is asked
//! for goes through `select_all`, one request however many the rows.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use fairway_model::{RestSettings, SecretRef};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};

use super::Front;
use super::parse::{self, Event, Job};
use super::render::{self, OarOption};
use crate::{AdapterError, secret};

/// Longest time for one request: the API waits for the command behind it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest condition: it travels in a URL, of which web servers take 8 KiB, and grows there.
const CONDITION_CHARS_MAX: usize = 3000;
/// Rows of one answer; more than there are.
const ROWS_MAX: u32 = 1_000_000;
/// Requests at a time for jobs of one call.
const AT_ONCE: usize = 4;
/// How often a harmless request is sent, at most.
const TRIES: u32 = 3;
/// SIGTERM: the API takes signals by number.
const SIGTERM: &str = "15";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// The API of one cluster.
pub(super) struct Rest {
    url: String,
    user: Option<String>,
    secret: Option<SecretRef>,
    work_dir: String,
    http: reqwest::Client,
}

/// An answer: its status and its body.
struct Answer {
    status: StatusCode,
    body: String,
}

impl Rest {
    /// The API at the URL in the settings. Nothing is asked yet.
    pub(super) fn new(settings: &RestSettings, work_dir: String) -> Result<Self, AdapterError> {
        let refused = |why: String| AdapterError::Refused(format!("the REST API: {why}"));
        let url = settings.url.trim_end_matches('/').to_owned();
        let at = reqwest::Url::parse(&url).map_err(|error| refused(error.to_string()))?;
        if !matches!(at.scheme(), "http" | "https") {
            return Err(refused(format!(
                "its URL must begin with http, not {url:?}"
            )));
        }
        let on_loopback = match at.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
            None => false,
        };
        if at.scheme() == "http" && settings.secret.is_some() && !on_loopback {
            return Err(refused(format!(
                "{url} is not https: the secret would cross the network in clear"
            )));
        }
        // Whoever was first is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .timeout(REQUEST_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none());
        if on_loopback {
            http = http.no_proxy();
        }
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(path)
                .map_err(|error| refused(format!("{path} cannot be read: {error}")))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| refused(format!("{path} holds no certificates: {error}")))?;
            http = http.tls_certs_only(trusted);
        }
        Ok(Self {
            url,
            user: settings.user.clone(),
            secret: settings.secret.clone(),
            work_dir,
            http: http.build().map_err(|error| refused(error.to_string()))?,
        })
    }

    /// A request, with the credentials as they are now: a password for the user in the settings,
    /// `user:password`, or else a token.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, AdapterError> {
        // What comes in anything but JSON is of no use, and `*/*` is refused.
        let request = self
            .http
            .request(method, format!("{}/{path}", self.url))
            .header(ACCEPT, JSON);
        let Some(reference) = &self.secret else {
            return Ok(request);
        };
        let secret = secret::read(reference)?;
        Ok(match (&self.user, secret.split_once(':')) {
            (Some(user), _) => request.basic_auth(user, Some(&secret)),
            (None, Some((user, password))) => request.basic_auth(user, Some(password)),
            (None, None) => request.bearer_auth(&secret),
        })
    }

    async fn send(request: RequestBuilder) -> Result<Answer, AdapterError> {
        // The URL may hold what is asked for, which helps nobody.
        let away =
            |error: reqwest::Error| AdapterError::Unreachable(error.without_url().to_string());
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(AdapterError::Unexpected(format!(
                    "the API answered more than {} MiB",
                    ANSWER_BYTES_MAX >> 20
                )));
            }
        }
        // It says ISO-8859-1 and sends whatever bytes users gave it, mostly UTF-8.
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body })
    }

    /// The same for what does no harm if it is done twice. The processes behind the API come and
    /// go, and now and then take a request with them: the web server then says so in its own
    /// words, not in JSON.
    async fn send_surely(request: RequestBuilder) -> Result<Answer, AdapterError> {
        for _ in 1..TRIES {
            let Some(copy) = request.try_clone() else {
                break;
            };
            let answer = Self::send(copy).await?;
            if !answer.status.is_server_error() || answer.json().is_ok() {
                return Ok(answer);
            }
        }
        Self::send(request).await
    }

    /// Fails if the database is away. `select_all` would wait for it, and soon all the processes
    /// behind the API with it; the list of jobs does not.
    async fn database(&self) -> Result<(), AdapterError> {
        let request = self
            .request(Method::GET, "jobs.json")?
            .query(&[("ids", "0"), ("limit", "1")]);
        let answer = Self::send_surely(request).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(AdapterError::Unreachable(answer.words())),
        }
    }

    /// Asks for rows: all columns of what is behind `FROM`. No row at all would be answered as an
    /// error, so there is one that is always there, and left out again.
    async fn select(&self, from: &str) -> Result<Vec<Map<String, Value>>, AdapterError> {
        let query = format!(
            "FROM (SELECT 1 AS present) AS one LEFT JOIN (SELECT * FROM {from}) AS found ON 1 = 1"
        );
        self.database().await?;
        let request = self
            .request(Method::GET, "select_all")?
            .query(&[("query", query), ("limit", ROWS_MAX.to_string())]);
        let answer = Self::send_surely(request).await?;
        if !answer.status.is_success() {
            return Err(AdapterError::Unreachable(answer.words()));
        }
        answer.rows()
    }

    async fn select_jobs(&self, condition: &str) -> Result<Vec<Job>, AdapterError> {
        let rows = self.select(&format!("jobs WHERE {condition}")).await?;
        parse::jobs("the API", rows.into_iter().map(Value::Object).collect())
    }

    /// Whether this API acts as `account`: it has one user.
    fn only(&self, account: Option<&str>) -> Result<(), AdapterError> {
        match account {
            Some(account) if Some(account) != self.user.as_deref() => Err(AdapterError::Refused(
                format!("the REST API submits as its own user only, not as {account}"),
            )),
            _ => Ok(()),
        }
    }

    /// Does something to jobs, one request for each, a few at a time. Jobs that are over,
    /// unknown or somebody else's are no error.
    async fn each(
        &self,
        ids: &[u32],
        action: fn(u32) -> (Method, String),
    ) -> Result<(), AdapterError> {
        use futures::{StreamExt as _, TryStreamExt as _};

        self.database().await?;
        let requests: Vec<_> = ids
            .iter()
            .map(|&id| async move {
                let (method, path) = action(id);
                let answer = Self::send_surely(self.request(method, &path)?).await?;
                match answer.status {
                    status if status.is_success() => Ok(()),
                    // The command's own refusals: no such job, not ours, over already.
                    StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Ok(()),
                    _ => Err(AdapterError::Unreachable(answer.words())),
                }
            })
            .collect();
        futures::stream::iter(requests)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// One request about a file in the work folder.
    async fn media(
        &self,
        method: Method,
        what: &str,
        file: &str,
        kind: &'static str,
        body: String,
    ) -> Result<Answer, AdapterError> {
        let request = self
            .request(method, &format!("{what}{}/{file}", self.work_dir))?
            .header(CONTENT_TYPE, kind)
            .body(body);
        Self::send_surely(request).await
    }

    /// Makes one script: an empty file, that then nobody else can read, and then what is in it.
    async fn place_one(&self, file: &str, content: &str) -> Result<(), AdapterError> {
        let steps = [
            ("media/force", BYTES, String::new()),
            ("media/chmod", JSON, json!({"mode": "700"}).to_string()),
            ("media/force", BYTES, content.to_owned()),
        ];
        for (what, kind, body) in steps {
            let answer = self.media(Method::POST, what, file, kind, body).await?;
            if !answer.status.is_success() {
                return Err(answer.failure());
            }
        }
        Ok(())
    }
}

impl Answer {
    fn json(&self) -> Result<Value, AdapterError> {
        serde_json::from_str(&self.body).map_err(|_| parse::unexpected("the API", &self.body))
    }

    /// The rows of an answer to [`Rest::select`].
    fn rows(&self) -> Result<Vec<Map<String, Value>>, AdapterError> {
        let mut value: Value = self.json()?;
        let total = value.get("total").and_then(parse::as_number);
        let items = value.get_mut("items").map(Value::take);
        let (Some(Value::Array(items)), Some(total)) = (items, total) else {
            return Err(parse::unexpected("the API", &self.body));
        };
        if i64::try_from(items.len()) != Ok(total) {
            return Err(AdapterError::Unexpected(format!(
                "the API told {} of {total} rows",
                items.len()
            )));
        }
        let mut rows = Vec::with_capacity(items.len());
        for item in items {
            if let Value::Object(mut row) = item {
                row.remove("present");
                // In the row of nothing there is nothing else.
                if row.values().any(|value| !value.is_null()) {
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    /// What the API says went wrong.
    fn words(&self) -> String {
        let value: Option<Value> = serde_json::from_str(&self.body).ok();
        let message = value
            .as_ref()
            .and_then(|value| value.get("message")?.as_str());
        match message {
            // Behind it stands the command line.
            Some(message) => {
                let message = message.split("\nCmd:").next().unwrap_or_default();
                parse::clean(message, None)
            }
            None => format!("HTTP status {}", self.status),
        }
    }

    /// The exit code of the command behind the API, in its words: `… exited with status 248: …`.
    /// Of `oardel` it is the raw status of wait(2).
    fn exit_code(&self) -> Option<i32> {
        let value: Value = serde_json::from_str(&self.body).ok()?;
        let message = value.get("message")?.as_str()?;
        let (_, rest) = message.split_once("exited with status ")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Why something was not done. The API answers 500 to most of what `oarsub` refuses; what the
    /// command ended with says more.
    fn failure(&self) -> AdapterError {
        let words = self.words();
        match (self.exit_code(), self.status) {
            (Some(code), _) => {
                let words = words
                    .split_once(&format!("exited with status {code}:"))
                    .map_or(words.as_str(), |(_, words)| words.trim());
                parse::submission_failure(Some(code), parse::clean(words, Some(code)))
            }
            // Who is not let in was not even heard.
            (None, StatusCode::UNAUTHORIZED) => AdapterError::Unreachable(words),
            (None, status) if status.is_server_error() => AdapterError::Unreachable(words),
            (None, _) => AdapterError::Refused(words),
        }
    }
}

/// The body of a submission. An option that is given several times is a list.
fn body(options: &[OarOption], command: &str, work_dir: &str) -> Result<Value, AdapterError> {
    let mut body = Map::new();
    for (name, value) in options {
        // It all ends up between double quotes in a shell command line, within another one.
        if value.contains(['"', '\\', '$', '`', '\n']) {
            return Err(AdapterError::Refused(format!(
                "the REST API cannot hand on {value:?}"
            )));
        }
        let value = Value::from(value.as_str());
        match body.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
            None => {
                body.insert(name.clone(), value);
            }
        }
    }
    // The variable is for the job's shell, not for the one that submits.
    let command = command.replace('$', "\\$");
    body.insert("command".to_owned(), Value::from(command));
    body.insert("workdir".to_owned(), Value::from(work_dir));
    Ok(Value::Object(body))
}

#[async_trait]
impl Front for Rest {
    async fn check(&self) -> Result<(), AdapterError> {
        self.database().await
    }

    async fn place(
        &self,
        account: Option<&str>,
        scripts: &[(String, String)],
    ) -> Result<(), AdapterError> {
        use futures::{StreamExt as _, TryStreamExt as _};

        self.only(account)?;
        let steps: Vec<_> = scripts
            .iter()
            .map(|(file, content)| self.place_one(file, content))
            .collect();
        futures::stream::iter(steps)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn remove(&self, account: Option<&str>, files: &[String]) -> Result<(), AdapterError> {
        self.only(account)?;
        for file in files {
            let answer = self
                .media(Method::DELETE, "media", file, BYTES, String::new())
                .await?;
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(answer.failure());
            }
        }
        Ok(())
    }

    async fn submit(
        &self,
        account: Option<&str>,
        options: &[OarOption],
        command: &str,
        count: usize,
    ) -> Result<Vec<String>, AdapterError> {
        self.only(account)?;
        let request =
            self.request(Method::POST, "jobs.json")?
                .json(&body(options, command, &self.work_dir)?);
        let answer = Self::send(request).await?;
        if !answer.status.is_success() {
            let printed = answer.json().unwrap_or_default();
            let printed = printed.get("message").and_then(Value::as_str);
            let left = parse::printed_ids(printed.unwrap_or_default());
            let left: Vec<u32> = left.iter().filter_map(|id| render::parse_id(id)).collect();
            if !left.is_empty() {
                // The answer changes nothing: the submission is reported as failed in any case.
                drop(self.delete(account, &left).await);
            }
            return Err(answer.failure());
        }
        // Of an array only the first id is told, but for what the command printed.
        let printed = answer.json()?;
        let printed = printed.get("cmd_output").and_then(Value::as_str);
        parse::submitted_ids(printed.unwrap_or_default(), count)
    }

    async fn jobs(&self, conditions: &[String], _some: bool) -> Result<Vec<Job>, AdapterError> {
        let mut jobs = Vec::new();
        for condition in render::pack(conditions, CONDITION_CHARS_MAX) {
            jobs.extend(self.select_jobs(&condition).await?);
        }
        Ok(jobs)
    }

    async fn ends(&self, conditions: &[String]) -> Result<Vec<Job>, AdapterError> {
        let mut jobs = Vec::new();
        for condition in render::pack(conditions, CONDITION_CHARS_MAX) {
            let mut found = self.select_jobs(&condition).await?;
            let rows = self
                .select(&format!("event_logs WHERE {condition}"))
                .await?;
            for row in rows {
                let event: Event = serde_json::from_value(Value::Object(row))
                    .map_err(|error| parse::unexpected("the API", &error.to_string()))?;
                if let Some(job) = found.iter_mut().find(|job| job.job_id == event.job_id) {
                    job.events.push(event);
                }
            }
            jobs.extend(found);
        }
        Ok(jobs)
    }

    async fn load(&self) -> Result<Vec<Job>, AdapterError> {
        let mut jobs = self.select_jobs(&render::alive()).await?;
        let rows = self.select(ASSIGNED).await?;
        let mut assigned: std::collections::HashMap<i64, Vec<i64>> = Default::default();
        for row in rows {
            let integer = |name: &str| row.get(name).and_then(parse::as_number);
            if let (Some(job), Some(resource)) = (integer("job_id"), integer("resource_id")) {
                assigned.entry(job).or_default().push(resource);
            }
        }
        for job in &mut jobs {
            job.assigned_resources = assigned.remove(&job.job_id).unwrap_or_default();
        }
        Ok(jobs)
    }

    async fn terminate(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError> {
        self.only(account)?;
        self.each(ids, |id| {
            (Method::POST, format!("jobs/{id}/signals/{SIGTERM}.json"))
        })
        .await
    }

    async fn delete(&self, account: Option<&str>, ids: &[u32]) -> Result<(), AdapterError> {
        self.only(account)?;
        self.each(ids, |id| (Method::DELETE, format!("jobs/{id}.json")))
            .await
    }

    async fn resources(&self, condition: &str) -> Result<Vec<Map<String, Value>>, AdapterError> {
        self.select(&format!("resources WHERE {condition}")).await
    }

    async fn version(&self) -> Result<String, AdapterError> {
        let answer = Self::send_surely(self.request(Method::GET, "version.json")?).await?;
        if !answer.status.is_success() {
            return Err(AdapterError::Unreachable(answer.words()));
        }
        let value = answer.json()?;
        let version = value.get("oar_version").and_then(Value::as_str);
        Ok(parse::version(version.unwrap_or_default()))
    }

    async fn local_time(&self, at: i64) -> Result<String, AdapterError> {
        let answer = Self::send_surely(self.request(Method::GET, "timezone.json")?).await?;
        let zone = answer.json()?;
        let zone = zone.get("timezone").and_then(Value::as_str);
        match zone.unwrap_or_default() {
            "UTC" | "GMT" => Ok(utc(at)),
            other => Err(AdapterError::Refused(format!(
                "the REST API gives advance reservations in its own time zone, {other:?}; they need \
                 a server in UTC, or the command line"
            ))),
        }
    }

    fn condition_chars_max(&self) -> usize {
        CONDITION_CHARS_MAX / 2
    }
}

/// The resources that jobs have now, by job.
const ASSIGNED: &str = "(SELECT jobs.job_id, assigned_resources.resource_id FROM jobs JOIN \
     assigned_resources ON assigned_resources.moldable_job_id = jobs.assigned_moldable_job \
     WHERE assigned_resources.assigned_resource_index = 'CURRENT') AS pairs";

/// `YYYY-MM-DD HH:MM:SS` in UTC.
fn utc(at: i64) -> String {
    let text = fairway_model::Timestamp::from_secs(at).to_string();
    let mut plain = String::with_capacity(text.len());
    // `2026-01-01T00:00:00.000Z`
    for letter in text.chars().take("2026-01-01T00:00:00".len()) {
        let _ = plain.write_char(if letter == 'T' { ' ' } else { letter });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/oar/rest-", $name, ".body"))
        };
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn failures_are_told_by_the_command_behind() {
        let cases = [
            (500, fixture!("post-err-queue")),
            (500, fixture!("post-err-admission")),
            (400, fixture!("post-err-resource")),
            (400, fixture!("post-err-json")),
            (401, fixture!("whoami-badpw")),
            (
                500,
                r#"{"message": "Cannot connect to the database", "code": 500}"#,
            ),
            (
                500,
                r#"{"message": "Oarsub command exited with status 9: [ERROR] Cannot connect to executor\nCmd:\noarsub"}"#,
            ),
            (500, "<html>gone</html>"),
        ];
        let words: Vec<String> = cases
            .into_iter()
            .map(|(status, body)| answer(status, body).failure().to_string())
            .collect();
        insta::assert_snapshot!(words.join("\n"));
    }

    #[test]
    fn no_row_is_not_one_row() {
        assert_eq!(answer(200, fixture!("nothing")).rows(), Ok(vec![]));
        let jobs = answer(200, fixture!("jobs")).rows().unwrap();
        assert_eq!(jobs.len(), 2);
        assert!(!jobs[0].contains_key("present"));
        for body in ["", "[]", "{}", r#"{"items": [], "total": 3}"#, "nonsense"] {
            assert!(
                matches!(answer(200, body).rows(), Err(AdapterError::Unexpected(_))),
                "{body:?}"
            );
        }
    }

    #[test]
    fn ids_of_an_array_are_in_what_was_printed() {
        let body = answer(201, fixture!("post-job-array")).json().unwrap();
        let printed = body["cmd_output"].as_str().unwrap();
        assert_eq!(
            parse::submitted_ids(printed, 2),
            Ok(vec!["58".to_owned(), "59".to_owned()])
        );
    }

    #[test]
    fn nothing_in_a_submission_means_anything_to_a_shell() {
        let option = |value: &str| vec![("property".to_owned(), value.to_owned())];
        for bad in ["a\"b", "$(id)", "`id`", "a\\b", "a\nb"] {
            assert!(body(&option(bad), "x", "/w").is_err(), "{bad:?}");
        }
        let mut options = option("host = 'n1'");
        options.extend(["a", "b", "c"].map(|kind| ("type".to_owned(), kind.to_owned())));
        options.push(("hold".to_owned(), String::new()));
        let body = body(&options, "/w/p.$OAR_ARRAY_INDEX", "/w").unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn secrets_stay_on_this_machine_or_are_encrypted() {
        let settings = |url: &str| RestSettings {
            url: url.to_owned(),
            user: None,
            secret: Some(SecretRef::Env("X".to_owned())),
            ca: None,
        };
        for good in [
            "http://127.0.0.1:81/oarapi",
            "http://[::1]/a/",
            "https://oar.example.org/",
        ] {
            assert!(
                Rest::new(&settings(good), "/w".to_owned()).is_ok(),
                "{good}"
            );
        }
        for bad in ["http://oar.example.org/oarapi", "ftp://localhost/", "oar"] {
            assert!(Rest::new(&settings(bad), "/w".to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn tells_the_time_in_utc() {
        assert_eq!(utc(1_795_348_906), "2026-11-22 12:01:46");
    }
}
