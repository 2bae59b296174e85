//! The ControlNets of the next pictures, in the left panel.

use std::path::{Path, PathBuf};

use egui::{Button, RichText, Ui, vec2};
use emberbrush_pipeline::request::{ControlPreprocess, ControlUnit};

use super::{
    application::{PICTURES, Window},
    controls::{
        checkbox, divider, field, heading_with_menu, icon_button, list, number, segments, slider,
    },
    dialogs::Question,
    icons,
    place::Place,
    theme::{CONTROL_HEIGHT, Colours, SMALL, space},
};

/// The weights that the slider offers, and those that can be typed.
const WEIGHTS: (std::ops::RangeInclusive<f64>, std::ops::RangeInclusive<f64>) =
    (0.0..=2.0, 0.0..=10.0);

/// Width of the menu that adds a ControlNet, in points.
const MENU_WIDTH: f32 = 280.0;

/// OpenCV's thresholds, as lllyasviel's annotator has them.
const CANNY: ControlPreprocess = ControlPreprocess::Canny { low: 100.0, high: 200.0 };

/// What a person asks for by a click.
enum Wish {
    Add(PathBuf),
    AskForFile,
    AskForFolder,
    Remove(usize),
    AskForPicture(usize),
    TakeCanvas(usize),
}

impl Window {
    /// The ControlNets, each with what it is shown and when it acts.
    pub(super) fn controlnets(&mut self, ui: &mut Ui) {
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = space::XS;
            let label = self.words.get("control");
            let tip = self.words.get("control-tip");
            let add = self.words.get("control-add");
            let mut wish = None;
            heading_with_menu(ui, &label, &tip, icons::PLUS, &add, |ui| {
                wish = self.controlnet_menu(ui);
                if wish.is_some() {
                    ui.close();
                }
            });
            for place in 0..self.settings.control.0.len() {
                wish = self.controlnet(ui, place).or(wish);
            }
            if let Some(wish) = wish {
                self.do_with_controlnets(ui, wish);
            }
        });
    }

    fn controlnet_menu(&self, ui: &mut Ui) -> Option<Wish> {
        ui.set_width(MENU_WIDTH);
        ui.spacing_mut().item_spacing.y = 0.0;
        let size = vec2(ui.available_width(), CONTROL_HEIGHT);
        let mut wish = None;
        for path in &self.preferences.controlnets {
            let button = Button::selectable(false, name(path)).truncate().min_size(size);
            if ui.add(button).on_hover_text(path.display().to_string()).clicked() {
                wish = Some(Wish::Add(path.clone()));
            }
        }
        if !self.preferences.controlnets.is_empty() {
            divider(ui);
        }
        let file = format!("{}  {}", icons::FILE_PLUS, self.words.get("control-file"));
        let folder = format!("{}  {}", icons::FOLDER_PLUS, self.words.get("control-folder"));
        if ui.add(Button::new(file).min_size(size)).clicked() {
            wish = Some(Wish::AskForFile);
        }
        if ui.add(Button::new(folder).min_size(size)).clicked() {
            wish = Some(Wish::AskForFolder);
        }
        wish
    }

    fn controlnet(&mut self, ui: &mut Ui, place: usize) -> Option<Wish> {
        let mut wish = None;
        let path = self.settings.control.0[place].model.clone();
        let remove = self.words.with("control-remove", [("number", (place + 1).into())]);
        ui.horizontal(|ui| {
            let width = ui.available_width() - CONTROL_HEIGHT - space::S;
            ui.allocate_ui(vec2(width, CONTROL_HEIGHT), |ui| {
                ui.set_width(width);
                ui.add(egui::Label::new(name(&path)).truncate())
                    .on_hover_text(path.display().to_string());
            });
            if icon_button(ui, icons::X, &remove, None).clicked() {
                wish = Some(Wish::Remove(place));
            }
        });
        wish = self.controlnet_picture(ui, place).or(wish);
        self.controlnet_numbers(ui, place);
        ui.add_space(space::S);
        wish
    }

    /// What it is shown: the picture on the canvas or a file, as it is or its edges.
    fn controlnet_picture(&mut self, ui: &mut Ui, place: usize) -> Option<Wish> {
        let unit = &mut self.settings.control.0[place];
        let canvas = self.words.get("control-canvas");
        let choose = self.words.get("control-picture-file");
        let shown = unit.image.as_deref().map_or_else(|| canvas.clone(), name);
        let label = self.words.with("control-picture", [("number", (place + 1).into())]);
        let mut wish = None;
        let response = list(&format!("control-picture-{place}"))
            .width(ui.available_width())
            .selected_text(shown)
            .truncate()
            .show_ui(ui, |ui| {
                if ui.selectable_label(unit.image.is_none(), &canvas).clicked() {
                    wish = Some(Wish::TakeCanvas(place));
                }
                if ui.selectable_label(false, &choose).clicked() {
                    wish = Some(Wish::AskForPicture(place));
                }
            })
            .response;
        response.accessible_name(label);
        if unit.image.is_none() && self.session.place == Place::Prompt {
            let colours = Colours::of_ui(ui);
            let text = RichText::new(self.words.get("control-canvas-only")).size(SMALL);
            ui.add(egui::Label::new(text.color(colours.warn)).wrap());
        }
        let mut is_canny = matches!(unit.preprocess, ControlPreprocess::Canny { .. });
        let choices = [
            (false, self.words.get("control-map"), None),
            (true, self.words.get("control-canny"), None),
        ];
        if segments(ui, &mut is_canny, &choices) {
            unit.preprocess = if is_canny { CANNY } else { ControlPreprocess::None };
        }
        if let ControlPreprocess::Canny { low, high } = &mut unit.preprocess {
            let tip = self.words.get("control-canny-tip");
            ui.columns_const(|[left, right]| {
                let label = self.words.get("control-canny-low");
                field(left, &label, &tip, |ui| number(ui, &label, low, 0.0..=*high, 5.0, 100.0));
                let label = self.words.get("control-canny-high");
                field(right, &label, &tip, |ui| {
                    number(ui, &label, high, *low..=1000.0, 5.0, 200.0)
                });
            });
        }
        wish
    }

    fn controlnet_numbers(&mut self, ui: &mut Ui, place: usize) {
        let ControlUnit { weight, start, end, guess, .. } = &mut self.settings.control.0[place];
        let label = self.words.get("control-weight");
        let tip = self.words.get("control-weight-tip");
        field(ui, &label, &tip, |ui| {
            slider(ui, &label, weight, WEIGHTS.0, WEIGHTS.1, 1.0);
        });
        let tip = self.words.get("control-steps-tip");
        ui.columns_const(|[left, right]| {
            // It has to begin before it ends.
            const LEAST: f64 = 0.05;
            let label = self.words.get("control-start");
            field(left, &label, &tip, |ui| {
                number(ui, &label, start, 0.0..=(*end - LEAST).max(0.0), LEAST, 0.0)
            });
            let label = self.words.get("control-end");
            field(right, &label, &tip, |ui| {
                number(ui, &label, end, (*start + LEAST).min(1.0)..=1.0, LEAST, 1.0)
            });
        });
        checkbox(ui, guess, &self.words.get("control-guess"))
            .on_hover_text(self.words.get("control-guess-tip"));
    }

    fn do_with_controlnets(&mut self, ui: &Ui, wish: Wish) {
        match wish {
            Wish::Add(path) => self.add_controlnet(path),
            Wish::AskForFile => {
                let question = Question::open(self.words.get("control-file"), &["safetensors"]);
                self.ask(ui.ctx(), question, |window, _, path| window.add_controlnet(path));
            }
            Wish::AskForFolder => {
                let question = Question::folder(Path::new(""));
                self.ask(ui.ctx(), question, |window, _, path| window.add_controlnet(path));
            }
            Wish::Remove(place) => drop(self.settings.control.0.remove(place)),
            Wish::TakeCanvas(place) => self.show_controlnet(place, None),
            Wish::AskForPicture(place) => {
                let question = Question::open(self.words.get("control-picture-file"), &PICTURES);
                self.ask(ui.ctx(), question, move |window, _, path| {
                    window.show_controlnet(place, Some(path));
                });
            }
        }
    }

    fn show_controlnet(&mut self, place: usize, image: Option<PathBuf>) {
        self.change_settings("control-picture", |settings| {
            if let Some(unit) = settings.control.0.get_mut(place) {
                unit.image = image;
            }
        });
    }

    /// Adds a ControlNet that is shown the edges of the picture on the canvas.
    fn add_controlnet(&mut self, model: PathBuf) {
        if !self.preferences.controlnets.contains(&model) {
            self.preferences.controlnets.push(model.clone());
        }
        self.change_settings("control-added", |settings| {
            settings.control.0.push(ControlUnit {
                model,
                image: None,
                preprocess: CANNY,
                weight: 1.0,
                start: 0.0,
                end: 1.0,
                guess: false,
            });
        });
    }
}

/// What a person knows a file or a folder by.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
