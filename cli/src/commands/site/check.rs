//! `fairway site check`

use std::time::Duration;

use fairway_api::public::{CheckEvent, CheckQuery};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::SiteOrCe;
use crate::render;
use crate::screen::{self, Format};

/// Try a site, end to end, and tell what to mend
///
/// Looks at its description, reaches its batch system, and for each CE looks at its queue and
/// limits and sends a pilot that starts, calls home and ends. Works for CEs that are closed too.
/// Nothing is left behind; Ctrl-C ends it.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Check {
    /// A site such as lyon, or one of its CEs such as lyon/short
    #[arg(value_name = "SITE[/CE]")]
    subject: SiteOrCe,
    /// Send no pilots
    #[arg(long)]
    no_pilot: bool,
    /// How long a pilot may take to start and call home, at most 1h
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let site = self.subject.site;
        let query = CheckQuery {
            ce: self.subject.ce,
            pilot: Some(!self.no_pilot),
            wait_s: Some(self.wait.as_secs()),
        };
        let mut check = self.connect.client()?.check_site(&site, &query).await?;
        while let Some(event) = check.next().await? {
            match event {
                CheckEvent::Step(step) if self.format.json => write_line(&step)?,
                CheckEvent::Step(step) => screen::write(&render::check::step(&step))?,
                CheckEvent::End(end) => {
                    if self.format.json {
                        write_line(&end)?;
                    } else {
                        screen::write(&render::check::end(&site, end))?;
                    }
                    return match end.failed {
                        0 => Ok(()),
                        failed => Err(Failure::Unsuccessful(format!(
                            "{} of {site} failed",
                            render::words::count(failed, "step")
                        ))),
                    };
                }
            }
        }
        Err(Failure::Unreachable(
            "the server ended the check before its end".into(),
        ))
    }
}

/// One JSON document on a line of its own, as each comes.
fn write_line<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let json = serde_json::to_string(value)
        .map_err(|error| Failure::Local(format!("cannot write JSON: {error}")))?;
    screen::write(&format!("{json}\n"))
}
