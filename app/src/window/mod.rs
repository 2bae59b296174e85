//! The window: what a person sees, and what it remembers.

mod acting;
pub mod actions;
mod adapter_panel;
pub mod adapters;
mod advanced_panel;
mod application;
mod asking;
mod asking_engine;
mod bar;
pub mod completion;
mod completion_popup;
mod control_panel;
pub mod controls;
pub mod dialogs;
mod dropping;
mod engine_events;
mod export;
mod fonts;
pub mod gallery;
mod grid;
mod history;
pub mod icons;
pub mod journal;
mod library_section;
mod memory_note;
mod model_work;
mod models_page;
mod names;
pub mod notification;
mod overlay;
mod palette;
mod picture_settings;
mod place;
pub mod preferences;
mod preferences_page;
mod prompt_editor;
mod prompt_panel;
mod prompt_reading;
pub mod prompt_weight;
pub mod queue;
mod queue_panel;
mod remembering;
pub mod results;
pub mod session;
pub mod settings;
mod shell;
mod status;
pub mod styles;
pub mod theme;
pub mod timeline;
mod viewer;
pub mod words;

use anyhow::Context as _;
pub use application::{Bin, Start, Window};
use emberbrush_pipeline::places;
pub(crate) use names::schedule_message;
pub use place::{Notice, Place, PlaceContext};

use crate::engine::DiffusionEngine;

/// The size of the window at its first start, in points.
const FIRST_SIZE: [f32; 2] = [1280.0, 800.0];

/// The smallest size at which everything can be reached, in points.
const SMALLEST_SIZE: [f32; 2] = [880.0, 600.0];

/// Opens the window, and comes back when it is closed.
///
/// # Errors
///
/// Where the system has no screen or no way to draw on it, or the data folder cannot be made.
pub fn open() -> anyhow::Result<()> {
    let data = places::data_folder();
    let journal = journal::Journal::open(data.clone())
        .with_context(|| format!("{}: the data folder cannot be used", data.display()))?;
    let icon = eframe::icon_data::from_png_bytes(emberbrush_assets::ICON)
        .context("the icon is no picture")?;
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_icon(icon)
            .with_app_id("emberbrush")
            .with_title("Emberbrush")
            .with_inner_size(FIRST_SIZE)
            .with_min_inner_size(SMALLEST_SIZE)
            .with_drag_and_drop(true),
        renderer: eframe::Renderer::Wgpu,
        ..Default::default()
    };
    eframe::run_native(
        "Emberbrush",
        options,
        Box::new(|creation| {
            let start = Start { journal, engine: DiffusionEngine::default };
            let window = Window::new(&creation.egui_ctx, start)?;
            Ok(Box::new(window))
        }),
    )
    .map_err(|error| anyhow::anyhow!("{error}"))
    .context("the window could not be opened; the commands of `emberbrush --help` work without one")
}
