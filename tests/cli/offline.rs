//! Nothing but `models pull` opens a socket of the internet.
//!
//! The program runs under strace, which tells every socket that it or a thread of it asks for.

#![cfg(target_os = "linux")]
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use std::{path::Path, process::Command};

use emberbrush_tests::checkpoint;
use program::{Run, Workshop, text};

/// The sockets of the internet that a run asks for; `None` where strace cannot watch.
fn internet_sockets(
    workshop: &Workshop,
    arguments: &[&str],
    hub: Option<&str>,
) -> Option<Vec<String>> {
    let log = workshop.data().join("strace.txt");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=socket", "-o", text(&log), "--"]);
    command.arg(env!("CARGO_BIN_EXE_emberbrush")).args(arguments);
    command.current_dir(workshop.path("")).env("EMBERBRUSH_DATA_DIR", workshop.data());
    if let Some(hub) = hub {
        command.env("HF_ENDPOINT", hub).env_remove("HF_TOKEN");
    }
    let output = match command.output() {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("PTRACE") => None,
        Ok(output) => Some(output),
        Err(_) => None,
    };
    let Some(output) = output else {
        let message = "strace is not there, or may not watch the program";
        assert!(std::env::var_os("EMBERBRUSH_REQUIRE_STRACE").is_none(), "{message}");
        eprintln!("skipped: {message}");
        return None;
    };
    Run::from(output).succeeded();
    let log = std::fs::read_to_string(log).unwrap();
    Some(log.lines().filter(|line| line.contains("AF_INET")).map(str::to_owned).collect())
}

#[test]
fn commands_open_no_connection() {
    let workshop = Workshop::new();
    let original = checkpoint("sd15-tiny");
    std::fs::write(workshop.path("jobs.txt"), "a cat\n").unwrap();
    let quick = ["--device", "cpu", "--steps", "1", "--width", "64", "--height", "64"];
    let with_quick = |arguments: &[&'static str]| [arguments, &quick[..]].concat();
    let commands: Vec<Vec<&str>> = vec![
        with_quick(&["generate", "a cat", "-o", "cat.png"]),
        with_quick(&["batch", "jobs.txt", "-o", "out"]),
        with_quick(&["grid", "a cat", "--x", "seed=1,2", "-o", "grid"]),
        with_quick(&["plan", "a cat"]),
        vec!["settings", "cat.png"],
        vec!["inspect", text(&original)],
        vec!["devices"],
        vec!["models", "add", text(&original), "--name", "tiny", "--copy"],
        vec!["models", "list"],
        vec!["models", "verify", "tiny"],
        vec!["models", "convert", "tiny", "--dtype", "f16", "-o", "half"],
        with_quick(&["generate", "a cat", "--model", "tiny", "-o", "tiny.png"]),
        vec!["models", "remove", "tiny", "--yes", "--permanently"],
    ];
    for command in commands {
        let Some(sockets) = internet_sockets(&workshop, &command, None) else { return };
        assert_eq!(sockets, [""; 0], "{command:?}");
    }
}

/// The test above can fail: it sees the one command that connects.
#[cfg(feature = "download")]
#[test]
fn a_download_is_seen_to_connect() {
    let workshop = Workshop::new();
    let hub = emberbrush_tests::hub_server::HubServer::start();
    hub.publish_folder("someone/tiny", &checkpoint("sd15-tiny"));
    let pull = ["models", "pull", "someone/tiny"];
    let address = hub.address();
    let Some(sockets) = internet_sockets(&workshop, &pull, Some(&address)) else { return };
    assert!(!sockets.is_empty());
    assert!(Path::new(&workshop.data().join("models/tiny/unet")).is_dir());
}
