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

use emberbrush::{
    engine::{
        Delivery, Engine, Failure, FinishedPicture, Job, JobEnd, JobEvent, LoadedModel,
        ModelSource, TokenCount, TokenCounter,
    },
    window::{Start, Window, journal::Journal, preferences::Preferences, words::Language},
};
use emberbrush_pipeline::{
    device::{DeviceChoice, DeviceInfo, list},
    metadata::{self, MadeWith},
    output::{OutputPlan, write_new},
    picture::{self, FileFormat, Picture},
    progress::Stage,
    prompt::PromptSyntax,
    request::{GenerationRequest, Mode},
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::egui_kittest::{Harness, kittest::Queryable};
use image::{DynamicImage, Rgb, RgbImage};

/// How long a test waits for the engine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test tells the engine.
#[derive(Default)]
pub struct Control {
    /// Whether it waits before each step.
    pub holds: AtomicBool,
    /// What the next job does instead of drawing.
    pub next: Mutex<Option<Trouble>>,
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
    fn load(&mut self, model: &ModelSource, _: DeviceChoice) -> Result<LoadedModel, Failure> {
        if *model != ModelSource::InTheBox {
            return Err(Failure::new("there is no such checkpoint"));
        }
        Ok(LoadedModel {
            source: model.clone(),
            name: model.name(),
            family: "Stable Diffusion 1.x",
            device: self.devices().remove(0),
            dtype: "f32".to_owned(),
            defaults: defaults(),
            native_side: 128,
            tokens: TokenCounter::new(|prompt| TokenCount {
                tokens: prompt.split_whitespace().count(),
                room: 75,
            }),
            took: Duration::from_millis(1),
        })
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
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
        list()
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
        on_event(JobEvent::Stage(Stage::Encode))?;
        on_event(JobEvent::Stage(Stage::Denoise))?;
        let steps = job.request.steps;
        for step in 1..=steps {
            on_event(JobEvent::Step {
                step,
                steps,
                duration: Duration::from_millis(500),
                preview: Some(drawing(16, 16, seed)),
            })?;
            // A held engine stops after the first step, where there is a preview to see.
            while self.control.holds.load(Ordering::Relaxed) {
                on_event(JobEvent::Checkpoint)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        on_event(JobEvent::Stage(Stage::Decode))?;
        let request = GenerationRequest { seed, count: 1, ..job.request.clone() };
        let pixels = drawing(request.width, request.height, seed);
        let picture = Picture::new(DynamicImage::ImageRgb8(pixels));
        let with = MadeWith {
            model: "fake".to_owned(),
            model_hash: None,
            dtype: "f32".to_owned(),
            prompt_syntax: PromptSyntax::Weighted,
            adapter_hashes: Default::default(),
        };
        let texts = metadata::texts(&request, 0, &with);
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
        on_event(JobEvent::Picture(FinishedPicture {
            index,
            request,
            model: "fake".to_owned(),
            picture: Arc::new(picture),
            path,
            took: Duration::from_millis(1200),
        }))
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

/// What the fake checkpoint recommends.
pub fn defaults() -> GenerationRequest {
    GenerationRequest {
        mode: Mode::TextToImage,
        prompt: String::new(),
        negative_prompt: String::new(),
        width: 128,
        height: 128,
        steps: 4,
        guidance_scale: 5.0,
        sampler: Sampler::Dpmpp2m,
        schedule: Schedule::Automatic,
        seed: 0,
        rng: RngSource::Torch,
        count: 1,
        adapters: Default::default(),
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
        let preferences = Preferences {
            pictures_folder: studio.pictures(),
            language: Language::English,
            ..Preferences::default()
        };
        let journal = Journal::open(studio.data()).unwrap();
        journal.write("preferences.json", &preferences);
        journal.flush();
        studio
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

    /// Opens the window, with the checkpoint loaded.
    pub fn open(&self) -> Screen<'static> {
        self.open_at(1280.0, 720.0, 1.0)
    }

    pub fn open_at(&self, width: f32, height: f32, scale: f32) -> Screen<'static> {
        let (data, control) = (self.data(), Arc::clone(&self.control));
        let mut harness = Harness::builder()
            .with_size(egui::vec2(width, height))
            .with_pixels_per_point(scale)
            .allow_missing_glyphs()
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
                    window.logic(&ui.ctx().clone());
                    window.ui(ui);
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
