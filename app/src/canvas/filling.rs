//! A fill between the document and the engine: asked for, followed, and its results taken in.

use std::sync::Arc;

use egui::{ColorImage, Context, TextureOptions};
use emberbrush_pipeline::request::Extension;

use super::{
    fill::{FillJob, Target},
    place::{CanvasPlace, Message, RunningFill},
};
use crate::{
    engine::{Delivery, Event, JobEnd, JobEvent, JobId},
    window::{
        PlaceContext,
        queue::{NewJob, Origin},
        settings::random_seed,
    },
};

impl CanvasPlace {
    pub(super) fn begin_fill(&mut self, job: FillJob, context: &mut PlaceContext<'_>) {
        let id = context.queue.add(NewJob {
            origin: Origin::Canvas,
            request: job.request.clone(),
            model: context.settings.model.clone(),
            vae: context.settings.vae.clone(),
            delivery: Delivery::Folder {
                folder: context.preferences.pictures_folder.clone(),
                format: context.preferences.format,
            },
            sources: Some(job.pictures.clone()),
        });
        let steps = job.request.steps;
        let job = Arc::new(job);
        self.fill = Some(RunningFill { id, job, index: 0, step: 0, steps, preview: None });
    }

    /// Ctrl+Enter: fills what the mask marks, or what was dragged out.
    pub fn generate(&mut self) {
        if self.editor.is_some() {
            self.wants_fill = true;
        } else {
            self.message = Some(Message::First("canvas-open-first"));
        }
    }

    /// The job of the fill that is made or waits for its turn.
    pub fn filling(&self) -> Option<JobId> {
        self.fill.as_ref().map(|fill| fill.id)
    }

    /// Whether a fill can be asked for now.
    pub fn can_fill(&self) -> bool {
        self.editor.is_some() && self.fill.is_none() && !self.background.is_busy()
    }

    /// Stops the fill that is made or waits for its turn.
    pub fn cancel(&self, context: &mut PlaceContext<'_>) {
        context.cancelled.extend(self.filling());
    }

    /// Prepares a fill and asks the engine for it.
    pub(super) fn fill(
        &mut self,
        ctx: &Context,
        target: Option<Target>,
        context: &PlaceContext<'_>,
    ) {
        let Some(editor) = &mut self.editor else { return };
        if self.fill.is_some() || self.background.is_busy() {
            return;
        }
        let Some(model) = context.model else {
            self.message = Some(Message::First("canvas-no-model"));
            return;
        };
        editor.abort();
        let target = target.unwrap_or_else(|| match editor.extension {
            extension if extension != Extension::default() => Target::Extension(extension),
            _ => Target::Mask,
        });
        let mut base = context.settings.request_on_canvas();
        if !context.settings.seed_is_locked {
            base.seed = random_seed();
        }
        self.message = None;
        let document = editor.document().clone();
        self.background.prepare_fill(ctx, document, target, self.options, base, model.checkpoint);
    }

    /// Something happened to one of its jobs.
    pub fn on_event(&mut self, ctx: &Context, event: &Event) {
        let id = match event {
            Event::Job(id, _) | Event::Ended(id, _) => *id,
            _ => return,
        };
        let Some(fill) = self.fill.as_mut().filter(|fill| fill.id == id) else { return };
        match event {
            Event::Job(_, JobEvent::Started { index, .. }) => {
                fill.index = *index;
                fill.step = 0;
                fill.preview = None;
            }
            Event::Job(_, JobEvent::Step { step, steps, preview, .. }) => {
                (fill.step, fill.steps) = (*step, *steps);
                if let Some(preview) = preview {
                    let size = [preview.width() as usize, preview.height() as usize];
                    let image = ColorImage::from_rgb(size, preview.as_raw());
                    let options = TextureOptions::LINEAR;
                    fill.preview = Some(ctx.load_texture("fill preview", image, options));
                }
            }
            Event::Job(_, JobEvent::Picture(finished)) => {
                fill.preview = None;
                let job = Arc::clone(&fill.job);
                let Some(editor) = &self.editor else { return };
                let seen = (editor.document().clone(), editor.image().clone());
                let picture = Arc::clone(&finished.picture);
                self.background.prepare_result(ctx, job, seen, finished.index, picture);
            }
            Event::Ended(_, end) => {
                self.fill = None;
                if let JobEnd::Failed(failure) = end {
                    self.message = Some(Message::Failed(failure.clone()));
                }
            }
            _ => {}
        }
    }
}
