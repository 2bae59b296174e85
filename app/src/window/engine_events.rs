//! What the engine tells, taken in.

use std::{path::Path, sync::Arc};

use egui::Context;
use emberbrush_pipeline::adapters::UnusedKeys;

use super::{
    application::Window,
    place::{ModelState, Notice, Place},
    preferences::Previews,
    queue::{Entry, Origin},
    settings::{GenerationSettings, random_seed},
};
use crate::engine::{Event, JobEnd, JobEvent, JobId, LoadedModel};

impl Window {
    pub(super) fn on_event(&mut self, ctx: &Context, event: Event) {
        match event {
            Event::Loading(source) => self.model = ModelState::Loading(source),
            Event::Loaded(model) => self.on_loaded(model),
            Event::LoadFailed(source, failure) => self.model = ModelState::Failed(source, failure),
            Event::Devices(devices) => self.devices = Some(devices),
            Event::Job(id, event) => self.on_job_event(ctx, id, event),
            Event::Ended(id, end) => self.on_job_ended(ctx, id, end),
        }
    }

    fn on_loaded(&mut self, model: Arc<LoadedModel>) {
        if self.settings.model == model.source {
            // A first start takes what the checkpoint recommends; later ones keep what was set.
            if self.session.awaits_recommendation {
                self.session.awaits_recommendation = false;
                let prompts = (self.settings.prompt.clone(), self.settings.negative.clone());
                self.settings =
                    GenerationSettings::recommended(model.source.clone(), &model.defaults);
                (self.settings.prompt, self.settings.negative) = prompts;
                self.settings.seed = random_seed();
            }
        }
        if model.is_device_new {
            let device = [("device", model.device.name.clone().into())];
            self.tell(self.words.with("notice-new-device", device));
            self.awaits_kernels = true;
        }
        self.model = ModelState::Ready(model);
        if std::mem::take(&mut self.generates_when_ready) {
            self.queue_settings();
        }
    }

    fn on_job_event(&mut self, ctx: &Context, id: JobId, mut event: JobEvent) {
        if let JobEvent::Step { preview, .. } = &mut event
            && self.preferences.previews == Previews::Off
        {
            *preview = None;
        }
        let Some(entry) = self.queue.get(id) else { return };
        let (origin, steps) = (entry.origin, entry.request.steps);
        if let JobEvent::UnusedKeys(unused) = &event {
            self.tell_of_unused_keys(unused);
        }
        if let JobEvent::Picture(finished) = &event {
            self.queue.picture_made(id);
            self.made += 1;
            self.awaits_kernels = false;
            if let Some(path) = &finished.path {
                self.gallery.added(path);
                self.sheets.picture_made(id, path);
            }
        }
        if origin == Origin::Canvas {
            let event = Event::Job(id, event);
            self.canvas.on_event(ctx, &event);
            return;
        }
        self.results.on_event(ctx, id, steps, event);
    }

    fn on_job_ended(&mut self, ctx: &Context, id: JobId, end: JobEnd) {
        let origin = self.queue.get(id).map(|entry| entry.origin);
        self.queue.ended(id, end.clone());
        if self.queue.open_count() == 0 {
            self.tell_that_all_is_done(ctx);
        }
        if origin == Some(Origin::Canvas) {
            self.canvas.on_event(ctx, &Event::Ended(id, end));
            return;
        }
        self.results.ended(end == JobEnd::Cancelled);
        match end {
            JobEnd::Failed(failure) => self.failure = Some(failure),
            JobEnd::Cancelled => self.queue.forever = false,
            JobEnd::Done => {}
        }
    }

    fn tell_of_unused_keys(&mut self, unused: &UnusedKeys) {
        let file = Path::new(&unused.path).file_name().unwrap_or_default();
        let arguments = [
            ("file", file.to_string_lossy().into_owned().into()),
            ("count", unused.keys.len().into()),
        ];
        let message = self.words.with("notice-unused-keys", arguments);
        let details = Some(unused.keys.join("\n"));
        self.notices.push(Notice { message, details, is_error: false });
    }

    /// Writes the tables whose pictures are all there, and shows those that were written.
    pub(super) fn write_sheets(&mut self, ctx: &Context) {
        let queue = &self.queue;
        self.sheets.write_whole(ctx, |job| queue.get(job).is_some_and(Entry::is_open));
        for written in self.sheets.written() {
            match written {
                Ok(path) => {
                    self.gallery.added(&path);
                    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.tell(self.words.with("notice-sheet", [("file", file.into())]));
                }
                Err(error) => self.tell_error(error),
            }
        }
    }

    /// A note in the window where many pictures were made, and one of the system where the window
    /// is not in front.
    fn tell_that_all_is_done(&mut self, ctx: &Context) {
        let made = std::mem::take(&mut self.made);
        if made == 0 || self.queue.forever {
            return;
        }
        let text = self.words.with("notice-done", [("pictures", made.into())]);
        if self.preferences.notify && !ctx.input(|input| input.focused) {
            (self.notify)("Emberbrush", &text);
            let attention = egui::UserAttentionType::Informational;
            ctx.send_viewport_cmd(egui::ViewportCommand::RequestUserAttention(attention));
        }
        // Variations that wait to be compared are in view themselves.
        let is_seen = self.session.place == Place::Canvas
            && self.canvas.editor().is_some_and(|editor| editor.candidate().is_some());
        if made > 1 && !is_seen {
            self.tell(text);
        }
    }
}
