//! The part of the models page that shows the library: its models, and how new ones come.

use egui::{ProgressBar, RichText, Ui, vec2};
use emberbrush_library::{
    folder::{Library, Model},
    name::ModelName,
    progress::Obstacle,
    verify::VerifiedFile,
};

#[cfg(feature = "download")]
use super::theme::CONTROL_HEIGHT;
use super::{
    application::Window,
    controls::{icon_button, section, small},
    dialogs::Question,
    icons,
    model_work::{Ended, ModelWork, Subject},
    models_page::{FoundModel, MODEL_ROW},
    theme::{Colours, ROW_HEIGHT, SMALL, space},
    words::{Words, bytes},
};
use crate::{engine::ModelSource, failure::Failure};

/// Width of the button that downloads, in points.
#[cfg(feature = "download")]
const DOWNLOAD_WIDTH: f32 = 128.0;

/// What the models page holds beside the models.
#[derive(Default)]
pub(super) struct LibraryState {
    /// The model to download, as it is typed.
    origin: String,
    /// The model that is to be removed, once that is confirmed.
    to_remove: Option<ModelName>,
    pub(super) work: ModelWork,
    /// Where models are downloaded from, if not from where the environment says.
    #[cfg(feature = "download")]
    pub(super) hub: Option<emberbrush_library::hub::Hub>,
}

/// What a person asks for in a row.
enum Wish {
    Choose(ModelSource),
    Verify(Model),
    AskToRemove(ModelName),
    Remove(Model),
    Keep,
}

impl Window {
    /// The library of the data folder.
    pub(super) fn model_library(&self) -> Library {
        Library::new(self.journal.folder().join("models"))
    }

    /// Takes in what ended.
    pub(super) fn poll_model_work(&mut self) {
        if self.library.work.poll() {
            self.refresh_models();
        }
    }

    /// The models of the library. The one that is chosen comes back.
    pub(super) fn library_section(&mut self, ui: &mut Ui) -> Option<ModelSource> {
        section(ui, &self.words.get("models-library"));
        let models: Vec<FoundModel> =
            self.models.iter().filter(|model| model.of_library.is_some()).cloned().collect();
        if models.is_empty() {
            small(ui, &self.words.get("models-library-empty"));
        }
        let mut wish = None;
        for found in &models {
            if let Some(model) = &found.of_library {
                wish = self.library_row(ui, found, model).or(wish);
            }
        }
        ui.add_space(space::S);
        self.new_model(ui);
        match wish? {
            Wish::Choose(source) => return Some(source),
            Wish::Verify(model) => self.library.work.verify(ui.ctx(), model),
            Wish::AskToRemove(name) => self.library.to_remove = Some(name),
            Wish::Keep => self.library.to_remove = None,
            Wish::Remove(model) => self.remove_model(&model),
        }
        None
    }

    fn library_row(&mut self, ui: &mut Ui, found: &FoundModel, model: &Model) -> Option<Wish> {
        let mut wish = None;
        let subject = Subject::Model(model.name.clone());
        let is_busy = self.library.work.how_far(&subject).is_some();
        ui.horizontal(|ui| {
            let width = ui.available_width() - 2.0 * (ROW_HEIGHT + ui.spacing().item_spacing.x);
            ui.allocate_ui(vec2(width, MODEL_ROW), |ui| {
                if self.model_row(ui, found) {
                    wish = Some(Wish::Choose(found.source.clone()));
                }
            });
            ui.add_enabled_ui(!is_busy, |ui| {
                let arguments = [("name", model.name.as_str().into())];
                let name = self.words.with("models-verify", arguments.clone());
                if icon_button(ui, icons::CHECK_SQUARE, &name, None).clicked() {
                    wish = Some(Wish::Verify(model.clone()));
                }
                let name = self.words.with("models-remove", arguments);
                if icon_button(ui, icons::TRASH, &name, None).clicked() {
                    wish = Some(Wish::AskToRemove(model.name.clone()));
                }
            });
        });
        if self.library.to_remove.as_ref() == Some(&model.name) {
            wish = self.removal(ui, model).or(wish);
        }
        self.work_state(ui, &subject);
        wish
    }

    /// Asks whether a model is to be removed.
    fn removal(&self, ui: &mut Ui, model: &Model) -> Option<Wish> {
        let mut wish = None;
        ui.horizontal(|ui| {
            let message = match model.is_linked() {
                true => "models-remove-link",
                false => "models-remove-files",
            };
            let size = bytes(model.bytes());
            let arguments = [("name", model.name.as_str().into()), ("size", size.into())];
            ui.label(self.words.with(message, arguments));
            if ui.button(self.words.get("models-remove-yes")).clicked() {
                wish = Some(Wish::Remove(model.clone()));
            }
            if ui.button(self.words.get("models-remove-no")).clicked() {
                wish = Some(Wish::Keep);
            }
        });
        wish
    }

    fn remove_model(&mut self, model: &Model) {
        self.library.to_remove = None;
        if let Err(error) = self.model_library().remove(model, |path| (self.bin)(path)) {
            self.library.work.failed(Subject::Model(model.name.clone()), error);
        }
        self.refresh_models();
    }

    /// How new models come: by download, or from this machine.
    fn new_model(&mut self, ui: &mut Ui) {
        let is_busy = self.library.work.how_far(&Subject::NewModel).is_some();
        ui.add_enabled_ui(!is_busy, |ui| {
            #[cfg(feature = "download")]
            self.download_field(ui);
            ui.horizontal(|ui| {
                let folder =
                    format!("{}  {}", icons::FOLDER_PLUS, self.words.get("models-add-folder"));
                let file = format!("{}  {}", icons::FILE_PLUS, self.words.get("models-add-file"));
                let question = if ui.button(folder).clicked() {
                    Question::folder(std::path::Path::new(""))
                } else if ui.button(file).clicked() {
                    let title = self.words.get("models-add-file");
                    Question::open(title, &["safetensors", "ckpt", "pt"])
                } else {
                    return;
                };
                self.ask(ui.ctx(), question, Self::add_to_library);
            });
        });
        self.work_state(ui, &Subject::NewModel);
    }

    /// Adds a checkpoint folder or file, which stays where it is.
    pub(super) fn add_to_library(&mut self, ctx: &egui::Context, path: std::path::PathBuf) {
        let library = self.model_library();
        self.library.work.add(ctx, &library, path);
    }

    #[cfg(feature = "download")]
    fn download_field(&mut self, ui: &mut Ui) {
        let mut wanted = false;
        ui.horizontal(|ui| {
            let button = format!("{}  {}", icons::DOWNLOAD_SIMPLE, self.words.get("models-pull"));
            let width = ui.available_width() - DOWNLOAD_WIDTH - space::S;
            let field = egui::TextEdit::singleline(&mut self.library.origin)
                .hint_text(self.words.get("models-pull-hint"))
                .align(egui::Align2::LEFT_CENTER)
                .min_size(vec2(width, CONTROL_HEIGHT))
                .desired_width(width);
            let name = self.words.get("models-pull-field");
            let field = ui.add(field).accessible_name(name);
            let is_entered =
                field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
            let size = vec2(ui.available_width(), CONTROL_HEIGHT);
            wanted = ui.add(egui::Button::new(button).min_size(size)).clicked() || is_entered;
        });
        if wanted && !self.library.origin.trim().is_empty() {
            self.pull_model(ui.ctx());
        }
    }

    #[cfg(feature = "download")]
    fn pull_model(&mut self, ctx: &egui::Context) {
        use emberbrush_library::hub::{Hub, HubError, Origin, Patience, Precision, PullRequest};

        let request = || -> Result<PullRequest, HubError> {
            let origin = self.library.origin.trim().parse::<Origin>()?;
            let hub = self.library.hub.clone().map_or_else(Hub::of_person, Ok)?;
            let (precision, patience) = (Precision::default(), Patience::default());
            Ok(PullRequest { origin, name: None, file: None, precision, hub, patience })
        };
        match request() {
            Ok(request) => {
                let library = self.model_library();
                self.library.work.pull(ctx, &library, request);
            }
            Err(error) => self.library.work.failed(Subject::NewModel, error),
        }
    }

    /// How far work on something is, or how it ended.
    fn work_state(&mut self, ui: &mut Ui, subject: &Subject) {
        if let Some(how_far) = self.library.work.how_far(subject) {
            let mut is_stopped = false;
            ui.horizontal(|ui| {
                let done = how_far.done as f32;
                let share = how_far.total.map_or(0.0, |total| done / total.max(1) as f32);
                let text = match how_far.total {
                    Some(total) => format!("{} / {}", bytes(how_far.done), bytes(total)),
                    None => bytes(how_far.done),
                };
                let width = ui.available_width() - 40.0;
                ui.add(ProgressBar::new(share).desired_width(width).text(text));
                is_stopped = icon_button(ui, icons::X, &self.words.get("cancel"), None).clicked();
            });
            let step = match how_far.waits {
                Some((obstacle, pause)) => {
                    let time = super::status::duration(&self.words, pause);
                    let message = match obstacle {
                        Obstacle::Connection => "models-waits-connection",
                        Obstacle::TooManyRequests => "models-waits-requests",
                        Obstacle::Server => "models-waits-server",
                    };
                    self.words.with(message, [("time", time.into())])
                }
                None => how_far.file,
            };
            small(ui, &step);
            if is_stopped {
                self.library.work.stop(subject);
            }
            return;
        }
        let Some(ended) = self.library.work.ended(subject) else { return };
        let (is_error, text) = told(&self.words, ended);
        let colours = Colours::of_ui(ui);
        let mut is_dismissed = false;
        ui.horizontal(|ui| {
            let (icon, colour) = match is_error {
                true => (icons::WARNING_CIRCLE, colours.bad),
                false => (icons::CHECK_CIRCLE, colours.good),
            };
            ui.label(RichText::new(icon).color(colour));
            let width = ui.available_width() - 80.0;
            ui.allocate_ui(vec2(width, 0.0), |ui| {
                ui.set_width(width);
                ui.add(egui::Label::new(RichText::new(text).size(SMALL)).wrap());
            });
            if let Ended::Failed(Failure { details, .. }) = ended {
                let copy = self.words.get("failure-copy");
                if icon_button(ui, icons::COPY, &copy, None).clicked() {
                    ui.ctx().copy_text(details.clone());
                }
            }
            is_dismissed = icon_button(ui, icons::X, &self.words.get("close"), None).clicked();
        });
        if is_dismissed {
            self.library.work.dismiss(subject);
        }
    }
}

/// How work ended, in words, and whether something is wrong.
fn told(words: &Words, ended: &Ended) -> (bool, String) {
    match ended {
        Ended::Added(name) => (false, words.with("models-added", [("name", name.as_str().into())])),
        Ended::Stopped => (false, words.get("models-stopped")),
        Ended::Failed(failure) => (true, words.explain(&failure.explanation)),
        Ended::Verified(files) => match files.iter().find(|file| !file.is_sound()) {
            Some(file) => (true, unsound(words, file)),
            None => {
                let known = files.iter().filter(|file| file.published.is_some()).count();
                let arguments = [("count", files.len().into()), ("known", known.into())];
                (false, words.with("models-sound", arguments))
            }
        },
    }
}

fn unsound(words: &Words, file: &VerifiedFile) -> String {
    if !file.is_published() {
        return words.with("models-changed", [("file", file.file.as_str().into())]);
    }
    let count: u64 = file.not_finite.iter().map(|found| found.nan + found.infinite).sum();
    let key = file.not_finite.first().map_or("", |found| found.key.as_str());
    let arguments =
        [("file", file.file.as_str().into()), ("count", count.into()), ("key", key.into())];
    words.with("models-not-finite", arguments)
}
