//! `fairway simulate`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairway_api::public::{NamedPolicy, SimulateRequest};
use fairway_model::{GroupName, Policy, UserName};
use fairway_sim::{
    Clusters, Distribution, JdlOptions, Outcome, RuntimeSource, Setup, SimError, Targets, Workload,
    left_out, read_policy, report, simulate,
};
use serde::{Deserialize as _, Serialize};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::screen::{self, Format};

/// So many users of a workload are named at most where one of them is asked for.
const NAMES_MAX: usize = 20;

/// Try policies on simulated clusters, or on the queue of a server
///
/// The scheduler is the one that runs in production; clusters, batch systems, pilots, failures and
/// users are simulated. The same files and the same seed give the same result on every machine.
/// Examples are in examples/simulate/.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The clusters (TOML)
    #[arg(value_name = "CLUSTERS", required_unless_present = "from_server")]
    clusters: Option<PathBuf>,
    /// Let the present queue of the server play out instead, under the policy in force; for
    /// operators
    #[arg(long, conflicts_with_all = ["clusters", "workload", "policies"])]
    from_server: bool,
    /// With --from-server: try this policy too; as --policy
    #[arg(long = "what-if", value_name = "FILE", requires = "from_server")]
    what_if: Vec<String>,
    /// With --from-server: play out no more than so much time
    #[arg(
        long,
        value_name = "TIME",
        requires = "from_server",
        default_value = "1day"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    horizon: Duration,
    /// What is submitted: a trace in the Standard Workload Format (also with gzip), a folder of JDL
    /// files (or one), or a generator file (TOML)
    #[arg(long, value_name = "PATH", required_unless_present = "from_server")]
    workload: Option<PathBuf>,
    /// A policy file (TOML or JSON), or a kind of policy with its usual settings, such as
    /// `fairshare`; each is a run of its own
    #[arg(
        long = "policy",
        value_name = "FILE",
        required_unless_present = "from_server"
    )]
    policies: Vec<String>,
    /// What chance begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Simulate no more than so much time, such as `7days` or `12h`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    until: Option<Duration>,
    /// What a user's part should be, in proportion; 1 for those who are not named
    #[arg(long = "share", value_name = "USER=WEIGHT", value_parser = share)]
    shares: Vec<(UserName, f64)>,
    /// JDL files: who submits them
    #[arg(long, value_name = "USER", default_value = "user")]
    owner: UserName,
    /// JDL files: for which group
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// JDL files: how long each task runs, such as `20min`, or a distribution, such as
    /// `{ kind = "exponential", mean_s = 1200 }`; if not set, its `ExpectedDuration`
    #[arg(long, value_name = "TIME", value_parser = runtime)]
    runtime: Option<Distribution>,
    /// Write a page with plots (HTML)
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the plots over time as files of their own (SVG) to a folder
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// What programs read.
#[derive(Serialize)]
struct Simulated<'a> {
    jobs: usize,
    tasks: usize,
    core_s: f64,
    seed: u64,
    /// What was noticed while the workload was read.
    remarks: &'a [String],
    outcomes: &'a [Outcome],
}

impl Simulate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.from_server {
            return self.ask_server().await;
        }
        self.run_here()
    }

    /// Has the server play its queue out.
    async fn ask_server(&self) -> Result<(), Failure> {
        let policies = read_policies(&self.what_if)?.into_iter();
        let request = SimulateRequest {
            policies: policies
                .map(|(name, policy)| NamedPolicy { name, policy })
                .collect(),
            horizon_s: Some(self.horizon.as_secs()),
            seed: Some(self.seed),
        };
        let reply = self.connect.client()?.simulate(&request).await?;
        let outcomes: Result<Vec<Outcome>, _> =
            reply.outcomes.iter().map(Outcome::deserialize).collect();
        let outcomes = outcomes.map_err(|error| {
            Failure::Local(format!("the server's outcomes are not understood: {error}"))
        })?;
        if let Some(path) = &self.report {
            let about = vec![format!(
                "The queue of {} with {} tasks that were not over, played out for {} from then; \
                 nothing new is submitted; seed {}.",
                reply.from,
                reply.tasks,
                humantime::format_duration(self.horizon),
                reply.seed
            )];
            let page = report::html("What becomes of the queue", &about, &outcomes);
            write(path, &page)?;
        }
        self.write_plots(&outcomes)?;
        self.format.show(&reply, || report::table(&outcomes))
    }

    fn run_here(self) -> Result<(), Failure> {
        let policies = read_policies(&self.policies)?;
        let setup = self.setup()?;
        let cores = setup.clusters.cores();
        let workload = Workload::open(self.workload(), cores, self.seed, &self.jdl_options())
            .map_err(failure)?;
        self.check_shares(&workload)?;
        let left_out = left_out(&setup, &workload).map_err(|error| self.about_workload(error))?;
        for remark in workload.remarks.iter().chain(&left_out) {
            screen::remark(remark);
        }
        let mut outcomes = Vec::with_capacity(policies.len());
        for (name, policy) in policies {
            outcomes.push(simulate(&setup, &workload, &name, policy).map_err(failure)?);
        }
        if let Some(path) = &self.report {
            let about = self.about(&workload, cores);
            let page = report::html("Policies on simulated clusters", &about, &outcomes);
            write(path, &page)?;
        }
        self.write_plots(&outcomes)?;
        let simulated = Simulated {
            jobs: workload.job_count(),
            tasks: workload.task_count(),
            core_s: workload.core_seconds(),
            seed: self.seed,
            remarks: &workload.remarks,
            outcomes: &outcomes,
        };
        self.format.show(&simulated, || report::table(&outcomes))
    }

    fn write_plots(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        let Some(folder) = &self.plots else {
            return Ok(());
        };
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
        for picture in report::pictures(outcomes) {
            write(&folder.join(picture.name + ".svg"), &picture.svg)?;
        }
        Ok(())
    }

    fn about_workload(&self, error: SimError) -> Failure {
        match error {
            SimError::Text { reason, .. } => {
                Failure::Refused(format!("{}: {reason}", self.workload().display()))
            }
            other => failure(other),
        }
    }

    /// Refuses weights of who submits nothing: they would be of no effect.
    fn check_shares(&self, workload: &Workload) -> Result<(), Failure> {
        let users = workload.users();
        let unknown = self.shares.iter().find(|(user, _)| !users.contains(user));
        let Some((user, weight)) = unknown else {
            return Ok(());
        };
        let known: Vec<&str> = users.iter().map(UserName::as_str).take(NAMES_MAX).collect();
        let more = if users.len() > NAMES_MAX { " …" } else { "" };
        Err(Failure::Usage(format!(
            "--share {user}={weight}: there is no user `{user}` in {}; its users are {}{more}",
            self.workload().display(),
            known.join(", ")
        )))
    }

    /// Clap sees to it that it is there where it is needed.
    fn clusters(&self) -> &Path {
        self.clusters.as_deref().unwrap_or(Path::new(""))
    }

    /// As [`clusters`](Self::clusters).
    fn workload(&self) -> &Path {
        self.workload.as_deref().unwrap_or(Path::new(""))
    }

    fn setup(&self) -> Result<Setup, Failure> {
        let shares: BTreeMap<UserName, f64> = self.shares.iter().cloned().collect();
        Ok(Setup {
            clusters: Clusters::read(&read(self.clusters())?).map_err(in_file(self.clusters()))?,
            seed: self.seed,
            until_s: self.until.map(|until| until.as_secs()),
            targets: Targets::new(shares).map_err(Failure::Usage)?,
        })
    }

    fn jdl_options(&self) -> JdlOptions {
        JdlOptions {
            owner: self.owner.clone(),
            group: self.group.clone(),
            runtimes: match &self.runtime {
                Some(runtime) => RuntimeSource::Drawn(runtime.clone()),
                None => RuntimeSource::Expected,
            },
            seed: self.seed,
        }
    }

    /// What was simulated, in sentences.
    fn about(&self, workload: &Workload, cores: u64) -> Vec<String> {
        let mut about = vec![format!(
            "{} jobs with {} tasks of {} users, {:.0} core-hours, from {}; on {cores} cores of {}; \
             seed {}.",
            workload.job_count(),
            workload.task_count(),
            workload.users().len(),
            workload.core_seconds() / 3600.0,
            self.workload().display(),
            self.clusters().display(),
            self.seed,
        )];
        about.extend(workload.remarks.iter().map(|remark| format!("{remark}.")));
        about
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

/// The policies with the names that they are told of by, each its own.
fn read_policies(files: &[String]) -> Result<Vec<(String, Policy)>, Failure> {
    let mut all: Vec<(String, Policy)> = Vec::new();
    for given in files {
        let path = Path::new(given);
        let is_kind = !path.exists()
            && given
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it == b'-');
        let text = if is_kind {
            format!("kind = \"{given}\"")
        } else {
            read(path)?
        };
        let policy = read_policy(&text).map_err(in_file(path))?;
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        let stem = stem.to_string_lossy();
        let alike = all
            .iter()
            .filter(|(name, _)| name.split(" (").next() == Some(&*stem));
        let name = match alike.count() {
            0 => stem.into_owned(),
            before => format!("{stem} ({})", before + 1),
        };
        all.push((name, policy));
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))
}

fn failure(error: SimError) -> Failure {
    match error {
        SimError::Read { .. } => Failure::Local(error.to_string()),
        SimError::Workload { .. } | SimError::Text { .. } => Failure::Refused(error.to_string()),
    }
}

fn in_file(path: &Path) -> impl Fn(SimError) -> Failure {
    move |error| Failure::Refused(format!("{}: {error}", path.display()))
}

fn share(text: &str) -> Result<(UserName, f64), String> {
    let (user, weight) = text
        .split_once('=')
        .ok_or("write a user and a weight, such as `anna=2`")?;
    let weight = weight
        .parse()
        .map_err(|_| format!("`{weight}` is not a number"))?;
    Ok((user.parse().map_err(|error| format!("{error}"))?, weight))
}

fn runtime(text: &str) -> Result<Distribution, String> {
    if text.trim_start().starts_with('{') {
        return Distribution::read(text);
    }
    let fixed = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    Ok(Distribution::Fixed {
        seconds: fixed.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn parsed(more: &[&str]) -> Result<Simulate, String> {
        let line = ["simulate", "clusters.toml", "--workload", "w.toml"];
        let line = Line::try_parse_from(line.iter().chain(more));
        line.map(|line| line.simulate).map_err(|it| it.to_string())
    }

    #[test]
    fn policies_are_files_or_kinds_and_each_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo.toml");
        std::fs::write(&path, "kind = \"fifo\"").unwrap();
        let path = path.to_str().unwrap();
        let given = [
            "--policy",
            "fifo",
            "--policy",
            path,
            "--policy",
            "fairshare",
        ];
        let policies = read_policies(&parsed(&given).unwrap().policies).unwrap();
        let names: Vec<&str> = policies.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["fifo", "fifo (2)", "fairshare"]);
        assert_eq!(policies[0].1, policies[1].1);
        for wrong in ["tea", "./missing.toml"] {
            assert!(read_policies(&parsed(&["--policy", wrong]).unwrap().policies).is_err());
        }
    }

    #[test]
    fn a_simulation_writes_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let cluster = "[[cluster]]\nname = \"one\"\nnodes = 2\ncores = 2\n";
        std::fs::write(path("clusters.toml"), cluster).unwrap();
        std::fs::write(path("trace.swf"), "1 0 -1 60 1 -1 -1 1 600 -1 1 1\n").unwrap();
        let (clusters, trace) = (path("clusters.toml"), path("trace.swf"));
        let report = path("report.html");
        let line = [
            "simulate",
            &clusters,
            "--workload",
            &trace,
            "--policy",
            "fifo",
        ];
        let line = line.into_iter().chain(["--report", &report]);
        Line::parse_from(line).simulate.run_here().unwrap();
        let page = std::fs::read_to_string(report).unwrap();
        assert!(
            page.contains("<td>tasks succeeded</td><td>1</td>"),
            "{page}"
        );
        let line = ["simulate", &trace, "--workload", &trace, "--policy", "fifo"];
        let failed = Line::parse_from(line).simulate.run_here().unwrap_err();
        assert!(
            failed.to_string().contains("trace.swf: cluster file"),
            "{failed}"
        );
    }

    #[test]
    fn what_makes_a_run_useless_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let cluster = "[[cluster]]\nname = \"one\"\nnodes = 2\ncores = 2\n";
        std::fs::write(path("clusters.toml"), cluster).unwrap();
        std::fs::write(path("good.swf"), "1 0 -1 60 1 -1 -1 1 600 -1 1 1\n").unwrap();
        std::fs::write(path("wide.swf"), "1 0 -1 60 3 -1 -1 3 600 -1 1 1\n").unwrap();
        std::fs::write(path("empty.swf"), "").unwrap();
        let failed = |workload: &str, more: &[&str]| {
            let (clusters, workload) = (path("clusters.toml"), path(workload));
            let line = [
                "simulate",
                &clusters,
                "--workload",
                &workload,
                "--policy",
                "fifo",
            ];
            let line = Line::parse_from(line.iter().chain(more));
            line.simulate.run_here().unwrap_err()
        };
        let nobody = failed("good.swf", &["--share", "u1=3", "--share", "nobody=2"]);
        let told = nobody.to_string();
        assert!(matches!(nobody, Failure::Usage(_)), "{told}");
        assert!(
            told.starts_with("--share nobody=2: there is no user `nobody` in"),
            "{told}"
        );
        assert!(told.ends_with("its users are u1"), "{told}");
        for (workload, part) in [
            ("wide.swf", "wide.swf: none of its tasks can run on these"),
            (
                "empty.swf",
                "empty.swf, read as a trace in the Standard Workload Format: no job in it",
            ),
        ] {
            let wrong = failed(workload, &[]);
            let told = wrong.to_string();
            assert!(matches!(wrong, Failure::Refused(_)), "{told}");
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_stands_in_an_argument_is_read() {
        let fixed = Distribution::Fixed { seconds: 90.0 };
        assert_eq!(runtime("90s"), Ok(fixed.clone()));
        assert_eq!(runtime("{ kind = \"fixed\", seconds = 90 }"), Ok(fixed));
        for wrong in [
            "soon",
            "{ kind = \"fixed\" }",
            "{ kind = \"fixed\", seconds = -1 }",
        ] {
            assert!(runtime(wrong).is_err(), "{wrong}");
        }
        assert_eq!(share("anna=2.5"), Ok(("anna".parse().unwrap(), 2.5)));
        for wrong in ["anna", "anna=much", "=1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
