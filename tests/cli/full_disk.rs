//! `batch` where there is no room.

#![cfg(unix)]
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use program::{Run, Workshop, text};
use serde_json::Value;

const QUICK: [&str; 10] =
    ["--steps", "1", "--width", "64", "--height", "64", "--device", "cpu", "--seed", "1"];

/// File name to content of the pictures in a folder, all of which must be whole and in the
/// manifest, with nothing beside them.
fn pictures(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        if name == "batch.json" || name == "manifest.jsonl" {
            continue;
        }
        image::open(file.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.insert(name, std::fs::read(file.path()).unwrap());
    }
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let names: Vec<String> = manifest
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|entry| entry["file"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), found.len(), "lines and pictures");
    assert!(names.iter().all(|name| found.contains_key(name)));
    found
}

fn arguments<'a>(jobs: &'a str, folder: &'a str) -> Vec<&'a str> {
    [&["batch", jobs, "-o", folder][..], &QUICK].concat()
}

/// A file system of its own, taken away at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// The reason is given where the system does not allow it.
    fn mount(folder: &Path, size: &str) -> Result<Self, String> {
        std::fs::create_dir(folder).unwrap();
        mount(&["-t", "tmpfs", "-o", size, "tmpfs", text(folder)])?;
        Ok(Self(folder.to_owned()))
    }

    fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,{size}"), text(&self.0)]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn a_full_disk_keeps_what_is_finished_and_the_rest_is_made_once_there_is_room() {
    let workshop = Workshop::new();
    let jobs: String = (0..24).map(|number| format!("a cup, number {number}\n")).collect();
    std::fs::write(workshop.path("jobs.txt"), jobs).unwrap();
    let disk = match SmallDisk::mount(&workshop.path("disk"), "size=64k") {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped, because this system mounts no small disk: {reason}");
            return;
        }
    };
    let run = workshop.run(&arguments("jobs.txt", "disk/out"));
    run.assert_refused(&["Error in the job of line", "No space left", "of 24 pictures"]);
    let kept = pictures(&workshop.path("disk/out"));
    assert!(!kept.is_empty() && kept.len() < 24, "{} pictures found room", kept.len());

    disk.resize("size=16m");
    workshop.run(&arguments("jobs.txt", "disk/out")).succeeded();
    workshop.run(&arguments("jobs.txt", "roomy")).succeeded();
    let all = pictures(&workshop.path("disk/out"));
    assert_eq!(all, pictures(&workshop.path("roomy")));
    assert!(kept.iter().all(|(name, bytes)| all.get(name) == Some(bytes)));
}

/// Runs the program where no file may grow beyond 48 blocks, of 512 or 1024 bytes by the shell.
fn with_small_files(workshop: &Workshop, arguments: &[&str]) -> Run {
    // Whoever does not ignore the signal is ended by it.
    let script = r#"trap "" XFSZ; ulimit -f 48; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.current_dir(workshop.path("")).args(["-c", script]);
    command.arg(env!("CARGO_BIN_EXE_emberbrush")).args(arguments);
    Run::from(command.output().unwrap())
}

#[test]
fn a_picture_that_cannot_be_written_is_told_and_the_rest_goes_on() {
    let workshop = Workshop::new();
    let jobs = "prompt,width,height\na,,\nb,256,256\nc,,\n";
    std::fs::write(workshop.path("jobs.csv"), jobs).unwrap();
    let run = with_small_files(&workshop, &arguments("jobs.csv", "out"));
    run.assert_refused(&["Error in the job of line 3", "File too large", "1 of 3 pictures"]);
    assert_eq!(pictures(&workshop.path("out")).len(), 2);
    workshop.run(&arguments("jobs.csv", "out")).succeeded();
    assert_eq!(pictures(&workshop.path("out")).len(), 3);
}

#[test]
fn a_manifest_that_cannot_grow_leaves_no_picture_without_its_line() {
    let workshop = Workshop::new();
    // Without guidance the negative prompt is written and not encoded.
    let negative = "x".repeat(4000);
    let job = format!("{{\"prompt\":\"a\",\"cfg\":1,\"negative\":\"{negative}\"}}\n");
    std::fs::write(workshop.path("jobs.jsonl"), job.repeat(16)).unwrap();
    let run = with_small_files(&workshop, &arguments("jobs.jsonl", "out"));
    run.assert_refused(&["manifest.jsonl", "File too large", "of 16 pictures"]);
    let kept = pictures(&workshop.path("out"));
    assert!(!kept.is_empty() && kept.len() < 16, "{} lines found room", kept.len());
    workshop.run(&arguments("jobs.jsonl", "out")).succeeded();
    assert_eq!(pictures(&workshop.path("out")).len(), 16);
}
