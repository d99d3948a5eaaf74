//! `/v1/sites`: where pilots are sent. Everybody may see which sites there are;
//! how they are reached is for their admins.

mod check;
mod list;
mod mode;
mod put;
mod release;
mod remove;
mod show;

use fairway_api::ProblemCode;
use fairway_model::{Principal, SiteName};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list, put::add))
        .routes(routes!(show::show, put::put, remove::remove))
        .routes(routes!(mode::mode))
        .routes(routes!(release::release))
}

/// Refuses everybody but operators and the site's admins.
fn admins_only(who: &Principal, site: &SiteName) -> Result<(), Failure> {
    if who.administers(site) {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::Forbidden,
        format!("only operators and its admins may change the site {site}"),
    ))
}
