//! What the help says, command by command.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Fairway::command().debug_assert();
}

/// The help of `fairway` and of every command under it. A snapshot that changes is a
/// change of what users were told.
#[test]
fn help_is_as_reviewed() {
    let mut command = Fairway::command().term_width(100).version("0.0.0");
    command.build();
    let mut pages = Vec::new();
    collect("fairway", &mut command, &mut pages);
    assert!(pages.len() > 30, "only {} commands", pages.len());
    for (name, page) in pages {
        insta::assert_snapshot!(name.replace(' ', "-"), page);
    }
}

fn collect(name: &str, command: &mut clap::Command, pages: &mut Vec<(String, String)>) {
    if command.get_name() == "help" {
        return;
    }
    pages.push((name.to_owned(), command.render_long_help().to_string()));
    for sub in command.get_subcommands_mut() {
        let sub_name = format!("{name} {}", sub.get_name());
        collect(&sub_name, sub, pages);
    }
}
