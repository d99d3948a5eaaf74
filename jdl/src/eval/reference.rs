//! The page that tells of the functions, and of what is not as in HTCondor's library.

use std::fmt::Write as _;

use super::DIFFERENCES;
use super::functions::{FAMILIES, Function};

/// The functions and the deliberate differences from HTCondor's library, in Markdown.
pub fn reference() -> String {
    // Writing to a String cannot fail.
    let mut page = String::from(
        "# The ClassAd language\n\n\
         Values and types are those of HTCondor's own library, held by a test that asks it.\n\n\
         ## Functions\n\n\
         Names do not distinguish case. A wrong number of arguments, or a wrong type, gives ERROR.\n\n\
         | about | functions, with the number of arguments that each takes |\n| --- | --- |\n",
    );
    for (about, family) in FAMILIES {
        let functions = family.iter().map(Function::of);
        let functions: Vec<_> = functions
            .map(|function| format!("`{}` ({})", function.name(), function.arity_short()))
            .collect();
        let _ = writeln!(page, "| {about} | {} |", functions.join(", "));
    }
    page.push_str(
        "\n## Deliberate differences\n\n| what | example | here | there | why |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for difference in DIFFERENCES {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            difference.subject,
            code(difference.example),
            code(difference.ours),
            code(difference.theirs),
            difference.reason
        );
    }
    page
}

/// Code in a cell of a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}
