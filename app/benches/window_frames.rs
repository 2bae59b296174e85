//! What the window itself takes: frames while a picture forms, frames while a gallery of 10,000 pictures scrolls,
//! the way to its first frame, and what it does while nothing happens. Times are those that the window's thread
//! spends on the processor, without what the graphics card does.
//!
//! `cargo bench -p emberbrush --bench window_frames --no-default-features --features cpu,gui,download`

#![allow(clippy::unwrap_used, clippy::expect_used)]

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
    window::{Start, Window, journal::Journal, preferences::Preferences, words::Language},
};
use emberbrush_pipeline::{
    device::DeviceChoice,
    picture::{self, FileFormat, Picture},
};
use emberbrush_tests::egui_kittest::Harness;

const PICTURES: usize = 10_000;

/// How many pictures form one after the other.
const FORMING: usize = 12;

type Screen = Harness<'static, Option<Window>>;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fill(&pictures);
    let begun = Instant::now();
    let mut screen = open(folder.path(), &pictures);
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
    scrolling(&mut screen);
    idle(&mut screen);
}

/// The time that this thread has spent on the processor; elsewhere than on Linux, the time on the wall.
fn thread_time() -> Duration {
    #[cfg(target_os = "linux")]
    if let Some(time) = fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
    {
        return Duration::from_nanos(time);
    }
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

fn fill(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let pixels = image::RgbImage::from_fn(512, 512, |x, y| image::Rgb([x as u8, y as u8, 99]));
    let bytes = picture::encode(&Picture::new(pixels.into()), FileFormat::Png, &[]).unwrap();
    let first = folder.join("picture-00000.png");
    fs::write(&first, bytes).unwrap();
    for number in 1..PICTURES {
        fs::hard_link(&first, folder.join(format!("picture-{number:05}.png"))).unwrap();
    }
}

fn open(folder: &Path, pictures: &Path) -> Screen {
    let journal = Journal::open(folder.join("data")).unwrap();
    let preferences = Preferences {
        pictures_folder: pictures.to_owned(),
        device: DeviceChoice::Cpu,
        language: Language::English,
        ..Preferences::default()
    };
    journal.write("preferences.json", &preferences);
    journal.flush();
    let mut start = Some(Start { journal, engine: DiffusionEngine::default });
    let mut screen = Harness::builder().with_size(Vec2::new(1280.0, 800.0)).build_ui_state(
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
    screen.run_steps(2);
    screen
}

fn window(screen: &Screen) -> &Window {
    screen.state().as_ref().unwrap()
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

fn scrolling(screen: &mut Screen) {
    screen.key_press_modifiers(Modifiers::COMMAND, Key::Num3);
    screen.run_steps(5);
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

fn frame(screen: &mut Screen) -> Duration {
    let before = thread_time();
    screen.step();
    thread_time() - before
}

fn tell(what: &str, mut frames: Vec<Duration>) {
    frames.sort();
    let at =
        |share: f64| frames[((frames.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{what}: {} frames, median {:.2} ms, 99th percentile {:.2} ms, longest {:.2} ms",
        frames.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}
