//! Every setting of the server: from a TOML file, overridden by environment
//! variables, overridden by flags. One file per concern.
//!
//! The variable of a setting is its path in capitals, joined by double
//! underscores after `FAIRWAY`: `http.listen` is `FAIRWAY__HTTP__LISTEN`. Lists
//! of tables (`sites`) come from the file only. Unknown keys are errors.

mod bebida;
mod http;
mod log;
mod pilots;
mod reference;
mod sandbox;
mod sched;
mod store;

use std::path::{Path, PathBuf};

use fairway_model::{Policy, Site};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use bebida::BebidaConfig;
pub use http::{HttpConfig, TlsConfig};
pub use log::{LogConfig, LogFormat};
pub use pilots::PilotsConfig;
pub use reference::reference;
pub use sandbox::SandboxConfig;
pub use sched::SchedConfig;
pub use store::StoreConfig;

use crate::site_rules;

/// The server's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of everything that the server keeps beside the database: sandboxes, outputs, logs
    /// of tasks. Made if it is not there.
    #[schema(value_type = String)]
    pub state_dir: PathBuf,
    /// Folder of what the server needs to reach sites with, in a folder for each site: keys,
    /// certificates, configurations. What a site's admin writes in the site's description may
    /// name files in `<sites_dir>/<site>/` only, and variables that begin with
    /// `FAIRWAY_SITE_<SITE>_`; operators may name any.
    #[schema(value_type = String)]
    pub sites_dir: PathBuf,
    /// Where the server listens, and how.
    pub http: HttpConfig,
    /// The database.
    pub store: StoreConfig,
    /// Pilots: the program, and how long they may be silent, idle or late.
    pub pilots: PilotsConfig,
    /// Decisions that do not depend on the policy.
    pub sched: SchedConfig,
    /// Who is served next. Read when the store is new; afterwards the policy is changed
    /// with `fairway policy set`, and the store's word counts.
    pub policy: Policy,
    /// Sizes and counts of sandbox files and logs.
    pub sandbox: SandboxConfig,
    /// The server's own log.
    pub log: LogConfig,
    /// Sites to register at start, or to bring in line with this description.
    pub sites: Vec<Site>,
    /// Holding jobs on batch sites for pods that wait in Kubernetes clusters (BeBiDa).
    pub bebida: Vec<BebidaConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "fairway-state".into(),
            sites_dir: "/etc/fairway/sites".into(),
            http: HttpConfig::default(),
            store: StoreConfig::default(),
            pilots: PilotsConfig::default(),
            sched: SchedConfig::default(),
            policy: Policy::default(),
            sandbox: SandboxConfig::default(),
            log: LogConfig::default(),
            sites: Vec::new(),
            bebida: Vec::new(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source could not be read, or holds what is not a setting.
    #[error("{0}")]
    Unreadable(String),
    /// Values that make no sense, each with what to do about it.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

impl Config {
    /// Reads the file at `path`, if there is one, then the environment, and checks all of it.
    ///
    /// # Errors
    /// See [`ConfigError`]; all invalid values are told at once.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config = Self::read(path)?;
        config.check()?;
        Ok(config)
    }

    /// As [`load`](Self::load), without the check: for those who still change values.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`].
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let mut sources = ::config::Config::builder();
        if let Some(path) = path {
            sources =
                sources.add_source(::config::File::from(path).format(::config::FileFormat::Toml));
        }
        let environment = ::config::Environment::with_prefix("FAIRWAY")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(" ")
            .with_list_parse_key("pilots.program");
        sources
            .add_source(environment)
            .build()
            .and_then(::config::Config::try_deserialize)
            .map_err(|error| ConfigError::Unreadable(error.to_string()))
    }

    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every one of them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        self.http.check(&mut wrong);
        self.store.check(&mut wrong);
        self.pilots.check(&mut wrong);
        self.sched.check(&mut wrong);
        self.sandbox.check(&mut wrong);
        if let Err(reasons) = self.policy.check() {
            wrong.extend(reasons.iter().map(|reason| format!("policy.{reason}")));
        }
        if !self.sites_dir.is_absolute() {
            wrong.push("sites_dir must be an absolute path".into());
        }
        for (index, site) in self.sites.iter().enumerate() {
            let faults = site_rules::faults(site);
            wrong.extend(
                faults
                    .iter()
                    .map(|it| format!("sites: `{}`: {it}", site.name)),
            );
            if self.sites[..index]
                .iter()
                .any(|other| other.name == site.name)
            {
                wrong.push(format!("sites: `{}` is there twice", site.name));
            }
        }
        for (index, set) in self.bebida.iter().enumerate() {
            set.check(&self.bebida[..index], &self.sites, &mut wrong);
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(wrong))
        }
    }

    /// The database's URL: the configured one, or a SQLite file in the state folder.
    pub fn database_url(&self) -> String {
        self.store
            .url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.state_dir.join("fairway.db").display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fairway.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = read("[http]\nlisten_on = \"127.0.0.1:1\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("listen_on"), "{error}");
    }

    #[test]
    fn all_invalid_values_are_told_at_once() {
        let text = "[http]\nlisten = \"0.0.0.0:8470\"\n[policy.fairshare]\ndecay_rate = 2.0\n";
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("http.tls"), "{error}");
        assert!(error.contains("decay_rate"), "{error}");
    }

    #[test]
    fn holding_jobs_are_checked() {
        let set = "[[bebida]]\nce = \"lyon/short\"\ncores = 8\n";
        let config = read(set).unwrap();
        assert_eq!(config.bebida[0].program, ["sleep", "infinity"]);
        let error = read(&format!("{set}{set}holds_max = 0\nprogram = []\n"))
            .unwrap_err()
            .to_string();
        for word in ["two sets", "holds_max", "no program"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Some(Path::new("/nowhere/fairway.toml"))).unwrap_err();
        assert!(
            error.to_string().contains("/nowhere/fairway.toml"),
            "{error}"
        );
    }
}
