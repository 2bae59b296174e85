//! What a picture of the gallery is, and what can be done with it.

use egui::{Color32, Label, RichText, ScrollArea, Sense, Ui, vec2};
use serde_json::Value;

use super::{GalleryAction, GalleryPicture, GalleryPlace, whole};
use crate::window::{
    controls::{icon_button, icon_toggle, primary_button, small},
    icons,
    theme::{Colours, SMALL, space},
    viewer::fitted,
    words::Words,
};

/// Width of the names of settings, in points.
const LABEL_WIDTH: f32 = 88.0;

/// Settings in the order in which people look for them, with the names of their messages.
const SHOWN: [(&str, &str); 10] = [
    ("model", "model"),
    ("sampler", "sampler"),
    ("schedule", "schedule"),
    ("steps", "steps"),
    ("cfg", "guidance"),
    ("seed", "seed"),
    ("strength", "strength"),
    ("negative", "negative"),
    ("width", "width"),
    ("height", "height"),
];

impl GalleryPlace {
    pub(super) fn details(&mut self, ui: &mut Ui, words: &Words) -> Option<GalleryAction> {
        let picture = self.chosen_pictures().into_iter().next()?;
        let mut action = None;
        ui.horizontal(|ui| {
            let (icon, name) = if picture.starred {
                (icons::STAR_FILL, words.get("gallery-unstar"))
            } else {
                (icons::STAR, words.get("gallery-star"))
            };
            if icon_toggle(ui, icon, &name, None, picture.starred).clicked() {
                self.star(&picture);
            }
            for (icon, message, wanted) in [
                (icons::COPY, "gallery-copy", GalleryAction::CopyPicture(picture.path.clone())),
                (
                    icons::CLIPBOARD_TEXT,
                    "gallery-copy-settings",
                    GalleryAction::CopySettings(picture.fields.clone()),
                ),
                (
                    icons::TRASH,
                    "gallery-delete",
                    GalleryAction::Delete(picture.id, picture.path.clone()),
                ),
            ] {
                if icon_button(ui, icon, &words.get(message), None).clicked() {
                    action = Some(wanted);
                }
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                self.close_button(ui, words);
            });
        });
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            self.preview(ui, &picture);
            ui.add(Label::new(picture.prompt()).wrap().selectable(true));
            if !picture.fields.is_empty() {
                let label = words.get("gallery-use-settings");
                if primary_button(ui, icons::SLIDERS_HORIZONTAL, &label, None).clicked() {
                    action = Some(GalleryAction::UseSettings(picture.fields.clone()));
                }
                let wide = vec2(ui.available_width(), crate::window::theme::BUTTON_HEIGHT);
                let another = format!("{}  {}", icons::DICE_FIVE, words.get("gallery-another"));
                if ui.add_sized(wide, egui::Button::new(another)).clicked() {
                    action = Some(GalleryAction::MakeAnother(picture.fields.clone()));
                }
            }
            let wide = vec2(ui.available_width(), crate::window::theme::BUTTON_HEIGHT);
            let canvas = format!("{}  {}", icons::PAINT_BRUSH, words.get("gallery-to-canvas"));
            if ui.add_sized(wide, egui::Button::new(canvas)).clicked() {
                action = Some(GalleryAction::ToCanvas(picture.path.clone()));
            }
            ui.add_space(space::XS);
            settings(ui, words, &picture);
        });
        action
    }

    fn preview(&mut self, ui: &mut Ui, picture: &GalleryPicture) {
        let side = ui.available_width();
        let size = vec2(picture.width as f32, picture.height as f32);
        let area = egui::Rect::from_min_size(egui::Pos2::ZERO, egui::Vec2::splat(side));
        let shown = fitted(area, size, f32::INFINITY).size();
        let (rect, _) = ui.allocate_exact_size(shown, Sense::hover());
        match self.thumbnails.get(&picture.path, picture.modified) {
            Some(texture) => {
                ui.painter().image(texture.id(), rect, whole(), Color32::WHITE);
            }
            None => {
                ui.painter().rect_filled(rect, 4.0, Colours::of_ui(ui).raised);
            }
        }
    }
}

fn settings(ui: &mut Ui, words: &Words, picture: &GalleryPicture) {
    let name = picture.path.file_name().unwrap_or_default().to_string_lossy();
    small(ui, &format!("{name}  ·  {} × {}", picture.width, picture.height));
    for (field, message) in SHOWN {
        let value = match picture.fields.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) if text.is_empty() => continue,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        ui.horizontal_top(|ui| {
            let label = words.get(message);
            let colours = Colours::of_ui(ui);
            ui.vertical(|ui| {
                ui.set_width(LABEL_WIDTH);
                ui.label(RichText::new(label).size(SMALL).color(colours.dim));
            });
            ui.add(Label::new(RichText::new(value).size(SMALL)).wrap().selectable(true));
        });
    }
}
