//! `fairway config`

use std::path::PathBuf;

use fairway_wms::config;

use crate::embedded::load_config;
use crate::exit::Failure;
use crate::screen;

/// Check and show the server's configuration
#[derive(Debug, clap::Subcommand)]
pub(super) enum Config {
    Check(Check),
    Show(Show),
    /// Describe all settings, in Markdown
    Reference,
}

/// Check a configuration: all mistakes are told at once
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
}

/// Show the settings in force: from the file, the environment and the defaults
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, clap::Args)]
struct Source {
    /// The configuration file; only the environment and the defaults if not set
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(check) => {
                load_config(check.source.config.as_deref())?;
                screen::write("the configuration is good\n")
            }
            Self::Show(show) => {
                let mut config = load_config(show.source.config.as_deref())?;
                config.store.url = config.store.url.map(|url| without_password(&url));
                let text = toml::to_string(&config).map_err(|error| {
                    Failure::Local(format!("cannot write the settings as TOML: {error}"))
                })?;
                screen::write(&text)
            }
            Self::Reference => {
                let page =
                    config::reference().map_err(|error| Failure::Local(error.to_string()))?;
                screen::write(&page)
            }
        }
    }
}

/// A database's URL as it may be shown.
fn without_password(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Only URLs that cannot have a password refuse one.
            let _ = parsed.set_password(Some("***"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let shown = without_password("postgres://fairway:hunter2@db.example.org/fairway");
        assert_eq!(shown, "postgres://fairway:***@db.example.org/fairway");
        let plain = "sqlite:///var/lib/fairway/fairway.db";
        assert_eq!(without_password(plain), plain);
    }
}
