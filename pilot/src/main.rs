//! `fairway-pilot`: reads its bootstrap document from standard input, or from the file in
//! `--bootstrap FILE`, and works until there is no more to do.
//! `fairway_pilot::PilotError::exit_code` tells the exit codes.

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

use fairway_pilot::{Options, PilotError};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let file = match &arguments[..] {
        [] => None,
        [option, file] if option == "--bootstrap" => Some(file.clone()),
        _ => {
            complain(
                "fairway-pilot reads its bootstrap document from standard input, or from the \
                 file in --bootstrap FILE; it takes no other arguments",
            );
            return ExitCode::from(2);
        }
    };
    fairway_pilot::init_log();
    match work(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn work(file: Option<OsString>) -> Result<(), PilotError> {
    let bootstrap = match file.filter(|_| !fairway_pilot::is_inner()) {
        Some(file) => File::open(file)
            .map_err(|error| PilotError::Bootstrap(error.to_string()))
            .and_then(fairway_pilot::read_bootstrap)?,
        None => fairway_pilot::read_bootstrap(std::io::stdin().lock())?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|e| PilotError::Machine(format!("no runtime: {e}")))?;
    let outcome = runtime.block_on(fairway_pilot::run(bootstrap, Options::default()));
    // A file operation that hangs must not keep the pilot from ending.
    runtime.shutdown_background();
    outcome
}

#[expect(
    clippy::print_stderr,
    reason = "a wrong call is answered on the terminal"
)]
fn complain(text: &str) {
    eprintln!("{text}");
}
