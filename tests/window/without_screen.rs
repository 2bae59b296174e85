//! The window without a screen, for tests and for benches.

use eframe::egui::Vec2;
use emberbrush::{
    engine::Engine,
    window::{Start, Window, journal::Journal},
};
use emberbrush_tests::egui_kittest::Harness;

/// A window without a screen.
pub(crate) type Screen = Harness<'static, Option<Window>>;

/// Opens the window on what a journal holds.
pub(crate) fn open<E: Engine>(journal: Journal, engine: impl Fn() -> E + Send + 'static) -> Screen {
    let mut start = Some(Start { journal, engine });
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
