//! `fairway reference`: the documents that are made from the code. `cargo xtask
//! generate` writes them to `docs/` and fails in the checks when they drift.

use std::fmt::Write as _;

use fairway_api::ProblemCode;

use super::Fairway;
use crate::exit::Failure;
use crate::screen;

/// Print a document that is made from the code
#[derive(Debug, clap::Args)]
pub(super) struct Reference {
    document: Document,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Document {
    /// The commands, in Markdown
    Cli,
    /// The server's settings, in Markdown
    Configuration,
    /// The REST API, as OpenAPI 3.1
    Openapi,
    /// The functions of the ClassAd language, and what is not as elsewhere, in Markdown
    Classad,
    /// The attributes of job descriptions, in Markdown
    Jdl,
    /// Job descriptions in JSON, as JSON Schema
    JdlSchema,
    /// The codes of problem documents, in Markdown
    Problems,
}

impl Reference {
    pub(super) fn run(self) -> Result<(), Failure> {
        let failed = |error: serde_json::Error| Failure::Local(error.to_string());
        let text = match self.document {
            Document::Cli => clap_markdown::help_markdown_custom::<Fairway>(
                &clap_markdown::MarkdownOptions::new()
                    .title("Commands of fairway".into())
                    .show_footer(false),
            ),
            Document::Configuration => fairway_wms::config::reference().map_err(failed)?,
            Document::Openapi => {
                let api = fairway_wms::http::openapi();
                serde_json::to_string_pretty(&api).map_err(failed)? + "\n"
            }
            Document::Classad => fairway_jdl::eval::reference(),
            Document::Jdl => format!(
                "# Attributes of job descriptions\n\n{}",
                fairway_jdl::job::attributes_reference()
            ),
            Document::JdlSchema => {
                serde_json::to_string_pretty(&fairway_jdl::job::schema()).map_err(failed)? + "\n"
            }
            Document::Problems => problems(),
        };
        screen::write(&text)
    }
}

fn problems() -> String {
    let mut page = String::from(
        "# Problems\n\n\
         A refused request is answered with a problem document (RFC 9457, \
         `application/problem+json`). Its `code` is stable; its `detail` says what happened this \
         time and what to do.\n\n| code | status | meaning |\n| --- | --- | --- |\n",
    );
    for code in ProblemCode::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            code.name(),
            code.status(),
            code.title()
        );
    }
    page
}
