//! What to do about a batch system that is not reached.

use fairway_model::{
    AdapterSettings, KubernetesSettings, OarSettings, PbsSettings, RestSettings, Site,
    SlurmSettings, SshSettings,
};
use fairway_site_adapters::AdapterError;

/// What to try next, by how the site is reached.
pub(super) fn connection(site: &Site, error: &AdapterError) -> String {
    if let AdapterError::Unexpected(_) = error {
        return "this version of the batch system may not be known here; report what it answered"
            .to_owned();
    }
    match &site.adapter {
        AdapterSettings::Local(_) => "see whether the server may write to its state_dir".to_owned(),
        AdapterSettings::Slurm(SlurmSettings {
            ssh, rest, bin_dir, ..
        }) => by(ssh.as_ref(), rest.as_ref(), bin_dir.as_deref(), "sinfo"),
        AdapterSettings::Pbs(PbsSettings { ssh, bin_dir, .. }) => {
            by(ssh.as_ref(), None, bin_dir.as_deref(), "qstat -B")
        }
        AdapterSettings::Oar(OarSettings {
            ssh, rest, bin_dir, ..
        }) => by(ssh.as_ref(), rest.as_ref(), bin_dir.as_deref(), "oarnodes"),
        AdapterSettings::Kubernetes(settings) => kubernetes(settings),
        AdapterSettings::Agent(_) => format!(
            "see whether the site's agent runs there, with a token for {}, and reaches this server",
            site.name
        ),
    }
}

fn by(
    ssh: Option<&SshSettings>,
    rest: Option<&RestSettings>,
    bin_dir: Option<&str>,
    command: &str,
) -> String {
    let command = match bin_dir {
        Some(folder) => format!("{}/{command}", folder.trim_end_matches('/')),
        None => command.to_owned(),
    };
    match (ssh, rest) {
        (_, Some(rest)) => format!(
            "see whether {} answers, and whether adapter.rest.user, .secret and .ca are right",
            rest.url
        ),
        (Some(ssh), None) => {
            let config = ssh.config.as_ref();
            let config = config.map_or(String::new(), |file| format!("-F {file} "));
            format!(
                "try this as the server's account: ssh {config}-o BatchMode=yes {} {command}",
                ssh.host
            )
        }
        (None, None) => format!("try this as the server's account: {command}"),
    }
}

fn kubernetes(settings: &KubernetesSettings) -> String {
    let options: String = [
        ("--kubeconfig", &settings.kubeconfig),
        ("--context", &settings.context),
        ("--namespace", &settings.namespace),
    ]
    .into_iter()
    .filter_map(|(option, value)| Some(format!("{option} {} ", value.as_ref()?)))
    .collect();
    format!("try this as the server's account: kubectl {options}auth can-i create jobs.batch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_command_to_try_for_every_way() {
        let error = AdapterError::Unreachable("no".into());
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sites");
        let mut told: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let site = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                let name = path.file_stem().unwrap().to_str().unwrap();
                format!("{name}: {}", connection(&site, &error))
            })
            .collect();
        told.sort();
        insta::assert_snapshot!(told.join("\n"));
    }
}
