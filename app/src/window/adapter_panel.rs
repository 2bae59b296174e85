//! The LoRAs and embeddings of the next pictures, in the left panel.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    thread,
};

use egui::{Button, Context, RichText, ScrollArea, TextEdit, Ui, vec2};
use emberbrush_pipeline::{
    adapters::{self, AdapterKind, Compatibility, ListedAdapter, LoraSelection, MAX_LORA_WEIGHT},
    checkpoint::folder::Family,
};

use super::{
    adapters::LoraChoice,
    application::Window,
    controls::{divider, heading_with_menu, icon_button, icon_toggle, slider, small},
    dialogs::Question,
    icons, names,
    place::ModelState,
    theme::{CONTROL_HEIGHT, Colours, SMALL, space},
};

/// The weights that the slider offers.
const WEIGHTS: std::ops::RangeInclusive<f64> = -1.0..=2.0;

/// Width of the menu that adds a LoRA, in points.
const MENU_WIDTH: f32 = 296.0;

/// Height of the list in that menu, in points.
const MENU_HEIGHT: f32 = 240.0;

/// Endings of the files that hold LoRAs.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "bin"];

/// The LoRAs that can be added.
#[derive(Debug, Default)]
pub(super) struct LoraShelf {
    /// Those of the folder, once they were looked at.
    found: Vec<ListedAdapter>,
    /// The thread that looks at them.
    looking: Option<Receiver<Vec<ListedAdapter>>>,
    /// What their names are to hold.
    search: String,
}

impl LoraShelf {
    /// Looks at the files of a folder on a thread of its own.
    fn look(&mut self, ctx: &Context, folder: PathBuf) {
        let (sender, receiver) = channel();
        let ctx = ctx.clone();
        let looked = thread::Builder::new().name("lora files".to_owned()).spawn(move || {
            let mut found = adapters::list(&folder);
            found.retain(|adapter| !matches!(adapter.kind, AdapterKind::Embedding { .. }));
            // Nobody waits for it once the window is gone.
            let _ = sender.send(found);
            ctx.request_repaint();
        });
        // Without a thread, files are still chosen by dialog.
        self.looking = looked.is_ok().then_some(receiver);
    }

    fn poll(&mut self) {
        if let Some(found) = self.looking.as_ref().and_then(|looking| looking.try_recv().ok()) {
            self.found = found;
            self.looking = None;
        }
    }
}

/// What is asked of a LoRA in the list.
enum Wish {
    Switch,
    Remove,
}

impl Window {
    /// The LoRAs with their weights, and the embeddings that are named as files.
    pub(super) fn adapters(&mut self, ui: &mut Ui) {
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = space::XS;
            let label = self.words.get("lora");
            let tip = self.words.get("lora-tip");
            let add = self.words.get("lora-add");
            let heading = heading_with_menu(ui, &label, &tip, icons::PLUS, &add, |ui| {
                self.lora_menu(ui);
            });
            if heading.clicked() {
                self.lora_shelf.look(ui.ctx(), self.preferences.lora_folder.clone());
            }
            let mut wanted = None;
            for place in 0..self.settings.adapters.lora.len() {
                if let Some(wish) = self.lora_row(ui, place) {
                    wanted = Some((place, wish));
                }
            }
            let loras = &mut self.settings.adapters.lora;
            match wanted {
                Some((place, Wish::Remove)) => drop(loras.remove(place)),
                Some((place, Wish::Switch)) => loras[place] = loras[place].clone().switched(),
                None => {}
            }
            self.embedding_files(ui);
        });
    }

    fn lora_row(&mut self, ui: &mut Ui, place: usize) -> Option<Wish> {
        let colours = Colours::of_ui(ui);
        let choice = &mut self.settings.adapters.lora[place];
        let is_on = choice.is_on();
        let LoraSelection { file, unet, text } = choice.selection_mut();
        let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let argument = || [("name", name.as_str().into())];
        let mut wish = None;
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = space::XS;
            let icon = if is_on { icons::CHECK_SQUARE } else { icons::SQUARE };
            let switch = self.words.with("lora-use", argument());
            if icon_toggle(ui, icon, &switch, None, is_on).clicked() {
                wish = Some(Wish::Switch);
            }
            let colour = if is_on { colours.text } else { colours.dim };
            let width = ui.available_width() - CONTROL_HEIGHT - space::XS;
            ui.allocate_ui(vec2(width, CONTROL_HEIGHT), |ui| {
                ui.set_width(width);
                ui.add(egui::Label::new(RichText::new(&name).color(colour)).truncate())
                    .on_hover_text(file.display().to_string());
            });
            let remove = self.words.with("lora-remove", argument());
            if icon_button(ui, icons::X, &remove, None).clicked() {
                wish = Some(Wish::Remove);
            }
        });
        let bounds = -MAX_LORA_WEIGHT..=MAX_LORA_WEIGHT;
        ui.add_enabled_ui(is_on, |ui| {
            let is_split = unet != text;
            let weight = self.words.with("lora-weight", argument());
            let changed = slider(ui, &weight, unet, WEIGHTS, bounds.clone(), 1.0).changed();
            if is_split {
                let weight = self.words.with("lora-weight-text", argument());
                slider(ui, &weight, text, WEIGHTS, bounds, 1.0).on_hover_text(weight);
            } else if changed {
                *text = *unet;
            }
        });
        wish
    }

    /// Embeddings that settings name as files, as those of the command line do; those of the folder
    /// are named by prompts.
    fn embedding_files(&mut self, ui: &mut Ui) {
        let mut removed = None;
        for (place, file) in self.settings.adapters.embedding.iter().enumerate() {
            let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            ui.horizontal(|ui| {
                small(ui, &self.words.with("reading-embedding", [("name", name.clone().into())]))
                    .on_hover_text(file.display().to_string());
                let remove = self.words.with("lora-remove", [("name", name.into())]);
                if icon_button(ui, icons::X, &remove, None).clicked() {
                    removed = Some(place);
                }
            });
        }
        if let Some(place) = removed {
            self.settings.adapters.embedding.remove(place);
        }
    }

    fn lora_menu(&mut self, ui: &mut Ui) {
        self.lora_shelf.poll();
        ui.set_width(MENU_WIDTH);
        let hint = self.words.get("lora-search");
        let edit = TextEdit::singleline(&mut self.lora_shelf.search)
            .hint_text(hint.clone())
            .desired_width(f32::INFINITY);
        ui.add(edit).accessible_name(hint);
        let family = match &self.model {
            ModelState::Ready(model) => Some(model.family),
            _ => None,
        };
        let mut wanted = None;
        let search = self.lora_shelf.search.to_lowercase();
        ScrollArea::vertical().max_height(MENU_HEIGHT).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            let mut is_empty = true;
            for adapter in &self.lora_shelf.found {
                if !adapter.name.to_lowercase().contains(&search) {
                    continue;
                }
                is_empty = false;
                if self.lora_choice(ui, adapter, family) {
                    wanted = Some(self.call(adapter));
                }
            }
            if is_empty && self.lora_shelf.looking.is_none() {
                let folder = self.preferences.lora_folder.display().to_string();
                small(ui, &self.words.with("lora-none", [("folder", folder.into())]));
            }
        });
        divider(ui);
        let file = format!("{}  {}", icons::FILE_PLUS, self.words.get("lora-file"));
        let folder = format!("{}  {}", icons::FOLDER_OPEN, self.words.get("lora-folder"));
        let size = vec2(ui.available_width(), CONTROL_HEIGHT);
        if ui.add(Button::new(file).min_size(size)).clicked() {
            let question = Question::open(self.words.get("lora-file"), &ENDINGS);
            self.ask(ui.ctx(), question, |window, _, path| window.add_lora(path));
            ui.close();
        }
        if ui.add(Button::new(folder).min_size(size)).clicked() {
            let question = Question::folder(&self.preferences.lora_folder);
            self.ask(ui.ctx(), question, |window, ctx, path| {
                window.preferences.lora_folder = path.clone();
                window.lora_shelf.look(ctx, path);
            });
        }
        if let Some(file) = wanted {
            self.add_lora(file);
            ui.close();
        }
    }

    /// A LoRA of the folder. Whether it was chosen.
    fn lora_choice(&self, ui: &mut Ui, adapter: &ListedAdapter, family: Option<Family>) -> bool {
        let fits = family.map(|family| adapter.compatibility(family));
        let is_other = fits == Some(Compatibility::OtherFamily);
        let made_for =
            adapter.family.map_or_else(String::new, |family| names::family(&self.words, family));
        let button = Button::selectable(false, &adapter.name)
            .right_text(RichText::new(made_for.as_str()).size(SMALL))
            .truncate()
            .min_size(vec2(ui.available_width(), CONTROL_HEIGHT));
        let tip = match &adapter.kind {
            AdapterKind::Unusable(details) => {
                let told = self.words.get("lora-unusable");
                format!("{told}\n\n{}: {details}", self.words.get("details"))
            }
            _ if is_other => self.words.with("lora-other", [("family", made_for.as_str().into())]),
            _ => adapter.path.display().to_string(),
        };
        let response = ui.add_enabled(!is_other, button).accessible_name(&adapter.name);
        response.on_hover_text(tip.clone()).on_disabled_hover_text(tip).clicked()
    }

    /// What settings call a LoRA of the folder: its name, or where another has that too, its place
    /// below the folder.
    fn call(&self, adapter: &ListedAdapter) -> PathBuf {
        let same_name = |other: &&ListedAdapter| other.name == adapter.name;
        match self.lora_shelf.found.iter().filter(same_name).count() {
            1 => adapter.name.clone().into(),
            _ => {
                let below = adapter.path.strip_prefix(&self.preferences.lora_folder);
                below.unwrap_or(&adapter.path).to_owned()
            }
        }
    }

    /// Adds a LoRA at the end of the list.
    pub(super) fn add_lora(&mut self, file: PathBuf) {
        self.change_settings("lora-added", |settings| {
            let lora = LoraSelection { file, unet: 1.0, text: 1.0 };
            settings.adapters.lora.push(LoraChoice::On(lora));
        });
    }
}
