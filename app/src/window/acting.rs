//! What keys, the palette and buttons ask for, done.

use std::sync::Arc;

use egui::Context;

use super::{
    actions::Action,
    application::{PICTURES, Window},
    dialogs::Question,
    history::History,
    overlay::Overlay,
    palette::Palette,
    place::{ModelState, Place},
    preferences_page::PreferencesPage,
    prompt_weight::STEP,
    settings::{GenerationSettings, random_seed},
    theme,
};

impl Window {
    /// Does what a key or the palette asks for.
    pub(super) fn act(&mut self, ctx: &Context, action: Action) {
        match action {
            Action::Generate => match self.session.place {
                Place::Prompt | Place::Gallery => self.queue_settings(),
                Place::Canvas => {
                    self.canvas.generate();
                }
            },
            Action::Cancel => self.cancel_running(),
            Action::ShowPrompt => self.session.place = Place::Prompt,
            Action::ShowCanvas => self.session.place = Place::Canvas,
            Action::ShowGallery => self.session.place = Place::Gallery,
            Action::Undo => match self.session.place {
                Place::Canvas => self.canvas.undo(),
                _ => {
                    self.timeline.undo(&mut self.settings);
                    self.is_recorded = true;
                }
            },
            Action::Redo => match self.session.place {
                Place::Canvas => self.canvas.redo(),
                _ => {
                    self.timeline.redo(&mut self.settings);
                    self.is_recorded = true;
                }
            },
            Action::NewSeed => self.change_settings("seed", |settings| {
                settings.seed = random_seed();
                settings.seed_is_locked = true;
            }),
            Action::LockSeed => self.change_settings("seed-lock", |settings| {
                settings.seed_is_locked = !settings.seed_is_locked;
            }),
            Action::ReuseSeed => {
                if let Some(seed) = self.other_seed_in_view() {
                    self.change_settings("seed", |settings| {
                        settings.seed = seed;
                        settings.seed_is_locked = true;
                    });
                }
            }
            Action::SwapSides => {
                self.change_settings("size", GenerationSettings::swap_sides);
            }
            Action::ResetSettings => {
                if let ModelState::Ready(model) = &self.model {
                    let model = Arc::clone(model);
                    self.change_settings("reset", |settings| {
                        settings.switch_model(model.source.clone(), &model.defaults);
                    });
                }
            }
            Action::PauseQueue => self.queue.paused = !self.queue.paused,
            Action::GenerateForever => self.queue.forever = !self.queue.forever,
            Action::SwitchTheme => {
                self.preferences.theme = if ctx.theme() == egui::Theme::Dark {
                    theme::ThemeChoice::Light
                } else {
                    theme::ThemeChoice::Dark
                };
                self.apply_preferences(ctx);
            }
            Action::ToggleSidePanel => {
                let shows = self.shows_side_panel(ctx);
                *shows = !*shows;
            }
            Action::WeightUp => self.change_selected_weight(ctx, STEP),
            Action::WeightDown => self.change_selected_weight(ctx, -STEP),
            Action::Canvas(action) => {
                self.session.place = Place::Canvas;
                self.with_canvas(|canvas, context| canvas.act(ctx, action, context));
            }
            Action::ShowQueue => self.overlay = Overlay::Queue,
            Action::ShowModels => {
                self.refresh_models();
                self.overlay = Overlay::Models;
            }
            Action::ShowPreferences => {
                self.overlay = Overlay::Preferences(PreferencesPage::default());
            }
            Action::ShowPalette => self.overlay = Overlay::Palette(Palette::default()),
            Action::ShowHistory => {
                self.overlay = Overlay::History(History::read(&self.journal));
            }
            Action::ShowExport => self.open_export(),
            Action::ShowGrid => self.open_grid(),
            Action::ImportJobs => {
                let title = self.words.get(action.message());
                let question = Question::open(title, &["txt", "csv", "jsonl"]);
                self.ask(ctx, question, |window, _, path| window.import_jobs(path));
            }
            Action::OpenPicture => {
                let question = Question::open(self.words.get(action.message()), &PICTURES);
                self.ask(ctx, question, |window, _, path| window.open_on_canvas(&path));
            }
            Action::OpenSettings => {
                let question = Question::open(self.words.get(action.message()), &PICTURES);
                self.ask(ctx, question, |window, _, path| window.take_settings_of(&path));
            }
        }
    }

    /// Changes settings in one step that can be undone.
    pub(super) fn change_settings(
        &mut self,
        subject: &'static str,
        change: impl FnOnce(&mut GenerationSettings),
    ) {
        let before = self.settings.clone();
        change(&mut self.settings);
        if self.settings != before {
            self.timeline.changed(&before, subject);
            self.is_recorded = true;
        }
    }
}
