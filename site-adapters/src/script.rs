//! The batch script of a pilot, which all batch systems that take scripts share. Pure.

use crate::{AdapterError, PilotJob};

/// The batch script of one pilot. `launcher` stands before the pilot's command line: `exec`, so
/// that the batch system's signals reach the pilot itself, or what starts it on every node. The
/// pilot gets the bootstrap document as a here-document: the secret is in no command line and no
/// environment, only in the script, which batch systems keep from other users. `preamble` are
/// whole lines that come before.
///
/// # Errors
/// `Refused` if the program or the document cannot be written so.
pub(crate) fn script(
    job: &PilotJob,
    preamble: &str,
    launcher: &str,
) -> Result<String, AdapterError> {
    let command = command(&job.program)?;
    if job.stdin.contains('\0') {
        return Err(AdapterError::Refused(
            "the bootstrap document holds a zero byte".to_owned(),
        ));
    }
    let mark = end_mark(&job.stdin);
    let newline = if job.stdin.ends_with('\n') { "" } else { "\n" };
    Ok(format!(
        "#!/bin/sh\n\
         # Pilot {name} of Fairway.\n\
         export PATH=/usr/local/bin:/usr/bin:/bin\n\
         {preamble}\
         {launcher} {command} <<'{mark}'\n\
         {stdin}{newline}{mark}\n",
        name = job.name,
        stdin = job.stdin,
    ))
}

/// The pilot's command line for a shell.
pub(crate) fn command(program: &[String]) -> Result<String, AdapterError> {
    if program.is_empty() {
        return Err(AdapterError::Refused("no pilot program is set".to_owned()));
    }
    if let Some(word) = program
        .iter()
        .find(|word| word.chars().any(char::is_control))
    {
        return Err(AdapterError::Refused(format!(
            "the pilot's command line holds a control character: {word:?}"
        )));
    }
    let words: Vec<String> = program.iter().map(|word| quote(word)).collect();
    Ok(words.join(" "))
}

/// A mark that is no line of `document`.
pub(crate) fn end_mark(document: &str) -> String {
    let mut mark = "END_OF_BOOTSTRAP".to_owned();
    while document.lines().any(|line| line == mark) {
        mark.push('_');
    }
    mark
}

/// `word` as one word of the shell.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
