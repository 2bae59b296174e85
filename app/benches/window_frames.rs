//! What the window itself takes: frames while a picture forms, frames while a gallery of 10,000 pictures opens, is
//! searched and scrolls, the way to its first frame, and what it does while nothing happens. Times are those that the
//! window's thread spends on the processor, without what the graphics card does.
//!
//! `cargo bench --workspace --all-features --bench window_frames`

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod frames;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, TouchPhase, Vec2, ViewportId, pos2,
};
use emberbrush::{
    engine::DiffusionEngine,
    window::{journal::Journal, preferences::Preferences, words::Language},
};
use emberbrush_pipeline::{
    device::DeviceChoice,
    picture::{self, FileFormat, Picture},
};
use emberbrush_tests::egui_kittest::kittest::Queryable;
use frames::{Screen, frame, open, tell, window};

const PICTURES: usize = 10_000;

/// How many pictures form one after the other.
const FORMING: usize = 12;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fill(&pictures);
    let journal = preferences(folder.path(), &pictures);
    let begun = Instant::now();
    let mut screen = open(journal, DiffusionEngine::default);
    println!("first frame: {:.0} ms", begun.elapsed().as_secs_f64() * 1000.0);
    while !window(&screen).status_text().starts_with("Ready") {
        screen.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("the model in the box is ready: {:.0} ms", begun.elapsed().as_secs_f64() * 1000.0);
    while window(&screen).gallery().is_scanning() {
        screen.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    forming(&mut screen);
    finding(&mut screen);
    scrolling(&mut screen);
    idle(&mut screen);
}

fn fill(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let pixels = image::RgbImage::from_fn(512, 512, |x, y| image::Rgb([x as u8, y as u8, 99]));
    let settings = "a red apple on a blue background, studio light\nNegative prompt: blur\nSteps: 20, \
                    Sampler: Euler, CFG scale: 7.5, Seed: 5, Size: 512x512";
    let texts = [("parameters", settings.to_owned())];
    let bytes = picture::encode(&Picture::new(pixels.into()), FileFormat::Png, &texts).unwrap();
    let first = folder.join("picture-00000.png");
    fs::write(&first, bytes).unwrap();
    for number in 1..PICTURES {
        fs::hard_link(&first, folder.join(format!("picture-{number:05}.png"))).unwrap();
    }
}

fn preferences(folder: &Path, pictures: &Path) -> Journal {
    let journal = Journal::open(folder.join("data")).unwrap();
    let preferences = Preferences {
        pictures_folder: pictures.to_owned(),
        device: DeviceChoice::Cpu,
        language: Language::English,
        ..Preferences::default()
    };
    journal.write("preferences.json", &preferences);
    journal.flush();
    journal
}

/// Frames as the screen asks for them while the model in the box draws several pictures.
fn forming(screen: &mut Screen) {
    screen.state_mut().as_mut().unwrap().set_prompt("a red apple");
    for _ in 0..FORMING {
        screen.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    }
    // Each key that is pressed or let go is a frame of its own here.
    screen.step();
    let mut frames = Vec::new();
    while window(screen).results().pictures.len() < FORMING {
        frames.push(frame(screen));
        std::thread::sleep(Duration::from_millis(16));
    }
    tell("frames while a picture forms", frames);
}

/// The gallery comes into view for the first time, and is searched letter by letter.
fn finding(screen: &mut Screen) {
    screen.key_press_modifiers(Modifiers::COMMAND, Key::Num3);
    tell("frames while the gallery opens", settled(screen));
    let mut frames = Vec::new();
    screen.get_by_label("Search prompts and settings").focus();
    screen.run_steps(2);
    for letter in "apple blue".chars() {
        screen.event(Event::Text(letter.to_string()));
        frames.extend(settled(screen));
    }
    assert!(window(screen).gallery().pictures().len() >= PICTURES);
    for _ in 0..10 {
        screen.key_press(Key::Backspace);
        frames.extend(settled(screen));
    }
    tell("frames while pictures are searched for", frames);
}

/// Frames in which what was asked for is found and shown.
fn settled(screen: &mut Screen) -> Vec<Duration> {
    (0..20)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(8));
            frame(screen)
        })
        .collect()
}

fn scrolling(screen: &mut Screen) {
    screen.hover_at(pos2(600.0, 400.0));
    let mut frames = Vec::new();
    for _ in 0..600 {
        screen.event(Event::MouseWheel {
            unit: MouseWheelUnit::Line,
            delta: Vec2::new(0.0, -3.0),
            phase: TouchPhase::Move,
            source: MouseWheelSource::Wheel,
            modifiers: Modifiers::NONE,
        });
        frames.push(frame(screen));
        std::thread::sleep(Duration::from_millis(8));
    }
    let count = window(screen).gallery().pictures().len();
    tell(&format!("frames while a gallery of {count} pictures scrolls"), frames);
}

/// What the window asks for once nothing happens: no further frame.
fn idle(screen: &mut Screen) {
    screen.remove_cursor();
    screen.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
    screen.run_steps(60);
    while window(screen).gallery().awaited_thumbnails() > 0 {
        screen.step();
    }
    screen.run_steps(10);
    let delay = screen.output().viewport_output[&ViewportId::ROOT].repaint_delay;
    if delay > Duration::from_secs(3600) {
        println!("idle: no further frame is asked for");
    } else {
        println!("idle: the next frame is asked for in {delay:?}");
    }
}
