//! `fairway site why`

use crate::commands::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::SiteOrCe;
use crate::render;
use crate::screen::Format;

/// Say why a site has the pilots that it has, and no others
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Why {
    /// A site such as lyon, or one of its CEs such as lyon/short
    #[arg(value_name = "SITE[/CE]")]
    subject: SiteOrCe,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Why {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let SiteOrCe { site, ce } = self.subject;
        let mut report = self.connect.client()?.provisioning(&site).await?;
        if let Some(ce) = ce {
            report.retain(|it| it.ce.ce == ce);
            if report.is_empty() {
                return Err(Failure::Refused(format!("site {site} has no CE {ce}")));
            }
        }
        self.format
            .show(&report, || render::why::text(&report, now()))
    }
}
