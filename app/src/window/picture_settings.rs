//! What is done with a picture of the gallery or a file: its settings taken over, copied, opened on the canvas.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use egui::Context;
use emberbrush_pipeline::{
    metadata::{self, MadeWith, VaeRecord},
    prompt::PromptSyntax,
};
use serde_json::{Map, Value};

use super::{application::Window, gallery::GalleryAction, place::Place};
use crate::failure::Failure;

impl Window {
    /// The Gallery place.
    pub(super) fn gallery_place(&mut self, ui: &mut egui::Ui) {
        if let Some(action) = self.gallery.ui(ui, &self.words) {
            self.act_on_gallery(ui.ctx(), action);
        }
    }

    fn act_on_gallery(&mut self, ctx: &Context, action: GalleryAction) {
        match action {
            GalleryAction::UseSettings(fields) => {
                let left = self.take_fields(&fields);
                left.into_iter().for_each(|left| self.tell(left));
                self.session.place = Place::Prompt;
            }
            GalleryAction::MakeAnother(fields) => {
                let left = self.take_fields(&fields);
                left.into_iter().for_each(|left| self.tell(left));
                self.settings.seed_is_locked = false;
                self.session.place = Place::Prompt;
                self.queue_settings();
            }
            GalleryAction::ToCanvas(path) => self.open_on_canvas(&path),
            GalleryAction::CopyPicture(path) => match emberbrush_pipeline::picture::read(&path) {
                Ok(picture) => ctx.copy_image(super::results::colour_image(&picture.pixels)),
                Err(error) => self.tell_error(error),
            },
            GalleryAction::CopySettings(fields) => {
                let mut settings = self.settings.clone();
                settings.take_fields(&fields);
                let text = |name: &str| fields.get(name).and_then(|value| value.as_str());
                let with = MadeWith {
                    model: text("model").unwrap_or_default().to_owned(),
                    model_hash: text("model-hash").map(str::to_owned),
                    dtype: text("dtype").unwrap_or_default().to_owned(),
                    prompt_syntax: PromptSyntax::default(),
                    adapter_hashes: Default::default(),
                    vae: text("vae").map(|name| VaeRecord {
                        name: name.to_owned(),
                        hash: text("vae-hash").map(str::to_owned),
                    }),
                };
                let request = settings.request();
                ctx.copy_text(metadata::parameters(&request, request.seed, &with));
                self.tell(self.words.get("notice-copied"));
            }
            GalleryAction::Delete(id, path) => match (self.bin)(&path) {
                Ok(()) => self.gallery.removed(id),
                Err(reason) => self.tell_error(Failure::of_bin(&path, reason)),
            },
        }
    }

    /// Takes over the settings of a picture, and gives words for what could not be.
    fn take_fields(&mut self, fields: &Map<String, Value>) -> Option<String> {
        let mut left = Vec::new();
        let vae = self.vae_of(fields);
        if let Err(name) = &vae {
            left.push(format!("vae ({name})"));
        }
        self.change_settings("taken", |settings| {
            left.extend(settings.take_fields(fields));
            settings.vae = vae.unwrap_or(None);
        });
        let arguments = || [("fields", left.join(", ").into())];
        (!left.is_empty()).then(|| self.words.with("notice-not-taken", arguments()))
    }

    /// The autoencoder that a picture names, by what was chosen before: a name does not say where
    /// the file is. The error is a name that is not known.
    fn vae_of(&self, fields: &Map<String, Value>) -> Result<Option<PathBuf>, String> {
        let Some(name) = fields.get("vae").and_then(Value::as_str) else { return Ok(None) };
        let is_named = |path: &&PathBuf| path.file_name().is_some_and(|file| file == name);
        let known = self.preferences.vae_files.iter().find(is_named);
        known.cloned().map(Some).ok_or_else(|| name.to_owned())
    }

    /// Takes over the settings that a picture file carries.
    pub fn take_settings_of(&mut self, path: &Path) {
        match metadata::read(path) {
            Ok(settings) => {
                let left = self.take_fields(&settings.fields);
                self.session.place = Place::Prompt;
                let program = settings.program.to_string();
                let taken = self.words.with("notice-taken", [("program", program.into())]);
                self.tell([Some(taken), left].into_iter().flatten().collect::<Vec<_>>().join(". "));
            }
            Err(error) => self.tell_error(error),
        }
    }

    /// Opens a picture file on the canvas.
    pub(super) fn open_on_canvas(&mut self, path: &Path) {
        match emberbrush_pipeline::picture::read(path) {
            Ok(picture) => {
                self.canvas.open(Arc::new(picture), Some(path));
                self.session.place = Place::Canvas;
            }
            Err(error) => self.tell_error(error),
        }
    }
}
