//! The window of the canvas' tests: on a folder of its own, with an engine that fills in plain colours.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use eframe::egui::{self, Key, Modifiers, Pos2};
use emberbrush::{
    canvas::{document::Document, editor::Editor, ember_file, geometry::Point},
    engine::{
        Engine, FinishedPicture, Job, JobEnd, JobEvent, LoadedModel, MemoryForecaster,
        PromptReader, Setup, thumbnail,
    },
    failure::Failure,
    window::{Window, journal::Journal, preferences::Preferences, words::Language},
};
use emberbrush_pipeline::{
    checkpoint::folder::Family,
    device::{self, DeviceInfo},
    diffusion::CheckpointDefaults,
    editing::Sources,
    error::PipelineError,
    picture::{self, FileFormat, Picture, Rectangle},
    prompt::PromptReading,
    request::GenerationRequest,
};
use emberbrush_tests::egui_kittest::kittest::Queryable;
use image::{DynamicImage, Rgb, Rgb32FImage, RgbImage};
use tempfile::TempDir;

use crate::without_screen::{self, Screen};

pub(crate) const SIZE: (u32, u32) = (96, 64);

/// Fills with one colour for each variation; a prompt with `fail` fails.
#[derive(Default)]
pub(crate) struct FakeEngine;

/// The colour of a variation.
pub(crate) fn colour(index: u32) -> [f32; 3] {
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]][index as usize % 3]
}

impl Engine for FakeEngine {
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure> {
        Ok(LoadedModel {
            source: setup.model.clone(),
            vae: setup.vae.clone(),
            name: "fake".to_owned(),
            family: Family::StableDiffusion1,
            device: device::list()[0].clone(),
            is_device_new: false,
            dtype: "f32".to_owned(),
            defaults: GenerationRequest {
                width: 64,
                height: 64,
                steps: 4,
                guidance_scale: 3.0,
                ..GenerationRequest::new("")
            },
            checkpoint: CheckpointDefaults { native_side: 64, ..CheckpointDefaults::UNKNOWN },
            prompts: PromptReader::new(|_| Ok(PromptReading::default())),
            memory: MemoryForecaster::unknown(),
            took: Duration::ZERO,
        })
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        if job.request.prompt.contains("fail") {
            return JobEnd::Failed(
                PipelineError::OutOfDeviceMemory { reason: "taken".to_owned() }.into(),
            );
        }
        let sources = job.sources.as_ref().expect("a fill has pictures");
        let mask = sources.mask.as_deref();
        let sources = Sources::new(&job.request.mode, Picture::clone(&sources.init), mask).unwrap();
        let (width, height) = sources.init.pixels.as_rgb8().unwrap().dimensions();
        for index in job.first..job.request.count {
            let seed = job.request.seed_of(index);
            let _ = on_event(JobEvent::Started { index, seed });
            for step in 1..=job.request.steps {
                let preview = Some(RgbImage::from_pixel(8, 8, Rgb([90, 90, 90])));
                let steps = job.request.steps;
                let event =
                    JobEvent::Step { step, steps, duration: Duration::from_millis(1), preview };
                if on_event(event).is_break() {
                    return JobEnd::Cancelled;
                }
                while index == 1 && job.request.prompt.contains("slow") {
                    if on_event(JobEvent::Checkpoint).is_break() {
                        return JobEnd::Cancelled;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            let painted = Rgb32FImage::from_pixel(width, height, Rgb(colour(index)));
            let all = Rectangle { left: 0, top: 0, width, height };
            let picture = picture::paste(&sources.init, painted, all, sources.weights().unwrap());
            let _ = on_event(JobEvent::Picture(Box::new(FinishedPicture {
                index,
                request: GenerationRequest { seed, count: 1, ..job.request.clone() },
                model: "fake".to_owned(),
                thumbnail: thumbnail(&picture),
                picture: Arc::new(picture),
                path: None,
                took: Duration::from_millis(1),
            })));
        }
        JobEnd::Done
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        device::list()
    }
}

#[derive(Debug)]
pub(crate) struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

pub(crate) fn picture() -> RgbImage {
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, 80]))
}

/// A window on a folder of its own, with the Canvas place in view.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
    pub(crate) harness: Screen,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::on(TempDir::new().unwrap())
    }

    pub(crate) fn on(folder: TempDir) -> Self {
        Self::with(folder, FakeEngine::default)
    }

    pub(crate) fn with<E: Engine>(
        folder: TempDir,
        engine: impl Fn() -> E + Send + 'static,
    ) -> Self {
        let journal = Journal::open(folder.path().join("data")).unwrap();
        let preferences = Preferences {
            pictures_folder: folder.path().join("pictures"),
            language: Language::English,
            ..Default::default()
        };
        journal.write("preferences.json", &preferences);
        journal.flush();
        let mut harness = without_screen::open(journal, engine);
        harness.step();
        harness.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
        harness.run_steps(3);
        Self { folder, harness }
    }

    /// The same folder after the program ended without being asked to.
    pub(crate) fn killed(self) -> Self {
        self.window().canvas().flush();
        self.window().journal().flush();
        let Self { folder, harness } = self;
        drop(harness);
        Self::on(folder)
    }

    pub(crate) fn window(&self) -> &Window {
        self.harness.state().as_ref().expect("the window is there")
    }

    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_so: impl Fn(&Window) -> bool) {
        for _ in 0..1000 {
            self.harness.step();
            if is_so(self.window()) {
                self.harness.run_steps(2);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("waited for: {what}");
    }

    pub(crate) fn editor(&self) -> &Editor {
        self.window().canvas().editor().expect("a document is open")
    }

    pub(crate) fn document(&self) -> &Document {
        self.editor().document()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn drop_file(&mut self, path: &Path) {
        let dropped: egui::DroppedFileHandle = Arc::new(Dropped(path.to_owned()));
        self.harness.input_mut().dropped_files.push(dropped);
        self.harness.step();
        self.harness.input_mut().dropped_files.clear();
    }

    /// Opens a document of the picture, named `cat`; its file.
    pub(crate) fn open_document(&mut self) -> PathBuf {
        let file = self.path("cat.ember");
        let base = Picture::new(DynamicImage::ImageRgb8(picture()));
        ember_file::save(&Document::new("cat", base), &file).unwrap();
        self.drop_file(&file);
        self.wait("the document is open", |window| window.canvas().editor().is_some());
        file
    }

    pub(crate) fn open_picture(&mut self) {
        let path = self.path("cat.png");
        let picture = Picture::new(DynamicImage::ImageRgb8(picture()));
        std::fs::write(&path, picture::encode(&picture, FileFormat::Png, &[]).unwrap()).unwrap();
        self.drop_file(&path);
        self.wait("the picture is open", |window| window.canvas().editor().is_some());
    }

    /// Where a place of the picture is in the window.
    pub(crate) fn at(&self, x: f32, y: f32) -> Pos2 {
        self.window().canvas().screen_position(Point::new(x, y)).expect("the picture is drawn")
    }

    pub(crate) fn drag(&mut self, from: (f32, f32), to: (f32, f32)) {
        let (from, to) = (self.at(from.0, from.1), self.at(to.0, to.1));
        self.drag_points(from, to);
    }

    pub(crate) fn drag_points(&mut self, from: Pos2, to: Pos2) {
        self.harness.hover_at(from);
        self.harness.step();
        self.harness.drag_at(from);
        self.harness.step();
        for part in 1..=4 {
            self.harness.hover_at(from + (to - from) * (part as f32 / 4.0));
            self.harness.step();
        }
        self.harness.drop_at(to);
        self.harness.step();
        self.harness.remove_cursor();
        self.harness.step();
    }

    pub(crate) fn press(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.run_steps(2);
    }

    pub(crate) fn press_with(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run_steps(2);
    }

    pub(crate) fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).scroll_to_me();
        let mut place = None;
        for _ in 0..30 {
            self.harness.run_steps(4);
            let rect = self.harness.get_by_label(label).rect();
            if place.replace(rect) == Some(rect) {
                break;
            }
        }
        self.harness.get_by_label(label).click();
        self.harness.run_steps(2);
    }

    /// Fills and waits for all three variations.
    pub(crate) fn fill(&mut self) {
        self.press_with(Modifiers::COMMAND, Key::Enter);
        self.wait("three variations", |window| {
            let editor = window.canvas().editor().unwrap();
            editor.candidate().is_some_and(|candidate| candidate.variations().len() == 3)
        });
    }

    pub(crate) fn masked(&self, x: u32, y: u32) -> bool {
        self.document().mask().get(x, y).unwrap() > 127
    }

    /// The picture that is seen.
    pub(crate) fn seen(&self, x: u32, y: u32) -> [u8; 3] {
        let seen = self.window().canvas().seen().expect("a document is open");
        let [red, green, blue, _] = seen.pixels().get(x, y).unwrap();
        [red, green, blue]
    }
}

pub(crate) fn original(x: u32, y: u32) -> [u8; 3] {
    picture().get_pixel(x, y).0
}

pub(crate) const RED: [u8; 3] = [255, 0, 0];
pub(crate) const GREEN: [u8; 3] = [0, 255, 0];
