//! The state of the window, and how events and commands change it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use egui::Context;
use emberbrush_pipeline::{
    adapters::UnusedKeys,
    device::DeviceInfo,
    metadata::{self, MadeWith, VaeRecord},
    prompt::PromptSyntax,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    actions::Action,
    adapter_panel::LoraShelf,
    asking::Asked,
    completion::CompletionState,
    dialogs::{Dialogs, Question},
    gallery::{GalleryAction, GalleryPlace},
    grid::{PendingSheet, SHEETS, Sheets},
    history::History,
    journal::Journal,
    library_section::LibraryState,
    models_page::FoundModel,
    notification::{self, Notify},
    overlay::Overlay,
    palette::Palette,
    preferences::{Preferences, Previews},
    preferences_page::PreferencesPage,
    queue::{Entry, NewJob, Origin, Queue},
    results::Results,
    session::{PREFERENCES, PROMPTS, QUEUE, SESSION, Session},
    settings::{GenerationSettings, random_seed},
    styles::Styles,
    theme,
    timeline::Timeline,
    words::Words,
};
use crate::{
    canvas::CanvasPlace,
    engine::{
        Command, Delivery, Engine, EngineHandle, Event, Failure, JobEnd, JobEvent, JobId,
        LoadedModel, ModelSource, Setup,
    },
};

/// Endings of the pictures that can be read.
pub(super) const PICTURES: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tiff", "tif", "bmp"];

/// A place of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Where pictures are made.
    #[default]
    Prompt,
    /// Where pictures are changed.
    Canvas,
    /// Where pictures are found.
    Gallery,
}

/// What a window begins with.
pub struct Start<F> {
    /// Where it remembers things.
    pub journal: Journal,
    /// Makes the engine, on its thread.
    pub engine: F,
}

/// How far the checkpoint that is chosen is.
#[derive(Debug, Clone)]
pub(super) enum ModelState {
    /// It is being loaded.
    Loading(ModelSource),
    /// It is ready.
    Ready(Arc<LoadedModel>),
    /// It cannot be loaded.
    Failed(ModelSource, Failure),
}

/// Something that a person should know.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What happened and what to do.
    pub message: String,
    /// More, to copy.
    pub details: Option<String>,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// What a place is given to draw and to act.
pub struct PlaceContext<'a> {
    /// The words of the window.
    pub words: &'a Words,
    /// How a person wants the program to be.
    pub preferences: &'a Preferences,
    /// The settings of the Prompt place: prompt, sampler, steps, seed…
    pub settings: &'a GenerationSettings,
    /// The checkpoint, where one is ready.
    pub model: Option<&'a Arc<LoadedModel>>,
    /// Where things are remembered.
    pub journal: &'a Journal,
    /// The list of jobs: add one with [`Origin::Canvas`] and its events come to
    /// [`CanvasPlace::on_event`].
    pub queue: &'a mut Queue,
    /// Jobs that the engine is to stop.
    pub cancelled: &'a mut Vec<JobId>,
    /// What a person should know.
    pub notices: &'a mut Vec<Notice>,
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
    asked_for: Setup,
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
    notify: Notify,
    /// Pictures that were made since the queue was last empty.
    made: u32,
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
    saved_session: Session,
    saved_queue: (u64, bool, bool),
    saved_sheets: Vec<PendingSheet>,
    /// When settings were last changed, in seconds since the start.
    pub(super) last_change: f64,
    /// Whether a run was asked for before the checkpoint was ready.
    generates_when_ready: bool,
    /// Whether the timeline knows already what was changed in this frame.
    pub(super) is_recorded: bool,
    saved_preferences: Preferences,
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
            saved_sheets: Vec::new(),
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
            saved_session: session.clone(),
            saved_queue: queue.revision(),
            last_change: 0.0,
            generates_when_ready: false,
            is_recorded: false,
            saved_preferences: preferences.clone(),
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

    fn on_event(&mut self, ctx: &Context, event: Event) {
        match event {
            Event::Loading(source) => self.model = ModelState::Loading(source),
            Event::Loaded(model) => self.on_loaded(model),
            Event::LoadFailed(source, failure) => self.model = ModelState::Failed(source, failure),
            Event::Devices(devices) => self.devices = Some(devices),
            Event::Job(id, event) => self.on_job_event(ctx, id, event),
            Event::Ended(id, end) => self.on_job_ended(ctx, id, end),
        }
    }

    fn on_loaded(&mut self, model: Arc<LoadedModel>) {
        if self.settings.model == model.source {
            // A first start takes what the checkpoint recommends; later ones keep what was set.
            if self.session.awaits_recommendation {
                self.session.awaits_recommendation = false;
                let prompts = (self.settings.prompt.clone(), self.settings.negative.clone());
                self.settings =
                    GenerationSettings::recommended(model.source.clone(), &model.defaults);
                (self.settings.prompt, self.settings.negative) = prompts;
                self.settings.seed = random_seed();
            }
        }
        self.model = ModelState::Ready(model);
        if std::mem::take(&mut self.generates_when_ready) {
            self.queue_settings();
        }
    }

    fn on_job_event(&mut self, ctx: &Context, id: JobId, mut event: JobEvent) {
        if let JobEvent::Step { preview, .. } = &mut event
            && self.preferences.previews == Previews::Off
        {
            *preview = None;
        }
        let Some(entry) = self.queue.get(id) else { return };
        let (origin, steps) = (entry.origin, entry.request.steps);
        if let JobEvent::UnusedKeys(unused) = &event {
            self.tell_of_unused_keys(unused);
        }
        if let JobEvent::Picture(finished) = &event {
            self.queue.picture_made(id);
            self.made += 1;
            if let Some(path) = &finished.path {
                self.gallery.added(path);
                self.sheets.picture_made(id, path);
            }
        }
        if origin == Origin::Canvas {
            let event = Event::Job(id, event);
            self.canvas.on_event(ctx, &event);
            return;
        }
        self.results.on_event(ctx, id, steps, event);
    }

    fn on_job_ended(&mut self, ctx: &Context, id: JobId, end: JobEnd) {
        let origin = self.queue.get(id).map(|entry| entry.origin);
        self.queue.ended(id, end.clone());
        if self.queue.open_count() == 0 {
            self.tell_that_all_is_done(ctx);
        }
        if origin == Some(Origin::Canvas) {
            self.canvas.on_event(ctx, &Event::Ended(id, end));
            return;
        }
        self.results.ended(end == JobEnd::Cancelled);
        match end {
            JobEnd::Failed(failure) => self.failure = Some(failure),
            JobEnd::Cancelled => self.queue.forever = false,
            JobEnd::Done => {}
        }
    }

    fn tell_of_unused_keys(&mut self, unused: &UnusedKeys) {
        let file = Path::new(&unused.path).file_name().unwrap_or_default();
        let arguments = [
            ("file", file.to_string_lossy().into_owned().into()),
            ("count", unused.keys.len().into()),
        ];
        let message = self.words.with("notice-unused-keys", arguments);
        let details = Some(unused.keys.join("\n"));
        self.notices.push(Notice { message, details, is_error: false });
    }

    /// Writes the tables whose pictures are all there, and shows those that were written.
    fn write_sheets(&mut self, ctx: &Context) {
        let queue = &self.queue;
        self.sheets.write_whole(ctx, |job| queue.get(job).is_some_and(Entry::is_open));
        for written in self.sheets.written() {
            match written {
                Ok(path) => {
                    self.gallery.added(&path);
                    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.tell(self.words.with("notice-sheet", [("file", file.into())]));
                }
                Err(error) => self.tell_error(error),
            }
        }
    }

    /// A note in the window where many pictures were made, and one of the system where the window
    /// is not in front.
    fn tell_that_all_is_done(&mut self, ctx: &Context) {
        let made = std::mem::take(&mut self.made);
        if made == 0 || self.queue.forever {
            return;
        }
        let text = self.words.with("notice-done", [("pictures", made.into())]);
        if self.preferences.notify && !ctx.input(|input| input.focused) {
            (self.notify)("Emberbrush", &text);
            let attention = egui::UserAttentionType::Informational;
            ctx.send_viewport_cmd(egui::ViewportCommand::RequestUserAttention(attention));
        }
        if made > 1 {
            self.tell(text);
        }
    }

    fn begin_next_job(&mut self) {
        if !matches!(self.model, ModelState::Ready(_)) && self.queue.running().is_none() {
            // Nothing is begun while a checkpoint is loaded that may not be the job's.
            if matches!(self.model, ModelState::Loading(_)) {
                return;
            }
        }
        if self.queue.forever && self.queue.open_count() == 0 && self.failure.is_none() {
            self.queue_settings();
        }
        if let Some(job) = self.queue.begin_next(&self.preferences) {
            self.failure = None;
            self.engine.send(Command::Run(Box::new(job)));
        }
    }

    /// Puts the settings into the queue and draws the next seed.
    pub(super) fn queue_settings(&mut self) {
        if self.session.awaits_recommendation {
            // Size and steps are not known yet; the first run begins with those of the checkpoint.
            self.generates_when_ready = true;
            return;
        }
        if !self.settings.seed_is_locked {
            self.settings.seed = random_seed();
        }
        let request = self.settings.request();
        if let Err(error) = request.check() {
            self.failure = Some(Failure::new(error.to_string()));
            self.queue.forever = false;
            return;
        }
        self.failure = None;
        self.remember_prompt();
        self.queue.add(NewJob {
            origin: Origin::Prompt,
            request,
            model: self.settings.model.clone(),
            vae: self.settings.vae.clone(),
            delivery: Delivery::Folder {
                folder: self.preferences.pictures_folder.clone(),
                format: self.preferences.format,
            },
            sources: None,
        });
    }

    fn remember_prompt(&mut self) {
        if !self.settings.prompt.trim().is_empty() {
            self.journal.append(PROMPTS, &self.settings.prompt);
        }
    }

    /// Chooses another checkpoint, with its own autoencoder, and has it loaded.
    pub(super) fn choose_model(&mut self, source: ModelSource) {
        self.settings.model = source;
        self.settings.vae = None;
        self.load();
    }

    /// Has the checkpoint that is set loaded.
    pub(super) fn load(&mut self) {
        self.asked_for = self.setup();
        self.model = ModelState::Loading(self.asked_for.model.clone());
        self.engine.send(Command::Load(self.asked_for.clone()));
    }

    /// What the settings need loaded.
    fn setup(&self) -> Setup {
        Setup {
            model: self.settings.model.clone(),
            vae: self.settings.vae.clone(),
            device: self.preferences.device,
        }
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

    /// The Gallery place.
    pub(super) fn gallery_place(&mut self, ui: &mut egui::Ui) {
        if let Some(action) = self.gallery.ui(ui, &self.words) {
            self.act_on_gallery(ui.ctx(), action);
        }
    }

    fn act_on_gallery(&mut self, ctx: &Context, action: GalleryAction) {
        match action {
            GalleryAction::UseSettings(fields) => {
                let left = self.take_fields(&fields);
                left.into_iter().for_each(|left| self.tell(left));
                self.session.place = Place::Prompt;
            }
            GalleryAction::MakeAnother(fields) => {
                let left = self.take_fields(&fields);
                left.into_iter().for_each(|left| self.tell(left));
                self.settings.seed_is_locked = false;
                self.session.place = Place::Prompt;
                self.queue_settings();
            }
            GalleryAction::ToCanvas(path) => self.open_on_canvas(&path),
            GalleryAction::CopyPicture(path) => match emberbrush_pipeline::picture::read(&path) {
                Ok(picture) => ctx.copy_image(super::results::colour_image(&picture.pixels)),
                Err(error) => self.tell_error(error.to_string()),
            },
            GalleryAction::CopySettings(fields) => {
                let mut settings = self.settings.clone();
                settings.take_fields(&fields);
                let text = |name: &str| fields.get(name).and_then(|value| value.as_str());
                let with = MadeWith {
                    model: text("model").unwrap_or_default().to_owned(),
                    model_hash: text("model-hash").map(str::to_owned),
                    dtype: text("dtype").unwrap_or_default().to_owned(),
                    prompt_syntax: PromptSyntax::default(),
                    adapter_hashes: Default::default(),
                    vae: text("vae").map(|name| VaeRecord {
                        name: name.to_owned(),
                        hash: text("vae-hash").map(str::to_owned),
                    }),
                };
                let request = settings.request();
                ctx.copy_text(metadata::parameters(&request, request.seed, &with));
                self.tell(self.words.get("notice-copied"));
            }
            GalleryAction::Delete(id, path) => match (self.bin)(&path) {
                Ok(()) => self.gallery.removed(id),
                Err(error) => {
                    let arguments = [("error", error.into())];
                    self.tell_error(self.words.with("notice-not-deleted", arguments));
                }
            },
        }
    }

    /// Takes over the settings of a picture, and gives words for what could not be.
    fn take_fields(&mut self, fields: &Map<String, Value>) -> Option<String> {
        let mut left = Vec::new();
        let vae = self.vae_of(fields);
        if let Err(name) = &vae {
            left.push(format!("vae ({name})"));
        }
        self.change_settings("taken", |settings| {
            left.extend(settings.take_fields(fields));
            settings.vae = vae.unwrap_or(None);
        });
        let arguments = || [("fields", left.join(", ").into())];
        (!left.is_empty()).then(|| self.words.with("notice-not-taken", arguments()))
    }

    /// The autoencoder that a picture names, by what was chosen before: a name does not say where
    /// the file is. The error is a name that is not known.
    fn vae_of(&self, fields: &Map<String, Value>) -> Result<Option<PathBuf>, String> {
        let Some(name) = fields.get("vae").and_then(Value::as_str) else { return Ok(None) };
        let is_named = |path: &&PathBuf| path.file_name().is_some_and(|file| file == name);
        let known = self.preferences.vae_files.iter().find(is_named);
        known.cloned().map(Some).ok_or_else(|| name.to_owned())
    }

    /// Takes over the settings that a picture file carries.
    pub fn take_settings_of(&mut self, path: &Path) {
        match metadata::read(path) {
            Ok(settings) => {
                let left = self.take_fields(&settings.fields);
                self.session.place = Place::Prompt;
                let program = settings.program.to_string();
                let taken = self.words.with("notice-taken", [("program", program.into())]);
                self.tell([Some(taken), left].into_iter().flatten().collect::<Vec<_>>().join(". "));
            }
            Err(error) => self.tell_error(error.to_string()),
        }
    }

    /// Opens a picture file on the canvas.
    pub(super) fn open_on_canvas(&mut self, path: &Path) {
        match emberbrush_pipeline::picture::read(path) {
            Ok(picture) => {
                self.canvas.open(Arc::new(picture), Some(path));
                self.session.place = Place::Canvas;
            }
            Err(error) => self.tell_error(error.to_string()),
        }
    }

    pub(super) fn tell(&mut self, message: String) {
        self.notices.push(Notice { message, details: None, is_error: false });
    }

    pub(super) fn tell_error(&mut self, message: String) {
        self.notices.push(Notice { message, details: None, is_error: true });
    }

    /// Stops the job that runs.
    pub(super) fn cancel_running(&mut self) {
        if let Some(entry) = self.queue.running() {
            self.engine.cancel(entry.id);
        }
        self.queue.forever = false;
    }

    /// Does what a key or the palette asks for.
    pub(super) fn act(&mut self, ctx: &Context, action: Action) {
        match action {
            Action::Generate => match self.session.place {
                Place::Prompt | Place::Gallery => self.queue_settings(),
                Place::Canvas => {
                    self.with_canvas(|canvas, context| canvas.generate(context));
                }
            },
            Action::Cancel => self.cancel_running(),
            Action::ShowPrompt => self.session.place = Place::Prompt,
            Action::ShowCanvas => self.session.place = Place::Canvas,
            Action::ShowGallery => self.session.place = Place::Gallery,
            Action::Undo => match self.session.place {
                Place::Canvas => self.canvas.undo(),
                _ => {
                    self.timeline.undo(&mut self.settings);
                    self.is_recorded = true;
                }
            },
            Action::Redo => match self.session.place {
                Place::Canvas => self.canvas.redo(),
                _ => {
                    self.timeline.redo(&mut self.settings);
                    self.is_recorded = true;
                }
            },
            Action::NewSeed => self.change_settings("seed", |settings| {
                settings.seed = random_seed();
                settings.seed_is_locked = true;
            }),
            Action::LockSeed => self.change_settings("seed-lock", |settings| {
                settings.seed_is_locked = !settings.seed_is_locked;
            }),
            Action::SwapSides => {
                self.change_settings("size", GenerationSettings::swap_sides);
            }
            Action::ResetSettings => {
                if let ModelState::Ready(model) = &self.model {
                    let model = Arc::clone(model);
                    self.change_settings("reset", |settings| {
                        settings.switch_model(model.source.clone(), &model.defaults);
                    });
                }
            }
            Action::PauseQueue => self.queue.paused = !self.queue.paused,
            Action::GenerateForever => self.queue.forever = !self.queue.forever,
            Action::SwitchTheme => {
                self.preferences.theme = if ctx.theme() == egui::Theme::Dark {
                    theme::ThemeChoice::Light
                } else {
                    theme::ThemeChoice::Dark
                };
                self.apply_preferences(ctx);
            }
            Action::ToggleSidePanel => {
                self.session.shows_side_panel = !self.session.shows_side_panel;
            }
            Action::ShowQueue => self.overlay = Overlay::Queue,
            Action::ShowModels => {
                self.refresh_models();
                self.overlay = Overlay::Models;
            }
            Action::ShowPreferences => {
                self.overlay = Overlay::Preferences(PreferencesPage::default());
            }
            Action::ShowPalette => self.overlay = Overlay::Palette(Palette::default()),
            Action::ShowHistory => {
                self.overlay = Overlay::History(History::read(&self.journal));
            }
            Action::ShowExport => self.open_export(),
            Action::ShowGrid => self.open_grid(),
            Action::ImportJobs => {
                let title = self.words.get(action.message());
                let question = Question::open(title, &["txt", "csv", "jsonl"]);
                self.ask(ctx, question, |window, _, path| window.import_jobs(path));
            }
            Action::OpenPicture => {
                let question = Question::open(self.words.get(action.message()), &PICTURES);
                self.ask(ctx, question, |window, _, path| window.open_on_canvas(&path));
            }
            Action::OpenSettings => {
                let question = Question::open(self.words.get(action.message()), &PICTURES);
                self.ask(ctx, question, |window, _, path| window.take_settings_of(&path));
            }
        }
    }

    /// Changes settings in one step that can be undone.
    pub(super) fn change_settings(
        &mut self,
        subject: &'static str,
        change: impl FnOnce(&mut GenerationSettings),
    ) {
        let before = self.settings.clone();
        change(&mut self.settings);
        if self.settings != before {
            self.timeline.changed(&before, subject);
            self.is_recorded = true;
        }
    }

    /// Lets the canvas work with the rest of the window.
    pub(super) fn with_canvas<R>(
        &mut self,
        work: impl FnOnce(&mut CanvasPlace, &mut PlaceContext<'_>) -> R,
    ) -> R {
        let mut cancelled = Vec::new();
        let mut context = PlaceContext {
            words: &self.words,
            preferences: &self.preferences,
            settings: &self.settings,
            model: match &self.model {
                ModelState::Ready(model) => Some(model),
                _ => None,
            },
            journal: &self.journal,
            queue: &mut self.queue,
            cancelled: &mut cancelled,
            notices: &mut self.notices,
        };
        let result = work(&mut self.canvas, &mut context);
        for job in cancelled {
            self.engine.cancel(job);
            self.queue.cancel_waiting(job);
        }
        result
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

    /// Writes what changed since it was last written.
    fn remember(&mut self) {
        let is_chosen = self.session.settings.is_some()
            || matches!(self.model, ModelState::Ready(_))
            || !self.settings.prompt.is_empty();
        if is_chosen {
            self.session.settings = Some(self.settings.clone());
        }
        if self.session != self.saved_session {
            self.journal.write(SESSION, &self.session);
            self.saved_session = self.session.clone();
        }
        if self.preferences != self.saved_preferences {
            self.journal.write(PREFERENCES, &self.preferences);
            self.saved_preferences = self.preferences.clone();
        }
        if self.queue.revision() != self.saved_queue {
            self.journal.write(QUEUE, &self.queue.for_journal());
            self.saved_queue = self.queue.revision();
        }
        if self.sheets.pending() != self.saved_sheets {
            self.saved_sheets = self.sheets.pending().to_vec();
            self.journal.write(SHEETS, &self.saved_sheets);
        }
        if let Some(error) = self.journal.take_error() {
            let message = self.words.with("notice-journal-failed", [("error", error.into())]);
            self.tell_error(message);
        }
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
