//! What becomes of a job: retries, order, credentials, how it is watched.

use super::Kind::{Boolean, Integer, Text, Texts};
use super::{Attribute, COUNT, DIRAC, FAIRWAY, GLITE, RETRIES, SECONDS_MAX};

const OUTPUTS_READ: &str =
    "standard output and error can be read while the task runs, other files cannot";

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "RetryCount",
        RETRIES,
        GLITE,
        "Retries after a failure of the program; -1 is none.",
    )
    .default("0"),
    Attribute::new(
        "ShallowRetryCount",
        RETRIES,
        GLITE,
        "Retries after a failure before the program started; -1 is none.",
    )
    .default("0"),
    Attribute::new(
        "ExpiryTime",
        COUNT,
        GLITE,
        "When the job is given up, in seconds since the epoch.",
    )
    .not_done("the job does not expire; cancel it"),
    Attribute::new(
        "ShortDeadlineJob",
        Boolean,
        GLITE,
        "Whether the job is short and urgent.",
    )
    .not_done("the job is treated like the others"),
    Attribute::new(
        "Priority",
        Integer { min: 0, max: 10 },
        DIRAC,
        "Priority among the user's own jobs: the largest goes first.",
    )
    .default("1"),
    Attribute::new(
        "QoS",
        Text,
        FAIRWAY,
        "The quality of service that the job asks for; the server's policy names them.",
    ),
    Attribute::new(
        "Account",
        Text,
        FAIRWAY,
        "The group that the job is submitted for, of users with several; the token's if not set.",
    )
    .example("\"atlas\""),
    Attribute::new(
        "Preemptible",
        Boolean,
        FAIRWAY,
        "Whether the job may be stopped and queued again in favour of others, where the policy has that.",
    )
    .default("false"),
    Attribute::new(
        "Suspendable",
        Boolean,
        FAIRWAY,
        "Whether the job, if it gives way to others, may be put to sleep (SIGSTOP) until there is room again, \
         instead of being stopped: its memory stays in use.",
    )
    .default("false"),
    Attribute::new(
        "Depends",
        Texts,
        FAIRWAY,
        "What the job waits for: `after`, `afterok`, `afterany`, `afternotok` or `aftercorr` with jobs, nodes or tasks, or `singleton`; `,` joins what must all be, `?` what is enough each.",
    )
    .example("\"afterok:12, afterany:13/fit\""),
    Attribute::new("MyProxyServer", Text, GLITE, "Where the proxy is renewed.")
        .not_done("no proxy is renewed: tasks get no credential of their user"),
    Attribute::new("LBAddress", Text, GLITE, "Logging and bookkeeping server.")
        .not_done("events are kept by the server; `fairway` tells them"),
    Attribute::new("HLRLocation", Text, GLITE, "Accounting server.")
        .not_done("usage is accounted by the server"),
    Attribute::new(
        "PerusalFileEnable",
        Boolean,
        GLITE,
        "Whether growing outputs are copied back.",
    )
    .not_done(OUTPUTS_READ),
    Attribute::new(
        "PerusalTimeInterval",
        Integer {
            min: 0,
            max: SECONDS_MAX,
        },
        GLITE,
        "How often growing outputs are copied back, in seconds.",
    )
    .not_done(OUTPUTS_READ),
    Attribute::new(
        "PerusalFilesDestURI",
        Text,
        GLITE,
        "Where growing outputs are copied to.",
    )
    .not_done(OUTPUTS_READ),
    Attribute::new(
        "PerusalListFileURI",
        Texts,
        GLITE,
        "Which growing outputs are copied.",
    )
    .not_done(OUTPUTS_READ),
    Attribute::new(
        "AllowZippedISB",
        Boolean,
        GLITE,
        "Whether sandboxes travel compressed.",
    )
    .not_done("sandboxes travel as they are"),
];
