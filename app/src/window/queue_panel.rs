//! The queue: what waits, runs and is done.

use egui::{RichText, ScrollArea, Sense, Ui, vec2};

use super::{
    actions::Action,
    application::Window,
    controls::{divider, icon_button, icon_toggle, small},
    icons,
    overlay::Flow,
    queue::{Direction, Entry, EntryState, Origin},
    theme::{Colours, ROW_HEIGHT, SMALL},
};
use crate::engine::JobId;

/// What a person did to a job.
enum Wish {
    Move(JobId, Direction),
    Cancel(JobId),
    Retry(JobId),
}

impl Window {
    pub(super) fn queue_page(&mut self, ui: &mut Ui) -> Flow {
        ui.horizontal(|ui| {
            let (icon, message) = if self.queue.paused {
                (icons::PLAY, "queue-go-on")
            } else {
                (icons::PAUSE, "queue-pause")
            };
            let keys = self.preferences.shortcuts.of(Action::PauseQueue);
            let name = self.words.get(message);
            if icon_toggle(ui, icon, &name, keys, self.queue.paused).clicked() {
                self.queue.paused = !self.queue.paused;
            }
            let name = self.words.get(Action::GenerateForever.message());
            let keys = self.preferences.shortcuts.of(Action::GenerateForever);
            if icon_toggle(ui, icons::INFINITY, &name, keys, self.queue.forever).clicked() {
                self.queue.forever = !self.queue.forever;
            }
            let waiting = self.queue.open_count() > usize::from(self.queue.running().is_some());
            ui.add_enabled_ui(waiting, |ui| {
                let name = self.words.get("queue-cancel-all");
                if icon_button(ui, icons::X_CIRCLE, &name, None).clicked() {
                    self.queue.cancel_all_waiting();
                }
            });
            let ended = self.queue.entries().iter().any(|entry| !entry.is_open());
            ui.add_enabled_ui(ended, |ui| {
                let name = self.words.get("queue-clear");
                if icon_button(ui, icons::TRASH, &name, None).clicked() {
                    self.queue.clear_ended();
                }
            });
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                for action in [Action::ShowExport, Action::ImportJobs] {
                    if ui.button(self.words.get(action.message())).clicked() {
                        self.act(&ui.ctx().clone(), action);
                    }
                }
            });
        });
        if let Some(left) = self.queue_time_left() {
            let time = super::status::duration(&self.words, left);
            let pictures = self.queue.pictures_left();
            let arguments = [("pictures", pictures.into()), ("time", time.into())];
            small(ui, &self.words.with("queue-left", arguments));
        }
        divider(ui);
        let mut wish = None;
        let entries = self.queue.entries();
        if entries.is_empty() {
            small(ui, &self.words.get("queue-empty"));
        }
        // What is open comes first, then what ended, newest first.
        let open = entries.iter().filter(|entry| entry.is_open());
        let ended = entries.iter().rev().filter(|entry| !entry.is_open());
        let listed: Vec<&Entry> = open.chain(ended).collect();
        ScrollArea::vertical().auto_shrink([false, true]).show_rows(
            ui,
            ROW_HEIGHT,
            listed.len(),
            |ui, shown| {
                for entry in &listed[shown] {
                    if let Some(asked) = self.queue_row(ui, entry) {
                        wish = Some(asked);
                    }
                }
            },
        );
        match wish {
            Some(Wish::Move(id, direction)) => self.queue.move_waiting(id, direction),
            Some(Wish::Cancel(id)) => {
                self.engine.cancel(id);
                self.queue.cancel_waiting(id);
            }
            Some(Wish::Retry(id)) => self.queue.retry(id),
            None => {}
        }
        Flow::Stay
    }

    fn queue_row(&self, ui: &mut Ui, entry: &Entry) -> Option<Wish> {
        let colours = Colours::of_ui(ui);
        let mut wish = None;
        ui.horizontal(|ui| {
            ui.set_height(ROW_HEIGHT);
            let (icon, colour, state) = match &entry.state {
                EntryState::Waiting => (icons::CLOCK, colours.dim, "queue-waiting"),
                EntryState::Running => (icons::PLAY_CIRCLE, colours.accent, "queue-running"),
                EntryState::Done => (icons::CHECK_CIRCLE, colours.good, "queue-done"),
                EntryState::Cancelled => (icons::PROHIBIT, colours.dim, "queue-cancelled"),
                EntryState::Failed(_) => (icons::WARNING_CIRCLE, colours.bad, "queue-failed"),
            };
            let mut tip = self.words.get(state);
            if let EntryState::Failed(failure) = &entry.state {
                tip = format!("{tip}: {}", self.words.explain(&failure.explanation));
            }
            ui.label(RichText::new(icon).color(colour)).on_hover_text(tip);
            let facts = format!("{}/{}", entry.made, entry.request.count);
            ui.add_sized(
                vec2(56.0, ROW_HEIGHT),
                egui::Label::new(RichText::new(facts).size(SMALL).color(colours.dim)),
            );
            let width = ui.available_width() - 110.0;
            let (rect, response) = ui.allocate_exact_size(vec2(width, ROW_HEIGHT), Sense::hover());
            let text = egui::WidgetText::from(entry.request.prompt.clone()).into_galley(
                ui,
                Some(egui::TextWrapMode::Truncate),
                width,
                egui::TextStyle::Body,
            );
            let place = egui::pos2(rect.left(), rect.center().y - text.size().y / 2.0);
            ui.painter().galley(place, text, colours.text);
            response.on_hover_text(&entry.request.prompt);
            if entry.state == EntryState::Waiting {
                for (icon, message, direction) in [
                    (icons::ARROW_UP, "queue-earlier", Direction::Up),
                    (icons::ARROW_DOWN, "queue-later", Direction::Down),
                ] {
                    if icon_button(ui, icon, &self.words.get(message), None).clicked() {
                        wish = Some(Wish::Move(entry.id, direction));
                    }
                }
            }
            if entry.is_open() {
                if icon_button(ui, icons::X, &self.words.get("cancel"), None).clicked() {
                    wish = Some(Wish::Cancel(entry.id));
                }
            } else if entry.state != EntryState::Done && entry.origin != Origin::Canvas {
                let name = self.words.get("queue-retry");
                if icon_button(ui, icons::ARROW_CLOCKWISE, &name, None).clicked() {
                    wish = Some(Wish::Retry(entry.id));
                }
            }
        });
        wish
    }

    /// The time until all pictures are there, at the speed of the last one.
    pub(super) fn queue_time_left(&self) -> Option<std::time::Duration> {
        let pictures = u32::try_from(self.queue.pictures_left()).ok().filter(|&left| left > 0)?;
        let running = self.results.running.as_ref();
        let of_running = running.and_then(|running| Some(running.step_time? * running.steps));
        let last = self.results.pictures.first().map(|picture| picture.took);
        let each = last.or(of_running)?;
        let current = match running {
            Some(running) => running
                .time_left()
                .unwrap_or_else(|| each.saturating_sub(running.started.elapsed())),
            None => each,
        };
        Some(each * (pictures - 1) + current)
    }
}
