//! What attributes of one job must have to do with each other, and names of sites'
//! attributes that nobody publishes.

use super::task::Builder;
use crate::Expr;
use crate::diagnostic::nearest;
use crate::syntax::{Name, Node, ScopeWord};

/// What a CE publishes, under GLUE 1.3 names and AliEn's.
const PUBLISHED: [&str; 58] = [
    "CurrentTime",
    "GlueCEAccessControlBaseRule",
    "GlueCEInfoDefaultSE",
    "GlueCEInfoHostName",
    "GlueCEInfoJobManager",
    "GlueCEInfoLRMSType",
    "GlueCEInfoLRMSVersion",
    "GlueCEInfoTotalCPUs",
    "GlueCEInfoTotalGPUs",
    "GlueCEInfoTotalNodes",
    "GlueCEName",
    "GlueCEPolicyAssignedJobSlots",
    "GlueCEPolicyMaxCPUTime",
    "GlueCEPolicyMaxGPUsPerJob",
    "GlueCEPolicyMaxNodesPerJob",
    "GlueCEPolicyMaxObtainableCPUTime",
    "GlueCEPolicyMaxObtainableWallClockTime",
    "GlueCEPolicyMaxRunningJobs",
    "GlueCEPolicyMaxSlotsPerJob",
    "GlueCEPolicyMaxTotalJobs",
    "GlueCEPolicyMaxWaitingJobs",
    "GlueCEPolicyMaxWallClockTime",
    "GlueCEPolicyPreemption",
    "GlueCEPolicyPriority",
    "GlueCESEBindGroupSEUniqueID",
    "GlueCEStateEstimatedResponseTime",
    "GlueCEStateFreeCPUs",
    "GlueCEStateFreeJobSlots",
    "GlueCEStateFreeNodes",
    "GlueCEStateOfflineCPUs",
    "GlueCEStateOfflineNodes",
    "GlueCEStateRunningJobs",
    "GlueCEStateStatus",
    "GlueCEStateTotalJobs",
    "GlueCEStateUsedCPUs",
    "GlueCEStateWaitingJobs",
    "GlueCEStateWorstResponseTime",
    "GlueCEUniqueID",
    "GlueHostApplicationSoftwareRunTimeEnvironment",
    "GlueHostArchitecturePlatformType",
    "GlueHostArchitectureSMPSize",
    "GlueHostBenchmarkSF00",
    "GlueHostBenchmarkSI00",
    "GlueHostMainMemoryRAMSize",
    "GlueHostMainMemoryRAMSizePerCore",
    "GlueHostMainMemoryVirtualSize",
    "GlueHostNetworkAdapterInboundIP",
    "GlueHostNetworkAdapterOutboundIP",
    "GlueHostOperatingSystemName",
    "GlueHostOperatingSystemRelease",
    "GlueHostOperatingSystemVersion",
    "GlueHostProcessorClockSpeed",
    "GlueSiteName",
    "GlueSiteUniqueID",
    "Packages",
    "Price",
    "Requirements",
    "TTL",
];

impl Builder<'_> {
    /// What attributes of the job exclude, and must agree in.
    pub(super) fn check_together(&mut self) {
        self.check_output_uris();
        self.check_hosts();
        self.check_processors();
        for name in ["Requirements", "Rank"] {
            if let Some(expr) = self.values.ad.get(name) {
                self.check_names(expr);
            }
        }
    }

    fn check_output_uris(&mut self) {
        let place = self.values.place("OutputSandboxDestURI");
        let uris = self.values.texts("OutputSandboxDestURI").len();
        if uris == 0 {
            return;
        }
        if self.values.text("OutputSandboxBaseDestURI").is_some() {
            self.report.error_with(
                self.values.place("OutputSandboxBaseDestURI"),
                "`OutputSandboxBaseDestURI` and `OutputSandboxDestURI` exclude each other",
                "keep the one that is meant",
            );
        }
        let files = self.values.texts("OutputSandbox").len();
        if uris != files {
            self.report.error_with(
                place,
                format!("`OutputSandboxDestURI` and `OutputSandbox` are not of one length: {uris} and {files}"),
                "give one place for each file, in the same order",
            );
        }
    }

    /// What gLite asks of a job on several hosts.
    fn check_hosts(&mut self) {
        let Some(hosts) = self.values.integer("HostNumber") else {
            return;
        };
        let place = self.values.place("HostNumber");
        if self.values.has("SMPGranularity") && !self.asks_for_whole_nodes() {
            self.report.error_with(
                place,
                "`HostNumber` and `SMPGranularity` exclude each other",
                "keep one of them, or write `WholeNodes = true;`",
            );
        }
        // Whole hosts have cores of their own.
        if self.asks_for_whole_nodes() && !self.values.has("CpuNumber") {
            return;
        }
        let cores = self.values.integer("CpuNumber").unwrap_or(1);
        if hosts > cores {
            self.report.error_with(
                place,
                format!("`HostNumber` is {hosts}, but `CpuNumber` is only {cores}"),
                format!("write `CpuNumber = {hosts};` or more: each host needs a core"),
            );
        }
    }

    fn check_processors(&mut self) {
        let name = "MaxNumberOfProcessors";
        let Some(most) = self.values.integer(name) else {
            return;
        };
        let (hosts, least) = self.hosts_and_cores();
        if hosts > 1 {
            self.report.error_with(
                self.values.place(name),
                format!("`{name}` is for tasks on one host, and this one has {hosts}"),
                "say with `CpuNumber` how many cores it has on all its hosts",
            );
        } else if u64::from(least) > most {
            let lower = "MinNumberOfProcessors";
            let place = self.values.place(lower).or(self.values.place(name));
            self.report.error_with(
                place,
                format!("at least {least} processors are more than the {most} that it may have"),
                "make `MaxNumberOfProcessors` the larger of both",
            );
        }
    }

    /// Remarks on names of the other side: those that do not say so, and those that no site
    /// has.
    fn check_names(&mut self, expr: &Expr) {
        let mut open = vec![expr];
        while let Some(expr) = open.pop() {
            if self.report.is_crowded() {
                return;
            }
            match expr.node() {
                Node::Name(name)
                    if name.word.is_none() && self.values.ad.find(&name.key).is_none() =>
                {
                    self.report.warn(
                        expr.span(),
                        format!(
                            "`{}` is no attribute of the job: the site's is taken",
                            name.text
                        ),
                        format!("write `other.{}`", name.text),
                    );
                    self.check_published(expr, name);
                }
                Node::Select(base, name) if is_other(base) => self.check_published(expr, name),
                _ => open.extend(expr.children()),
            }
        }
    }

    fn check_published(&mut self, expr: &Expr, name: &Name) {
        if is_published(&name.text) {
            return;
        }
        let help = match nearest(&name.text, PUBLISHED.into_iter()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "it is undefined there: what compares it is never true".into(),
        };
        let message = format!("no site publishes `{}`", name.text);
        self.report.notice(expr.span(), message, help);
    }
}

/// Whether CEs publish an attribute of that name, in any case.
pub fn is_published(name: &str) -> bool {
    let mut known = PUBLISHED.iter();
    known.any(|known| known.eq_ignore_ascii_case(name))
}

fn is_other(expr: &Expr) -> bool {
    matches!(expr.node(), Node::Name(name) if name.word == Some(ScopeWord::Other))
}
