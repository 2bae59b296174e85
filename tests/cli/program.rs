//! Running the program as a person does.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// A folder to work in, and the program.
pub struct Workshop {
    folder: TempDir,
    /// What the program keeps for itself.
    data: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), data: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the program's own data.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The program, to be run in the folder.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emberbrush"));
        command.current_dir(self.folder.path()).args(arguments);
        command.env("EMBERBRUSH_DATA_DIR", self.data());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run(self.program(arguments).output().unwrap())
    }

    /// The names of all files in the folder, hidden ones too, in order.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A finished run.
#[derive(Debug)]
pub struct Run(Output);

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self(output)
    }
}

impl Run {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// The run, which must have succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.0.status.success(), "{}", self.stderr());
        self
    }

    /// Fails unless the run failed with a message that holds all of `parts`, and no panic.
    #[track_caller]
    pub fn assert_refused(&self, parts: &[&str]) {
        let message = self.stderr();
        assert_eq!(self.code(), Some(1), "{message}");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("panicked"), "{message}");
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
