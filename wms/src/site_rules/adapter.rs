//! The settings of the adapters.

use std::net::IpAddr;

use axum::http::Uri;
use fairway_model::{
    AdapterSettings, KubernetesSettings, OarSettings, PbsSettings, RestSettings, SecretRef,
    SlurmSettings, SshSettings,
};

use super::words::{self, holds, is_dns_name, is_path, is_plain, is_text, is_variable};

type Faults<'a> = &'a mut Vec<String>;

pub(super) fn faults(settings: &AdapterSettings, faults: Faults<'_>) {
    match settings {
        AdapterSettings::Local(settings) => {
            if settings.cores == Some(0) {
                faults.push("adapter.cores must be at least 1".to_owned());
            }
        }
        AdapterSettings::Slurm(settings) => slurm(settings, faults),
        AdapterSettings::Pbs(settings) => pbs(settings, faults),
        AdapterSettings::Oar(settings) => oar(settings, faults),
        AdapterSettings::Kubernetes(settings) => kubernetes(settings, faults),
        AdapterSettings::Agent(settings) => {
            plain(
                "adapter.batch_system",
                settings.batch_system.as_deref(),
                faults,
            );
        }
    }
}

fn slurm(settings: &SlurmSettings, faults: Faults<'_>) {
    path("adapter.bin_dir", settings.bin_dir.as_deref(), faults);
    path("adapter.conf", settings.conf.as_deref(), faults);
    path("adapter.work_dir", settings.work_dir.as_deref(), faults);
    either(settings.ssh.as_ref(), settings.rest.as_ref(), faults);
}

fn oar(settings: &OarSettings, faults: Faults<'_>) {
    path("adapter.bin_dir", settings.bin_dir.as_deref(), faults);
    path("adapter.work_dir", settings.work_dir.as_deref(), faults);
    if settings.work_dir.is_none() {
        faults.push(
            "adapter.work_dir must name a folder that the front end and the nodes share: OAR \
             hands on no scripts"
                .to_owned(),
        );
    }
    either(settings.ssh.as_ref(), settings.rest.as_ref(), faults);
    for (name, level, example) in [
        ("node_level", &settings.node_level, "host or switch=1/host"),
        ("core_level", &settings.core_level, "core"),
    ] {
        let is_level = |level: &String| !level.is_empty() && holds(level, "_-=/");
        if !level.as_ref().is_none_or(is_level) {
            faults.push(format!("adapter.{name} must name levels such as {example}"));
        }
    }
}

fn pbs(settings: &PbsSettings, faults: Faults<'_>) {
    path("adapter.bin_dir", settings.bin_dir.as_deref(), faults);
    path("adapter.work_dir", settings.work_dir.as_deref(), faults);
    plain("adapter.server", settings.server.as_deref(), faults);
    ssh(settings.ssh.as_ref(), faults);
    for (name, value) in &settings.env {
        if !is_variable(name) {
            faults.push(format!("adapter.env: {name:?} is no name of a variable"));
        }
        if !is_text(value) {
            faults.push(format!(
                "adapter.env.{name} must be a short text without control characters"
            ));
        }
    }
}

fn kubernetes(settings: &KubernetesSettings, faults: Faults<'_>) {
    path("adapter.kubeconfig", settings.kubeconfig.as_deref(), faults);
    for (name, text) in [
        ("namespace", settings.namespace.as_ref()),
        ("service_account", settings.service_account.as_ref()),
        ("priority_class", settings.priority_class.as_ref()),
    ]
    .into_iter()
    .chain(
        settings
            .image_pull_secrets
            .iter()
            .map(|it| ("image_pull_secrets", Some(it))),
    ) {
        if text.is_some_and(|text| !is_dns_name(text)) {
            faults.push(format!(
                "adapter.{name} must be a name of Kubernetes: small letters, digits and -"
            ));
        }
    }
    if settings
        .context
        .as_ref()
        .is_some_and(|it| it.is_empty() || !is_text(it))
    {
        faults.push("adapter.context must be a short text".to_owned());
    }
    let image = settings.image.as_deref();
    if image.is_some_and(|it| it.is_empty() || it.starts_with('-') || !holds(it, "./-_:@")) {
        faults.push(
            "adapter.image must name an image such as registry.example.org/pilot:1".to_owned(),
        );
    }
    let gpus = settings.gpu_resource.as_deref();
    if gpus.is_some_and(|it| it.is_empty() || !holds(it, "./-_")) {
        faults.push("adapter.gpu_resource must name a resource such as nvidia.com/gpu".to_owned());
    }
    for (label, value) in &settings.node_selector {
        if label.is_empty() || !holds(label, "./-_") || !holds(value, ".-_") {
            faults.push(format!(
                "adapter.node_selector: {label:?} = {value:?} is no label"
            ));
        }
    }
    for (name, value) in [
        ("affinity", settings.affinity.as_ref()),
        ("pod_template_patch", settings.pod_template_patch.as_ref()),
    ]
    .into_iter()
    .chain(
        settings
            .tolerations
            .iter()
            .map(|it| ("tolerations", Some(it))),
    ) {
        if value.is_some_and(|value| !value.is_object()) {
            faults.push(format!(
                "adapter.{name} must hold a table, as Kubernetes has it"
            ));
        }
    }
}

/// How a batch system is reached that has both commands and an API.
fn either(by_ssh: Option<&SshSettings>, by_rest: Option<&RestSettings>, faults: Faults<'_>) {
    if by_ssh.is_some() && by_rest.is_some() {
        faults.push("adapter.ssh and adapter.rest exclude each other: leave one out".to_owned());
    }
    ssh(by_ssh, faults);
    rest(by_rest, faults);
}

fn ssh(settings: Option<&SshSettings>, faults: Faults<'_>) {
    let Some(settings) = settings else { return };
    let parts = settings.host.split('@');
    if parts.clone().count() > 2 || !parts.into_iter().all(is_plain) {
        faults.push(
            "adapter.ssh.host must be user@host, a host, or a name from ssh_config".to_owned(),
        );
    }
    path("adapter.ssh.config", settings.config.as_deref(), faults);
}

fn rest(settings: Option<&RestSettings>, faults: Faults<'_>) {
    let Some(settings) = settings else { return };
    if let Err(why) = base_url(&settings.url, settings.secret.is_some()) {
        faults.push(format!("adapter.rest.url {why}"));
    }
    plain("adapter.rest.user", settings.user.as_deref(), faults);
    path("adapter.rest.ca", settings.ca.as_deref(), faults);
    match &settings.secret {
        Some(SecretRef::File(file)) => path("adapter.rest.secret.file", Some(file), faults),
        Some(SecretRef::Env(name)) if !is_variable(name) => {
            faults.push("adapter.rest.secret.env must be the name of a variable".to_owned());
        }
        Some(SecretRef::Env(_)) | None => {}
    }
}

fn base_url(text: &str, with_secret: bool) -> Result<(), &'static str> {
    let wrong = "must be a URL that begins with https:// or http://";
    let url: Uri = text.parse().map_err(|_| wrong)?;
    let scheme = url.scheme_str().ok_or(wrong)?;
    let authority = url.authority().ok_or(wrong)?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong);
    }
    if authority.as_str().contains('@') {
        return Err("must not hold credentials: name them with adapter.rest.secret");
    }
    if url.query().is_some() {
        return Err("must not have a query");
    }
    if scheme == "http" && with_secret && !is_loopback(authority.host()) {
        return Err("must begin with https://, or the secret would travel in the open");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|it: IpAddr| it.is_loopback())
}

fn path(name: &str, path: Option<&str>, faults: Faults<'_>) {
    if path.is_some_and(|path| !is_path(path)) {
        faults.push(format!("{name} must be an absolute path without .."));
    }
}

fn plain(name: &str, text: Option<&str>, faults: Faults<'_>) {
    if text.is_some_and(|text| !is_plain(text)) {
        faults.push(format!("{name} must be {}", words::PLAIN));
    }
}
