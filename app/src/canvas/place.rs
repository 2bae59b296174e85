//! The Canvas place: the open document between the window, the engine and the disk.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use egui::{Context, TextureHandle, Ui};
use emberbrush_pipeline::picture::Picture;

use super::{
    background::{Background, Outcome, Place},
    document::Document,
    editor::Editor,
    fill::{FillJob, FillOptions},
    journal::{self, Journal, OpenDocument},
    panel::PanelState,
    screen_image::ScreenImage,
    surface::Surface,
};
use crate::{
    engine::JobId,
    failure::Failure,
    window::{
        PlaceContext, dialogs::Dialogs, journal::Journal as WindowJournal, theme::Colours,
        words::Words,
    },
};

/// The journal's file in the data folder.
const JOURNAL: &str = "canvas.journal";

/// How often a stroke that is being drawn goes into the journal, in seconds.
const STROKE_SECONDS: f64 = 0.25;

/// A fill that the engine works on.
pub(super) struct RunningFill {
    pub(super) id: JobId,
    pub(super) job: Arc<FillJob>,
    pub(super) index: u32,
    pub(super) step: u32,
    pub(super) steps: u32,
    pub(super) preview: Option<TextureHandle>,
}

impl std::fmt::Debug for RunningFill {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RunningFill").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The Canvas place.
#[derive(Debug, Default)]
pub struct CanvasPlace {
    pub(super) editor: Option<Editor>,
    pub(super) options: FillOptions,
    pub(super) fill: Option<RunningFill>,
    pub(super) background: Background,
    pub(super) panel: PanelState,
    pub(super) surface: Surface,
    /// What went wrong or was done last.
    pub(super) message: Option<Message>,
    journal: Option<Journal>,
    recorded: Option<OpenDocument>,
    recorded_at: f64,
    /// The person asked for a fill since the last frame.
    pub(super) wants_fill: bool,
}

/// A line for the person.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// Something is in a file of this name.
    Saved(String),
    /// What has to be done first, by the message of the language files.
    First(&'static str),
    /// What went wrong.
    Failed(Failure),
}

impl Message {
    pub(super) fn told(&self, words: &Words) -> String {
        match self {
            Self::Saved(file) => words.with("canvas-saved", [("file", file.as_str().into())]),
            Self::First(message) => words.get(message),
            Self::Failed(failure) => words.explain(&failure.explanation),
        }
    }

    pub(super) fn colour(&self, colours: &Colours) -> egui::Color32 {
        match self {
            Self::Saved(_) => colours.text,
            Self::First(_) | Self::Failed(_) => colours.bad,
        }
    }
}

impl CanvasPlace {
    /// Brings back what the journal holds.
    pub fn new(window: &WindowJournal) -> Self {
        let path = window.folder().join(JOURNAL);
        let mut place = Self::default();
        match journal::recover(&path) {
            Ok(Some(state)) => place.editor = Some(Editor::new(state)),
            Ok(None) => {}
            Err(error) => place.message = Some(Message::Failed(error.into())),
        }
        match Journal::start(path) {
            Ok(journal) => place.journal = Some(journal),
            Err(error) => place.message = Some(Message::Failed(error.into())),
        }
        place
    }

    /// Asks for files in another way than with the dialogs of the system.
    pub fn set_dialogs(&mut self, dialogs: Dialogs) {
        self.background.dialogs = dialogs;
    }

    /// The open document.
    pub fn editor(&self) -> Option<&Editor> {
        self.editor.as_ref()
    }

    /// Whether the picture is seen as it was at first: without layers, mask and sketch.
    pub fn shows_original(&self) -> bool {
        self.surface.shows_original()
    }

    /// The picture as it is seen, without mask and sketch.
    pub fn seen(&self) -> Option<&ScreenImage> {
        self.editor.as_ref().map(|editor| self.surface.seen(editor))
    }

    /// Where a place of the picture is in the window, in points, once it was drawn.
    pub fn screen_position(&self, place: super::geometry::Point) -> Option<egui::Pos2> {
        self.surface.screen_position(place)
    }

    /// Waits until everything is in the journal.
    pub fn flush(&self) {
        if let Some(journal) = &self.journal {
            // The window's next start tells what could not be written.
            let _ = journal.flush();
        }
    }

    pub(super) fn step_result(&mut self, by: isize) {
        let Some(editor) = &mut self.editor else { return };
        let Some(candidate) = editor.candidate() else { return };
        let index = candidate.chosen().saturating_add_signed(by);
        editor.choose_result(index);
    }

    pub(super) fn accept(&mut self) {
        let Some(editor) = &mut self.editor else { return };
        let result = editor.accept_result();
        self.tell(result.map(drop));
    }

    pub(super) fn tell(&mut self, result: Result<(), impl Into<Failure>>) {
        if let Err(error) = result {
            self.message = Some(Message::Failed(error.into()));
        }
    }

    pub(super) fn take(&mut self, outcome: Outcome, context: &mut PlaceContext<'_>) {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match outcome {
            Outcome::Opened(editor) => self.show_editor(*editor),
            Outcome::Saved(path, document) => {
                self.message = Some(Message::Saved(name(&path)));
                if let Some(editor) = &mut self.editor {
                    editor.saved(path, &document);
                }
            }
            Outcome::Exported(path) | Outcome::MaskSaved(path) => {
                self.message = Some(Message::Saved(name(&path)));
            }
            Outcome::Mask(mask) => {
                if let Some(editor) = &mut self.editor {
                    editor.replace_mask(mask);
                }
            }
            Outcome::Fill(job) => self.begin_fill(*job, context),
            Outcome::Result(result) => {
                if let Some(editor) = &mut self.editor {
                    editor.add_result(*result);
                }
            }
            Outcome::Nothing => {}
            Outcome::Failed(failure) => self.message = Some(Message::Failed(failure)),
        }
    }

    /// The right panel.
    pub fn side_panel(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        super::panel::side_panel(self, ui, context);
    }

    /// Opens a picture as a new document.
    pub fn open(&mut self, picture: Arc<Picture>, path: Option<&Path>) {
        let name = path.and_then(Path::file_stem).map(|name| name.to_string_lossy().into_owned());
        self.show(Document::new(name.unwrap_or_default(), Picture::clone(&picture)), None);
    }

    /// Opens a file: a document or a picture.
    pub fn open_file(&mut self, ctx: &Context, path: PathBuf) {
        self.background.open(ctx, Place::At(path));
    }

    pub(super) fn show(&mut self, document: Document, file: Option<PathBuf>) {
        self.show_editor(Editor::new(OpenDocument { document, file, unsaved: false }));
    }

    fn show_editor(&mut self, mut editor: Editor) {
        let tools = self.editor.as_ref().map(|editor| editor.tools);
        if let Some(tools) = tools {
            editor.tools = tools;
        }
        self.editor = Some(editor);
        self.fill = None;
        self.message = None;
        self.surface.reset();
        self.panel = PanelState::default();
        self.remember(f64::MAX);
    }

    pub(super) fn ask_to_open(&mut self, ctx: &Context, context: &PlaceContext<'_>) {
        let title = context.words.get("canvas-open");
        self.background.open(ctx, Place::Ask { title, name: String::new() });
    }

    pub(super) fn save(&mut self, ctx: &Context, context: &PlaceContext<'_>, elsewhere: bool) {
        let Some(editor) = &self.editor else { return };
        let document = editor.document().clone();
        let place = match &editor.state().file {
            Some(path) if !elsewhere => Place::At(path.clone()),
            _ => Place::Ask {
                title: context.words.get("canvas-save"),
                name: self.file_name(context),
            },
        };
        self.background.save(ctx, document, place);
    }

    /// Saves to a file without asking.
    pub fn save_to(&mut self, ctx: &Context, path: PathBuf) {
        if let Some(editor) = &self.editor {
            self.background.save(ctx, editor.document().clone(), Place::At(path));
        }
    }

    pub(super) fn file_name(&self, context: &PlaceContext<'_>) -> String {
        match self.document_name() {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => context.words.get("canvas-unnamed"),
        }
    }

    /// The name of the document, for the bar.
    pub fn document_name(&self) -> Option<&str> {
        self.editor.as_ref().map(|editor| editor.document().name.as_str())
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.undo();
        }
    }

    /// Makes it again.
    pub fn redo(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.redo();
        }
    }

    /// Whether there is something to undo.
    pub fn can_undo(&self) -> bool {
        self.editor.as_ref().is_some_and(|editor| editor.history().next_undo().is_some())
    }

    /// Whether there is something to redo.
    pub fn can_redo(&self) -> bool {
        self.editor.as_ref().is_some_and(|editor| editor.history().next_redo().is_some())
    }

    /// Writes what changed since it was last written: every step at once, and a stroke while it is
    /// drawn from time to time.
    pub(super) fn remember(&mut self, now: f64) {
        let (Some(editor), Some(journal)) = (&self.editor, &self.journal) else { return };
        if editor.gesture().is_some() && now - self.recorded_at < STROKE_SECONDS {
            return;
        }
        let state = editor.state();
        if self.recorded.as_ref().is_some_and(|recorded| recorded.is_same(state)) {
            return;
        }
        journal.record(state.clone());
        self.recorded = Some(state.clone());
        self.recorded_at = if now == f64::MAX { 0.0 } else { now };
    }
}
