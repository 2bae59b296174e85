//! The bar at the top: the document, undo and redo, the places, the device, the queue.

use egui::{Align, Layout, RichText, Sense, Ui, vec2};

use super::{
    actions::Action,
    application::Window,
    controls::{icon_button, icon_toggle, segments, small},
    icons,
    names::device_kind,
    place::{ModelState, Place},
    theme::{Colours, SMALL, semibold, space},
};

impl Window {
    pub(super) fn bar(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        let mut wanted = None;
        ui.horizontal_centered(|ui| {
            let colours = Colours::of_ui(ui);
            ui.label(RichText::new("Emberbrush").family(semibold()).color(colours.text));
            if let Some(name) = self.canvas.document_name() {
                small(ui, name);
            }
            ui.add_space(space::S);
            let (can_undo, can_redo) = match self.session.place {
                Place::Canvas => (self.canvas.can_undo(), self.canvas.can_redo()),
                _ => (self.timeline.can_undo(), self.timeline.can_redo()),
            };
            for (action, icon, enabled) in [
                (Action::Undo, icons::ARROW_U_UP_LEFT, can_undo),
                (Action::Redo, icons::ARROW_U_UP_RIGHT, can_redo),
            ] {
                ui.add_enabled_ui(enabled, |ui| {
                    let name = self.words.get(action.message());
                    if icon_button(ui, icon, &name, self.preferences.shortcuts.of(action)).clicked()
                    {
                        wanted = Some(action);
                    }
                });
            }
            ui.add_space(space::S);
            let places = [
                (Place::Prompt, "place-prompt", Action::ShowPrompt),
                (Place::Canvas, "place-canvas", Action::ShowCanvas),
                (Place::Gallery, "place-gallery", Action::ShowGallery),
            ]
            .map(|(place, message, action)| {
                (place, self.words.get(message), self.preferences.shortcuts.of(action))
            });
            segments(ui, &mut self.session.place, &places);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                self.bar_right(ui, &mut wanted);
            });
        });
        if let Some(action) = wanted {
            self.act(&ctx, action);
        }
    }

    /// From right to left: pages, the queue, the device.
    fn bar_right(&mut self, ui: &mut Ui, wanted: &mut Option<Action>) {
        let colours = Colours::of_ui(ui);
        for (action, icon) in [
            (Action::ShowPreferences, icons::GEAR_SIX),
            (Action::ShowPalette, icons::COMMAND),
            (Action::ShowModels, icons::CUBE),
            (Action::ShowQueue, icons::QUEUE),
        ] {
            let name = self.words.get(action.message());
            if icon_button(ui, icon, &name, self.preferences.shortcuts.of(action)).clicked() {
                *wanted = Some(action);
            }
        }
        if self.session.place == Place::Canvas {
            let action = Action::ToggleSidePanel;
            let name = self.words.get(action.message());
            let keys = self.preferences.shortcuts.of(action);
            let on = *self.shows_side_panel(ui.ctx());
            if icon_toggle(ui, icons::SIDEBAR_SIMPLE, &name, keys, on).clicked() {
                *wanted = Some(action);
            }
        }
        if let Some(running) = &self.results.running {
            let (rect, _) = ui.allocate_exact_size(vec2(48.0, 4.0), Sense::hover());
            ui.painter().rect_filled(rect, 2.0, colours.line);
            let mut done = rect;
            done.set_width(rect.width() * running.fraction());
            ui.painter().rect_filled(done, 2.0, colours.accent);
        }
        let left = self.queue.pictures_left();
        if left > 0 {
            let text = self.words.with("bar-queue", [("pictures", left.into())]);
            ui.label(RichText::new(text).size(SMALL).color(colours.text));
        }
        ui.add_space(space::S);
        match &self.model {
            ModelState::Ready(model) => {
                let memory = model
                    .device
                    .memory
                    .map_or_else(String::new, |bytes| format!("  ·  {:.0} GB", bytes as f64 / 1e9));
                let kind = device_kind(&self.words, model.device.kind);
                small(ui, &format!("{} {kind}{memory}", icons::CPU))
                    .on_hover_text(format!("{}  ·  {}", model.device.name, model.dtype));
            }
            ModelState::Loading(_) => {
                small(ui, &self.words.get("bar-loading"));
            }
            ModelState::Failed(..) => {
                let text = self.words.get("bar-no-model");
                ui.label(RichText::new(text).size(SMALL).color(colours.bad));
            }
        }
    }
}
