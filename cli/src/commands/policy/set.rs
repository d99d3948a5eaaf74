//! `fairway policy set`

use std::time::Duration;

use fairway_model::{Metric, Policy, PolicyKind};

use super::Because;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::names::one_of;
use crate::render;
use crate::screen::Format;

/// Change the usual settings of the policy (operators); what is not given stays as it is
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
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
    /// Fair-tree, half-life, user-priority: in what time usage loses half of its weight, such as
    /// `7days`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    half_life: Option<Duration>,
    /// What counts as usage
    #[arg(long, value_parser = one_of::<Metric>(Metric::ALL.map(Metric::name)))]
    metric: Option<Metric>,
    /// Tasks that have waited for so long go before all others, such as `7days`; 0 for no bound
    #[arg(long, value_name = "TIME", value_parser = span)]
    wait_max: Option<Duration>,
}

/// Change the usual settings of the policy (operators); what is not given stays as it is
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connect: Connect,
}

impl Set {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connect.client()?;
        let before = client.versioned_policy().await?;
        let policy = self.changes.applied_to(before.policy);
        let reason = self.because.reason();
        client
            .change_policy(&policy, Some(&before.version), &reason)
            .await?;
        self.format
            .show(&policy, || render::accounts::policy(&policy))
    }
}

impl Changes {
    fn applied_to(&self, mut policy: Policy) -> Policy {
        let fairshare = &mut policy.fairshare;
        policy.kind = self.kind.unwrap_or(policy.kind);
        fairshare.duration_s = self.duration_s.unwrap_or(fairshare.duration_s);
        fairshare.max_depth = self.max_depth.unwrap_or(fairshare.max_depth);
        fairshare.decay_rate = self.decay_rate.unwrap_or(fairshare.decay_rate);
        policy.usage.metric = self.metric.unwrap_or(policy.usage.metric);
        if let Some(half_life) = self.half_life {
            policy.half_life.half_life_s = half_life.as_secs();
        }
        if let Some(wait_max) = self.wait_max {
            policy.wait_max_s = Some(wait_max.as_secs()).filter(|seconds| *seconds > 0);
        }
        policy
    }
}

/// A span, or a bare 0.
fn span(text: &str) -> Result<Duration, humantime::DurationError> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text),
    }
}
