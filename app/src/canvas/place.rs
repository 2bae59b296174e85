//! The Canvas place: the open document between the window, the engine and the disk.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use egui::{
    Align2, ColorImage, Context, Event as Input, FontId, Frame, Key, Margin, Modifiers, Rect,
    RichText, Stroke, TextureHandle, TextureOptions, Ui, UiBuilder, pos2, vec2,
};
use emberbrush_pipeline::{picture::Picture, request::Extension};
use image::DynamicImage;

use super::{
    background::{Background, Outcome, Place},
    document::Document,
    editor::Editor,
    fill::{FillJob, FillOptions, Target},
    journal::{self, Journal, OpenDocument},
    panel::PanelState,
    surface::{Preview, Surface},
    tools::Tool,
};
use crate::{
    engine::{Delivery, Event, JobEnd, JobEvent, JobId},
    window::{
        PlaceContext, controls,
        dialogs::Dialogs,
        icons,
        journal::Journal as WindowJournal,
        queue::{NewJob, Origin},
        settings::random_seed,
        theme::{Colours, SMALL, space},
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
    wants_fill: bool,
}

/// A line for the person.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_error: bool,
}

impl CanvasPlace {
    /// Brings back what the journal holds.
    pub fn new(window: &WindowJournal) -> Self {
        let path = window.folder().join(JOURNAL);
        let mut place = Self::default();
        let failed = |error: &dyn std::fmt::Display| {
            Some(Message { text: error.to_string(), is_error: true })
        };
        match journal::recover(&path) {
            Ok(Some(state)) => place.editor = Some(Editor::new(state)),
            Ok(None) => {}
            Err(error) => place.message = failed(&error),
        }
        match Journal::start(path) {
            Ok(journal) => place.journal = Some(journal),
            Err(error) => place.message = failed(&error),
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

    /// The centre of the window.
    pub fn ui(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        for outcome in self.background.poll() {
            self.take(outcome, context);
        }
        self.take_input(ui, context);
        if std::mem::take(&mut self.wants_fill) {
            self.fill(&ui.ctx().clone(), None, context);
        }
        let Some(editor) = &mut self.editor else {
            self.empty(ui, context);
            return;
        };
        let preview = self.fill.as_ref().and_then(|fill| {
            let texture = fill.preview.as_ref()?;
            let (area, replaced) = fill.job.areas()?;
            let rect = |area: super::geometry::PixelRectangle| {
                Rect::from_min_max(
                    pos2(area.left as f32, area.top as f32),
                    pos2(area.right as f32, area.bottom as f32),
                )
            };
            Some(Preview { texture, area: rect(area), replaced: rect(replaced) })
        });
        let name = context.words.get("canvas");
        let response = self.surface.ui(ui, editor, &name, preview);
        self.floating(ui, context, response.rect);
        self.remember(ui.input(|input| input.time));
    }

    /// What floats over the picture: the tools, the size, and the last message.
    fn floating(&mut self, ui: &mut Ui, context: &PlaceContext<'_>, rect: Rect) {
        let Some(editor) = &mut self.editor else { return };
        super::tool_strip::tool_strip(
            ui,
            rect,
            context.words,
            &mut editor.tools,
            &mut self.surface,
        );
        let colours = Colours::of_ui(ui);
        let (width, height) = editor.document().size();
        let percent = self.surface.scale() * ui.pixels_per_point() * 100.0;
        let text = format!("{width} × {height}  ·  {percent:.0} %");
        let corner = rect.right_bottom() - vec2(space::M, space::S);
        let font = FontId::proportional(SMALL);
        let galley = ui.painter().layout_no_wrap(text, font, colours.dim);
        let place = Align2::RIGHT_BOTTOM.anchor_size(corner, galley.size());
        ui.painter().rect_filled(place.expand2(vec2(8.0, 4.0)), 4.0, colours.panel);
        ui.painter().galley(place.min, galley, colours.dim);
        let Some(message) = &self.message else { return };
        let colour = if message.is_error { colours.bad } else { colours.text };
        let width = (rect.width() - 2.0 * 72.0).clamp(120.0, 520.0);
        let area = Rect::from_min_size(
            pos2(rect.center().x - width / 2.0, rect.top() + space::M),
            vec2(width, 40.0),
        );
        let mut dismissed = false;
        ui.scope_builder(UiBuilder::new().max_rect(area), |ui| {
            Frame::new()
                .fill(colours.panel)
                .stroke(Stroke::new(1.0, colours.line))
                .corner_radius(6.0)
                .inner_margin(Margin::symmetric(12, 6))
                .show(ui, |ui| {
                    ui.horizontal(|ui| {
                        let room = ui.available_width() - 36.0;
                        ui.allocate_ui(vec2(room, 0.0), |ui| {
                            ui.add(
                                egui::Label::new(RichText::new(&message.text).color(colour)).wrap(),
                            );
                        });
                        let name = context.words.get("canvas-dismiss");
                        dismissed = controls::icon_button(ui, icons::X, &name, None).clicked();
                    });
                });
        });
        if dismissed {
            self.message = None;
        }
    }

    fn empty(&mut self, ui: &mut Ui, context: &PlaceContext<'_>) {
        let colours = Colours::of_ui(ui);
        let room = ui.available_rect_before_wrap();
        let rect = Rect::from_center_size(room.center(), vec2(380.0, 220.0).min(room.size()));
        let mut wanted = false;
        ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
            ui.vertical_centered(|ui| {
                ui.label(RichText::new(icons::IMAGE_SQUARE).size(32.0).color(colours.accent));
                controls::section(ui, &context.words.get("canvas-empty"));
                ui.label(RichText::new(context.words.get("canvas-empty-text")).color(colours.dim));
                ui.add_space(space::S);
                let label = format!("{}  {}", icons::FOLDER_OPEN, context.words.get("canvas-open"));
                wanted = ui.add(egui::Button::new(label).min_size(vec2(200.0, 32.0))).clicked();
                if let Some(message) = &self.message {
                    let colour = if message.is_error { colours.bad } else { colours.text };
                    ui.add_space(space::S);
                    ui.label(RichText::new(&message.text).color(colour));
                }
            });
        });
        if wanted {
            self.ask_to_open(ui.ctx(), context);
        }
    }

    /// Keys, drops and pastes.
    fn take_input(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        let ctx = ui.ctx().clone();
        let (dropped, pasted) = ctx.input(|input| {
            let dropped: Vec<PathBuf> =
                input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect();
            let pasted = input.events.iter().find_map(|event| match event {
                Input::PasteImage(image) => Some(Arc::clone(image)),
                _ => None,
            });
            (dropped, pasted)
        });
        if let Some(path) = dropped.into_iter().next() {
            self.background.open(&ctx, Place::At(path));
        }
        if let Some(image) = pasted {
            let name = context.words.get("canvas-pasted");
            self.show(Document::new(name, Picture::new(of_clipboard(&image))), None);
        }
        let command = |key, shift: bool| {
            let modifiers = match shift {
                true => Modifiers::COMMAND | Modifiers::SHIFT,
                false => Modifiers::COMMAND,
            };
            ctx.input_mut(|input| input.consume_key(modifiers, key))
        };
        // Those with more modifiers first: Ctrl+S is held in Ctrl+Shift+S.
        if command(Key::S, true) {
            self.save(&ctx, context, true);
        }
        if command(Key::S, false) {
            self.save(&ctx, context, false);
        }
        // Keys belong to what is open above.
        let is_covered = ctx.memory(|memory| memory.top_modal_layer().is_some());
        if ctx.text_edit_focused() || is_covered || egui::Popup::is_any_open(&ctx) {
            return;
        }
        let plain = |key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        if self.editor.as_ref().is_some_and(|editor| editor.candidate().is_some()) {
            for (key, by) in [(Key::ArrowLeft, -1), (Key::ArrowRight, 1)] {
                if plain(key) {
                    self.step_result(by);
                }
            }
            if plain(Key::Enter) {
                self.accept();
            }
        }
        if plain(Key::Escape) {
            self.escape(context);
        }
        let Some(editor) = &mut self.editor else { return };
        for tool in Tool::ALL {
            if plain(super::tool_strip::key(tool)) {
                editor.abort();
                editor.tools.tool = tool;
            }
        }
        let tools = &mut editor.tools;
        if plain(Key::X) {
            tools.swap();
        }
        if plain(Key::D) {
            tools.reset();
        }
        for (key, with_shift, more) in [
            (Key::OpenBracket, Key::OpenCurlyBracket, false),
            (Key::CloseBracket, Key::CloseCurlyBracket, true),
        ] {
            let shifted = ctx.input_mut(|input| {
                input.consume_key(Modifiers::SHIFT, key)
                    || input.consume_key(Modifiers::SHIFT, with_shift)
            });
            if shifted {
                tools.harden_brush(more);
            } else if plain(key) {
                tools.resize_brush(more);
            }
        }
    }

    /// Goes back one thing: a stroke, an extension, the fill that is made, or its results.
    fn escape(&mut self, context: &mut PlaceContext<'_>) {
        let Some(editor) = &mut self.editor else { return };
        if editor.abort() {
            return;
        }
        if editor.extension != Extension::default() && editor.candidate().is_none() {
            editor.extension = Extension::default();
        } else if let Some(fill) = &self.fill {
            context.cancelled.push(fill.id);
        } else if !editor.discard_results() {
            self.message = None;
        }
    }

    pub(super) fn step_result(&mut self, by: isize) {
        let Some(editor) = &mut self.editor else { return };
        let Some(candidate) = editor.candidate() else { return };
        let index = candidate.chosen().saturating_add_signed(by);
        let result = editor.choose_result(index);
        self.tell(result.map(|()| None));
    }

    pub(super) fn accept(&mut self) {
        let Some(editor) = &mut self.editor else { return };
        let result = editor.accept_result();
        self.tell(result.map(|_| None));
    }

    pub(super) fn tell<E: std::fmt::Display>(&mut self, result: Result<Option<String>, E>) {
        match result {
            Ok(None) => {}
            Ok(Some(text)) => self.message = Some(Message { text, is_error: false }),
            Err(error) => self.message = Some(Message { text: error.to_string(), is_error: true }),
        }
    }

    fn take(&mut self, outcome: Outcome, context: &mut PlaceContext<'_>) {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match outcome {
            Outcome::Opened(state) => self.show_state(*state),
            Outcome::Saved(path, document) => {
                let text = context.words.with("canvas-saved", [("file", name(&path).into())]);
                self.message = Some(Message { text, is_error: false });
                if let Some(editor) = &mut self.editor {
                    editor.saved(path, &document);
                }
            }
            Outcome::Exported(path) | Outcome::MaskSaved(path) => {
                let text = context.words.with("canvas-saved", [("file", name(&path).into())]);
                self.message = Some(Message { text, is_error: false });
            }
            Outcome::Mask(mask) => {
                if let Some(editor) = &mut self.editor {
                    editor.replace_mask(mask);
                }
            }
            Outcome::Fill(job) => self.begin_fill(*job, context),
            Outcome::Nothing => {}
            Outcome::Failed(error) => self.tell::<_>(Err(error)),
        }
    }

    fn begin_fill(&mut self, job: FillJob, context: &mut PlaceContext<'_>) {
        let id = context.queue.add(NewJob {
            origin: Origin::Canvas,
            request: job.request.clone(),
            model: context.settings.model.clone(),
            vae: context.settings.vae.clone(),
            delivery: Delivery::Folder {
                folder: context.preferences.pictures_folder.clone(),
                format: context.preferences.format,
            },
            sources: Some(job.pictures.clone()),
        });
        let steps = job.request.steps;
        let job = Arc::new(job);
        self.fill = Some(RunningFill { id, job, index: 0, step: 0, steps, preview: None });
    }

    /// The right panel.
    pub fn side_panel(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        super::panel::side_panel(self, ui, context);
    }

    /// Ctrl+Enter: fills what the mask marks, or what was dragged out.
    pub fn generate(&mut self, context: &mut PlaceContext<'_>) {
        if self.editor.is_some() {
            self.wants_fill = true;
        } else {
            let text = context.words.get("canvas-open-first");
            self.message = Some(Message { text, is_error: true });
        }
    }

    /// The job of the fill that is made or waits for its turn.
    pub fn filling(&self) -> Option<JobId> {
        self.fill.as_ref().map(|fill| fill.id)
    }

    /// Whether a fill can be asked for now.
    pub fn can_fill(&self) -> bool {
        self.editor.is_some() && self.fill.is_none() && !self.background.is_busy()
    }

    /// Stops the fill that is made or waits for its turn.
    pub fn cancel(&self, context: &mut PlaceContext<'_>) {
        context.cancelled.extend(self.filling());
    }

    /// Prepares a fill and asks the engine for it.
    pub(super) fn fill(
        &mut self,
        ctx: &Context,
        target: Option<Target>,
        context: &PlaceContext<'_>,
    ) {
        let Some(editor) = &mut self.editor else { return };
        if self.fill.is_some() || self.background.is_busy() {
            return;
        }
        let Some(model) = context.model else {
            let text = context.words.get("canvas-no-model");
            self.message = Some(Message { text, is_error: true });
            return;
        };
        editor.abort();
        let target = target.unwrap_or_else(|| match editor.extension {
            extension if extension != Extension::default() => Target::Extension(extension),
            _ => Target::Mask,
        });
        let mut base = context.settings.request_on_canvas();
        if !context.settings.seed_is_locked {
            base.seed = random_seed();
        }
        self.message = None;
        let document = editor.document().clone();
        self.background.prepare_fill(ctx, document, target, self.options, base, model.native_side);
    }

    /// Something happened to one of its jobs.
    pub fn on_event(&mut self, ctx: &Context, event: &Event) {
        let id = match event {
            Event::Job(id, _) | Event::Ended(id, _) => *id,
            _ => return,
        };
        let Some(fill) = self.fill.as_mut().filter(|fill| fill.id == id) else { return };
        match event {
            Event::Job(_, JobEvent::Started { index, .. }) => {
                fill.index = *index;
                fill.step = 0;
                fill.preview = None;
            }
            Event::Job(_, JobEvent::Step { step, steps, preview, .. }) => {
                (fill.step, fill.steps) = (*step, *steps);
                if let Some(preview) = preview {
                    let size = [preview.width() as usize, preview.height() as usize];
                    let image = ColorImage::from_rgb(size, preview.as_raw());
                    let options = TextureOptions::LINEAR;
                    fill.preview = Some(ctx.load_texture("fill preview", image, options));
                }
            }
            Event::Job(_, JobEvent::Picture(finished)) => {
                fill.preview = None;
                let job = Arc::clone(&fill.job);
                let Some(editor) = &mut self.editor else { return };
                let result = editor.add_result(&job, finished.index, &finished.picture);
                self.tell(result.map(|()| None));
            }
            Event::Ended(_, end) => {
                self.fill = None;
                if let JobEnd::Failed(failure) = end {
                    let text = failure.message.clone();
                    self.message = Some(Message { text, is_error: true });
                }
            }
            _ => {}
        }
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

    fn show(&mut self, document: Document, file: Option<PathBuf>) {
        self.show_state(OpenDocument { document, file, unsaved: false });
    }

    fn show_state(&mut self, state: OpenDocument) {
        let tools = self.editor.as_ref().map(|editor| editor.tools);
        let mut editor = Editor::new(state);
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
    fn remember(&mut self, now: f64) {
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

fn of_clipboard(image: &ColorImage) -> DynamicImage {
    let pixels: Vec<u8> =
        image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
    let [width, height] = image.size.map(|side| side as u32);
    let pixels = image::RgbaImage::from_raw(width, height, pixels).unwrap_or_default();
    if pixels.pixels().all(|pixel| pixel.0[3] == 255) {
        // An alpha channel that says nothing would only cost room.
        return DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).to_rgb8());
    }
    DynamicImage::ImageRgba8(pixels)
}
