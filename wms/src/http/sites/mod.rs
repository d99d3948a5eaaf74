//! `/v1/sites`: where pilots are sent. Everybody may see which sites there are;
//! how they are reached is for their admins.

mod check;
mod glue2;
mod list;
mod maintenance;
mod mode;
mod provisioning;
mod put;
mod release;
mod remove;
mod show;

use fairway_api::ProblemCode;
use fairway_model::{Principal, Site, SiteName};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Failure};
use crate::site_rules;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list, put::add))
        .routes(routes!(show::show, put::put, remove::remove))
        .routes(routes!(mode::mode))
        .routes(routes!(maintenance::maintenance))
        .routes(routes!(check::check))
        .routes(routes!(glue2::glue2))
        .routes(routes!(provisioning::provisioning))
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

/// The description in force, if there is one.
async fn present(app: &App, name: &SiteName) -> Result<Option<Site>, Failure> {
    let name = name.clone();
    let look = app.engine.look(move |state, _| state.site(&name).cloned());
    Ok(look.await?)
}

/// The description in force.
async fn registered(app: &App, name: &SiteName) -> Result<Site, Failure> {
    let site = present(app, name).await?;
    site.ok_or_else(|| Failure::not_found(format_args!("site {name}")))
}

/// Refuses a description that makes no sense, with all that is wrong with it.
fn sound(site: &Site) -> Result<(), Failure> {
    let faults = site_rules::faults(site);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::InvalidSite,
        format!("the site {}: {}", site.name, faults.join("; ")),
    ))
}

/// Refuses a description of which its writer may not write all; `present` is the one in force.
fn within_rights(
    app: &App,
    who: &Principal,
    site: &Site,
    present: Option<&Site>,
) -> Result<(), Failure> {
    if who.is_operator() {
        return Ok(());
    }
    let overreach = site_rules::overreach(site, present, &app.desk.sites_dir);
    if overreach.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::Forbidden,
        format!(
            "the site {}: {}. What an operator has written may stay as it is",
            site.name,
            overreach.join("; ")
        ),
    ))
}
