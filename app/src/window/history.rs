//! The history of prompts, newest first, with search.

use std::collections::HashSet;

use egui::{Context, Id, Label, Modal, ScrollArea, Sense, TextEdit, vec2};

use super::{
    application::Window, controls::small, journal::Journal, overlay::Flow, session::PROMPTS,
    theme::ROW_HEIGHT,
};

/// The most prompts that are listed.
const MAX_LISTED: usize = 500;

/// The prompts, and what is searched for.
#[derive(Debug)]
pub(super) struct History {
    prompts: Vec<String>,
    text: String,
}

impl History {
    /// Reads the prompts, each once, newest first.
    pub(super) fn read(journal: &Journal) -> Self {
        journal.flush();
        let mut seen = HashSet::new();
        let mut prompts: Vec<String> = journal.read_list(PROMPTS);
        prompts.reverse();
        prompts.retain(|prompt| seen.insert(prompt.clone()));
        Self { prompts, text: String::new() }
    }

    fn found(&self) -> Vec<&String> {
        let words: Vec<String> = self.text.split_whitespace().map(str::to_lowercase).collect();
        self.prompts
            .iter()
            .filter(|prompt| {
                let prompt = prompt.to_lowercase();
                words.iter().all(|word| prompt.contains(word))
            })
            .take(MAX_LISTED)
            .collect()
    }
}

impl Window {
    pub(super) fn history(&mut self, ctx: &Context, history: &mut History) -> Flow {
        let mut taken = None;
        let modal = Modal::new(Id::unique("history")).show(ctx, |ui| {
            ui.set_width(560.0);
            let label = self.words.get("history-hint");
            let edit = TextEdit::singleline(&mut history.text)
                .hint_text(label.clone())
                .desired_width(f32::INFINITY)
                .align(egui::Align2::LEFT_CENTER)
                .min_size(vec2(0.0, ROW_HEIGHT));
            ui.add(edit).accessible_name(label).request_focus();
            let found = history.found();
            if found.is_empty() {
                small(ui, &self.words.get("history-empty"));
            }
            ScrollArea::vertical().max_height(420.0).auto_shrink([false, true]).show(ui, |ui| {
                for prompt in found {
                    let label = Label::new(prompt).wrap().sense(Sense::click());
                    let response = ui.add(label).on_hover_cursor(egui::CursorIcon::PointingHand);
                    if response.clicked() {
                        taken = Some(prompt.clone());
                    }
                    super::controls::divider(ui);
                }
            });
        });
        if let Some(prompt) = taken {
            self.change_settings("history", |settings| settings.prompt = prompt);
            return Flow::Close;
        }
        if modal.should_close() { Flow::Close } else { Flow::Stay }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_listed_once_newest_first_and_found_by_words() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().to_owned()).unwrap();
        for prompt in ["a red apple", "a cat", "a red apple", "a Red car"] {
            journal.append(PROMPTS, &prompt);
        }
        let mut history = History::read(&journal);
        assert_eq!(history.prompts, ["a Red car", "a red apple", "a cat"]);
        history.text = "RED a".to_owned();
        assert_eq!(history.found(), ["a Red car", "a red apple"]);
    }
}
