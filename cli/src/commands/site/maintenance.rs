//! `fairway site maintenance`

use fairway_api::public::MaintenancePlan;
use fairway_model::{Maintenance as Window, SiteName, Timestamp};

use crate::commands::now;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::render;
use crate::screen;

/// Say when a site is not to be used, or show what was said
///
/// Pilots that would still run then are not asked for. Times are written as
/// 2026-12-14T06:00:00Z or 2026-12-14T07:00:00+01:00.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Maintenance {
    /// Which site
    site: SiteName,
    /// When it begins
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<Timestamp>,
    /// When it is over
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Timestamp>,
    /// Why, for people to read
    #[arg(long, value_name = "TEXT", requires = "from")]
    why: Option<String>,
    /// Forget all that was planned before
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Maintenance {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let planned = client.site(&self.site).await?.site.maintenance;
        let window = self.from.zip(self.to).map(|(from, to)| Window {
            from,
            to,
            why: self.why.unwrap_or_default(),
        });
        if window.is_none() && !self.clear {
            return screen::write(&render::sites::maintenance(&planned));
        }
        let plan = MaintenancePlan {
            maintenance: changed(planned, window, self.clear, now()),
        };
        client.plan_maintenance(&self.site, &plan).await?;
        screen::write(&render::sites::maintenance(&plan.maintenance))
    }
}

/// The new plan: what was planned, without what is over, and what is added, in order of time.
fn changed(
    planned: Vec<Window>,
    added: Option<Window>,
    clear: bool,
    now: Timestamp,
) -> Vec<Window> {
    let kept = planned.into_iter().filter(|it| !clear && it.to > now);
    let mut windows: Vec<Window> = kept.chain(added).collect();
    windows.sort_by_key(|window| window.from);
    windows.dedup();
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: i64, to: i64) -> Window {
        Window {
            from: Timestamp(from),
            to: Timestamp(to),
            why: String::new(),
        }
    }

    #[test]
    fn what_is_over_is_forgotten_and_what_is_planned_stays() {
        let planned = vec![window(50, 60), window(0, 10)];
        let added = Some(window(30, 40));
        let now = Timestamp(20);
        let expected = vec![window(30, 40), window(50, 60)];
        assert_eq!(
            changed(planned.clone(), added.clone(), false, now),
            expected
        );
        assert_eq!(
            changed(expected.clone(), added.clone(), false, now),
            expected
        );
        assert_eq!(changed(planned.clone(), added, true, now), [window(30, 40)]);
        assert_eq!(changed(planned, None, true, now), []);
    }
}
