//! Emberbrush: pictures from words, on your own machine.

mod cli;
mod commands;
mod interruption;
mod model;
mod report;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    interruption::Interruption,
};

/// What a shell expects of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.command.json();
    let result = Interruption::install().and_then(|interruption| match cli.command {
        Command::Generate(arguments) => commands::generate::run(&arguments, &interruption),
        Command::Batch(arguments) => commands::batch::run(&arguments, &interruption),
        Command::Grid(arguments) => commands::grid::run(*arguments, &interruption),
        Command::Settings(arguments) => commands::settings::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Devices(arguments) => commands::devices::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments, &interruption),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if interruption::is_cancellation(&error) => {
            report::cancelled(json);
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(error) => {
            report::failed(&error, json);
            ExitCode::FAILURE
        }
    }
}
