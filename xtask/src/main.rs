//! `cargo xtask COMMAND`: what is done to the project itself.

use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask screenshots [SCREEN]   draws the screens of docs/screens anew";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("screenshots"), screen) => screenshots(screen),
        _ => {
            eprintln!("{USAGE}");
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
