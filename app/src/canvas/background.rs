//! What takes too long for a frame: dialogs, files, and the preparation of fills.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use emberbrush_pipeline::{
    diffusion::CheckpointDefaults,
    output::write_new,
    picture::{self, FileFormat, Picture},
    request::GenerationRequest,
};

use super::{
    candidate::FillResult,
    document::Document,
    editor::Editor,
    ember_file,
    fill::{FillJob, FillOptions, Target},
    journal::OpenDocument,
    mask::{self, MaskTiles},
    screen_image::ScreenImage,
};
use crate::{failure::Failure, window::dialogs::Dialogs};

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A document or a picture was opened.
    Opened(Box<Editor>),
    /// The state of the document that is now in a file.
    Saved(PathBuf, Box<Document>),
    /// The picture was exported.
    Exported(PathBuf),
    /// A mask was opened.
    Mask(MaskTiles),
    /// A mask was saved.
    MaskSaved(PathBuf),
    /// A fill can be asked for.
    Fill(Box<FillJob>),
    /// A result of a fill can be shown.
    Result(Box<FillResult>),
    /// The person closed the dialog.
    Nothing,
    /// It failed.
    Failed(Failure),
}

/// Where a file is or is to be.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The person is asked, with a title and a name to begin with.
    Ask {
        /// The dialog's title.
        title: String,
        /// A file name.
        name: String,
    },
    /// Here.
    At(PathBuf),
}

/// Runs tasks on threads of their own.
#[derive(Debug)]
pub(super) struct Background {
    /// Asks a person for files.
    pub(super) dialogs: Dialogs,
    sender: Sender<Outcome>,
    receiver: Receiver<Outcome>,
    running: usize,
}

impl Default for Background {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { dialogs: Dialogs::default(), sender, receiver, running: 0 }
    }
}

impl Background {
    /// Whether anything is being done.
    pub(super) fn is_busy(&self) -> bool {
        self.running > 0
    }

    /// What is done since this was last asked.
    pub(super) fn poll(&mut self) -> Vec<Outcome> {
        let outcomes: Vec<Outcome> = self.receiver.try_iter().collect();
        self.running -= outcomes.len().min(self.running);
        outcomes
    }

    fn run(
        &mut self,
        ctx: &egui::Context,
        task: impl FnOnce() -> Result<Outcome, Failure> + Send + 'static,
    ) {
        let (sender, ctx) = (self.sender.clone(), ctx.clone());
        self.running += 1;
        let failed = self.sender.clone();
        let thread = std::thread::Builder::new().name("canvas task".to_owned()).spawn(move || {
            let outcome = task().unwrap_or_else(Outcome::Failed);
            let _ = sender.send(outcome);
            ctx.request_repaint();
        });
        if let Err(error) = thread {
            let _ = failed.send(Outcome::Failed(Failure::of_thread(&error)));
        }
    }

    /// Opens a document or a picture.
    pub(super) fn open(&mut self, ctx: &egui::Context, place: Place) {
        let dialogs = self.dialogs.clone();
        self.run(ctx, move || {
            let Some(path) = ask_to_open(
                &dialogs,
                place,
                &["ember", "png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"],
            ) else {
                return Ok(Outcome::Nothing);
            };
            open(&path).map(|state| Outcome::Opened(Box::new(Editor::new(state))))
        });
    }

    /// Saves a document.
    pub(super) fn save(&mut self, ctx: &egui::Context, document: Document, place: Place) {
        let dialogs = self.dialogs.clone();
        self.run(ctx, move || {
            let Some(path) = ask_to_save(&dialogs, place, ember_file::EXTENSION) else {
                return Ok(Outcome::Nothing);
            };
            ember_file::save(&document, &path)?;
            Ok(Outcome::Saved(path, Box::new(document)))
        });
    }

    /// Exports what is seen of a document as PNG.
    pub(super) fn export(&mut self, ctx: &egui::Context, document: Document, place: Place) {
        let dialogs = self.dialogs.clone();
        self.run(ctx, move || {
            let Some(path) = ask_to_save(&dialogs, place, "png") else {
                return Ok(Outcome::Nothing);
            };
            let bytes = picture::encode(&document.composite(), FileFormat::Png, &[])?;
            Ok(Outcome::Exported(write_new(&bytes, &path)?))
        });
    }

    /// Opens a mask for a picture of `size`.
    pub(super) fn open_mask(&mut self, ctx: &egui::Context, place: Place, size: (u32, u32)) {
        let dialogs = self.dialogs.clone();
        self.run(ctx, move || {
            let Some(path) =
                ask_to_open(&dialogs, place, &["png", "bmp", "webp", "tif", "tiff", "jpg"])
            else {
                return Ok(Outcome::Nothing);
            };
            Ok(Outcome::Mask(mask::open(&path, size)?))
        });
    }

    /// Saves a mask as PNG.
    pub(super) fn save_mask(&mut self, ctx: &egui::Context, mask: MaskTiles, place: Place) {
        let dialogs = self.dialogs.clone();
        self.run(ctx, move || {
            let Some(path) = ask_to_save(&dialogs, place, "png") else {
                return Ok(Outcome::Nothing);
            };
            mask::save(&mask, &path)?;
            Ok(Outcome::MaskSaved(path))
        });
    }

    /// Makes a picture of a fill ready to be shown in a document, of which the screen shows `image`.
    pub(super) fn prepare_result(
        &mut self,
        ctx: &egui::Context,
        job: Arc<FillJob>,
        (document, image): (Document, ScreenImage),
        index: u32,
        picture: Arc<Picture>,
    ) {
        self.run(ctx, move || {
            let result = FillResult::new(job, (&document, &image), index, &picture)?;
            Ok(Outcome::Result(Box::new(result)))
        });
    }

    /// Prepares a fill.
    pub(super) fn prepare_fill(
        &mut self,
        ctx: &egui::Context,
        document: Document,
        target: Target,
        options: FillOptions,
        base: GenerationRequest,
        checkpoint: CheckpointDefaults,
    ) {
        self.run(ctx, move || {
            let job = FillJob::new(&document, target, options, &base, &checkpoint)?;
            Ok(Outcome::Fill(Box::new(job)))
        });
    }
}

fn open(path: &Path) -> Result<OpenDocument, Failure> {
    let is_document = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case(ember_file::EXTENSION));
    if is_document {
        let document = ember_file::open(path)?;
        return Ok(OpenDocument { document, file: Some(path.to_owned()), unsaved: false });
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let document = Document::new(name, picture::read(path)?);
    Ok(OpenDocument { document, file: None, unsaved: false })
}

fn ask_to_open(dialogs: &Dialogs, place: Place, extensions: &[&str]) -> Option<PathBuf> {
    match place {
        Place::At(path) => Some(path),
        Place::Ask { title, .. } => dialogs.open(&title, extensions),
    }
}

fn ask_to_save(dialogs: &Dialogs, place: Place, extension: &str) -> Option<PathBuf> {
    let path = match place {
        Place::At(path) => path,
        Place::Ask { title, name } => {
            dialogs.save(&title, &format!("{name}.{extension}"), extension)?
        }
    };
    let has_extension = path
        .extension()
        .is_some_and(|found| found.to_string_lossy().eq_ignore_ascii_case(extension));
    if has_extension {
        return Some(path);
    }
    // The dialog asked about a file of the name without extension, and not about this one.
    let name = path.file_name()?.to_string_lossy().into_owned();
    let numbered = |number: u32| match number {
        0 => path.with_file_name(format!("{name}.{extension}")),
        number => path.with_file_name(format!("{name}-{number}.{extension}")),
    };
    (0..u32::MAX).map(numbered).find(|path| !path.exists())
}
