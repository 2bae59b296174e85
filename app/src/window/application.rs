//! The state of the window, and what is done with it before each frame.

use std::path::Path;

use egui::Context;
use emberbrush_pipeline::device::DeviceInfo;

use super::{
    adapter_panel::LoraShelf,
    asking::Asked,
    completion::CompletionState,
    dialogs::Dialogs,
    gallery::GalleryPlace,
    grid::{SHEETS, Sheets},
    journal::Journal,
    library_section::LibraryState,
    models_page::FoundModel,
    notification::{self, Notify},
    overlay::Overlay,
    place::{ModelState, Notice, Place},
    preferences::Preferences,
    queue::{Entry, Queue},
    remembering::Written,
    results::Results,
    session::{PREFERENCES, QUEUE, SESSION, Session},
    settings::GenerationSettings,
    styles::Styles,
    theme,
    timeline::Timeline,
    words::Words,
};
use crate::{
    canvas::CanvasPlace,
    engine::{Command, Engine, EngineHandle, Event, JobEnd, Setup},
    failure::Failure,
};

/// Endings of the pictures that can be read.
pub(super) const PICTURES: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tiff", "tif", "bmp"];

/// What a window begins with.
pub struct Start<F> {
    /// Where it remembers things.
    pub journal: Journal,
    /// Makes the engine, on its thread.
    pub engine: F,
}

/// Puts a file into the system's bin, or tells why it could not.
pub type Bin = Box<dyn Fn(&Path) -> Result<(), String>>;

/// The whole window.
pub struct Window {
    pub(super) journal: Journal,
    pub(super) preferences: Preferences,
    pub(super) words: Words,
    pub(super) engine: EngineHandle,
    pub(super) model: ModelState,
    /// What the settings last had loaded.
    pub(super) asked_for: Setup,
    pub(super) devices: Option<Vec<DeviceInfo>>,
    pub(super) session: Session,
    pub(super) settings: GenerationSettings,
    pub(super) timeline: Timeline<GenerationSettings>,
    pub(super) queue: Queue,
    pub(super) sheets: Sheets,
    pub(super) results: Results,
    pub(super) canvas: CanvasPlace,
    pub(super) gallery: GalleryPlace,
    pub(super) bin: Bin,
    pub(super) dialogs: Dialogs,
    /// The dialog that is open.
    pub(super) asked: Option<Asked>,
    pub(super) notify: Notify,
    /// Pictures that were made since the queue was last empty.
    pub(super) made: u32,
    pub(super) notices: Vec<Notice>,
    /// The notice in view, and since when.
    pub(super) shown_notice: Option<(Notice, f64)>,
    pub(super) overlay: Overlay,
    pub(super) models: Vec<FoundModel>,
    pub(super) library: LibraryState,
    pub(super) styles: Styles,
    pub(super) lora_shelf: LoraShelf,
    pub(super) completion: CompletionState,
    /// The name under which the settings are to be saved.
    pub(super) style_name: String,
    /// Why the last job failed, until the next one begins.
    pub(super) failure: Option<Failure>,
    pub(super) written: Written,
    /// When settings were last changed, in seconds since the start.
    pub(super) last_change: f64,
    /// Whether a run was asked for before the checkpoint was ready.
    pub(super) generates_when_ready: bool,
    /// Whether the first picture on a device is yet to be made, which takes minutes.
    pub(super) awaits_kernels: bool,
    /// Whether the timeline knows already what was changed in this frame.
    pub(super) is_recorded: bool,
}

impl Window {
    /// Brings back what the journal holds, starts the engine and lets it load the checkpoint.
    ///
    /// # Errors
    ///
    /// Where the system refuses a thread.
    pub fn new<E, F>(ctx: &Context, start: Start<F>) -> std::io::Result<Self>
    where
        E: Engine,
        F: Fn() -> E + Send + 'static,
    {
        let Start { journal, engine } = start;
        let preferences: Preferences = journal.read(PREFERENCES).unwrap_or_default();
        let session: Session = journal.read(SESSION).unwrap_or_default();
        let queue: Queue = journal.read::<Queue>(QUEUE).unwrap_or_default().restored();
        theme::install(ctx);
        let waker = ctx.clone();
        let engine = EngineHandle::start(engine, move || waker.request_repaint())?;
        let settings = session.settings.clone();
        let source = settings.as_ref().map(|settings| settings.model.clone()).unwrap_or_default();
        let asked_for = Setup {
            model: source.clone(),
            vae: settings.as_ref().and_then(|settings| settings.vae.clone()),
            device: preferences.device,
        };
        engine.send(Command::Load(asked_for.clone()));
        engine.send(Command::ListDevices);
        let mut window = Self {
            words: Words::new(preferences.language),
            engine,
            model: ModelState::Loading(source.clone()),
            asked_for,
            devices: None,
            settings: settings.unwrap_or_else(|| {
                let defaults = crate::cli::Defaults::WITHOUT_CHECKPOINT.request();
                GenerationSettings::recommended(source, &defaults)
            }),
            timeline: Timeline::default(),
            sheets: Sheets::new(journal.read(SHEETS).unwrap_or_default()),
            results: Results::default(),
            canvas: CanvasPlace::new(&journal),
            gallery: GalleryPlace::new(ctx, journal.folder())?,
            bin: Box::new(|path| trash::delete(path).map_err(|error| error.to_string())),
            dialogs: Dialogs::default(),
            asked: None,
            notify: notification::of_the_system(),
            made: 0,
            notices: Vec::new(),
            shown_notice: None,
            overlay: Overlay::None,
            models: Vec::new(),
            library: LibraryState::default(),
            styles: Styles::read(journal.folder()),
            lora_shelf: LoraShelf::default(),
            completion: CompletionState::default(),
            style_name: String::new(),
            failure: None,
            written: Written {
                session: session.clone(),
                preferences: preferences.clone(),
                queue: queue.revision(),
                sheets: Vec::new(),
            },
            last_change: 0.0,
            generates_when_ready: false,
            awaits_kernels: false,
            is_recorded: false,
            session,
            queue,
            preferences,
            journal,
        };
        window.apply_preferences(ctx);
        window.gallery.scan(ctx, &window.preferences.pictures_folder);
        Ok(window)
    }

    /// The settings of the next pictures.
    pub fn settings(&self) -> &GenerationSettings {
        &self.settings
    }

    /// Puts a prompt in the place of the one that is there, as one step that can be undone.
    pub fn set_prompt(&mut self, prompt: &str) {
        self.change_settings("prompt-set", |settings| settings.prompt = prompt.to_owned());
    }

    /// Sets the size of the next pictures in pixels, as one step that can be undone.
    pub fn set_size(&mut self, width: u32, height: u32) {
        self.change_settings("size-set", |settings| {
            (settings.width, settings.height) = (width, height);
        });
    }

    /// The picture by which a checkpoint of the models page is known, by its place in the list.
    pub fn picture_of_model(&self, place: usize) -> Option<&Path> {
        self.models.get(place)?.picture.as_ref().map(|(path, _)| path.as_path())
    }

    /// Sets a seed, which stays.
    pub fn set_seed(&mut self, seed: u64) {
        self.change_settings("seed-set", |settings| {
            settings.seed = seed;
            settings.seed_is_locked = true;
        });
    }

    /// The Gallery place.
    pub fn gallery(&self) -> &GalleryPlace {
        &self.gallery
    }

    /// The list of jobs.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The pictures of this session.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// The place in view.
    pub fn place(&self) -> Place {
        self.session.place
    }

    /// The Canvas place.
    pub fn canvas(&self) -> &CanvasPlace {
        &self.canvas
    }

    /// Where things are remembered.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Everything that happens without being seen: events of the engine, the next job, the
    /// journal. Called before each frame.
    pub fn logic(&mut self, ctx: &Context) {
        while let Some(event) = self.engine.poll() {
            self.on_event(ctx, event);
        }
        self.gallery.logic(ctx, self.session.place == Place::Gallery);
        self.poll_model_work();
        self.take_answer(ctx);
        if let Some(job) = self.canvas.filling()
            && !self.queue.get(job).is_some_and(Entry::is_open)
        {
            // It was taken back before its turn came, so the engine has nothing to tell.
            self.canvas.on_event(ctx, &Event::Ended(job, JobEnd::Cancelled));
        }
        if self.setup() != self.asked_for {
            // Such as after an undo.
            self.load();
        }
        self.begin_next_job();
        self.write_sheets(ctx);
        self.remember();
    }

    /// Puts files somewhere else than into the system's bin.
    pub fn set_bin(&mut self, bin: Bin) {
        self.bin = bin;
    }

    /// Asks for files and folders in another way than with the dialogs of the system.
    pub fn set_dialogs(&mut self, dialogs: Dialogs) {
        self.canvas.set_dialogs(dialogs.clone());
        self.dialogs = dialogs;
    }

    /// Tells in another way than with the system's notifications that pictures are done.
    pub fn set_notify(&mut self, notify: Notify) {
        self.notify = notify;
    }

    /// Downloads models from somewhere else than where the environment says.
    #[cfg(feature = "download")]
    pub fn set_hub(&mut self, hub: emberbrush_library::hub::Hub) {
        self.library.hub = Some(hub);
    }

    pub(super) fn tell(&mut self, message: String) {
        self.notices.push(Notice { message, details: None, is_error: false });
    }

    pub(super) fn tell_error(&mut self, failure: impl Into<Failure>) {
        let Failure { explanation, details } = failure.into();
        let message = self.words.explain(&explanation);
        self.notices.push(Notice { message, details: Some(details), is_error: true });
    }

    /// Makes the window look as the preferences say.
    pub(super) fn apply_preferences(&mut self, ctx: &Context) {
        if self.words.language() != self.preferences.language {
            self.words = Words::new(self.preferences.language);
        }
        ctx.set_theme(egui::ThemePreference::from(self.preferences.theme));
        ctx.set_zoom_factor(self.preferences.scale);
        let reduce_motion = self.preferences.reduce_motion;
        ctx.all_styles_mut(|style| {
            style.animation_time = theme::animation_seconds(reduce_motion);
            style.visuals.text_cursor.blink = !reduce_motion;
        });
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        Window::logic(self, ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        Window::ui(self, ui);
    }

    fn on_exit(&mut self) {
        self.remember();
        self.journal.flush();
    }
}
