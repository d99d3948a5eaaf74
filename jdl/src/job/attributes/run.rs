//! What to run.

use super::Kind::{Text, Texts};
use super::{ALL, Attribute, DIRAC, GLITE, GLITE_ALIEN, GLITE_DIRAC};

const NOTHING_BEFORE: &str = "nothing runs before the program; call it from the program";
const NOTHING_AFTER: &str = "nothing runs after the program; call it from the program";
const NO_SESSION: &str = "there is no interactive session; the job runs like any other";
const NO_CHECKPOINTS: &str = "no checkpoints are taken; the job runs from its beginning";

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "Type",
        Text,
        GLITE_ALIEN,
        "What the text describes: one job, a collection of jobs, or a DAG: jobs that wait for each other.",
    )
    .words(&["Job", "Collection", "DAG"])
    .default("\"Job\""),
    Attribute::new(
        "JobType",
        Texts,
        GLITE_DIRAC,
        "gLite: `Normal` or `Parametric`; `Interactive`, `Checkpointable`, `Partitionable` and `MPICH` \
         run as normal jobs, with a notice. DIRAC: any word.",
    )
    .default("\"Normal\"")
    .example("\"Parametric\""),
    Attribute::new("JobName", Text, DIRAC, "The job's name, for people.").example("\"simulation\""),
    Attribute::new("Name", Text, GLITE, "Other name of `JobName`."),
    Attribute::new(
        "Executable",
        Text,
        ALL,
        "What to run: a file of the input sandbox, an absolute path, or a program's name.",
    )
    .example("\"run.sh\""),
    Attribute::new(
        "Arguments",
        Text,
        ALL,
        "Its arguments, split as a shell would (quotes and backslashes, no expansion).",
    )
    .example("\"--events 100 'two words'\""),
    Attribute::new(
        "Environment",
        Texts,
        GLITE,
        "Variables set for it, each `NAME=value`.",
    )
    .example("{ \"MODE=fast\", \"SEED=7\" }"),
    Attribute::new(
        "ExecutionEnvironment",
        Texts,
        DIRAC,
        "Variables set for it, each `NAME=value`.",
    ),
    Attribute::new(
        "StdInput",
        Text,
        GLITE_DIRAC,
        "File that is its standard input: of the input sandbox, or an absolute path.",
    ),
    Attribute::new(
        "StdOutput",
        Text,
        GLITE_DIRAC,
        "File in its folder that its standard output goes to.",
    )
    .example("\"std.out\""),
    Attribute::new(
        "StdError",
        Text,
        GLITE_DIRAC,
        "File in its folder that its standard error goes to.",
    )
    .example("\"std.err\""),
    Attribute::new(
        "InputSandbox",
        Texts,
        GLITE_DIRAC,
        "Files that go with the job: paths on the submitter's machine, with unique base names.",
    )
    .example("{ \"run.sh\", \"data/input.txt\" }"),
    Attribute::new(
        "InputSandboxDestFileName",
        Texts,
        GLITE,
        "Names of the input files in the task's folder, one for each.",
    ),
    Attribute::new(
        "InputSandboxBaseURI",
        Text,
        GLITE,
        "Where those files of `InputSandbox` are that are not named by a URI of their own.",
    ),
    Attribute::new(
        "OutputSandbox",
        Texts,
        GLITE_DIRAC,
        "Files to bring back: names or patterns (`*`, `?`) in the task's folder.",
    )
    .example("{ \"std.out\", \"*.root\" }"),
    Attribute::new("Prologue", Text, GLITE, "What to run before the program.")
        .not_done(NOTHING_BEFORE),
    Attribute::new("PrologueArguments", Text, GLITE, "Arguments of `Prologue`.")
        .not_done(NOTHING_BEFORE),
    Attribute::new("Epilogue", Text, GLITE, "What to run after the program.")
        .not_done(NOTHING_AFTER),
    Attribute::new("EpilogueArguments", Text, GLITE, "Arguments of `Epilogue`.")
        .not_done(NOTHING_AFTER),
    Attribute::new(
        "ListenerHost",
        Text,
        GLITE,
        "Where an interactive job's session is shown.",
    )
    .not_done(NO_SESSION),
    Attribute::new(
        "ListenerPort",
        super::Kind::Integer {
            min: 1,
            max: 65_535,
        },
        GLITE,
        "Port of an interactive job's session.",
    )
    .not_done(NO_SESSION),
    Attribute::new(
        "ListenerPipeName",
        Text,
        GLITE,
        "Pipe of an interactive job's session.",
    )
    .not_done(NO_SESSION),
    Attribute::new(
        "JobSteps",
        super::Kind::Parameters,
        GLITE,
        "Steps of a checkpointable or partitionable job.",
    )
    .not_done(NO_CHECKPOINTS),
    Attribute::new(
        "CurrentStep",
        super::COUNT,
        GLITE,
        "The step that a checkpointable job begins with.",
    )
    .not_done(NO_CHECKPOINTS),
    Attribute::new(
        "JobState",
        Text,
        GLITE,
        "The state that a checkpointable job begins with.",
    )
    .not_done(NO_CHECKPOINTS),
];
