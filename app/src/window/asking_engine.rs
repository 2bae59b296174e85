//! What the engine is asked: checkpoints to load, and jobs one after the other.

use super::{
    application::Window,
    place::ModelState,
    queue::{NewJob, Origin},
    session::PROMPTS,
    settings::random_seed,
};
use crate::engine::{Command, Delivery, ModelSource, Setup};

impl Window {
    pub(super) fn begin_next_job(&mut self) {
        if !matches!(self.model, ModelState::Ready(_)) && self.queue.running().is_none() {
            // Nothing is begun while a checkpoint is loaded that may not be the job's.
            if matches!(self.model, ModelState::Loading(_)) {
                return;
            }
        }
        if self.queue.forever && self.queue.open_count() == 0 && self.failure.is_none() {
            self.queue_settings();
        }
        if let Some(job) = self.queue.begin_next(&self.preferences) {
            self.failure = None;
            self.engine.send(Command::Run(Box::new(job)));
        }
    }

    /// Puts the settings into the queue and draws the next seed.
    pub(super) fn queue_settings(&mut self) {
        if self.session.awaits_recommendation {
            // Size and steps are not known yet; the first run begins with those of the checkpoint.
            self.generates_when_ready = true;
            return;
        }
        if !self.settings.seed_is_locked {
            self.settings.seed = random_seed();
        }
        let request = self.settings.request();
        if let Err(error) = request.check() {
            self.failure = Some(error.into());
            self.queue.forever = false;
            return;
        }
        self.failure = None;
        self.remember_prompt();
        self.queue.add(NewJob {
            origin: Origin::Prompt,
            request,
            model: self.settings.model.clone(),
            vae: self.settings.vae.clone(),
            delivery: Delivery::Folder {
                folder: self.preferences.pictures_folder.clone(),
                format: self.preferences.format,
            },
            sources: None,
        });
    }

    fn remember_prompt(&mut self) {
        if !self.settings.prompt.trim().is_empty() {
            self.journal.append(PROMPTS, &self.settings.prompt);
        }
    }

    /// Chooses another checkpoint, with its own autoencoder, and has it loaded.
    pub(super) fn choose_model(&mut self, source: ModelSource) {
        self.settings.model = source;
        self.settings.vae = None;
        self.load();
    }

    /// Has the checkpoint that is set loaded.
    pub(super) fn load(&mut self) {
        self.asked_for = self.setup();
        self.model = ModelState::Loading(self.asked_for.model.clone());
        self.engine.send(Command::Load(self.asked_for.clone()));
    }

    /// What the settings need loaded.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            model: self.settings.model.clone(),
            vae: self.settings.vae.clone(),
            device: self.preferences.device,
        }
    }

    /// Stops the job that runs.
    pub(super) fn cancel_running(&mut self) {
        if let Some(entry) = self.queue.running() {
            self.engine.cancel(entry.id);
        }
        self.queue.forever = false;
    }
}
