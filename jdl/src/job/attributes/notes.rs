//! What is noted with the job and has no effect on where or how a task runs.

use super::Kind::{Ads, Any, Boolean, Expression, Number, Text, Texts};
use super::{Attribute, DIRAC, GLITE, GLITE_DIRAC};

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new("UserTags", Ads, GLITE, "The submitter's own notes.")
        .noted()
        .example("[ campaign = \"spring\" ]"),
    Attribute::new("JobGroup", Text, DIRAC, "The submitter's own note.").noted(),
    Attribute::new(
        "VirtualOrganisation",
        Text,
        GLITE,
        "For whom; told at submission by the token.",
    )
    .noted(),
    Attribute::new(
        "VirtualOrganization",
        Text,
        GLITE_DIRAC,
        "Other spelling of `VirtualOrganisation`.",
    )
    .noted(),
    Attribute::new("Owner", Text, DIRAC, "Who submits; told by the token.").noted(),
    Attribute::new("OwnerName", Text, DIRAC, "Who submits; told by the token.").noted(),
    Attribute::new("OwnerGroup", Texts, DIRAC, "For whom; told by the token.").noted(),
    Attribute::new("OwnerDN", Text, DIRAC, "Who submits; told by the token.").noted(),
    Attribute::new("VO", Text, DIRAC, "For whom; told by the token.").noted(),
    Attribute::new("DIRACSetup", Text, DIRAC, "Which installation.").noted(),
    Attribute::new("SubmitPools", Any, DIRAC, "Pools of pilots.").noted(),
    Attribute::new("LogLevel", Text, DIRAC, "How much is logged.").noted(),
    Attribute::new(
        "SoftwarePackages",
        Any,
        DIRAC,
        "Software that the job uses.",
    )
    .noted(),
    Attribute::new(
        "DefaultRank",
        Expression,
        GLITE,
        "What the client took for `Rank`.",
    )
    .noted(),
    Attribute::new(
        "FuzzyParameter",
        Number,
        GLITE,
        "How much `FuzzyRank` leaves to chance.",
    )
    .noted(),
    Attribute::new(
        "CertificateSubject",
        Text,
        GLITE,
        "Who submits; told by the token.",
    )
    .noted(),
    Attribute::new("X509UserProxy", Text, GLITE, "Where the proxy is.").noted(),
    Attribute::new("VOMS_FQAN", Text, GLITE, "For whom; told by the token.").noted(),
    Attribute::new("edg_jobid", Text, GLITE, "The job's id in gLite.").noted(),
    Attribute::new(
        "LB_sequence_code",
        Text,
        GLITE,
        "gLite's place in its events.",
    )
    .noted(),
    Attribute::new("CE_id", Text, GLITE, "The CE that gLite chose.").noted(),
    Attribute::new(
        "LRMS_type",
        Text,
        GLITE,
        "The batch system that gLite chose.",
    )
    .noted(),
    Attribute::new(
        "GlobusResourceContactString",
        Text,
        GLITE,
        "The CE that gLite chose.",
    )
    .noted(),
    Attribute::new(
        "InputSandboxPath",
        Text,
        GLITE,
        "Where gLite kept the input sandbox.",
    )
    .noted(),
    Attribute::new(
        "OutputSandboxPath",
        Text,
        GLITE,
        "Where gLite kept the output sandbox.",
    )
    .noted(),
    Attribute::new(
        "WMPInputSandboxBaseURI",
        Text,
        GLITE,
        "Where gLite kept the input sandbox.",
    )
    .noted(),
    Attribute::new("ZippedISB", Any, GLITE, "Compressed sandboxes.").noted(),
    Attribute::new(
        "ReplanGracePeriod",
        super::COUNT,
        GLITE,
        "How long gLite waits before it looks for another site, in seconds.",
    )
    .noted(),
    Attribute::new(
        "EDG_previous_matches",
        Any,
        GLITE,
        "Where gLite tried before.",
    )
    .noted(),
    Attribute::new(
        "Is_rescheduled",
        Boolean,
        GLITE,
        "Whether gLite tried before.",
    )
    .noted(),
];
