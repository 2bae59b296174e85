//! Emberbrush: pictures from words, on your own machine.
//!
//! A library only so that tests can drive the window; the program is [`run`].

#[cfg(feature = "gui")]
pub mod canvas;
mod cli;
mod commands;
#[cfg(feature = "gui")]
pub mod engine;
#[cfg(feature = "gui")]
pub mod failure;
mod interruption;
mod model;
mod report;
#[cfg(feature = "gui")]
pub mod window;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    interruption::{Cancellation, Interruption},
};

/// What a shell expects of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Runs the command that the arguments name. Without one it opens the window, or prints what
/// there is in a build without it.
pub fn run() -> ExitCode {
    let Some(command) = Cli::parse().command else { return run_without_command() };
    let json = command.json();
    finish(
        Interruption::install().and_then(|interruption| run_command(command, &interruption)),
        json,
    )
}

fn run_command(command: Command, interruption: &Interruption) -> anyhow::Result<()> {
    match command {
        Command::Generate(arguments) => commands::generate::run(&arguments, interruption),
        Command::Plan(arguments) => commands::plan::run(&arguments),
        Command::Batch(arguments) => commands::batch::run(&arguments, interruption),
        Command::Grid(arguments) => commands::grid::run(*arguments, interruption),
        Command::Prompt(arguments) => commands::prompt::run(&arguments),
        Command::Settings(arguments) => commands::settings::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Models(arguments) => commands::models::run(&arguments, interruption),
        Command::Devices(arguments) => commands::devices::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments, interruption),
    }
}

#[cfg(feature = "gui")]
fn run_without_command() -> ExitCode {
    finish(window::open(), false)
}

#[cfg(not(feature = "gui"))]
fn run_without_command() -> ExitCode {
    use clap::CommandFactory;

    report::println(&Cli::command().render_help().to_string());
    ExitCode::SUCCESS
}

fn finish(result: anyhow::Result<()>, json: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match Cancellation::of(&error) {
            Some(cancellation) => {
                report::cancelled(cancellation, json);
                ExitCode::from(EXIT_INTERRUPTED)
            }
            None => {
                report::failed(&error, json);
                ExitCode::FAILURE
            }
        },
    }
}
