//! Every attribute that is known, in one table: the JSON Schema, the checks and
//! the documentation of the JDL are all made from it.

/// What may stand behind an attribute's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// A text, or a list of texts.
    Texts,
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
    /// An expression that is evaluated later, against what sites publish.
    Expression,
    /// An integer, or a list of values.
    Parameters,
    /// A number.
    Number,
    /// An ad, or a list of ads.
    Ads,
}

/// Which systems have the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Glite,
    Dirac,
    Both,
    Fairway,
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    /// What is not done although the attribute asks for it.
    pub(crate) not_yet: Option<&'static str>,
    pub(crate) doc: &'static str,
}

impl Attribute {
    /// The attribute of that name, in any case.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ATTRIBUTES
            .iter()
            .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }
}

const fn known(name: &'static str, kind: Kind, origin: Origin, doc: &'static str) -> Attribute {
    Attribute {
        name,
        kind,
        origin,
        not_yet: None,
        doc,
    }
}

const fn later(
    name: &'static str,
    kind: Kind,
    origin: Origin,
    not_yet: &'static str,
    doc: &'static str,
) -> Attribute {
    Attribute {
        name,
        kind,
        origin,
        not_yet: Some(not_yet),
        doc,
    }
}

use Kind::{Ads, Boolean, Expression, Number, Parameters, Text, Texts};
use Origin::{Both, Dirac, Fairway, Glite};

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// Most cores or GPUs that can be asked for.
const UNITS_MAX: i64 = 1_000_000;
/// Longest time that can be asked for, in seconds: a hundred years.
const SECONDS_MAX: i64 = 3_155_760_000;
/// Most memory that can be asked for, in MiB: a pebibyte.
const MEBIBYTES_MAX: i64 = 1 << 30;
/// Most retries that can be asked for.
const RETRIES_MAX: i64 = 1000;

/// All known attributes.
pub(crate) const ATTRIBUTES: &[Attribute] = &[
    // What to run.
    known(
        "Type",
        Text,
        Glite,
        "What the text describes: `Job` (the default).",
    ),
    known(
        "JobType",
        Texts,
        Both,
        "`Normal` (the default) or `Parametric`; with DIRAC, any word.",
    ),
    known("JobName", Text, Dirac, "The job's name, for people."),
    known(
        "Executable",
        Text,
        Both,
        "What to run: a file of the input sandbox, an absolute path, or a program's name.",
    ),
    known(
        "Arguments",
        Text,
        Both,
        "Its arguments, split as a shell would (quotes and backslashes, no expansion).",
    ),
    known(
        "Environment",
        Texts,
        Glite,
        "Variables set for it, each `NAME=value`.",
    ),
    known(
        "ExecutionEnvironment",
        Texts,
        Dirac,
        "Variables set for it, each `NAME=value`.",
    ),
    known("StdInput", Text, Both, "File that is its standard input."),
    known(
        "StdOutput",
        Text,
        Both,
        "File in its folder that its standard output goes to.",
    ),
    known(
        "StdError",
        Text,
        Both,
        "File in its folder that its standard error goes to.",
    ),
    known(
        "InputSandbox",
        Texts,
        Both,
        "Files that go with the job: paths on the submitter's machine, with unique base names.",
    ),
    known(
        "InputSandboxDestFileName",
        Texts,
        Glite,
        "Names of the input files in the task's folder, one for each.",
    ),
    known(
        "OutputSandbox",
        Texts,
        Both,
        "Files to bring back: names or patterns (`*`, `?`) in the task's folder.",
    ),
    // What it needs.
    known(
        "Requirements",
        Expression,
        Glite,
        "Must be true of a site, whose state is `other`.",
    ),
    known(
        "Rank",
        Expression,
        Glite,
        "Which of the fitting sites is best: the one with the highest value.",
    ),
    known(
        "CpuNumber",
        integer(1, UNITS_MAX),
        Glite,
        "Cores of one task.",
    ),
    known(
        "SMPGranularity",
        integer(1, UNITS_MAX),
        Glite,
        "Cores on one host; as tasks run on one host, the same as CpuNumber.",
    ),
    known(
        "HostNumber",
        integer(1, UNITS_MAX),
        Glite,
        "Hosts of one task; only 1 is possible.",
    ),
    known(
        "NodeNumber",
        integer(1, UNITS_MAX),
        Glite,
        "Old name of CpuNumber.",
    ),
    known(
        "GPUNumber",
        integer(0, UNITS_MAX),
        Glite,
        "GPUs of one task.",
    ),
    known(
        "NumberOfProcessors",
        integer(1, UNITS_MAX),
        Dirac,
        "Cores of one task.",
    ),
    known(
        "MinNumberOfProcessors",
        integer(1, UNITS_MAX),
        Dirac,
        "Fewest cores of one task; that many it gets.",
    ),
    later(
        "MaxNumberOfProcessors",
        integer(1, UNITS_MAX),
        Dirac,
        "a task gets MinNumberOfProcessors cores, not more",
        "Most cores of one task.",
    ),
    known(
        "Memory",
        integer(1, MEBIBYTES_MAX),
        Fairway,
        "Memory of one task, in MiB.",
    ),
    known(
        "MaxRAM",
        integer(1, MEBIBYTES_MAX),
        Dirac,
        "Memory of one task, in MiB.",
    ),
    known(
        "WallTime",
        integer(1, SECONDS_MAX),
        Fairway,
        "Longest time that one task may run, in seconds.",
    ),
    known(
        "MaxWallTime",
        integer(1, SECONDS_MAX),
        Fairway,
        "Other name of WallTime; the smaller of both counts.",
    ),
    known(
        "CPUTime",
        integer(1, SECONDS_MAX),
        Dirac,
        "Processor time in HS06 seconds; taken as WallTime in seconds.",
    ),
    known(
        "Site",
        Texts,
        Dirac,
        "Sites that the job may go to; `ANY` is no restriction.",
    ),
    known(
        "BannedSites",
        Texts,
        Dirac,
        "Sites that the job must not go to.",
    ),
    known("GridCE", Texts, Dirac, "CEs that the job may go to."),
    known(
        "Platform",
        Texts,
        Dirac,
        "Processor architectures that the job runs on; `ANY` is no restriction.",
    ),
    known(
        "Tags",
        Texts,
        Dirac,
        "Software tags that the site must have, all of them.",
    ),
    known(
        "SubmitTo",
        Text,
        Glite,
        "The one CE that the job may go to.",
    ),
    // What happens when it fails.
    known(
        "RetryCount",
        integer(-1, RETRIES_MAX),
        Glite,
        "Retries after a failure of the program; -1 is none.",
    ),
    known(
        "ShallowRetryCount",
        integer(-1, RETRIES_MAX),
        Glite,
        "Retries after a failure before the program started; -1 is none.",
    ),
    known(
        "DefaultNodeRetryCount",
        integer(-1, RETRIES_MAX),
        Glite,
        "RetryCount where none is given.",
    ),
    known(
        "DefaultNodeShallowRetryCount",
        integer(-1, RETRIES_MAX),
        Glite,
        "ShallowRetryCount where none is given.",
    ),
    // Many tasks from one text.
    known(
        "Parameters",
        Parameters,
        Both,
        "Makes many tasks: a list of values, or a number (gLite: where values end; DIRAC: how many).",
    ),
    known(
        "ParameterStart",
        Number,
        Both,
        "The first value (gLite: default 0; DIRAC: default 1).",
    ),
    known(
        "ParameterStep",
        Number,
        Both,
        "From one value to the next (gLite: default 1; DIRAC: default 0).",
    ),
    known(
        "ParameterFactor",
        Number,
        Dirac,
        "What a value is multiplied with before the step is added; default 1.",
    ),
    // What is noted and has no effect on where or how a task runs.
    known("UserTags", Ads, Glite, "The submitter's own notes."),
    known("JobGroup", Text, Dirac, "The submitter's own note."),
    known(
        "Owner",
        Text,
        Dirac,
        "Noted; who submits is told by the token.",
    ),
    known(
        "OwnerGroup",
        Text,
        Dirac,
        "Noted; for whom is told at submission.",
    ),
    known(
        "OwnerDN",
        Text,
        Dirac,
        "Noted; who submits is told by the token.",
    ),
    known("LogLevel", Text, Dirac, "Noted."),
    known(
        "VirtualOrganisation",
        Text,
        Glite,
        "Noted; for whom is told at submission.",
    ),
    known(
        "VirtualOrganization",
        Text,
        Dirac,
        "Noted; for whom is told at submission.",
    ),
    known("DefaultRank", Expression, Glite, "Noted."),
    known("SignificantAttributes", Texts, Glite, "Noted."),
    known("NodeName", Text, Glite, "Noted."),
    known("Name", Text, Glite, "Noted."),
    // What is known and not done yet.
    later(
        "Prologue",
        Text,
        Glite,
        "nothing runs before the program",
        "What to run before the program.",
    ),
    later(
        "PrologueArguments",
        Text,
        Glite,
        "nothing runs before the program",
        "Arguments of Prologue.",
    ),
    later(
        "Epilogue",
        Text,
        Glite,
        "nothing runs after the program",
        "What to run after the program.",
    ),
    later(
        "EpilogueArguments",
        Text,
        Glite,
        "nothing runs after the program",
        "Arguments of Epilogue.",
    ),
    later(
        "MyProxyServer",
        Text,
        Glite,
        "no proxy is renewed",
        "Where the proxy is renewed.",
    ),
    later(
        "QueueName",
        Text,
        Glite,
        "it does not choose the queue; use Requirements",
        "Queue of the batch system.",
    ),
    later(
        "BatchSystem",
        Text,
        Glite,
        "it does not choose the batch system; use Requirements",
        "Kind of batch system.",
    ),
    later(
        "OutputSandboxBaseDestURI",
        Text,
        Glite,
        "outputs are kept by the server",
        "Where outputs are sent to.",
    ),
    later(
        "OutputSandboxDestURI",
        Texts,
        Glite,
        "outputs are kept by the server",
        "Where each output is sent to.",
    ),
    known(
        "InputSandboxBaseURI",
        Text,
        Glite,
        "Where relative names of InputSandbox are fetched from; not possible yet.",
    ),
    later(
        "OutputSE",
        Texts,
        Both,
        "outputs are kept by the server",
        "Storage elements for the output data.",
    ),
    later(
        "OutputPath",
        Text,
        Dirac,
        "outputs are kept by the server",
        "Folder for the output data.",
    ),
    known(
        "OutputData",
        Ads,
        Both,
        "Files to store as data; not possible yet.",
    ),
    later(
        "InputData",
        Texts,
        Both,
        "no data is fetched or located",
        "Logical names of the input data.",
    ),
    later(
        "InputDataPolicy",
        Text,
        Dirac,
        "no data is fetched or located",
        "How input data is reached.",
    ),
    later(
        "InputDataModule",
        Text,
        Dirac,
        "no data is fetched or located",
        "How input data is reached.",
    ),
    later(
        "DataRequirements",
        Ads,
        Glite,
        "no data is fetched or located",
        "Input data with their catalogues.",
    ),
    later(
        "DataAccessProtocol",
        Texts,
        Glite,
        "no data is fetched or located",
        "How input data is reached.",
    ),
    later(
        "LBAddress",
        Text,
        Glite,
        "events are kept by the server",
        "Logging and bookkeeping server.",
    ),
    later(
        "ExpiryTime",
        integer(0, i64::MAX),
        Glite,
        "the job does not expire",
        "When the job is given up, in seconds since the epoch.",
    ),
    later(
        "PerusalFileEnable",
        Boolean,
        Glite,
        "stdout and stderr can be read while the task runs, other files cannot",
        "Whether growing outputs are copied back.",
    ),
    later(
        "PerusalTimeInterval",
        integer(0, SECONDS_MAX),
        Glite,
        "stdout and stderr can be read while the task runs, other files cannot",
        "How often growing outputs are copied back, in seconds.",
    ),
    later(
        "PerusalFilesDestURI",
        Text,
        Glite,
        "stdout and stderr can be read while the task runs, other files cannot",
        "Where growing outputs are copied to.",
    ),
    later(
        "FuzzyRank",
        Boolean,
        Glite,
        "the best site is taken",
        "Whether a site is drawn with a probability by rank.",
    ),
    later(
        "AllowZippedISB",
        Boolean,
        Glite,
        "sandboxes travel as they are",
        "Whether sandboxes travel compressed.",
    ),
    later(
        "WholeNodes",
        Boolean,
        Glite,
        "a task gets the cores it asks for",
        "Whether a task gets all cores of its host.",
    ),
    later(
        "WholeNode",
        Boolean,
        Dirac,
        "a task gets the cores it asks for",
        "Whether a task gets all cores of its host.",
    ),
    later(
        "ShortDeadlineJob",
        Boolean,
        Glite,
        "the job is treated like the others",
        "Whether the job is short and urgent.",
    ),
    later(
        "NodesCollocation",
        Boolean,
        Glite,
        "tasks go where there is room",
        "Whether all tasks go to one CE.",
    ),
    later(
        "Priority",
        integer(0, 10),
        Dirac,
        "the server's policy sets the order",
        "Priority among the user's own jobs.",
    ),
    later(
        "ListenerPort",
        integer(1, 65_535),
        Glite,
        "there is no interactive session",
        "For interactive jobs.",
    ),
    later(
        "ListenerHost",
        Text,
        Glite,
        "there is no interactive session",
        "For interactive jobs.",
    ),
    later(
        "ListenerPipeName",
        Text,
        Glite,
        "there is no interactive session",
        "For interactive jobs.",
    ),
    // Jobs of several nodes.
    known(
        "Nodes",
        Ads,
        Glite,
        "The jobs of a collection or DAG: a list of ads, or an ad of named ones.",
    ),
    known(
        "Dependencies",
        Ads,
        Glite,
        "The order of the nodes of a DAG: pairs of a node, or group of nodes, and what waits for it.",
    ),
    later(
        "Max_nodes_running",
        integer(0, i64::MAX),
        Glite,
        "every node runs that may",
        "Most nodes of a DAG that run at the same time.",
    ),
    known("NodeType", Text, Glite, "Noted."),
];
