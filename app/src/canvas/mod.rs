//! The Canvas place: a picture, the mask that is painted on it, and the fills that change it.
//!
//! `document`, `editor` and what they are made of know no window; `place`, `surface`, `panel` and
//! `tool_strip` draw them and take in what a person does.

mod background;
pub mod brush;
pub mod document;
pub mod editor;
pub mod ember_file;
pub mod fill;
pub mod geometry;
pub mod history;
pub mod journal;
pub mod layer;
mod manifest;
pub mod mask;
mod panel;
mod place;
pub mod selection;
mod surface;
mod textures;
pub mod tiles;
mod tool_strip;
pub mod tools;
pub mod view;

pub use manifest::ContentError;
pub use place::CanvasPlace;
