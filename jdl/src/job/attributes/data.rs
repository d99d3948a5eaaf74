//! Data that are elsewhere.

use super::Kind::{Ads, Text, Texts};
use super::{Attribute, DIRAC, GLITE, GLITE_DIRAC};

const OUTPUTS_KEPT: &str = "outputs are kept by the server; name them in `OutputSandbox`";
const NO_DATA: &str = "no data is located or fetched; let the program fetch it";

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::new(
        "InputData",
        Texts,
        GLITE_DIRAC,
        "Logical names of the input data.",
    )
    .not_done(NO_DATA),
    Attribute::new(
        "DataRequirements",
        Ads,
        GLITE,
        "Input data with their catalogues.",
    )
    .not_done(NO_DATA),
    Attribute::new(
        "DataAccessProtocol",
        Texts,
        GLITE,
        "How input data is reached.",
    )
    .not_done(NO_DATA),
    Attribute::new("DataCatalog", Text, GLITE, "Catalogue of the input data.").not_done(NO_DATA),
    Attribute::new("DataCatalogType", Text, GLITE, "Kind of catalogue.").not_done(NO_DATA),
    Attribute::new("StorageIndex", Text, GLITE, "Index of storage.").not_done(NO_DATA),
    Attribute::new(
        "InputDataPolicy",
        Text,
        DIRAC,
        "How input data is reached.",
    )
    .not_done(NO_DATA),
    Attribute::new(
        "InputDataModule",
        Text,
        DIRAC,
        "How input data is reached.",
    )
    .not_done(NO_DATA),
    Attribute::new(
        "OutputData",
        Ads,
        GLITE_DIRAC,
        "Files to store as data: ads with `OutputFile`, `LogicalFileName`, `StorageElement`; DIRAC: names.",
    )
    .not_done(OUTPUTS_KEPT),
    Attribute::new(
        "OutputSE",
        Texts,
        GLITE_DIRAC,
        "Storage elements for the output data.",
    )
    .not_done(OUTPUTS_KEPT),
    Attribute::new("OutputPath", Text, DIRAC, "Folder for the output data.")
        .not_done(OUTPUTS_KEPT),
    Attribute::new(
        "OutputSandboxBaseDestURI",
        Text,
        GLITE,
        "Where all outputs are sent to; not with `OutputSandboxDestURI`.",
    )
    .not_done("outputs are kept by the server"),
    Attribute::new(
        "OutputSandboxDestURI",
        Texts,
        GLITE,
        "Where each output is sent to, one for each of `OutputSandbox`.",
    )
    .not_done("outputs are kept by the server"),
];
