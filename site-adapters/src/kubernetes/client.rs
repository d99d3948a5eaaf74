//! The way to the cluster, and what its refusals mean.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fairway_model::KubernetesSettings;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::Status;
use kube::{Client, Config};

use crate::AdapterError;

/// Longest time for one request that is no watch, its repetitions included: a server that is too
/// busy (429) is asked again when it says.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time to reach the API server.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How much of the cluster's words is passed on.
const CHARS_MAX: usize = 500;

/// A client with the namespace that the site uses.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// The way to one cluster. Credentials are read when they are first needed, and again when the
/// cluster does not take them any more.
pub(super) struct Access {
    kubeconfig: Option<String>,
    context: Option<String>,
    namespace: Option<String>,
    connected: Mutex<Option<Connected>>,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API server said no.
    Api(Box<Status>),
    /// Nobody answered, or nobody was asked.
    Away(String),
    /// The answer cannot be read.
    Unreadable(String),
}

impl Access {
    pub(super) fn new(settings: &KubernetesSettings) -> Self {
        Self {
            kubeconfig: settings.kubeconfig.clone(),
            context: settings.context.clone(),
            namespace: settings.namespace.clone(),
            connected: Mutex::default(),
        }
    }

    /// Makes a request. If the credentials are not taken they are read again, once: tokens expire.
    pub(super) async fn call<T, W>(&self, request: impl Fn(Connected) -> W) -> Result<T, Failure>
    where
        W: Future<Output = kube::Result<T>>,
    {
        let first = self.call_once(&request).await;
        match first {
            Err(Failure::Api(status)) if is_unauthenticated(&status) => {
                self.forget();
                self.call_once(&request).await
            }
            other => other,
        }
    }

    async fn call_once<T, W>(&self, request: &impl Fn(Connected) -> W) -> Result<T, Failure>
    where
        W: Future<Output = kube::Result<T>>,
    {
        let work = async { request(self.connect().await?).await.map_err(Failure::from) };
        match tokio::time::timeout(REQUEST_TIME_MAX, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Away(format!(
                "no answer within {} s",
                REQUEST_TIME_MAX.as_secs()
            ))),
        }
    }

    /// The client, made if there is none.
    pub(super) async fn connect(&self) -> Result<Connected, Failure> {
        let known = self.lock().clone();
        if let Some(connected) = known {
            return Ok(connected);
        }
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIME_MAX);
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)?;
        let connected = Connected { client, namespace };
        *self.lock() = Some(connected.clone());
        Ok(connected)
    }

    /// Drops the client with its credentials.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connected>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let (what, config) = match &self.kubeconfig {
            Some(path) => {
                let config = match Kubeconfig::read_from(path) {
                    Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
                    Err(error) => Err(error),
                };
                (format!("the kubeconfig {path}"), config)
            }
            None if in_cluster && self.context.is_none() => {
                return Config::incluster().map_err(|error| {
                    Failure::Away(format!("the cluster's own account cannot be used: {error}"))
                });
            }
            None => {
                let config = Config::from_kubeconfig(&options).await;
                ("the kubeconfig".to_owned(), config)
            }
        };
        config.map_err(|error| {
            Failure::Away(format!(
                "{what} cannot be used: {}",
                kubeconfig_words(&error)
            ))
        })
    }
}

/// What is wrong with a kubeconfig. Not in the reader's own words, which may quote a token.
fn kubeconfig_words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::CurrentContextNotSet => "it has no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("it has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("it has no cluster {name:?}"),
        KubeconfigError::FindPath => "there is none".to_owned(),
        _ => "it is not a whole and sound kubeconfig".to_owned(),
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Api(status),
            // Its own words may hold what a program for credentials printed.
            kube::Error::Auth(_) => Self::Away("the credentials cannot be got".to_owned()),
            kube::Error::SerdeError(error) => Self::Unreadable(error.to_string()),
            kube::Error::FromUtf8(_) => Self::Unreadable("it is not UTF-8".to_owned()),
            kube::Error::LinesCodecMaxLineLengthExceeded => {
                Self::Unreadable("a line is too long".to_owned())
            }
            other => Self::Away(with_causes(&other)),
        }
    }
}

/// An error with what it was caused by: `hyper` says only "client error" by itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Whether the API server does not know who asks: a token that expired, or none.
fn is_unauthenticated(status: &Status) -> bool {
    status.code == 401 || (status.code == 403 && status.message.contains("system:anonymous"))
}

impl Failure {
    /// What it means for a request that may be refused.
    pub(super) fn of_change(self) -> AdapterError {
        match self {
            Self::Api(status) if is_unauthenticated(&status) => {
                AdapterError::Unreachable(words(&status))
            }
            // Also a quota that is used up: what was asked for did not happen.
            Self::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                AdapterError::Refused(words(&status))
            }
            other => other.of_question(),
        }
    }

    /// What it means for a request that only asks: it has nothing to refuse, so whatever fails
    /// means that there is no answer.
    pub(super) fn of_question(self) -> AdapterError {
        match self {
            Self::Api(status) => AdapterError::Unreachable(words(&status)),
            Self::Away(why) => AdapterError::Unreachable(why),
            Self::Unreadable(why) => AdapterError::Unexpected(why),
        }
    }

    /// Whether there is no right to ask this.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 403 && !is_unauthenticated(status))
    }

    /// Whether there is no such thing.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 404)
    }

    /// Whether there is something of that name already.
    pub(super) fn already_exists(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
    }

    /// Whether the thing of that name is another one.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 409 && status.reason == "Conflict")
    }

    /// Whether the version that was asked for is too old.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 410)
    }

    /// The same without the words of the cluster, which may quote what it was sent.
    pub(super) fn without_words(self) -> Self {
        match self {
            Self::Api(mut status) => {
                status.message = format!("{} ({})", status.reason, status.code);
                Self::Api(status)
            }
            Self::Unreadable(_) => Self::Unreadable("it cannot be read".to_owned()),
            away @ Self::Away(_) => away,
        }
    }
}

/// What the API server says.
pub(super) fn words(status: &Status) -> String {
    if status.message.is_empty() {
        return format!("{} ({})", status.reason, status.code);
    }
    status.message.chars().take(CHARS_MAX).collect()
}
