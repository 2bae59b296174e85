//! Questions for files and folders, answered by the dialogs of the system.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A file that exists.
    Open {
        /// The dialog's title.
        title: String,
        /// Endings of the files to choose from.
        extensions: Vec<String>,
    },
    /// A file to write.
    Save {
        /// The dialog's title.
        title: String,
        /// The name to begin with.
        name: String,
        /// The ending of such files.
        extension: String,
    },
    /// A folder.
    Folder {
        /// Where to begin.
        begin: PathBuf,
    },
}

impl Question {
    /// For a file that exists, with one of these endings.
    pub fn open(title: String, extensions: &[&str]) -> Self {
        let extensions = extensions.iter().map(|&extension| extension.to_owned()).collect();
        Self::Open { title, extensions }
    }

    /// For a folder, beginning at one.
    pub fn folder(begin: &Path) -> Self {
        Self::Folder { begin: begin.to_owned() }
    }
}

type Answer = dyn Fn(&Question) -> Option<PathBuf> + Send + Sync;

/// Asks a person.
#[derive(Clone)]
pub struct Dialogs(Arc<Answer>);

impl fmt::Debug for Dialogs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Dialogs")
    }
}

impl Default for Dialogs {
    fn default() -> Self {
        Self::new(ask_with_the_system)
    }
}

impl Dialogs {
    /// Answers with a function; `None` where the person chose nothing.
    pub fn new(answer: impl Fn(&Question) -> Option<PathBuf> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, question: &Question) -> Option<PathBuf> {
        (self.0)(question)
    }

    /// Asks for a file that exists.
    pub fn open(&self, title: &str, extensions: &[&str]) -> Option<PathBuf> {
        self.ask(&Question::open(title.to_owned(), extensions))
    }

    /// Asks where to write a file.
    pub fn save(&self, title: &str, name: &str, extension: &str) -> Option<PathBuf> {
        let [title, name, extension] = [title, name, extension].map(str::to_owned);
        self.ask(&Question::Save { title, name, extension })
    }
}

fn ask_with_the_system(question: &Question) -> Option<PathBuf> {
    let dialog = rfd::FileDialog::new();
    match question {
        Question::Open { title, extensions } => {
            dialog.set_title(title).add_filter(title, extensions).pick_file()
        }
        Question::Save { title, name, extension } => dialog
            .set_title(title)
            .set_file_name(name)
            .add_filter(extension, &[extension])
            .save_file(),
        Question::Folder { begin } => dialog.set_directory(begin).pick_folder(),
    }
}
