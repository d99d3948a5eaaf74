//! `fairway-pilot`: reads its bootstrap document from standard input and works until
//! there is no more to do. `fairway_pilot::PilotError::exit_code` tells the exit codes.

use std::process::ExitCode;

use fairway_pilot::{Options, PilotError};

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        complain(
            "fairway-pilot takes no arguments; it reads its bootstrap document from standard input",
        );
        return ExitCode::from(2);
    }
    fairway_pilot::init_log();
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn work() -> Result<(), PilotError> {
    let bootstrap = fairway_pilot::read_bootstrap(std::io::stdin().lock())?;
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
