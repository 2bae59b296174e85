//! The models page: the checkpoints in the folders that a person names, and the device.

use std::path::{Path, PathBuf};

use egui::{
    Align2, Button, Color32, CornerRadius, FontId, Rect, RichText, Role, ScrollArea, Sense, Ui,
    Vec2, WidgetInfo, pos2,
    text::{LayoutJob, TextWrapping},
    vec2,
};
use emberbrush_library::folder::{Library, Model};
use emberbrush_pipeline::{
    checkpoint::{folder::Family, inspect::inspect},
    device::DeviceChoice,
};

use super::{
    application::Window,
    controls::{divider, focus_ring, section, small},
    dialogs::Question,
    icons, names,
    overlay::Flow,
    theme::{BODY, Colours, RADIUS, ROW_HEIGHT, SECTION, SMALL, space},
    viewer::fitted,
    words::{Words, bytes},
};
use crate::{engine::ModelSource, failure::Failure};

/// The deepest folder below one that a person names in which checkpoints are found.
const MAX_DEPTH: usize = 3;

/// Height of a checkpoint in the list, in points.
pub(super) const MODEL_ROW: f32 = 56.0;

/// A checkpoint that was found.
#[derive(Debug, Clone)]
pub(super) struct FoundModel {
    /// Where it is.
    pub(super) source: ModelSource,
    /// The model of the library that it is.
    pub(super) of_library: Option<Model>,
    /// What it is, or what is wrong with it.
    pub(super) facts: Result<Facts, Failure>,
    /// A picture of what it draws, and when that was written.
    pub(super) picture: Option<(PathBuf, i64)>,
}

/// What is told of a checkpoint that can draw.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    family: Family,
    /// Bytes of its files.
    bytes: u64,
    /// Side in pixels of the pictures that it was trained on.
    side: Option<u64>,
}

impl Facts {
    fn told(&self, words: &Words) -> String {
        let side = self.side.map_or_else(String::new, |side| format!("  ·  {side} px"));
        format!("{}  ·  {}{side}", names::family(words, self.family), bytes(self.bytes))
    }
}

impl FoundModel {
    fn look(source: ModelSource) -> Self {
        let path = match &source {
            ModelSource::InTheBox => None,
            ModelSource::Folder(path) => Some(path.as_path()),
        };
        let facts = crate::model::files(path)
            .and_then(|files| inspect(&files))
            .map(|found| Facts {
                family: found.family,
                bytes: found.stored_bytes,
                side: found.native_size,
            })
            .map_err(Failure::from);
        let picture = path.and_then(picture_of).map(|picture| (picture, 0));
        Self { source, of_library: None, facts, picture }
    }
}

/// The picture that people put beside a checkpoint to know it by: `preview.png` in its folder, or a
/// file of its own name.
fn picture_of(checkpoint: &Path) -> Option<PathBuf> {
    const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
    let names = match checkpoint.is_dir() {
        true => ["preview", "thumbnail"].map(|name| checkpoint.join(name)).to_vec(),
        false => vec![checkpoint.with_extension("preview"), checkpoint.with_extension("")],
    };
    names
        .iter()
        .flat_map(|name| {
            ENDINGS.map(|ending| PathBuf::from(format!("{}.{ending}", name.display())))
        })
        .find(|picture| picture.is_file())
}

/// The model in the box, those of the library, and the checkpoints in folders: folders that hold
/// `model_index.json`, and single files.
pub(super) fn find_models(library: &Library, folders: &[PathBuf]) -> Vec<FoundModel> {
    let mut found = vec![FoundModel::look(ModelSource::InTheBox)];
    for model in library.models().unwrap_or_default() {
        let look = FoundModel::look(ModelSource::Folder(model.path.clone()));
        found.push(FoundModel { of_library: Some(model), ..look });
    }
    let mut paths = Vec::new();
    for folder in folders {
        collect(folder, MAX_DEPTH, &mut paths);
    }
    paths.sort();
    paths.dedup();
    found.extend(paths.into_iter().map(|path| FoundModel::look(ModelSource::Folder(path))));
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join("model_index.json").is_file() {
        found.push(folder.to_owned());
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, depth - 1, found);
        } else if is_single_file(&path) {
            found.push(path);
        }
    }
}

/// Whether a file is a checkpoint that can draw, or is large enough to be meant as one, so that
/// its row tells what is wrong with it. Other files of tensors are adapters, which are no models.
fn is_single_file(path: &Path) -> bool {
    const LARGE: u64 = 1 << 30;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !["safetensors", "ckpt", "pt", "pth", "gguf"].contains(&ending) {
        return false;
    }
    let is_large = path.metadata().is_ok_and(|metadata| metadata.len() >= LARGE);
    is_large || crate::model::files(Some(path)).is_ok()
}

/// A line between two sections, with room around it.
fn parted(ui: &mut Ui) {
    ui.add_space(space::S);
    divider(ui);
    ui.add_space(space::S);
}

impl Window {
    /// Looks for checkpoints again.
    pub(super) fn refresh_models(&mut self) {
        self.models = find_models(&self.model_library(), &self.preferences.model_folders);
        for model in self.models.iter_mut().filter(|model| model.picture.is_none()) {
            model.picture = self.gallery.newest_of_model(&model.source.name());
        }
    }

    /// Adds a folder in which checkpoints are looked for.
    pub(super) fn add_model_folder(&mut self, folder: PathBuf) {
        if !self.preferences.model_folders.contains(&folder) {
            self.preferences.model_folders.push(folder);
        }
        self.refresh_models();
    }

    pub(super) fn models_page(&mut self, ui: &mut Ui) -> Flow {
        let mut flow = Flow::Stay;
        ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
            if let Some(chosen) = self.library_section(ui) {
                self.choose_model(chosen);
                flow = Flow::Close;
            }
            parted(ui);
            ui.horizontal(|ui| {
                section(ui, &self.words.get("models-found"));
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    self.add_folder_button(ui);
                });
            });
            for model in self.models.clone() {
                if model.of_library.is_none() && self.model_row(ui, &model) {
                    self.choose_model(model.source);
                    flow = Flow::Close;
                }
            }
            self.model_folders(ui);
            parted(ui);
            section(ui, &self.words.get("models-device"));
            self.device_choice(ui);
        });
        flow
    }

    /// Whether the model was chosen.
    pub(super) fn model_row(&mut self, ui: &mut Ui, model: &FoundModel) -> bool {
        let colours = Colours::of_ui(ui);
        let is_chosen = self.settings.model == model.source;
        let name = match (&model.source, &model.of_library) {
            (_, Some(of_library)) => of_library.name.to_string(),
            (ModelSource::InTheBox, _) => self.words.get("models-box"),
            (ModelSource::Folder(_), _) => model.source.name(),
        };
        let (facts, tip, colour) = match &model.facts {
            Ok(facts) => {
                let told = facts.told(&self.words);
                (told.clone(), told, colours.dim)
            }
            Err(Failure { explanation, details }) => {
                let told = self.words.explain(explanation);
                let tip = format!("{told}\n\n{}: {details}", self.words.get("details"));
                (told, tip, colours.bad)
            }
        };
        let size = vec2(ui.available_width(), MODEL_ROW);
        let usable = model.facts.is_ok();
        let sense = if usable { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(size, sense);
        response.widget_info(|| WidgetInfo::selected(Role::Button, usable, is_chosen, &name));
        if !ui.is_rect_visible(rect) {
            return false;
        }
        let radius = CornerRadius::same(RADIUS);
        if is_chosen || (usable && response.hovered()) {
            let fill = if is_chosen { colours.raised } else { colours.hovered };
            ui.painter().rect_filled(rect, radius, fill);
        }
        focus_ring(ui, &response);
        let square = Rect::from_min_size(rect.min, Vec2::splat(MODEL_ROW)).shrink(space::XS);
        let texture = model
            .picture
            .as_ref()
            .and_then(|(path, modified)| self.gallery.thumbnail(path, *modified));
        let painter = ui.painter();
        match texture {
            Some(texture) => {
                let inner = fitted(square, texture.size_vec2(), f32::INFINITY);
                let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                painter.image(texture.id(), inner, uv, Color32::WHITE);
            }
            None => {
                painter.rect_filled(square, radius, colours.ground);
                let font = FontId::proportional(SECTION);
                painter.text(
                    square.center(),
                    Align2::CENTER_CENTER,
                    icons::CUBE,
                    font,
                    colours.dim,
                );
            }
        }
        let left = square.right() + space::M;
        let line = |ui: &Ui, top: f32, text: &str, size: f32, colour: Color32| {
            let room = rect.right() - left - 2.0 * space::XL;
            let mut job =
                LayoutJob::simple_singleline(text.to_owned(), FontId::proportional(size), colour);
            job.wrap = TextWrapping::truncate_at_width(room);
            let galley = ui.painter().layout_job(job);
            ui.painter().galley(pos2(left, top), galley, colour);
        };
        line(ui, rect.top() + space::S, &name, BODY, colours.text);
        line(ui, rect.top() + space::S + 20.0, &facts, SMALL, colour);
        if is_chosen {
            let place = rect.right_center() - vec2(space::L, 0.0);
            let font = FontId::proportional(SECTION);
            let icon = icons::CHECK_CIRCLE_FILL;
            ui.painter().text(place, Align2::CENTER_CENTER, icon, font, colours.accent);
        }
        response.on_hover_text(tip).clicked()
    }

    fn model_folders(&mut self, ui: &mut Ui) {
        let mut removed = None;
        for (place, folder) in self.preferences.model_folders.iter().enumerate() {
            ui.horizontal(|ui| {
                small(ui, &folder.display().to_string());
                let name = self.words.get("models-forget");
                if super::controls::icon_button(ui, icons::X, &name, None).clicked() {
                    removed = Some(place);
                }
            });
        }
        if let Some(place) = removed {
            self.preferences.model_folders.remove(place);
            self.refresh_models();
        }
    }

    /// Names another folder to look in.
    fn add_folder_button(&mut self, ui: &mut Ui) {
        let label = format!("{}  {}", icons::FOLDER_PLUS, self.words.get("models-add"));
        if ui.button(label).clicked() {
            let question = Question::folder(Path::new(""));
            self.ask(ui.ctx(), question, |window, _, folder| window.add_model_folder(folder));
        }
    }

    fn device_choice(&mut self, ui: &mut Ui) {
        let Some(devices) = self.devices.clone() else {
            small(ui, &self.words.get("models-devices-asked"));
            return;
        };
        let mut wanted = None;
        let automatic = devices.iter().find(|device| device.automatic);
        let name = automatic.map_or_else(String::new, |device| device.name.clone());
        let auto = (DeviceChoice::Auto, self.words.get("models-device-auto"), name);
        let others = devices.iter().map(|device| {
            let memory = device.memory.map(bytes).unwrap_or_default();
            (
                device.id,
                device.name.clone(),
                format!("{}  {memory}", names::device_kind(&self.words, device.kind)),
            )
        });
        for (choice, name, facts) in std::iter::once(auto).chain(others) {
            let is_chosen = self.preferences.device == choice;
            let icon = if is_chosen { icons::CHECK_CIRCLE_FILL } else { icons::CPU };
            let colours = Colours::of_ui(ui);
            let icon =
                RichText::new(icon).color(if is_chosen { colours.accent } else { colours.dim });
            let button = Button::new((icon, name))
                .selected(is_chosen)
                .frame_when_inactive(is_chosen)
                .fill(if is_chosen { colours.raised } else { Color32::TRANSPARENT })
                .right_text(RichText::new(facts).size(SMALL).color(colours.dim))
                .truncate()
                .min_size(vec2(ui.available_width(), ROW_HEIGHT));
            if ui.add(button).clicked() && !is_chosen {
                wanted = Some(choice);
            }
        }
        if let Some(device) = wanted {
            self.preferences.device = device;
            self.load();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::window::words::Language;

    #[test]
    fn checkpoints_are_found_below_folders_and_told_what_they_are() {
        let library = Library::new("absent");
        let checkpoint = emberbrush_tests::checkpoint("sd15-tiny");
        let found = find_models(&library, &[checkpoint.parent().unwrap().to_owned()]);
        let folder = ModelSource::Folder(checkpoint.to_path_buf());
        let model = found.iter().find(|model| model.source == folder).unwrap();
        assert_eq!(model.facts.as_ref().unwrap().family, Family::StableDiffusion1);
        assert_eq!(model.picture, None);
        std::fs::write(checkpoint.join("preview.png"), []).unwrap();
        let again =
            find_models(&Library::new("absent"), &[checkpoint.parent().unwrap().to_owned()]);
        let model = again.iter().find(|model| model.source == folder).unwrap();
        assert_eq!(model.picture, Some((checkpoint.join("preview.png"), 0)));
        assert_eq!(found[0].source, ModelSource::InTheBox);
        assert!(found[0].facts.is_ok());
    }

    #[test]
    fn single_files_are_found_and_adapters_are_not() {
        use emberbrush_tests::single_file::{StoredTensor, Tensors, write_safetensors};

        let folder = tempfile::tempdir().unwrap();
        let tensor = StoredTensor::of_f16(&[1], [emberbrush_tests::single_file::ONE]);
        let lora = Tensors::from([("a.lora_down.weight".to_owned(), tensor)]);
        write_safetensors(&folder.path().join("lora.safetensors"), &lora);
        std::fs::write(folder.path().join("notes.txt"), "no model").unwrap();
        let model = folder.path().join("model.safetensors");
        emberbrush_tests::single_file::write_hollow(&model, "sd15", &Tensors::new(), |_| {});
        let large = std::fs::File::create(folder.path().join("flux.gguf")).unwrap();
        std::io::Write::write_all(&mut &large, b"GGUF").unwrap();
        large.set_len(1 << 30).unwrap();

        let found = find_models(&Library::new("absent"), &[folder.path().to_owned()]);
        let facts = |name: &str| {
            let source = ModelSource::Folder(folder.path().join(name));
            found.iter().find(|model| model.source == source).map(|model| model.facts.clone())
        };
        let model = facts("model.safetensors").unwrap().unwrap();
        let told = model.told(&Words::new(Language::Korean));
        assert!(told.starts_with("Stable Diffusion 1.x  ·  "), "{told}");
        let refused = facts("flux.gguf").unwrap().unwrap_err();
        assert!(refused.details.contains("GGUF is not supported"), "{refused:?}");
        let told = Words::new(Language::Korean).explain(&refused.explanation);
        assert!(told.contains("flux.gguf 파일은 여기서 쓸 수 없습니다"), "{told}");
        assert_eq!(found.len(), 3);
    }
}
