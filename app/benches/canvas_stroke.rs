//! How long a frame takes while a brush is drawn over a picture of 4096 × 4096 pixels: the whole
//! window on the processor, without what the graphics card does.
//!
//! `cargo bench -p emberbrush --bench canvas_stroke --no-default-features --features cpu,gui,download`

#![allow(clippy::unwrap_used)]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eframe::egui::{DroppedFile, Key, Modifiers, Role, Vec2};
use emberbrush::{
    canvas::{document::Document, ember_file},
    engine::{Engine, Failure, Job, JobEnd, JobEvent, LoadedModel, Setup},
    window::{Start, Window, journal::Journal},
};
use emberbrush_pipeline::{device::DeviceInfo, picture::Picture};
use emberbrush_tests::egui_kittest::{Harness, kittest::Queryable};

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

struct NoEngine;

impl Engine for NoEngine {
    fn load(&mut self, _: &Setup) -> Result<LoadedModel, Failure> {
        Err(Failure::new("none"))
    }

    fn run(&mut self, _: &Job, _: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        JobEnd::Done
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        Vec::new()
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.ember");
    let pixels = image::RgbImage::from_fn(4096, 4096, |x, y| image::Rgb([x as u8, y as u8, 99]));
    let picture = Picture::new(image::DynamicImage::ImageRgb8(pixels));
    ember_file::save(&Document::new("large", picture), &file).unwrap();
    let journal = Journal::open(folder.path().join("data")).unwrap();
    let mut start = Some(Start { journal, engine: || NoEngine });
    let mut harness = Harness::builder().with_size(Vec2::new(1280.0, 800.0)).build_ui_state(
        move |ui, window: &mut Option<Window>| match window {
            // Fonts are there from the frame after the first.
            None => *window = Some(Window::new(ui.ctx(), start.take().unwrap()).unwrap()),
            Some(window) => {
                window.logic(&ui.ctx().clone());
                window.ui(ui);
            }
        },
        None,
    );
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    harness.run_steps(3);
    let dropped: eframe::egui::DroppedFileHandle = std::sync::Arc::new(Dropped(file));
    harness.input_mut().dropped_files.push(dropped);
    harness.step();
    harness.input_mut().dropped_files.clear();
    while harness.state().as_ref().unwrap().canvas().editor().is_none() {
        harness.step();
        std::thread::sleep(Duration::from_millis(20));
    }
    harness.run_steps(5);
    let canvas = harness.get_by_role_and_label(Role::Canvas, "Canvas").rect();
    for (name, presses) in [("48 px", 0), ("400 px", 14)] {
        for _ in 0..presses {
            harness.key_press(Key::CloseBracket);
            harness.step();
        }
        let mut frames = Vec::new();
        harness.drag_at(canvas.center());
        harness.step();
        for at in 0..600 {
            let angle = at as f32 / 25.0;
            let reach = canvas.height() * 0.35 * (at as f32 / 600.0);
            harness.hover_at(canvas.center() + Vec2::angled(angle) * reach);
            let begun = Instant::now();
            harness.step();
            frames.push(begun.elapsed());
        }
        harness.drop_at(canvas.center());
        harness.run_steps(2);
        frames.sort();
        let at = |share: f64| frames[((frames.len() - 1) as f64 * share) as usize];
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "brush {name}: median {:.2} ms, 99th percentile {:.2} ms, longest {:.2} ms",
            milliseconds(at(0.5)),
            milliseconds(at(0.99)),
            milliseconds(at(1.0)),
        );
    }
}
