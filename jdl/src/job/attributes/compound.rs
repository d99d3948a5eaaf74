//! Several tasks, and several jobs, from one text.

use super::Kind::{Ads, Boolean, Dependencies, Nodes, Number, Parameters, Text};
use super::{Attribute, COUNT, DIRAC, GLITE, GLITE_DIRAC, RETRIES};

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "Parameters",
        Parameters,
        GLITE_DIRAC,
        "Makes many tasks: a list of values, or a number (gLite: where values end; DIRAC: how many).",
    )
    .example("{ \"a\", \"b\" }"),
    Attribute::new(
        "ParameterStart",
        Number,
        GLITE_DIRAC,
        "The first value (gLite: default 0; DIRAC: default 1).",
    ),
    Attribute::new(
        "ParameterStep",
        Number,
        GLITE_DIRAC,
        "From one value to the next (gLite: default 1; DIRAC: default 0).",
    ),
    Attribute::new(
        "ParameterFactor",
        Number,
        DIRAC,
        "What a value is multiplied with before the step is added.",
    )
    .default("1"),
    Attribute::new(
        "Nodes",
        Nodes,
        GLITE,
        "The jobs of a collection or DAG: a list of ads, or an ad of named ones. \
         What they do not say they take over from the ad around them.",
    )
    .example("[ a = [ Executable = \"first\" ]; b = [ Executable = \"second\" ] ]"),
    Attribute::new(
        "Dependencies",
        Dependencies,
        GLITE,
        "The order of the nodes of a DAG: pairs of a node, or group of nodes, and what waits for it.",
    )
    .example("{ { a, b }, { { a, b }, c } }"),
    Attribute::new(
        "NodeName",
        Text,
        GLITE,
        "Name of a node in a list of nodes.",
    )
    .default("\"Node_0\""),
    Attribute::new(
        "Description",
        Ads,
        GLITE,
        "In a node: the ad that describes its job.",
    ),
    Attribute::new(
        "File",
        Text,
        GLITE,
        "In a node: the JDL file that describes its job, read by `fairway submit`.",
    ),
    Attribute::new(
        "DefaultNodeRetryCount",
        RETRIES,
        GLITE,
        "`RetryCount` where none is given.",
    ),
    Attribute::new(
        "DefaultNodeShallowRetryCount",
        RETRIES,
        GLITE,
        "`ShallowRetryCount` where none is given.",
    ),
    Attribute::new(
        "node_retry_count",
        RETRIES,
        GLITE,
        "In a node: its `RetryCount` where its description has none.",
    ),
    Attribute::new(
        "Max_nodes_running",
        COUNT,
        GLITE,
        "Most nodes of a DAG that run at the same time.",
    )
    .not_done("every node runs that may"),
    Attribute::new(
        "NodesCollocation",
        Boolean,
        GLITE,
        "Whether all nodes go to one CE.",
    )
    .not_done("tasks go where there is room; name the CE with `SubmitTo`"),
    Attribute::new("NodeType", Text, GLITE, "Old word for what a node is.").noted(),
];
