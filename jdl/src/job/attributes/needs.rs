//! What a task needs of a site.

use super::Kind::{Amounts, Boolean, Expression, Integer, Moment, Text, Texts};
use super::{Attribute, CORES, DIRAC, FAIRWAY, GLITE, GLITE_ALIEN, MEBIBYTES, SECONDS, UNITS_MAX};

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "Requirements",
        Expression,
        GLITE_ALIEN,
        "Must be true of a site, whose state is `other`.",
    )
    .example("other.GlueCEPolicyMaxWallClockTime >= 720 && other.GlueCEInfoTotalCPUs > 8"),
    Attribute::new(
        "Rank",
        Expression,
        GLITE,
        "Which of the fitting sites is best: the one with the highest value.",
    )
    .example("-other.GlueCEStateEstimatedResponseTime"),
    Attribute::new(
        "FuzzyRank",
        Boolean,
        GLITE,
        "Whether a site is drawn with a probability by rank.",
    )
    .not_done("the best site is taken")
    .default("false"),
    Attribute::new(
        "SignificantAttributes",
        Texts,
        GLITE,
        "Attributes that are needs too: only tasks in which they are equal are of one class.",
    )
    .example("{ \"Requirements\", \"Rank\" }"),
    Attribute::new(
        "CpuNumber",
        CORES,
        GLITE,
        "Cores of one task, on all its hosts together.",
    )
    .default("1"),
    Attribute::new(
        "SMPGranularity",
        CORES,
        GLITE,
        "Cores on each host; the task then has as many hosts as `CpuNumber` takes.",
    ),
    Attribute::new(
        "HostNumber",
        CORES,
        GLITE,
        "Hosts of one task; its cores are spread evenly over them, rounded up. Memory, GPUs and \
         custom resources are those of each host.",
    )
    .default("1")
    .example("4"),
    Attribute::new("NodeNumber", CORES, GLITE, "Old name of `CpuNumber`."),
    Attribute::new(
        "WholeNodes",
        Boolean,
        GLITE,
        "Whether a task gets all of its hosts, with nobody else on them; what it asks for is \
         the least that each must have.",
    )
    .default("false"),
    Attribute::new(
        "WholeNode",
        Boolean,
        DIRAC,
        "Other name of `WholeNodes`.",
    )
    .default("false"),
    Attribute::new(
        "GPUNumber",
        Integer {
            min: 0,
            max: UNITS_MAX,
        },
        GLITE,
        "GPUs of one task, on each host.",
    )
    .default("0"),
    Attribute::new("NumberOfProcessors", CORES, DIRAC, "Cores of one task."),
    Attribute::new(
        "MinNumberOfProcessors",
        CORES,
        DIRAC,
        "Fewest cores of one task; that many it gets if there is no `MaxNumberOfProcessors`.",
    ),
    Attribute::new(
        "MaxNumberOfProcessors",
        CORES,
        DIRAC,
        "Most cores of one task: it gets as many as are free when it is given to a pilot, and \
         finds their number in `FAIRWAY_CORES`. Only of tasks on one host.",
    ),
    Attribute::new(
        "CustomResources",
        Amounts,
        FAIRWAY,
        "Resources of the sites' own that one task takes, on each host: how many of each.",
    )
    .example("[ fpga = 1; licence_x = 2 ]"),
    Attribute::new(
        "Memory",
        MEBIBYTES,
        FAIRWAY,
        "Memory of one task, in MiB.",
    )
    .example("2048"),
    Attribute::new("MaxRAM", MEBIBYTES, DIRAC, "Memory of one task, in MiB."),
    Attribute::new(
        "MinRAM",
        MEBIBYTES,
        DIRAC,
        "Least memory of one task, in MiB; that much it gets.",
    ),
    Attribute::new(
        "WallTime",
        SECONDS,
        FAIRWAY,
        "Longest time that one task may run, in seconds.",
    )
    .example("3600"),
    Attribute::new(
        "MaxWallTime",
        SECONDS,
        FAIRWAY,
        "Other name of `WallTime`; the smaller of both counts.",
    ),
    Attribute::new(
        "CPUTime",
        SECONDS,
        DIRAC,
        "Processor time in HS06 seconds; taken as `WallTime` in seconds.",
    ),
    Attribute::new("MaxCPUTime", SECONDS, DIRAC, "Old name of `CPUTime`."),
    Attribute::new(
        "ExpectedDuration",
        SECONDS,
        FAIRWAY,
        "How long one task is expected to take at most, in seconds: pilots are sized by it. \
         Not more than `WallTime`; a task that takes longer goes on.",
    )
    .example("600"),
    Attribute::new(
        "Deadline",
        Moment,
        FAIRWAY,
        "When every task should have ended. Pilots are asked for early enough; a task that is \
         late runs nevertheless.",
    )
    .example("\"2027-03-01T08:00:00+01:00\""),
    Attribute::new(
        "TimeCritical",
        Boolean,
        FAIRWAY,
        "Whether a task must start at once: CEs with a warm set of pilots keep it ready from the \
         first such task on.",
    )
    .default("false"),
    Attribute::new(
        "Site",
        Texts,
        DIRAC,
        "Sites that the job may go to; `ANY` is no restriction.",
    ),
    Attribute::new("Sites", Texts, DIRAC, "Other name of `Site`."),
    Attribute::new(
        "BannedSites",
        Texts,
        DIRAC,
        "Sites that the job must not go to.",
    ),
    Attribute::new("BannedSite", Texts, DIRAC, "Other name of `BannedSites`."),
    Attribute::new("GridCE", Texts, DIRAC, "CEs that the job may go to."),
    Attribute::new(
        "Platform",
        Texts,
        DIRAC,
        "Processor architectures that the job runs on; `ANY` is no restriction.",
    ),
    Attribute::new("SystemConfig", Texts, DIRAC, "Old name of `Platform`."),
    Attribute::new(
        "Tags",
        Texts,
        DIRAC,
        "Software tags that the CE must have, all of them. A CE may also admit only tasks that name \
         some of its tags.",
    ),
    Attribute::new("Tag", Texts, DIRAC, "Other name of `Tags`."),
    Attribute::new(
        "SubmitTo",
        Text,
        GLITE,
        "The one CE that the job may go to.",
    ),
    Attribute::new(
        "QueueName",
        Text,
        GLITE,
        "Queue that the job counts to in limits and shares. It does not choose a CE: say that in \
         `Requirements` with `other.GlueCEName`.",
    ),
    Attribute::new("BatchSystem", Text, GLITE, "Kind of batch system.").not_done(
        "it does not choose the batch system; say it in `Requirements` with `other.GlueCEInfoLRMSType`",
    ),
    Attribute::new(
        "CERequirements",
        Expression,
        GLITE,
        "Passed to the batch system by a CE.",
    )
    .not_done("nothing is passed to the batch system; say it in `Requirements`"),
];
