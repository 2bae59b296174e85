//! The Canvas place: a picture, the mask that is painted on it, and the fills that change it.
//!
//! `document`, `editor` and what they are made of know no window; `place` and the files beside it
//! draw them and take in what a person does.

mod acting;
pub mod actions;
mod background;
pub mod brush;
pub mod candidate;
mod centre;
mod colour_button;
mod colouring;
pub mod document;
pub mod editor;
pub mod ember_file;
mod extension;
pub mod fill;
mod filling;
pub mod geometry;
pub mod history;
pub mod journal;
mod keyboard_pointer;
pub mod layer;
mod layers_panel;
mod manifest;
pub mod mask;
mod overlay;
mod panel;
mod place;
pub mod screen_image;
pub mod selection;
mod surface;
mod textures;
pub mod tiles;
mod tool_strip;
pub mod tools;
pub mod view;

pub use manifest::ContentError;
pub use place::CanvasPlace;
