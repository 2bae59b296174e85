//! Files that are dropped on the window.

use std::path::Path;

use egui::Context;
use emberbrush_pipeline::adapters::{AdapterKind, ListedAdapter};

use super::{application::Window, overlay::Overlay, place::Place};

/// What a file is taken for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// A folder of models.
    Folder,
    /// Prompts or jobs.
    Jobs,
    /// A checkpoint, or what changes one.
    Weights,
    /// A document of the canvas.
    Document,
    /// Anything else is read as a picture, or refused as one.
    Picture,
}

impl Dropped {
    fn of(path: &Path) -> Self {
        if path.is_dir() {
            return Self::Folder;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "txt" | "csv" | "jsonl" => Self::Jobs,
            "safetensors" | "ckpt" | "pt" | "pth" | "bin" | "gguf" => Self::Weights,
            "ember" => Self::Document,
            _ => Self::Picture,
        }
    }
}

impl Window {
    /// Takes in what was dropped. Pictures go to the canvas where that is in view, and else give their settings; of
    /// several, the canvas takes the first.
    pub(super) fn take_dropped(&mut self, ctx: &Context) {
        let files = ctx.input(|input| input.raw.dropped_files.clone());
        let mut is_opened = false;
        for path in files.iter().map(|file| file.path()) {
            match Dropped::of(path) {
                Dropped::Folder => {
                    self.add_model_folder(path.to_owned());
                    self.overlay = Overlay::Models;
                }
                Dropped::Jobs => self.import_jobs(path.to_owned()),
                Dropped::Weights => self.take_weights(ctx, path),
                Dropped::Picture if self.session.place != Place::Canvas => {
                    self.take_settings_of(path);
                }
                Dropped::Document | Dropped::Picture => {
                    self.session.place = Place::Canvas;
                    if !std::mem::replace(&mut is_opened, true) {
                        self.canvas.open_file(ctx, path.to_owned());
                    }
                }
            }
        }
    }

    /// A LoRA or an embedding goes into the settings, a checkpoint into the library, where it is told what cannot be
    /// used.
    fn take_weights(&mut self, ctx: &Context, path: &Path) {
        if crate::model::files(Some(path)).is_err() {
            match ListedAdapter::open(path).kind {
                AdapterKind::LowRank { .. } => return self.add_lora(path.to_owned()),
                AdapterKind::Embedding { .. } => {
                    return self.change_settings("embedding-added", |settings| {
                        settings.adapters.embedding.push(path.to_owned());
                    });
                }
                AdapterKind::Unusable(_) => {}
            }
        }
        self.add_to_library(ctx, path.to_owned());
        self.overlay = Overlay::Models;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        let of = |name: &str| Dropped::of(Path::new(name));
        assert_eq!(of("prompts.TXT"), Dropped::Jobs);
        assert_eq!(of("model.safetensors"), Dropped::Weights);
        assert_eq!(of("apple.ember"), Dropped::Document);
        assert_eq!(of("apple.png"), Dropped::Picture);
        assert_eq!(of("no ending"), Dropped::Picture);
        assert_eq!(of(env!("CARGO_MANIFEST_DIR")), Dropped::Folder);
    }
}
