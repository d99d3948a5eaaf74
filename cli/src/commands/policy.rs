//! `fairway policy`

use fairway_model::{Metric, PolicyKind};

use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::one_of;
use crate::render;
use crate::screen::Format;

/// Show or change who is served next
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    Show(Show),
    Set(Set),
}

/// Show the policy in force
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

/// Change the policy (operators); what is not given stays as it is
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Who is served next
    #[arg(long, value_parser = one_of::<PolicyKind>(PolicyKind::ALL.map(PolicyKind::name)))]
    kind: Option<PolicyKind>,
    /// Fairshare: length of an interval in seconds
    #[arg(long, value_name = "SECONDS")]
    duration_s: Option<u64>,
    /// Fairshare: how many intervals count
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
    /// Fairshare: weight of an interval against the one after it, 0 to 1
    #[arg(long, value_name = "RATE")]
    decay_rate: Option<f64>,
    /// What counts as usage
    #[arg(long, value_parser = one_of::<Metric>(Metric::ALL.map(Metric::name)))]
    metric: Option<Metric>,
}

/// Change the policy (operators); what is not given stays as it is
#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(show) => {
                let policy = show.connect.client()?.policy().await?;
                show.format
                    .show(&policy, || render::accounts::policy(&policy))
            }
            Self::Set(set) => {
                let client = set.connect.client()?;
                let policy = set.changes.applied_to(client.policy().await?);
                client.set_policy(&policy).await?;
                set.format
                    .show(&policy, || render::accounts::policy(&policy))
            }
        }
    }
}

impl Changes {
    fn applied_to(&self, mut policy: fairway_model::Policy) -> fairway_model::Policy {
        let fairshare = &mut policy.fairshare;
        policy.kind = self.kind.unwrap_or(policy.kind);
        fairshare.duration_s = self.duration_s.unwrap_or(fairshare.duration_s);
        fairshare.max_depth = self.max_depth.unwrap_or(fairshare.max_depth);
        fairshare.decay_rate = self.decay_rate.unwrap_or(fairshare.decay_rate);
        policy.usage.metric = self.metric.unwrap_or(policy.usage.metric);
        policy
    }
}
