//! What the site's own file says: what of it the server is told, and what the server may ask for.

use fairway_api::agent::SubmitJob;
use fairway_model::{AdapterSettings, AgentSettings, Ce, CeName, Site};
use fairway_site_adapters::{AdapterError, PilotJob};

use crate::AgentError;

/// How the names of the server's jobs begin.
pub(crate) const NAME_PREFIX: &str = "fw-";

/// The site as its file describes it, with its real adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description(Site);

impl Description {
    pub(crate) fn new(site: Site) -> Result<Self, AgentError> {
        if matches!(site.adapter, AdapterSettings::Agent(_)) {
            return Err(AgentError::Description(format!(
                "the adapter of the site {} is `agent`: the agent's file must say how the agent \
                 itself reaches the batch system, e.g. adapter.kind = \"slurm\"",
                site.name
            )));
        }
        Ok(Self(site))
    }

    pub(crate) fn site(&self) -> &Site {
        &self.0
    }

    /// The site as it is registered at the server: nothing tells how its batch system is reached
    /// and used. Modes are those that the server has: they are switched there.
    pub(crate) fn registration(&self, known: Option<&Site>) -> Site {
        let mut site = self.0.clone();
        site.adapter = AdapterSettings::Agent(AgentSettings {
            batch_system: Some(self.0.adapter.kind().to_owned()),
        });
        for ce in &mut site.ces {
            ce.account = None;
            ce.qos = None;
            ce.reservation = None;
            ce.pilot_program = None;
            ce.options.clear();
        }
        if let Some(known) = known {
            site.mode = known.mode;
            for ce in &mut site.ces {
                if let Some(known) = known.ces.iter().find(|it| it.name == ce.name) {
                    ce.mode = known.mode;
                }
            }
        }
        site
    }

    /// The CE of that name.
    pub(crate) fn ce(&self, name: &CeName) -> Option<&Ce> {
        self.0.ces.iter().find(|ce| ce.name == *name)
    }

    /// The job for the batch system. Where it goes and how is the file's word.
    pub(crate) fn job(&self, job: SubmitJob) -> Result<PilotJob, AdapterError> {
        let refused = |text: String| Err(AdapterError::Refused(text));
        let Some(ce) = self.ce(&job.ce) else {
            return refused(format!("the site's agent has no CE {} in its file", job.ce));
        };
        require_ours("job name", &job.name)?;
        if let Some(account) = &job.run_as
            && !self.0.accounts.values().any(|known| known == account)
        {
            return refused(format!(
                "the site's agent has no account {account:?} in its file"
            ));
        }
        let program = match &ce.pilot_program {
            Some(program) => vec![program.clone()],
            None => job.program,
        };
        Ok(PilotJob {
            pilot: job.pilot,
            ce: ce.clone(),
            name: job.name,
            resources: job.resources,
            nodes: job.nodes,
            run_as: job.run_as,
            reserve_at: job.reserve_at,
            avoid: job.avoid,
            walltime_s: job.walltime_s,
            program,
            stdin: job.stdin,
        })
    }
}

/// Refuses a name, or the beginning of names, that is none of the server's own jobs: other jobs of
/// the agent's account are not the server's business.
pub(crate) fn require_ours(what: &str, name: &str) -> Result<(), AdapterError> {
    if name.starts_with(NAME_PREFIX) {
        return Ok(());
    }
    Err(AdapterError::Refused(format!(
        "the {what} {name:?} does not begin with {NAME_PREFIX}"
    )))
}

#[cfg(test)]
mod tests {
    use fairway_model::{Resources, SiteMode};

    use super::*;

    fn description() -> Description {
        let site = toml::from_str(
            r#"
            name = "lyon"
            adapter = { kind = "slurm", bin_dir = "/opt/slurm/bin" }
            accounts = { alice = "alice1" }
            [[ces]]
            name = "short"
            queue = "batch"
            account = "grid"
            qos = "low"
            reservation = "fairway"
            options = ["--comment=x"]
            pilot_program = "/opt/fairway-pilot"
            [[ces]]
            name = "long"
            "#,
        );
        Description::new(site.unwrap()).unwrap()
    }

    fn job(ce: &str) -> SubmitJob {
        SubmitJob {
            pilot: "p7".parse().unwrap(),
            ce: ce.parse().unwrap(),
            name: "fw-1-p7".to_owned(),
            resources: Resources::default(),
            nodes: 1,
            run_as: None,
            reserve_at: None,
            avoid: Vec::new(),
            walltime_s: 60,
            program: vec!["/bin/pilot-of-the-server".to_owned()],
            stdin: "{}".to_owned(),
        }
    }

    #[test]
    fn what_the_server_is_told_says_nothing_of_how_the_site_is_used() {
        let told = description().registration(None);
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!(
            json["adapter"],
            serde_json::json!({"kind": "agent", "batch_system": "slurm"})
        );
        let text = json.to_string();
        for private in ["/opt", "grid", "low", "--comment", "reservation"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        assert_eq!(told.ces[0].queue.as_deref(), Some("batch"));
        assert_eq!(told.ces.len(), 2);
    }

    #[test]
    fn modes_are_switched_at_the_server() {
        let mut known = description().registration(None);
        known.mode = SiteMode::Draining;
        known.ces[1].mode = SiteMode::Closed;
        let told = description().registration(Some(&known));
        assert_eq!(told, known);
    }

    #[test]
    fn how_a_pilot_is_submitted_is_the_file_s_word() {
        let short = description().job(job("short")).unwrap();
        assert_eq!(short.ce.account.as_deref(), Some("grid"));
        assert_eq!(short.program, ["/opt/fairway-pilot"]);
        let long = description().job(job("long")).unwrap();
        assert_eq!(long.program, ["/bin/pilot-of-the-server"]);
    }

    #[test]
    fn what_the_file_does_not_have_is_refused() {
        let refused = |job: SubmitJob, word: &str| {
            let error = description().job(job).unwrap_err();
            let told = matches!(&error, AdapterError::Refused(text) if text.contains(word));
            assert!(told, "{error}");
        };
        refused(job("other"), "other");
        let mut named = job("short");
        named.name = "backup".to_owned();
        refused(named, "backup");
        let mut as_root = job("short");
        as_root.run_as = Some("root".to_owned());
        refused(as_root, "root");
        let mut as_alice = job("short");
        as_alice.run_as = Some("alice1".to_owned());
        assert!(description().job(as_alice).is_ok());
    }

    #[test]
    fn an_agent_behind_an_agent_is_refused() {
        let site = description().registration(None);
        assert!(Description::new(site).is_err());
    }
}
