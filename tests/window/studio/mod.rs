//! A window with an engine that draws at once, or when it is told to.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use egui::UiBuilder;
use emberbrush::{
    engine::{
        Delivery, Engine, FinishedPicture, Job, JobEnd, JobEvent, LoadedModel, MemoryForecast,
        MemoryForecaster, ModelSource, PromptReader, Setup, SourcePictures, UnreadPrompt,
        thumbnail,
    },
    failure::Failure,
    window::{Start, Window, journal::Journal, preferences::Preferences, words::Language},
};
use emberbrush_pipeline::{
    adapters::{FoundFile, UnusedKeys},
    checkpoint::{CheckpointError, folder::Family},
    device::{DeviceChoice, DeviceInfo, DeviceKind, list},
    diffusion::CheckpointDefaults,
    editing::Sources,
    memory::{PlanContext, StepDown},
    metadata::{self, MadeWith},
    output::{OutputPlan, write_new},
    picture::{self, FileFormat, Picture, Rectangle},
    progress::Stage,
    prompt::{Prompt, PromptReading, PromptSyntax, RunSteps, schedule},
    request::{GenerationRequest, Mode},
};
use emberbrush_tests::egui_kittest::{Harness, HarnessBuilder, kittest::Queryable};
use image::{DynamicImage, Rgb, RgbImage, imageops::FilterType};

/// How long a test waits for the engine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test tells the engine.
#[derive(Default)]
pub struct Control {
    /// Whether it waits before each step.
    pub holds: AtomicBool,
    /// Whether its device is used for the first time.
    pub is_device_new: AtomicBool,
    /// Keys of an adapter that the next job finds no use for.
    pub unused_keys: Mutex<Option<UnusedKeys>>,
    /// Whether it waits before the first step.
    pub holds_before_steps: AtomicBool,
    /// What the next job does instead of drawing.
    pub next: Mutex<Option<Trouble>>,
    /// What was last loaded.
    pub setup: Mutex<Option<Setup>>,
    /// The family of its checkpoint, where it is not the first.
    pub family: Mutex<Option<Family>>,
    /// The jobs that it was given.
    pub jobs: Mutex<Vec<Job>>,
    /// Pictures that it draws in turn, by the number of the picture, instead of colours.
    pub drawings: Mutex<Vec<RgbImage>>,
}

pub enum Trouble {
    Panic,
    Fail(Failure),
}

/// Draws a colour that follows from the seed.
pub struct FakeEngine {
    control: Arc<Control>,
}

impl Engine for FakeEngine {
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure> {
        *self.control.setup.lock().unwrap() = Some(setup.clone());
        let devices = self.devices();
        let device = devices.iter().find(|device| device.id == setup.device).unwrap_or(&devices[0]);
        if setup.model != ModelSource::InTheBox {
            return Err(CheckpointError::NotFound { path: setup.model.name() }.into());
        }
        Ok(LoadedModel {
            source: setup.model.clone(),
            vae: setup.vae.clone(),
            name: setup.model.name(),
            family: self.control.family.lock().unwrap().unwrap_or(Family::StableDiffusion1),
            device: device.clone(),
            is_device_new: self.control.is_device_new.load(Ordering::Relaxed),
            dtype: "f32".to_owned(),
            defaults: defaults(),
            checkpoint: CheckpointDefaults { native_side: 128, ..CheckpointDefaults::UNKNOWN },
            prompts: PromptReader::new(read),
            memory: MemoryForecaster::new(forecast),
            took: Duration::from_millis(1),
        })
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        self.control.jobs.lock().unwrap().push(job.clone());
        let trouble = self.control.next.lock().unwrap().take();
        match trouble {
            Some(Trouble::Panic) => panic!("the engine was told to"),
            Some(Trouble::Fail(failure)) => return JobEnd::Failed(failure),
            None => {}
        }
        for index in job.first..job.request.count {
            if self.draw(job, index, on_event).is_break() {
                return JobEnd::Cancelled;
            }
        }
        JobEnd::Done
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        let mut cpu = list().into_iter().find(|device| device.kind == DeviceKind::Cpu).unwrap();
        cpu.name = "Processor with 8 cores".to_owned();
        cpu.memory = Some(16_000_000_000);
        cpu.automatic = true;
        let mut gpu = cpu.clone();
        gpu.id = DeviceChoice::WgpuIndex(0);
        gpu.kind = DeviceKind::DiscreteGpu;
        gpu.name = "Graphics card".to_owned();
        gpu.memory = Some(12_000_000_000);
        gpu.automatic = false;
        vec![cpu, gpu]
    }
}

impl FakeEngine {
    fn draw(
        &self,
        job: &Job,
        index: u32,
        on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let seed = job.request.seed_of(index);
        on_event(JobEvent::Started { index, seed })?;
        let drawings = self.control.drawings.lock().unwrap();
        let turn = job.id.0 as usize + index as usize;
        let drawn = drawings.get(turn % drawings.len().max(1)).cloned();
        drop(drawings);
        let preview = match &drawn {
            Some(drawn) => image::imageops::resize(drawn, 16, 16, FilterType::Triangle),
            None => drawing(16, 16, seed),
        };
        on_event(JobEvent::Stage(Stage::Encode))?;
        if let Some(unused) = self.control.unused_keys.lock().unwrap().take() {
            on_event(JobEvent::UnusedKeys(unused))?;
        }
        while self.control.holds_before_steps.load(Ordering::Relaxed) {
            on_event(JobEvent::Checkpoint)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        on_event(JobEvent::Stage(Stage::Denoise))?;
        let steps = job.request.steps;
        for step in 1..=steps {
            on_event(JobEvent::Step {
                step,
                steps,
                duration: Duration::from_millis(500),
                preview: Some(preview.clone()),
            })?;
            // A held engine stops after the first step, where there is a preview to see.
            while self.control.holds.load(Ordering::Relaxed) {
                on_event(JobEvent::Checkpoint)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        on_event(JobEvent::Stage(Stage::Decode))?;
        let request = GenerationRequest { seed, count: 1, ..job.request.clone() };
        let pixels = drawn.unwrap_or_else(|| drawing(request.width, request.height, seed));
        let pixels = match &job.sources {
            Some(sources) => painted(&job.request.mode, sources, &pixels),
            None => pixels,
        };
        let picture = Picture::new(DynamicImage::ImageRgb8(pixels));
        let texts = job.written.of(metadata::texts(&request, 0, &made_with()));
        let write = |wanted: &Path, format: FileFormat| {
            std::fs::create_dir_all(wanted.parent().unwrap()).unwrap();
            let bytes = picture::encode(&picture, format, &texts).unwrap();
            Some(write_new(&bytes, wanted).unwrap())
        };
        let path = match &job.delivery {
            Delivery::Memory => None,
            Delivery::File { path, format } => write(path, *format),
            Delivery::Folder { folder, format } => {
                let plan = OutputPlan::prepare(Some(&folder.join("")), Some(*format)).unwrap();
                write(&plan.path(seed, &request.prompt), *format)
            }
        };
        on_event(JobEvent::Picture(Box::new(FinishedPicture {
            index,
            request,
            model: "fake".to_owned(),
            thumbnail: thumbnail(&picture),
            picture: Arc::new(picture),
            path,
            took: Duration::from_millis(1200),
        })))
    }
}

/// A word is a token, and embeddings of the folder are told of.
fn read(unread: &UnreadPrompt<'_>) -> Result<PromptReading, Failure> {
    Prompt::read(unread.text)?;
    let texts = schedule(unread.text, RunSteps::new(unread.steps))?;
    let found = unread.folders.find_embeddings(unread.adapters, [unread.text].into_iter())?;
    Ok(PromptReading {
        spans: vec![(texts[0].text.clone(), 1.5)],
        schedule: texts.into_iter().map(|text| (text.until, text.text)).collect(),
        tokens: unread.text.split_whitespace().count(),
        room: 75,
        embeddings: found.iter().map(FoundFile::name).collect(),
        ..PromptReading::default()
    })
}

/// A fill: what is drawn, within the mask.
fn painted(mode: &Mode, sources: &SourcePictures, drawn: &RgbImage) -> RgbImage {
    let mask = sources.mask.as_deref();
    let init = &sources.init;
    let (width, height) = (init.pixels.width(), init.pixels.height());
    let with_mask = Sources::new(mode, Picture::clone(init), mask).unwrap();
    let drawn = image::imageops::resize(drawn, width, height, FilterType::Triangle);
    let drawn = DynamicImage::ImageRgb8(drawn).to_rgb32f();
    let all = Rectangle { left: 0, top: 0, width, height };
    match with_mask.weights() {
        Some(weights) => picture::paste(init, drawn, all, weights).pixels.to_rgb8(),
        None => DynamicImage::ImageRgb32F(drawn).to_rgb8(),
    }
}

/// What the fake checkpoint takes of 4 GB: up to 703² pixels without trouble, up to 992² in tiles.
fn forecast(request: &GenerationRequest, _: &PlanContext) -> MemoryForecast {
    const BUDGET: u64 = 4_000_000_000;
    let whole = u64::from(request.width) * u64::from(request.height) * 8_000;
    let is_tight = whole > BUDGET;
    let peak = if is_tight { whole / 2 } else { whole };
    let savings = is_tight.then_some(StepDown::TiledVae { tile: 512 });
    MemoryForecast {
        peak,
        budget: Some(BUDGET),
        savings: savings.into_iter().collect(),
        fits: peak <= BUDGET,
    }
}

/// A soft gradient whose colour follows from the seed.
pub fn drawing(width: u32, height: u32, seed: u64) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let across = (x * 160 / width) as u8;
        let down = (y * 120 / height) as u8;
        Rgb([60 + across, (40 + seed * 37 % 120) as u8, 90 + down])
    })
}

/// What the fake checkpoint leaves in files. It has the name of the model in the box, for which it stands.
fn made_with() -> MadeWith {
    MadeWith {
        model: ModelSource::InTheBox.name(),
        model_hash: None,
        dtype: "f32".to_owned(),
        prompt_syntax: PromptSyntax::Weighted,
        adapter_hashes: Default::default(),
        vae: None,
    }
}

/// What the fake checkpoint recommends.
pub fn defaults() -> GenerationRequest {
    GenerationRequest {
        width: 128,
        height: 128,
        steps: 4,
        guidance_scale: 5.0,
        ..GenerationRequest::new("")
    }
}

/// A data folder, a folder of pictures, and windows that use them one after the other.
pub struct Studio {
    folder: tempfile::TempDir,
    pub control: Arc<Control>,
}

/// The window in a test.
pub struct Scene {
    pub window: Option<Window>,
}

pub type Screen<'a> = Harness<'a, Scene>;

impl Studio {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let studio = Self { folder, control: Arc::default() };
        studio.prefer(|_| {});
        studio
    }

    /// Begins with other preferences.
    pub fn prefer(&self, change: impl FnOnce(&mut Preferences)) {
        let mut preferences = Preferences {
            pictures_folder: self.pictures(),
            wildcards_folder: self.path("wildcards"),
            lora_folder: self.path("loras"),
            embeddings_folder: self.path("embeddings"),
            language: Language::English,
            ..Preferences::default()
        };
        change(&mut preferences);
        let journal = Journal::open(self.data()).unwrap();
        journal.write("preferences.json", &preferences);
        journal.flush();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pictures(&self) -> PathBuf {
        self.folder.path().join("pictures")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the files in the folder of pictures, in order.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.pictures())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Puts so many pictures into the folder: one file under many names.
    pub fn fill_gallery(&self, count: usize) {
        let folder = self.pictures();
        std::fs::create_dir_all(&folder).unwrap();
        let first = folder.join("picture-00000.png");
        let request = GenerationRequest { prompt: "an apple".to_owned(), ..defaults() };
        let texts = metadata::texts(&request, 0, &made_with());
        let picture = Picture::new(DynamicImage::ImageRgb8(drawing(32, 32, 1)));
        let bytes = picture::encode(&picture, FileFormat::Png, &texts).unwrap();
        std::fs::write(&first, bytes).unwrap();
        for number in 1..count {
            std::fs::hard_link(&first, folder.join(format!("picture-{number:05}.png"))).unwrap();
        }
    }

    /// Opens the window, with the checkpoint loaded.
    pub fn open(&self) -> Screen<'static> {
        self.open_at(1280.0, 720.0, 1.0)
    }

    pub fn open_at(&self, width: f32, height: f32, scale: f32) -> Screen<'static> {
        self.open_with(Harness::builder(), width, height, scale)
    }

    pub fn open_with(
        &self,
        builder: HarnessBuilder<Scene>,
        width: f32,
        height: f32,
        scale: f32,
    ) -> Screen<'static> {
        let (data, control) = (self.data(), Arc::clone(&self.control));
        let mut harness = builder
            .with_size(egui::vec2(width, height))
            .with_pixels_per_point(scale)
            .build_ui_state(
                move |ui, stage: &mut Scene| {
                    let window = stage.window.get_or_insert_with(|| {
                        let control = Arc::clone(&control);
                        let start = Start {
                            journal: Journal::open(data.clone()).unwrap(),
                            engine: move || FakeEngine { control: Arc::clone(&control) },
                        };
                        Window::new(ui.ctx(), start).unwrap()
                    });
                    let ctx = ui.ctx().clone();
                    window.logic(&ctx);
                    // The window fills the screen; the harness would leave a margin.
                    let all = UiBuilder::new().max_rect(ctx.content_rect());
                    ui.scope_builder(all, |ui| {
                        ui.set_clip_rect(ctx.content_rect());
                        window.ui(ui);
                    });
                },
                Scene { window: None },
            );
        wait(&mut harness, |screen| !status(screen).starts_with("Loading"));
        harness
    }
}

/// The window.
pub fn window<'a>(screen: &'a Screen<'_>) -> &'a Window {
    screen.state().window.as_ref().unwrap()
}

/// The window, to act on directly.
pub fn window_mut<'a>(screen: &'a mut Screen<'_>) -> &'a mut Window {
    screen.state_mut().window.as_mut().unwrap()
}

/// The status line.
pub fn status(screen: &Screen<'_>) -> String {
    window(screen).status_text()
}

/// Draws frames until something is so.
#[track_caller]
pub fn wait(screen: &mut Screen<'_>, mut is_so: impl FnMut(&mut Screen<'_>) -> bool) {
    let started = Instant::now();
    loop {
        screen.step();
        if is_so(screen) {
            screen.step();
            return;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain; status: {}", status(screen));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Clicks what has a name.
#[track_caller]
pub fn click(screen: &mut Screen<'_>, name: &str) {
    screen.get_by_label(name).click();
    screen.step();
    screen.step();
}

/// Presses keys together with Ctrl.
pub fn ctrl(screen: &mut Screen<'_>, key: egui::Key) {
    screen.key_press_modifiers(egui::Modifiers::COMMAND, key);
    screen.step();
    screen.step();
}

/// Types into the field that has a name.
#[track_caller]
pub fn type_into(screen: &mut Screen<'_>, name: &str, text: &str) {
    let field = screen.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, name);
    field.focus();
    screen.step();
    screen.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, name).type_text(text);
    screen.step();
    screen.step();
}

/// Types a prompt.
#[track_caller]
pub fn type_prompt(screen: &mut Screen<'_>, text: &str) {
    type_into(screen, "Prompt", text);
}

/// Makes the pictures that are set, and waits for them.
#[track_caller]
pub fn generate(screen: &mut Screen<'_>) {
    ctrl(screen, egui::Key::Enter);
    wait(screen, |screen| window(screen).queue().open_count() == 0);
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// Drops a file on the window.
pub fn drop_file(screen: &mut Screen<'_>, path: PathBuf) {
    screen.input_mut().dropped_files.push(Arc::new(Dropped(path)));
    screen.step();
    screen.input_mut().dropped_files.clear();
}

/// Turns the wheel over a place, in lines; up is positive.
pub fn wheel(screen: &mut Screen<'_>, at: egui::Pos2, lines: f32) {
    screen.hover_at(at);
    screen.step();
    screen.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: egui::vec2(0.0, lines),
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers: egui::Modifiers::NONE,
    });
    screen.run_steps(4);
}
