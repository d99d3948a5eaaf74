//! `fairway jdl`: what can be done with a job description without a server.

mod ads;
mod check;
mod eval;
mod expand;
mod explain;
mod fmt;
mod json;
mod matching;

use crate::exit::Failure;

/// Check, format, convert and try out job descriptions on this machine
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jdl {
    Check(check::Check),
    Fmt(fmt::Fmt),
    Expand(expand::Expand),
    Explain(explain::Explain),
    ToJson(json::ToJson),
    FromJson(json::FromJson),
    Match(matching::Match),
    Eval(eval::Eval),
}

impl Jdl {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(check) => check.run(),
            Self::Fmt(fmt) => fmt.run(),
            Self::Expand(expand) => expand.run(),
            Self::Explain(explain) => explain.run(),
            Self::ToJson(json) => json.run(),
            Self::FromJson(json) => json.run(),
            Self::Match(matching) => matching.run(),
            Self::Eval(eval) => eval.run(),
        }
    }
}
