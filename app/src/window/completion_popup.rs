//! What the prompt offers below the cursor while a name is typed.

use egui::{
    Frame, Id, Key, Modifiers, Ui,
    text::{CCursor, CCursorRange, CharIndex},
    text_edit::TextEditState,
    vec2,
};
use emberbrush_pipeline::{adapters, prompt::WildcardFolder};

use super::{
    application::Window,
    completion::{Completion, Names, accept, begin_of_name, complete},
    preferences::Preferences,
    prompt_editor::prompt_id,
    theme::{CONTROL_HEIGHT, space},
};

/// How long the names that were found are taken to be all while one of them is typed, in seconds.
const LOOKED_UP_SECONDS: f64 = 3.0;

impl Window {
    /// While names are offered, the arrows choose among them, Enter takes one and Escape closes.
    pub(super) fn completion_keys(&mut self, ui: &Ui) {
        let Some(offered) = &self.completion.offered else { return };
        let count = offered.choices.len().max(1);
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        if pressed(Key::Escape) {
            self.completion.closed_for = Some(self.settings.prompt.clone());
            self.completion.offered = None;
            // Escape takes the focus away before anything is drawn.
            ui.memory_mut(|memory| memory.request_focus(prompt_id()));
            return;
        }
        if !ui.memory(|memory| memory.has_focus(prompt_id())) {
            return;
        }
        if pressed(Key::ArrowDown) {
            self.completion.chosen = (self.completion.chosen + 1) % count;
        }
        if pressed(Key::ArrowUp) {
            self.completion.chosen = (self.completion.chosen + count - 1) % count;
        }
        if pressed(Key::Enter) {
            self.take_completion(ui, self.completion.chosen);
        }
    }

    /// Offers names below the prompt while one is typed.
    pub(super) fn completion(&mut self, ui: &Ui, prompt: &egui::Response) {
        // A press on what is offered takes the focus from the prompt before it is a click.
        let pointer = ui.input(|input| input.pointer.latest_pos());
        let is_pressing = ui
            .input(|input| input.pointer.any_down() || input.pointer.any_released())
            && pointer.is_some_and(|at| self.completion.area.contains(at));
        if !is_pressing {
            let offered = prompt.has_focus().then(|| self.names_at_cursor(ui)).flatten();
            if offered != self.completion.offered {
                self.completion.chosen = 0;
                self.completion.offered = offered;
            }
        }
        self.completion.area = egui::Rect::NOTHING;
        let Some(offered) = self.completion.offered.clone() else { return };
        let mut wanted = None;
        let area = egui::Area::new(Id::unique("completion"))
            .order(egui::Order::Foreground)
            .fixed_pos(prompt.rect.left_bottom() + vec2(0.0, space::XS))
            .show(ui.ctx(), |ui| {
                Frame::popup(ui.style()).show(ui, |ui| {
                    ui.set_width(prompt.rect.width() - 2.0 * space::XS - 2.0);
                    ui.spacing_mut().item_spacing.y = 0.0;
                    for (place, choice) in offered.choices.iter().enumerate() {
                        let is_chosen = place == self.completion.chosen;
                        let button = egui::Button::selectable(is_chosen, choice)
                            .truncate()
                            .min_size(vec2(ui.available_width(), CONTROL_HEIGHT));
                        if ui.add(button).clicked() {
                            wanted = Some(place);
                        }
                    }
                });
            });
        self.completion.area = area.response.rect;
        if let Some(place) = wanted {
            self.take_completion(ui, place);
        }
    }

    fn names_at_cursor(&mut self, ui: &Ui) -> Option<Completion> {
        let state = TextEditState::load(ui.ctx(), prompt_id())?;
        let cursor = state.cursor.char_range()?.primary.index.0;
        let prompt = &self.settings.prompt;
        if self.completion.closed_for.as_ref() == Some(prompt) {
            return None;
        }
        self.completion.closed_for = None;
        let begin = begin_of_name(prompt, cursor)?;
        let now = ui.input(|input| input.time);
        let is_known = self
            .completion
            .looked_up
            .is_some_and(|(place, time)| place == begin && now - time < LOOKED_UP_SECONDS);
        if !is_known {
            // The files may have changed since a name was last typed.
            let Preferences { wildcards_folder, lora_folder, embeddings_folder, .. } =
                &self.preferences;
            self.completion.names = Names {
                wildcards: WildcardFolder::new(wildcards_folder).names(),
                loras: adapters::names(lora_folder),
                embeddings: adapters::names(embeddings_folder),
            };
            self.completion.looked_up = Some((begin, now));
        }
        complete(prompt, cursor, &self.completion.names)
    }

    fn take_completion(&mut self, ui: &Ui, place: usize) {
        let Some(offered) = self.completion.offered.take() else { return };
        let Some(choice) = offered.choices.get(place) else { return };
        let (prompt, cursor) = accept(&self.settings.prompt, &offered, choice);
        self.completion.closed_for = Some(prompt.clone());
        self.settings.prompt = prompt;
        let mut state = TextEditState::load(ui.ctx(), prompt_id()).unwrap_or_default();
        state.cursor.set_char_range(Some(CCursorRange::one(CCursor::new(CharIndex(cursor)))));
        state.store(ui.ctx(), prompt_id());
        ui.memory_mut(|memory| memory.request_focus(prompt_id()));
    }
}
