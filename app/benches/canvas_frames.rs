//! What frames of the canvas take on a picture of 4096 × 4096 pixels with layers: while a brush is drawn, while
//! results of a fill come and are compared, and while one becomes a layer. Times are those that the window's thread
//! spends on the processor, without what the graphics card does.
//!
//! `cargo bench --workspace --all-features --bench canvas_frames`

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod frames;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use eframe::egui::{DroppedFile, DroppedFileHandle, Key, Modifiers, Role, Vec2};
use emberbrush::{
    canvas::{
        document::Document,
        editor::Editor,
        ember_file,
        geometry::Point,
        layer::{FillLayer, Patch, Variation, Weights},
        mask::MaskTiles,
    },
    engine::{
        Engine, FinishedPicture, Job, JobEnd, JobEvent, LoadedModel, MemoryForecaster,
        PromptReader, Setup, thumbnail,
    },
    failure::Failure,
    window::journal::Journal,
};
use emberbrush_pipeline::{
    checkpoint::folder::Family,
    device::{self, DeviceInfo},
    diffusion::CheckpointDefaults,
    picture::Picture,
    prompt::PromptReading,
    request::GenerationRequest,
};
use emberbrush_tests::egui_kittest::kittest::Queryable;
use frames::{Screen, frame, open, tell, window};
use image::{DynamicImage, Rgb, RgbImage};

const SIDE: u32 = 4096;

/// Side of what each layer replaces.
const LAYER_SIDE: u32 = 1024;

#[derive(Debug)]
struct Dropped(PathBuf);

impl DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// Gives pictures of one colour each.
struct Colours;

impl Engine for Colours {
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure> {
        Ok(LoadedModel {
            source: setup.model.clone(),
            vae: setup.vae.clone(),
            name: "colours".to_owned(),
            family: Family::StableDiffusion1,
            device: device::list()[0].clone(),
            is_device_new: false,
            dtype: "f32".to_owned(),
            defaults: GenerationRequest { steps: 1, ..GenerationRequest::new("") },
            checkpoint: CheckpointDefaults { native_side: 512, ..CheckpointDefaults::UNKNOWN },
            prompts: PromptReader::new(|_| Ok(PromptReading::default())),
            memory: MemoryForecaster::unknown(),
            took: Duration::ZERO,
        })
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        let (width, height) = {
            let init = &job.sources.as_ref().unwrap().init;
            (init.width(), init.height())
        };
        for index in 0..job.request.count {
            let seed = job.request.seed_of(index);
            let _ = on_event(JobEvent::Started { index, seed });
            let colour = Rgb([80 * index as u8, 120, 60]);
            let picture = Picture::new(RgbImage::from_pixel(width, height, colour).into());
            let _ = on_event(JobEvent::Picture(Box::new(FinishedPicture {
                index,
                request: GenerationRequest { seed, count: 1, ..job.request.clone() },
                model: "colours".to_owned(),
                thumbnail: thumbnail(&picture),
                picture: Arc::new(picture),
                path: None,
                took: Duration::ZERO,
            })));
        }
        JobEnd::Done
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        device::list()
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.ember");
    ember_file::save(&document(), &file).unwrap();
    let mut screen = open(Journal::open(folder.path().join("data")).unwrap(), || Colours);
    screen.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    screen.run_steps(3);
    opening(&mut screen, file);
    comparing(&mut screen);
    layers(&mut screen);
    strokes(&mut screen);
}

/// A picture with three layers of two variations each.
fn document() -> Document {
    let pixels = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([x as u8, y as u8, 99]));
    let mut document = Document::new("large", Picture::new(DynamicImage::ImageRgb8(pixels)));
    for at in 0..3 {
        let weights = Weights::from_pixel(LAYER_SIDE, LAYER_SIDE, image::Luma([u16::MAX]));
        let patch = Patch::new(300 + at * 900, 400 + at * 700, weights).unwrap();
        let below = Arc::new(patch.cut(document.picture()));
        let variations = (0..2)
            .map(|seed| {
                let colour = Rgb([200, 60 * at as u8, 90 * seed as u8]);
                let painted = RgbImage::from_pixel(LAYER_SIDE, LAYER_SIDE, colour);
                Variation::new(seed, Arc::new(Picture::new(painted.into())), Arc::clone(&below))
                    .unwrap()
            })
            .collect();
        let mask = Arc::new(MaskTiles::new(SIDE, SIDE, 0));
        let request = GenerationRequest::new(format!("layer {at}"));
        let id = document.new_layer_id();
        document.add_layer(FillLayer::new(id, request, mask, patch, variations).unwrap()).unwrap();
    }
    document
}

fn opening(screen: &mut Screen, file: PathBuf) {
    let dropped: DroppedFileHandle = Arc::new(Dropped(file));
    screen.input_mut().dropped_files.push(dropped);
    screen.step();
    screen.input_mut().dropped_files.clear();
    let frames = until(screen, |screen| window(screen).canvas().editor().is_some());
    tell("frames while a document of 4096² is opened", frames);
}

fn editor(screen: &Screen) -> &Editor {
    window(screen).canvas().editor().unwrap()
}

/// Frames until something is so, and three more.
fn until(screen: &mut Screen, is_so: impl Fn(&Screen) -> bool) -> Vec<Duration> {
    let mut frames = Vec::new();
    while !is_so(screen) {
        frames.push(frame(screen));
        std::thread::sleep(Duration::from_millis(5));
    }
    frames.extend((0..3).map(|_| frame(screen)));
    frames
}

fn strokes(screen: &mut Screen) {
    screen.run_steps(5);
    let canvas = screen.get_by_role_and_label(Role::Canvas, "Canvas").rect();
    for (name, key, presses) in [
        ("mask, 48 px", Key::B, 0),
        ("mask, 400 px", Key::B, 14),
        ("colour brush, 400 px", Key::C, 0),
    ] {
        screen.key_press(key);
        for _ in 0..presses {
            screen.key_press(Key::CloseBracket);
        }
        screen.step();
        let mut frames = Vec::new();
        screen.drag_at(canvas.center());
        screen.step();
        for at in 0..600 {
            let angle = at as f32 / 25.0;
            let reach = canvas.height() * 0.35 * (at as f32 / 600.0);
            screen.hover_at(canvas.center() + Vec2::angled(angle) * reach);
            frames.push(frame(screen));
        }
        screen.drop_at(canvas.center());
        screen.run_steps(2);
        let size = editor(screen).tools.brush.size;
        tell(&format!("frames with a stroke ({name}: {size} px)"), frames);
    }
}

/// Fills about 1000 × 1000 pixels.
fn comparing(screen: &mut Screen) {
    screen.run_steps(5);
    let canvas = window(screen).canvas();
    let corners = [1500.0, 2500.0].map(|at| canvas.screen_position(Point::new(at, at)).unwrap());
    screen.key_press(Key::R);
    screen.step();
    screen.drag_at(corners[0]);
    screen.step();
    screen.hover_at(corners[1]);
    screen.step();
    screen.drop_at(corners[1]);
    screen.step();
    screen.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    let frames = until(screen, |screen| {
        editor(screen).candidate().is_some_and(|candidate| candidate.variations().len() == 3)
            && window(screen).canvas().filling().is_none()
    });
    tell("frames while a fill is prepared and its three results come", frames);
    let mut frames = Vec::new();
    for at in 0..40 {
        let key = if at % 4 < 2 { Key::ArrowRight } else { Key::ArrowLeft };
        screen.key_down(key);
        frames.push(frame(screen));
        screen.key_up(key);
        frames.push(frame(screen));
    }
    tell("frames with an arrow key between variations", frames);
}

fn layers(screen: &mut Screen) {
    screen.key_down(Key::Enter);
    tell("frames while a result becomes a layer", (0..4).map(|_| frame(screen)).collect());
    screen.key_up(Key::Enter);
    screen.run_steps(2);
    let mut frames = Vec::new();
    for _ in 0..10 {
        screen.key_down(Key::Backslash);
        frames.extend((0..2).map(|_| frame(screen)));
        screen.key_up(Key::Backslash);
        frames.extend((0..2).map(|_| frame(screen)));
    }
    tell("frames while the original is held and let go", frames);
    let mut frames = Vec::new();
    for _ in 0..3 {
        for modifiers in [Modifiers::COMMAND, Modifiers::COMMAND | Modifiers::SHIFT] {
            screen.key_down_modifiers(modifiers, Key::Z);
            frames.push(frame(screen));
            screen.key_up_modifiers(modifiers, Key::Z);
            frames.push(frame(screen));
        }
    }
    tell("frames while a layer is undone and redone", frames);
}
