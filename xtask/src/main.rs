//! `cargo xtask COMMAND`: what is done to the project itself.

mod bench_peers;
mod count_instructions;
mod timed_picture;

use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask screenshots [SCREEN]          draws the screens of docs/screens anew
cargo xtask count-instructions [--accept] compares what the kernels of the CPU execute with
                                          layers/examples/run_kernel/instructions.json, or writes it";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("screenshots") => screenshots(arguments.next()),
        Some("bench-peers") => exit_code(
            bench_peers::Options::parse(arguments)
                .map_err(|error| format!("{error}\n{}", bench_peers::USAGE))
                .and_then(|options| bench_peers::run(&options)),
        ),
        Some("count-instructions") => match (arguments.next().as_deref(), arguments.next()) {
            (None, _) => exit_code(count_instructions::compare()),
            (Some("--accept"), None) => exit_code(count_instructions::accept()),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}\n{}", bench_peers::USAGE);
    ExitCode::FAILURE
}

fn exit_code(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the test that compares the screens with `docs/screens`, and lets it write those that differ.
fn screenshots(screen: Option<String>) -> ExitCode {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--locked", "-p", "emberbrush", "-p", "emberbrush-tests"])
        .args([
            "--no-default-features",
            "--features",
            "cpu,gui,download",
            "--test",
            "window_screens",
        ])
        .args(["screens_are", "--", "--nocapture"])
        .env("UPDATE_SNAPSHOTS", "1")
        .env("EMBERBRUSH_REQUIRE_SCREENS", "1");
    if let Some(screen) = screen {
        cargo.env("EMBERBRUSH_SCREEN", screen);
    }
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
