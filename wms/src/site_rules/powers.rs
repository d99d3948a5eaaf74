//! What in a description acts with the server's own rights: files and variables that the server
//! reads, programs that it runs, keys that it logs in with. Operators may write all of it. A
//! site's admin may name only what lies in the site's own folder and variables, where operators
//! put what is meant for the site; what an operator wrote before may stay.

use std::path::{Path, PathBuf};

use fairway_model::{
    AdapterSettings, KubernetesSettings, PbsSettings, RestSettings, SecretRef, Site, SiteName,
    SshSettings,
};

use super::words::{is_path, is_plain};

/// Variables of PBS commands that name a file.
const FILE_VARIABLES: [&str; 2] = ["PBS_CONF_FILE", "SLURM_CONF"];
/// Variables of PBS commands that name a server.
const SERVER_VARIABLES: [&str; 2] = ["PBS_SERVER", "PBS_DEFAULT"];

/// What an admin of the site who is no operator may not write in its description, in words.
/// `present` is the description in force, `sites_dir` the folder with a folder for each site.
pub(crate) fn overreach(site: &Site, present: Option<&Site>, sites_dir: &Path) -> Vec<String> {
    let own = Own {
        folder: sites_dir.join(site.name.as_str()),
        variables: variables_prefix(&site.name),
    };
    let granted = present.map(powers).unwrap_or_default();
    powers(site)
        .into_iter()
        .filter(|power| !granted.contains(power))
        .filter_map(|power| own.refuses(&power))
        .collect()
}

/// What the variables begin with that an admin of the site may name. What follows has no
/// underscore, so that a site is not let into the variables of one whose name goes on.
fn variables_prefix(site: &SiteName) -> String {
    let letter = |c: char| match c.to_ascii_uppercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    };
    let name: String = site.as_str().chars().map(letter).collect();
    format!("FAIRWAY_SITE_{name}_")
}

/// A setting that acts with the server's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Power {
    setting: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Names a file or folder on the server's machine.
    File(String),
    /// Names a variable of the server's environment.
    Variable(String),
    /// Sets a variable for commands on the server's machine.
    Sets(String),
    /// Uses what the server has of its own, as told here.
    Server(&'static str),
    /// Goes to commands on the server's machine.
    Words(Vec<String>),
}

fn powers(site: &Site) -> Vec<Power> {
    let mut found = Powers(Vec::new());
    match &site.adapter {
        AdapterSettings::Agent(_) => {}
        AdapterSettings::Local(_) => {
            found.server("adapter.kind", "runs pilots with the server's own rights");
            for ce in &site.ces {
                let setting = format!("CE {}: pilot_program", ce.name);
                found.words(&setting, ce.pilot_program.iter());
            }
        }
        AdapterSettings::Slurm(it) => {
            rest(it.rest.as_ref(), &mut found);
            if commands(it.ssh.as_ref(), it.rest.as_ref(), site, &mut found) {
                found.file("adapter.bin_dir", it.bin_dir.as_ref());
                found.file("adapter.conf", it.conf.as_ref());
            }
        }
        AdapterSettings::Pbs(it) => {
            if commands(it.ssh.as_ref(), None, site, &mut found) {
                found.file("adapter.bin_dir", it.bin_dir.as_ref());
                pbs_variables(it, &mut found);
            }
        }
        AdapterSettings::Oar(it) => {
            rest(it.rest.as_ref(), &mut found);
            if commands(it.ssh.as_ref(), it.rest.as_ref(), site, &mut found) {
                found.file("adapter.bin_dir", it.bin_dir.as_ref());
            }
        }
        AdapterSettings::Kubernetes(it) => kubernetes(it, &mut found),
    }
    found.0
}

/// Whether commands are run on the server's own machine. What they are given as it is can name
/// files there, and `accounts` are then whom the server may be.
fn commands(
    ssh: Option<&SshSettings>,
    rest: Option<&RestSettings>,
    site: &Site,
    found: &mut Powers,
) -> bool {
    if rest.is_some() {
        return false;
    }
    if let Some(ssh) = ssh {
        match &ssh.config {
            Some(config) => found.file("adapter.ssh.config", Some(config)),
            None => found.server(
                "adapter.ssh without config",
                "logs in with the server's own keys",
            ),
        }
        return false;
    }
    found.server(
        "adapter without ssh",
        "runs commands on the server's machine with the server's own rights",
    );
    for ce in &site.ces {
        found.words(&format!("CE {}: options", ce.name), ce.options.iter());
    }
    found.words("accounts", site.accounts.values());
    true
}

fn rest(settings: Option<&RestSettings>, found: &mut Powers) {
    let Some(settings) = settings else { return };
    found.file("adapter.rest.ca", settings.ca.as_ref());
    match &settings.secret {
        Some(SecretRef::File(file)) => found.file("adapter.rest.secret.file", Some(file)),
        Some(SecretRef::Env(name)) => {
            let what = What::Variable(name.clone());
            found.add("adapter.rest.secret.env", what);
        }
        None => {}
    }
}

fn pbs_variables(settings: &PbsSettings, found: &mut Powers) {
    for (name, value) in &settings.env {
        let setting = format!("adapter.env.{name}");
        if FILE_VARIABLES.contains(&name.as_str()) {
            found.file(&setting, Some(value));
        } else if !(SERVER_VARIABLES.contains(&name.as_str()) && is_plain(value)) {
            found.add(&setting, What::Sets(value.clone()));
        }
    }
}

fn kubernetes(settings: &KubernetesSettings, found: &mut Powers) {
    match &settings.kubeconfig {
        Some(file) => found.file("adapter.kubeconfig", Some(file)),
        None => found.server(
            "adapter without kubeconfig",
            "goes to the cluster with the server's own account",
        ),
    }
}

struct Powers(Vec<Power>);

impl Powers {
    fn add(&mut self, setting: &str, what: What) {
        let setting = setting.to_owned();
        self.0.push(Power { setting, what });
    }

    fn file(&mut self, setting: &str, file: Option<&String>) {
        if let Some(file) = file {
            self.add(setting, What::File(file.clone()));
        }
    }

    fn server(&mut self, setting: &str, does: &'static str) {
        self.add(setting, What::Server(does));
    }

    fn words<'a>(&mut self, setting: &str, words: impl Iterator<Item = &'a String>) {
        let words: Vec<String> = words.cloned().collect();
        if !words.is_empty() {
            self.add(setting, What::Words(words));
        }
    }
}

/// What a site's admin may name.
struct Own {
    folder: PathBuf,
    variables: String,
}

impl Own {
    /// Why an admin may not write this, if so.
    fn refuses(&self, Power { setting, what }: &Power) -> Option<String> {
        let why = match what {
            What::File(file) => {
                // `is_path`: it has no steps back, which would lead out of the folder.
                let below = Path::new(file).strip_prefix(&self.folder);
                if is_path(file) && below.is_ok_and(|it| it.components().next().is_some()) {
                    return None;
                }
                let folder = self.folder.display();
                format!(
                    "is a file outside {folder}/, the only folder that a site's admin may name files in"
                )
            }
            What::Variable(name) => {
                let rest = name.strip_prefix(&self.variables);
                if rest.is_some_and(|it| !it.is_empty() && !it.contains('_')) {
                    return None;
                }
                let prefix = &self.variables;
                format!(
                    "is not {prefix}… (without a further _), the only variables that a site's admin may name"
                )
            }
            What::Sets(_) => {
                "is a variable of commands on the server's machine, which only operators may set"
                    .to_owned()
            }
            What::Server(does) => format!("{does}, which only operators may decide"),
            What::Words(_) => {
                "holds words for programs on the server's machine, which only operators may write"
                    .to_owned()
            }
        };
        Some(format!("{setting} {why}"))
    }
}
