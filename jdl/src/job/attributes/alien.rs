//! What only AliEn has.

use super::Kind::{Integer, Number, Size, Text, Texts};
use super::{ALIEN, Attribute, CORES, COUNT, SECONDS};

const NO_CATALOGUE: &str = "there is no catalogue of files to look it up in";
const KEPT: &str = "outputs are kept by the server";

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "Split",
        Text,
        ALIEN,
        "Makes many tasks: `production:1-100` one for each number, which replaces `#alien_counter#`. \
         What depends on the files of a catalogue (`file`, `se`, `directory` …) makes one.",
    )
    .example("\"production:1-100\""),
    Attribute::new(
        "SplitArguments",
        Texts,
        ALIEN,
        "Arguments of the tasks of a split job, after those of `Arguments`.",
    ),
    Attribute::new(
        "SplitMaxInputFileNumber",
        COUNT,
        ALIEN,
        "Most input files of one task of a split job.",
    )
    .not_done(NO_CATALOGUE),
    Attribute::new(
        "SplitMaxInputFileSize",
        Size,
        ALIEN,
        "Most input of one task of a split job.",
    )
    .not_done(NO_CATALOGUE),
    Attribute::new(
        "InputFile",
        Texts,
        ALIEN,
        "Files that go with the job; those of a catalogue are named `LF:/path`.",
    ),
    Attribute::new(
        "InputDataCollection",
        Texts,
        ALIEN,
        "Collections of input data.",
    )
    .not_done(NO_CATALOGUE),
    Attribute::new(
        "InputDataList",
        Text,
        ALIEN,
        "File that the list of input data is written to.",
    )
    .not_done(NO_CATALOGUE),
    Attribute::new(
        "InputDataListFormat",
        Text,
        ALIEN,
        "Format of that list.",
    )
    .not_done(NO_CATALOGUE),
    Attribute::new(
        "Output",
        Texts,
        ALIEN,
        "Files to bring back: names or patterns; `archive:names@options` brings back the names.",
    )
    .example("{ \"log_archive.zip:*.log@disk=1\", \"result.root\" }"),
    Attribute::new("OutputFile", Texts, ALIEN, "Old name of `Output`."),
    Attribute::new("OutputArchive", Texts, ALIEN, "Old name of `Output`."),
    Attribute::new(
        "OutputErrorE",
        Texts,
        ALIEN,
        "Files to bring back if the job fails.",
    )
    .not_done("the files of `Output` are brought back, whatever becomes of the task"),
    Attribute::new("OutputDir", Text, ALIEN, "Folder of the catalogue for the outputs.")
        .not_done(KEPT),
    Attribute::new(
        "Packages",
        Texts,
        ALIEN,
        "Software tags that the site must have, all of them.",
    )
    .example("{ \"VO_ALICE@AliPhysics::v5-09-36-01-1\" }"),
    Attribute::new(
        "TTL",
        SECONDS,
        ALIEN,
        "Longest time that one task may run, in seconds.",
    ),
    Attribute::new("CPUCores", CORES, ALIEN, "Cores of one task."),
    Attribute::new("MemorySize", Size, ALIEN, "Memory of one task.").example("\"8GB\""),
    Attribute::new(
        "WorkDirectorySize",
        Size,
        ALIEN,
        "Room that one task needs on disk.",
    )
    .not_done("room on disk is not looked at"),
    Attribute::new("Price", Number, ALIEN, "What the user bids.")
        .not_done("the server's policy sets the order"),
    Attribute::new(
        "MasterResubmitThreshold",
        Text,
        ALIEN,
        "How many tasks may fail before all that failed are run again.",
    )
    .not_done("each task is retried by itself; say it with `RetryCount`"),
    Attribute::new(
        "MaxFailFraction",
        Number,
        ALIEN,
        "Which part of the tasks may fail.",
    )
    .not_done("each task ends by itself"),
    Attribute::new(
        "MaxResubmitInclude",
        COUNT,
        ALIEN,
        "How often a task is run again.",
    )
    .not_done("say it with `RetryCount`"),
    Attribute::new(
        "ValidationCommand",
        Text,
        ALIEN,
        "What tells whether the outputs are good.",
    )
    .not_done("the program's exit code tells; call it from the program"),
    Attribute::new("Email", Text, ALIEN, "Who is told of the job's end.")
        .not_done("no mail is sent"),
    Attribute::new("JobTag", Texts, ALIEN, "The submitter's own notes.").noted(),
    Attribute::new("User", Text, ALIEN, "Who submits; told by the token.").noted(),
    Attribute::new(
        "JDLVariables",
        Texts,
        ALIEN,
        "Attributes that the program finds as variables `ALIEN_JDL_NAME`.",
    ),
    Attribute::new("JDLPath", Text, ALIEN, "Where the text came from.").noted(),
    Attribute::new("JDLArguments", Text, ALIEN, "What the text was made with.").noted(),
    Attribute::new("JDLProcessor", Text, ALIEN, "What the text was made by.").noted(),
    Attribute::new("InputDataType", Text, ALIEN, "Kind of the input data.").noted(),
    Attribute::new("Activity", Text, ALIEN, "What the job is a part of.").noted(),
    Attribute::new("PWG", Text, ALIEN, "Whose work the job is.").noted(),
    Attribute::new(
        "OrigRequirements",
        super::Kind::Expression,
        ALIEN,
        "`Requirements` as they were before packages and times were added.",
    )
    .noted(),
    Attribute::new(
        "NoLiveOutput",
        Integer { min: 0, max: 1 },
        ALIEN,
        "Whether outputs cannot be looked at while the task runs.",
    )
    .noted(),
    Attribute::new(
        "DontArchive",
        Integer { min: 0, max: 1 },
        ALIEN,
        "Whether outputs are left out of archives.",
    )
    .noted(),
    Attribute::new("ProxyTTL", Text, ALIEN, "How long the proxy must last.").noted(),
];
