//! The line at the bottom: what runs, how fast, and how long it still takes.

use std::time::Duration;

use egui::{RichText, Ui};
use emberbrush_pipeline::progress::Stage;

use super::{
    actions::Action,
    application::Window,
    place::ModelState,
    theme::{Colours, SMALL},
    words::Words,
};

impl Window {
    pub(super) fn status(&mut self, ui: &mut Ui) {
        let colours = Colours::of_ui(ui);
        let text = self.status_text();
        ui.horizontal_centered(|ui| {
            ui.label(RichText::new(text).size(SMALL).color(colours.dim));
        });
    }

    /// What the status line says.
    pub fn status_text(&self) -> String {
        if let Some(running) = &self.results.running {
            let keys = self.preferences.shortcuts.of(Action::Cancel);
            let keys = keys.map_or_else(String::new, |keys| keys.to_string());
            let mut parts = vec![match running.stage {
                Some(Stage::Decode) => self.words.get("status-decoding"),
                Some(Stage::Enlarge) => self.words.get("status-enlarging"),
                Some(Stage::Denoise) if running.step > 0 => self.words.with(
                    "status-step",
                    [("step", running.step.into()), ("steps", running.steps.into())],
                ),
                _ => self.words.get("status-encoding"),
            }];
            if let (Some(time), Some(left)) = (running.step_time, running.time_left()) {
                parts.push(speed(&self.words, time));
                parts.push(
                    self.words.with("status-left", [("time", duration(&self.words, left).into())]),
                );
            }
            if self.queue.pictures_left() > 1
                && let Some(left) = self.queue_time_left()
            {
                let pictures = self.queue.pictures_left().into();
                let arguments =
                    [("pictures", pictures), ("time", duration(&self.words, left).into())];
                parts.push(self.words.with("queue-left", arguments));
            }
            parts.push(self.words.with("status-cancels", [("keys", keys.into())]));
            return parts.join("  ·  ");
        }
        match &self.model {
            ModelState::Loading(source) => {
                self.words.with("status-loading", [("model", source.name().into())])
            }
            ModelState::Failed(source, _) => {
                self.words.with("failure-model", [("model", source.name().into())])
            }
            ModelState::Ready(_) if self.failure.is_some() => self.words.get("status-failed"),
            ModelState::Ready(_) => match self.results.pictures.first() {
                Some(picture) => self.words.with(
                    "status-done",
                    [
                        ("time", duration(&self.words, picture.took).into()),
                        ("seed", picture.request.seed.to_string().into()),
                    ],
                ),
                None => self.words.get("status-ready"),
            },
        }
    }
}

/// Steps in a second, or seconds for a step where that is more telling.
fn speed(words: &Words, step: Duration) -> String {
    let seconds = step.as_secs_f64().max(1e-6);
    if seconds <= 1.0 {
        words.with("speed-steps", [("steps", format!("{:.1}", 1.0 / seconds).into())])
    } else {
        words.with("speed-seconds", [("seconds", format!("{seconds:.1}").into())])
    }
}

/// A time as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `1 h 05 min`.
pub(super) fn duration(words: &Words, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let two_digits = |number: u64| format!("{number:02}").into();
    match seconds {
        ..9.95 => words.with("time-seconds", [("seconds", format!("{seconds:.1}").into())]),
        ..59.5 => words.with("time-seconds", [("seconds", format!("{seconds:.0}").into())]),
        ..3570.0 => {
            let seconds = seconds.round() as u64;
            let parts = [("minutes", (seconds / 60).into()), ("seconds", two_digits(seconds % 60))];
            words.with("time-minutes", parts)
        }
        _ => {
            let minutes = (seconds / 60.0).round() as u64;
            let parts = [("hours", (minutes / 60).into()), ("minutes", two_digits(minutes % 60))];
            words.with("time-hours", parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::words::Language;

    #[test]
    fn times_are_told_as_people_do() {
        let words = Words::new(Language::English);
        let told = |seconds: f64| duration(&words, Duration::from_secs_f64(seconds));
        assert_eq!(told(0.42), "0.4 s");
        assert_eq!(told(12.4), "12 s");
        assert_eq!(told(200.0), "3 min 20 s");
        assert_eq!(told(3900.0), "1 h 05 min");
        assert_eq!(speed(&words, Duration::from_millis(500)), "2.0 it/s");
        assert_eq!(speed(&words, Duration::from_millis(2500)), "2.5 s/it");
    }
}
