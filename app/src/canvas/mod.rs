//! The Canvas place: a picture, masks and layers.

use std::{path::Path, sync::Arc};

use egui::{Context, Ui};
use emberbrush_pipeline::picture::Picture;

use crate::{
    engine::Event,
    window::{PlaceContext, journal::Journal},
};

/// The Canvas place.
#[derive(Debug, Default)]
pub struct CanvasPlace {
    name: Option<String>,
}

impl CanvasPlace {
    /// Brings back what the journal holds.
    pub fn new(_journal: &Journal) -> Self {
        Self::default()
    }

    /// The centre of the window.
    pub fn ui(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        ui.centered_and_justified(|ui| ui.label(context.words.get("canvas-empty")));
    }

    /// The right panel.
    pub fn side_panel(&mut self, _ui: &mut Ui, _context: &mut PlaceContext<'_>) {}

    /// Ctrl+Enter: fills what the mask marks.
    pub fn generate(&mut self, _context: &mut PlaceContext<'_>) {}

    /// Something happened to one of its jobs.
    pub fn on_event(&mut self, _ctx: &Context, _event: &Event) {}

    /// Opens a picture as a new document.
    pub fn open(&mut self, _picture: Arc<Picture>, path: Option<&Path>) {
        self.name = path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    }

    /// The name of the document, for the bar.
    pub fn document_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {}

    /// Makes it again.
    pub fn redo(&mut self) {}

    /// Whether there is something to undo.
    pub fn can_undo(&self) -> bool {
        false
    }

    /// Whether there is something to redo.
    pub fn can_redo(&self) -> bool {
        false
    }
}
