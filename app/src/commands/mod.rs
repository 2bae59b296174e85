//! What each command does.

pub(crate) mod batch;
pub(crate) mod batch_bench;
pub(crate) mod bench;
pub(crate) mod devices;
pub(crate) mod generate;
pub(crate) mod grid;
pub(crate) mod inspect;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod previews;
pub(crate) mod prompt;
pub(crate) mod savings_bench;
pub(crate) mod settings;
