//! An open document with its tools, its history and the fill that is being made. Knows no window.

use std::sync::Arc;

use emberbrush_pipeline::request::Extension;

use super::{
    brush::{Stroke, StrokePoint},
    candidate::{Candidate, FillResult},
    document::Document,
    fill::FillError,
    geometry::Point,
    history::{Edit, History},
    journal::OpenDocument,
    layer::LayerId,
    mask::{self, Combine, EdgeChange, MaskTiles},
    screen_image::{self, ScreenImage},
    selection::Selection,
    tools::{Tool, Tools},
};

/// What the pointer is doing while its button is down.
#[derive(Debug, Clone)]
pub enum Gesture {
    /// A brush draws.
    Stroke {
        /// The stroke.
        stroke: Box<Stroke>,
        /// The document before it.
        before: Box<Document>,
    },
    /// A rectangle or a gradient is drawn out from a corner to where the pointer is.
    Span {
        /// Where it began.
        from: Point,
        /// Where the pointer is.
        to: Point,
    },
    /// A line is drawn around something.
    Lasso(Vec<Point>),
}

/// An open document.
#[derive(Debug, Clone)]
pub struct Editor {
    state: OpenDocument,
    history: History,
    gesture: Option<Gesture>,
    /// The picture without layers.
    original: ScreenImage,
    /// The picture with all visible layers.
    image: ScreenImage,
    candidate: Option<Candidate>,
    /// The tools.
    pub tools: Tools,
    /// What the next fill adds on the sides.
    pub extension: Extension,
}

impl Editor {
    /// Opens a document. Takes longer than a frame for large ones.
    pub fn new(state: OpenDocument) -> Self {
        let original = screen_image::original(&state.document);
        let image = screen_image::with_layers(&original, &state.document);
        Self {
            state,
            history: History::default(),
            gesture: None,
            original,
            image,
            candidate: None,
            tools: Tools::default(),
            extension: Extension::default(),
        }
    }

    /// The document, where it was saved, and whether all of it was.
    pub fn state(&self) -> &OpenDocument {
        &self.state
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.state.document
    }

    /// The file that now holds `saved`, which is this document or an earlier state of it.
    pub fn saved(&mut self, file: std::path::PathBuf, saved: &Document) {
        let document = &mut self.state.document;
        let is_all = saved.shows_the_same(document)
            && saved.mask().changed_tiles(document.mask()).is_empty()
            && saved.sketch().changed_tiles(document.sketch()).is_empty();
        if let Some(name) = file.file_stem() {
            document.name = name.to_string_lossy().into_owned();
        }
        self.state.file = Some(file);
        self.state.unsaved = !is_all;
    }

    /// What the person sees: the picture with the result that is being compared, or with all
    /// visible layers.
    pub fn shown(&self) -> &ScreenImage {
        self.candidate.as_ref().and_then(Candidate::image).unwrap_or(&self.image)
    }

    /// What the screen shows with all visible layers.
    pub fn image(&self) -> &ScreenImage {
        &self.image
    }

    /// What the screen shows without layers.
    pub fn original(&self) -> &ScreenImage {
        &self.original
    }

    /// What the pointer is doing.
    pub fn gesture(&self) -> Option<&Gesture> {
        self.gesture.as_ref()
    }

    /// The results that are compared.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.candidate.as_ref()
    }

    /// The history.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The pointer's button went down. Tools that work at once do so; others begin.
    pub fn press(&mut self, point: StrokePoint) {
        self.abort();
        if let Some(ink) = self.tools.ink() {
            let stroke = Stroke::new(self.tools.brush, ink, self.state.document.sketch());
            let before = Box::new(self.state.document.clone());
            self.gesture = Some(Gesture::Stroke { stroke: Box::new(stroke), before });
            self.drag(point);
            return;
        }
        let size = self.state.document.size();
        match (self.tools.tool, point.at.pixel(size)) {
            (Tool::Rectangle | Tool::Gradient, _) => {
                self.gesture = Some(Gesture::Span { from: point.at, to: point.at });
            }
            (Tool::Lasso, _) => self.gesture = Some(Gesture::Lasso(vec![point.at])),
            (Tool::Wand, Some(pixel)) => {
                self.select(&Selection::wand(self.image.pixels(), pixel, self.tools.tolerance));
            }
            (Tool::Bucket, Some(pixel)) => {
                self.select(&Selection::region(self.state.document.mask(), pixel));
            }
            (Tool::Eyedropper, Some(pixel)) => self.pick_colour(pixel),
            _ => {}
        }
    }

    /// The pointer moved with its button down.
    pub fn drag(&mut self, point: StrokePoint) {
        match &mut self.gesture {
            Some(Gesture::Stroke { stroke, .. }) => {
                let (mask, sketch) = self.state.document.surfaces_mut();
                stroke.extend(point, mask, sketch);
            }
            Some(Gesture::Span { to, .. }) => *to = point.at,
            Some(Gesture::Lasso(points)) => points.push(point.at),
            None => {}
        }
    }

    /// The button was let go. Returns whether the document changed.
    pub fn release(&mut self) -> bool {
        let size = self.state.document.size();
        match self.gesture.take() {
            Some(Gesture::Stroke { stroke, before }) => {
                let edit = match stroke.ink() {
                    super::brush::Ink::MaskPaint | super::brush::Ink::MaskErase => Edit::MaskStroke,
                    _ => Edit::SketchStroke,
                };
                self.record(edit, *before);
                true
            }
            Some(Gesture::Span { from, to }) => {
                let selection = match self.tools.tool {
                    Tool::Gradient => Selection::gradient(from, to, size),
                    _ => Selection::rectangle(from, to, size),
                };
                self.select(&selection)
            }
            Some(Gesture::Lasso(points)) => self.select(&Selection::lasso(&points, size)),
            None => false,
        }
    }

    /// Takes back what the pointer has done since its button went down. Returns whether there was
    /// anything.
    pub fn abort(&mut self) -> bool {
        match self.gesture.take() {
            Some(Gesture::Stroke { before, .. }) => {
                self.state.document = *before;
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    fn select(&mut self, selection: &Selection) -> bool {
        if selection.area().is_empty() {
            return false;
        }
        let how = self.tools.combine;
        self.edit(Edit::MaskSelection, |document| {
            mask::combine(document.surfaces_mut().0, selection, how);
        });
        true
    }

    fn pick_colour(&mut self, (x, y): (u32, u32)) {
        let sketched = self.state.document.sketch().get(x, y).filter(|pixel| pixel[3] > 127);
        let Some([red, green, blue, _]) = sketched.or_else(|| self.image.pixels().get(x, y)) else {
            return;
        };
        self.tools.colour = [red, green, blue];
        self.tools.tool = Tool::ColourBrush;
    }

    /// Changes the document in one step that can be undone.
    pub fn edit(&mut self, edit: Edit, change: impl FnOnce(&mut Document)) {
        self.abort();
        let before = self.state.document.clone();
        change(&mut self.state.document);
        self.record(edit, before);
    }

    fn record(&mut self, edit: Edit, before: Document) {
        self.bring_images_up_to_date(&before);
        self.remember(edit, before);
    }

    fn remember(&mut self, edit: Edit, before: Document) {
        self.history.record(edit, before, &self.state.document);
        self.state.unsaved = true;
    }

    fn bring_images_up_to_date(&mut self, before: &Document) {
        let document = &self.state.document;
        if !Arc::ptr_eq(before.picture(), document.picture()) {
            self.original = screen_image::original(document);
            self.image = screen_image::with_layers(&self.original, document);
        } else if !before.shows_the_same(document) {
            self.image = screen_image::after(&self.image, before, document);
        }
    }

    /// Marks everything that is not marked, and the other way round.
    pub fn invert_mask(&mut self) {
        self.edit(Edit::MaskChange, |document| mask::invert(document.surfaces_mut().0));
    }

    /// Removes the mask. Nothing happens where there is none.
    pub fn clear_mask(&mut self) {
        if !mask::is_empty(self.state.document.mask()) {
            let (width, height) = self.state.document.size();
            self.edit(Edit::MaskChange, |document| {
                document.set_mask(MaskTiles::new(width, height, 0));
            });
        }
    }

    /// Removes the sketch. Nothing happens where there is none.
    pub fn clear_sketch(&mut self) {
        if !self.state.document.sketch().is_all([0; 4]) {
            let (width, height) = self.state.document.size();
            self.edit(Edit::SketchChange, |document| {
                document.set_sketch(super::document::SketchTiles::new(width, height, [0; 4]));
            });
        }
    }

    /// Moves the edge of the mask.
    pub fn change_edge(&mut self, change: EdgeChange) {
        self.edit(Edit::MaskChange, |document| {
            mask::change_edge(document.surfaces_mut().0, change);
        });
    }

    /// Marks everything.
    pub fn mask_all(&mut self) {
        let (width, height) = self.state.document.size();
        let value = if self.tools.combine == Combine::Add { 255 } else { 0 };
        self.edit(Edit::MaskChange, |document| {
            document.set_mask(MaskTiles::new(width, height, value));
        });
    }

    /// Puts a mask that was opened in place of the present one.
    pub fn replace_mask(&mut self, mask: MaskTiles) {
        self.edit(Edit::MaskChange, |document| document.set_mask(mask));
    }

    /// Takes the last step back.
    pub fn undo(&mut self) -> bool {
        if self.abort() {
            return true;
        }
        let before = self.state.document.clone();
        let done = self.history.undo(&mut self.state.document).is_some();
        self.after_walk(&before, done)
    }

    /// Makes it again.
    pub fn redo(&mut self) -> bool {
        self.abort();
        let before = self.state.document.clone();
        let done = self.history.redo(&mut self.state.document).is_some();
        self.after_walk(&before, done)
    }

    fn after_walk(&mut self, before: &Document, done: bool) -> bool {
        if done {
            // A name that came from saving is not taken back.
            self.state.document.name.clone_from(&before.name);
            self.state.unsaved = true;
            self.bring_images_up_to_date(before);
        }
        done
    }

    /// A result of a fill came. The first one of a job takes the place of results that were not
    /// accepted. One for another picture is left.
    pub fn add_result(&mut self, result: FillResult) {
        if result.is_of(&self.state.document) {
            self.candidate = Some(Candidate::with(self.candidate.take(), result));
        }
    }

    /// Shows another result.
    pub fn choose_result(&mut self, index: usize) {
        if let Some(candidate) = &mut self.candidate {
            candidate.choose(index);
        }
    }

    /// Takes the result that is shown, with all others of its fill, into the document.
    ///
    /// # Errors
    ///
    /// Where it does not fit the document any more.
    pub fn accept_result(&mut self) -> Result<bool, FillError> {
        let Some(candidate) = self.candidate.take() else { return Ok(false) };
        let (accepted, image) = candidate.accept(&self.state.document)?;
        self.extension = Extension::default();
        self.abort();
        let before = std::mem::replace(&mut self.state.document, accepted);
        match image {
            Some(image) => self.image = image,
            None => self.bring_images_up_to_date(&before),
        }
        self.remember(Edit::Fill, before);
        Ok(true)
    }

    /// Leaves all results of the fill.
    pub fn discard_results(&mut self) -> bool {
        self.candidate.take().is_some()
    }

    /// Changes a layer in one step that can be undone.
    pub fn edit_layer(&mut self, id: LayerId, change: impl FnOnce(&mut Document, LayerId)) {
        self.edit(Edit::LayerChange, |document| change(document, id));
    }
}
