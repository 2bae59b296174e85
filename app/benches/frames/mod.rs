//! A window without a screen, and what its frames take.

#[path = "../../../tests/window/without_screen.rs"]
mod without_screen;

use std::time::{Duration, Instant};

use emberbrush::window::Window;
pub(crate) use without_screen::{Screen, open};

/// The window.
pub(crate) fn window(screen: &Screen) -> &Window {
    screen.state().as_ref().unwrap()
}

/// The time that this thread has spent on the processor; elsewhere than on Linux, the time on the wall.
fn thread_time() -> Duration {
    // The system counts what a thread has spent when it lets go of the processor.
    std::thread::sleep(Duration::from_micros(1));
    #[cfg(target_os = "linux")]
    if let Some(time) = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
    {
        return Duration::from_nanos(time);
    }
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

/// Makes a frame, and tells what the window's thread spent on the processor for it.
pub(crate) fn frame(screen: &mut Screen) -> Duration {
    let before = thread_time();
    screen.step();
    thread_time() - before
}

/// Prints what frames took.
pub(crate) fn tell(what: &str, mut frames: Vec<Duration>) {
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
