//! The pictures of this session, and the one that is being made.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use egui::{ColorImage, Context, TextureHandle, TextureOptions};
use emberbrush_pipeline::{picture::Picture, progress::Stage, request::GenerationRequest};
use image::{DynamicImage, RgbImage};

use crate::engine::{FinishedPicture, JobEvent, JobId};

/// The most pictures that the film strip shows.
const MAX_RESULTS: usize = 60;

/// The most pictures whose pixels stay in memory.
const MAX_PIXELS_KEPT: usize = 12;

/// Turns pixels into what egui draws.
pub fn colour_image(picture: &DynamicImage) -> ColorImage {
    let size = [picture.width() as usize, picture.height() as usize];
    match picture {
        DynamicImage::ImageRgb8(rgb) => ColorImage::from_rgb(size, rgb.as_raw()),
        other => ColorImage::from_rgba_unmultiplied(size, other.to_rgba8().as_raw()),
    }
}

/// A picture of the film strip.
pub struct ResultPicture {
    /// What it is.
    pub request: GenerationRequest,
    /// The name of the checkpoint that made it.
    pub model: String,
    /// Its file.
    pub path: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
    /// Small, for the strip.
    pub thumbnail: TextureHandle,
    /// The pixels, for the newest pictures.
    picture: Option<Arc<Picture>>,
    /// On the graphics card, once it was looked at.
    texture: Option<TextureHandle>,
}

impl ResultPicture {
    fn new(ctx: &Context, finished: FinishedPicture) -> Self {
        let FinishedPicture { request, model, picture, thumbnail, path, took, .. } = finished;
        let small = colour_image(&thumbnail);
        let thumbnail = ctx.load_texture("thumbnail", small, TextureOptions::LINEAR);
        Self { request, model, path, took, thumbnail, picture: Some(picture), texture: None }
    }

    /// The pixels, read from the file where they are not in memory.
    pub fn picture(&self) -> Option<Arc<Picture>> {
        self.picture.clone().or_else(|| {
            let path = self.path.as_deref()?;
            emberbrush_pipeline::picture::read(path).ok().map(Arc::new)
        })
    }

    /// The picture to draw.
    pub fn texture(&mut self, ctx: &Context) -> TextureHandle {
        if let Some(texture) = &self.texture {
            return texture.clone();
        }
        let texture = self.picture().map(|picture| {
            let options = TextureOptions {
                magnification: egui::TextureFilter::Nearest,
                ..TextureOptions::LINEAR
            };
            ctx.load_texture("picture", colour_image(&picture.pixels), options)
        });
        let texture = texture.unwrap_or_else(|| self.thumbnail.clone());
        self.texture = Some(texture.clone());
        texture
    }
}

/// The picture that is being made.
pub struct Running {
    /// Its job.
    pub job: JobId,
    /// Its number in the job, from 0.
    pub index: u32,
    /// Its seed.
    pub seed: u64,
    /// What the engine does.
    pub stage: Option<Stage>,
    /// Steps that are done.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// How long a step takes, over the last ones.
    pub step_time: Option<Duration>,
    /// Since when.
    pub started: Instant,
}

impl Running {
    /// The time until the last step is done, at the speed of the last ones.
    pub fn time_left(&self) -> Option<Duration> {
        Some(self.step_time? * self.steps.saturating_sub(self.step))
    }

    /// How much is done, from 0 to 1.
    pub fn fraction(&self) -> f32 {
        if self.steps == 0 { 0.0 } else { self.step as f32 / self.steps as f32 }
    }
}

/// What the centre shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// The picture that is being made, or else the newest.
    #[default]
    Newest,
    /// A picture of the film strip, by its place.
    Result(usize),
}

/// The pictures of this session, newest first, and the one that is being made.
#[derive(Default)]
pub struct Results {
    /// Those that are done, newest first.
    pub pictures: Vec<ResultPicture>,
    /// The one that is being made.
    pub running: Option<Running>,
    /// What there is of it; stays after it was stopped.
    pub preview: Option<TextureHandle>,
    /// What the centre shows.
    pub shown: Shown,
    /// Whether the last run was stopped, so that its preview is what there is.
    pub was_cancelled: bool,
}

impl Results {
    /// Takes note of what happens in a job.
    pub fn on_event(&mut self, ctx: &Context, job: JobId, steps: u32, event: JobEvent) {
        match event {
            JobEvent::Checkpoint | JobEvent::UnusedKeys(_) => {}
            JobEvent::Started { index, seed } => {
                self.preview = None;
                self.was_cancelled = false;
                self.shown = Shown::Newest;
                self.running = Some(Running {
                    job,
                    index,
                    seed,
                    stage: None,
                    step: 0,
                    steps,
                    step_time: None,
                    started: Instant::now(),
                });
            }
            JobEvent::Stage(stage) => {
                if let Some(running) = &mut self.running {
                    running.stage = Some(stage);
                }
            }
            JobEvent::Step { step, steps, duration, preview } => {
                if let Some(running) = &mut self.running {
                    running.step = step;
                    running.steps = steps;
                    // The newest step counts as much as all before it.
                    let time = running.step_time.map_or(duration, |time| (time + duration) / 2);
                    running.step_time = Some(time);
                }
                if let Some(preview) = preview {
                    self.show_preview(ctx, &preview);
                }
            }
            JobEvent::Picture(finished) => {
                self.running = None;
                self.preview = None;
                self.add(ctx, *finished);
            }
        }
    }

    fn show_preview(&mut self, ctx: &Context, preview: &RgbImage) {
        let size = [preview.width() as usize, preview.height() as usize];
        let image = ColorImage::from_rgb(size, preview.as_raw());
        match &mut self.preview {
            Some(texture) => texture.set(image, TextureOptions::LINEAR),
            None => {
                self.preview = Some(ctx.load_texture("preview", image, TextureOptions::LINEAR));
            }
        }
    }

    fn add(&mut self, ctx: &Context, finished: FinishedPicture) {
        if let Shown::Result(place) = &mut self.shown {
            *place += 1;
        }
        self.pictures.insert(0, ResultPicture::new(ctx, finished));
        self.pictures.truncate(MAX_RESULTS);
        for old in self.pictures.iter_mut().skip(MAX_PIXELS_KEPT) {
            if old.path.is_some() {
                old.picture = None;
                old.texture = None;
            }
        }
    }

    /// The run ended, one way or another.
    pub fn ended(&mut self, was_cancelled: bool) {
        self.running = None;
        self.was_cancelled = was_cancelled && self.preview.is_some();
        if !self.was_cancelled {
            self.preview = None;
        }
    }

    /// The picture in view, where it is a finished one.
    pub fn shown_picture(&self) -> Option<&ResultPicture> {
        match self.shown {
            Shown::Newest if self.preview.is_some() || self.running.is_some() => None,
            Shown::Newest => self.pictures.first(),
            Shown::Result(place) => self.pictures.get(place),
        }
    }
}
