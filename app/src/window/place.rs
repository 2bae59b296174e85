//! The places of the window, and what they are given.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    application::Window, journal::Journal, preferences::Preferences, queue::Queue,
    settings::GenerationSettings, words::Words,
};
use crate::{
    canvas::CanvasPlace,
    engine::{JobId, LoadedModel, ModelSource},
    failure::Failure,
};

/// A place of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Where pictures are made.
    #[default]
    Prompt,
    /// Where pictures are changed.
    Canvas,
    /// Where pictures are found.
    Gallery,
}

/// How far the checkpoint that is chosen is.
#[derive(Debug, Clone)]
pub(super) enum ModelState {
    /// It is being loaded.
    Loading(ModelSource),
    /// It is ready.
    Ready(Arc<LoadedModel>),
    /// It cannot be loaded.
    Failed(ModelSource, Failure),
}

/// Something that a person should know.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What happened and what to do.
    pub message: String,
    /// More, to copy.
    pub details: Option<String>,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// What a place is given to draw and to act.
pub struct PlaceContext<'a> {
    /// The words of the window.
    pub words: &'a Words,
    /// How a person wants the program to be.
    pub preferences: &'a Preferences,
    /// The settings of the Prompt place: prompt, sampler, steps, seed…
    pub settings: &'a GenerationSettings,
    /// The checkpoint, where one is ready.
    pub model: Option<&'a Arc<LoadedModel>>,
    /// Where things are remembered.
    pub journal: &'a Journal,
    /// The list of jobs: add one with [`super::queue::Origin::Canvas`] and its events come to
    /// [`CanvasPlace::on_event`].
    pub queue: &'a mut Queue,
    /// Jobs that the engine is to stop.
    pub cancelled: &'a mut Vec<JobId>,
    /// What a person should know.
    pub notices: &'a mut Vec<Notice>,
}

impl Window {
    /// Lets the canvas work with the rest of the window.
    pub(super) fn with_canvas<R>(
        &mut self,
        work: impl FnOnce(&mut CanvasPlace, &mut PlaceContext<'_>) -> R,
    ) -> R {
        let mut cancelled = Vec::new();
        let mut context = PlaceContext {
            words: &self.words,
            preferences: &self.preferences,
            settings: &self.settings,
            model: match &self.model {
                ModelState::Ready(model) => Some(model),
                _ => None,
            },
            journal: &self.journal,
            queue: &mut self.queue,
            cancelled: &mut cancelled,
            notices: &mut self.notices,
        };
        let result = work(&mut self.canvas, &mut context);
        for job in cancelled {
            self.engine.cancel(job);
            self.queue.cancel_waiting(job);
        }
        result
    }
}
