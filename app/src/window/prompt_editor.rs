//! The prompt and the negative one: their editors, what is offered while they are typed, and how they are read.

use std::{path::PathBuf, sync::Arc};

use egui::{
    Id, Margin, RichText, TextEdit, Ui,
    text::{CCursor, CCursorRange, CharIndex},
    text_edit::TextEditState,
};
use emberbrush_pipeline::prompt::PromptReading;

use super::{
    application::Window,
    controls::small,
    icons,
    place::ModelState,
    preferences::Preferences,
    prompt_reading,
    prompt_weight::change_weight,
    theme::{Colours, SMALL, space},
};
use crate::{engine::UnreadPrompt, failure::Failure};

/// The name of the prompt's editor, by which the rest of the window finds it.
pub(super) fn prompt_id() -> Id {
    Id::unique("prompt")
}

/// The name of the negative prompt's editor.
fn negative_id() -> Id {
    Id::unique("negative")
}

impl Window {
    pub(super) fn prompts(&mut self, ui: &mut Ui) {
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = space::XS;
            self.completion_keys(ui);
            let hint = self.words.get("prompt-hint");
            let response = text_area(ui, prompt_id(), &mut self.settings.prompt, &hint, 5)
                .accessible_name(self.words.get("prompt"));
            self.completion(ui, &response);
            ui.horizontal(|ui| {
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    let icon = if self.session.shows_negative {
                        icons::CARET_UP
                    } else {
                        icons::CARET_DOWN
                    };
                    let label = format!("{} {icon}", self.words.get("negative"));
                    let text = RichText::new(label).size(SMALL);
                    if ui.add(egui::Button::new(text).frame(false)).clicked() {
                        self.session.shows_negative = !self.session.shows_negative;
                    }
                    ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                        self.token_count(ui, &self.settings.prompt, "reading");
                    });
                });
            });
            if self.session.shows_negative {
                let hint = self.words.get("negative-hint");
                text_area(ui, negative_id(), &mut self.settings.negative, &hint, 2)
                    .accessible_name(self.words.get("negative"));
                self.token_count(ui, &self.settings.negative, "reading-negative");
            }
        });
    }

    /// Changes the weight of what is selected in the prompt, or in the negative one where that has
    /// the focus.
    pub(super) fn change_selected_weight(&mut self, ctx: &egui::Context, change: f64) {
        let is_negative = ctx.memory(|memory| memory.has_focus(negative_id()));
        let id = if is_negative { negative_id() } else { prompt_id() };
        let Some(mut state) = TextEditState::load(ctx, id) else { return };
        let Some(selected) = state.cursor.char_range() else { return };
        let range = selected.as_sorted_char_range();
        self.change_settings("weight", |settings| {
            let prompt = if is_negative { &mut settings.negative } else { &mut settings.prompt };
            let changed = change_weight(prompt, range.start.0..range.end.0, change);
            if let Some((changed, range)) = changed {
                *prompt = changed;
                let [start, end] = [range.start, range.end].map(|at| CCursor::new(CharIndex(at)));
                state.cursor.set_char_range(Some(CCursorRange::two(start, end)));
                state.store(ctx, id);
            }
        });
    }

    /// How much room a prompt takes, and on hover how it is read. `id` keeps what was read.
    fn token_count(&self, ui: &mut Ui, prompt: &str, id: &str) {
        type Read = (String, u32, Vec<PathBuf>, PathBuf);
        type Cached = Arc<(Read, Result<PromptReading, Failure>)>;
        let ModelState::Ready(model) = &self.model else { return };
        let Preferences { embeddings_folder, .. } = &self.preferences;
        let adapters = self.settings.adapters.selection();
        let (embedding, steps) = (adapters.embedding.clone(), self.settings.steps);
        let of: Read = (prompt.to_owned(), steps, embedding, embeddings_folder.clone());
        let id = Id::unique(id);
        let cached = ui.data(|data| data.get_temp::<Cached>(id));
        let cached = match cached {
            Some(cached) if cached.0 == of => cached,
            _ => {
                let folders = self.preferences.adapter_folders();
                let unread =
                    UnreadPrompt { text: prompt, steps, adapters: &adapters, folders: &folders };
                let cached: Cached = Arc::new((of, model.prompts.read(&unread)));
                ui.data_mut(|data| data.insert_temp(id, Arc::clone(&cached)));
                cached
            }
        };
        let reading = match &cached.1 {
            Ok(reading) => reading,
            Err(Failure { explanation, details }) => {
                let told = self.words.explain(explanation);
                let tip = format!("{told}\n\n{}: {details}", self.words.get("details"));
                let text = RichText::new(told).size(SMALL).color(Colours::of_ui(ui).bad);
                ui.add(egui::Label::new(text).truncate()).on_hover_text(tip);
                return;
            }
        };
        let count = [("tokens", reading.tokens.into()), ("room", reading.room.into())];
        small(ui, &self.words.with("tokens", count)).on_hover_ui(|ui| {
            ui.label(self.words.get("tokens-tip"));
            for line in prompt_reading::lines(&self.words, reading) {
                ui.label(line);
            }
        });
    }
}

/// A field for text of several lines.
pub(super) fn text_area(
    ui: &mut Ui,
    id: Id,
    text: &mut String,
    hint: &str,
    rows: usize,
) -> egui::Response {
    let colours = Colours::of_ui(ui);
    ui.scope(|ui| {
        // The line around what has the focus.
        ui.visuals_mut().selection.stroke = egui::Stroke::new(1.0, colours.accent);
        let edit = TextEdit::multiline(text)
            .id(id)
            .hint_text(RichText::new(hint).color(colours.dim))
            .desired_rows(rows)
            .desired_width(f32::INFINITY)
            .margin(Margin::same(space::S as i8));
        ui.add(edit)
    })
    .inner
}
