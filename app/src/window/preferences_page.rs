//! The settings page.

use std::path::PathBuf;

use egui::{Button, Key, RichText, ScrollArea, Ui, vec2};
use emberbrush_pipeline::picture::FileFormat;

use super::{
    actions::{Action, Shortcut},
    application::Window,
    controls::{checkbox, divider, list, section, segments, small},
    dialogs::Question,
    icons,
    preferences::{Preferences, Previews},
    theme::{CONTROL_HEIGHT, Colours, SMALL, ThemeChoice, space},
    words::Language,
};
use crate::engine::WrittenSettings;

/// Width of the names beside the controls, in points.
const NAME_WIDTH: f32 = 200.0;

/// What the page is doing.
#[derive(Debug, Default)]
pub(super) struct PreferencesPage {
    /// The command whose keys are being pressed.
    listening: Option<Action>,
}

impl PreferencesPage {
    /// Whether keys belong to the page, to be given to a command.
    pub(super) fn is_listening(&self) -> bool {
        self.listening.is_some()
    }
}

/// A name, and a control beside it.
fn row<R>(ui: &mut Ui, name: &str, control: impl FnOnce(&mut Ui) -> R) -> R {
    ui.horizontal(|ui| {
        let (rect, _) =
            ui.allocate_exact_size(vec2(NAME_WIDTH, CONTROL_HEIGHT), egui::Sense::hover());
        let colours = Colours::of_ui(ui);
        let font = egui::FontId::proportional(super::theme::BODY);
        let place = rect.left_center();
        ui.painter().text(place, egui::Align2::LEFT_CENTER, name, font, colours.text);
        control(ui)
    })
    .inner
}

impl Window {
    pub(super) fn preferences_page(&mut self, ui: &mut Ui, page: &mut PreferencesPage) {
        let before = self.preferences.clone();
        ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = space::S;
            section(ui, &self.words.get("preferences-look"));
            self.look(ui);
            divider(ui);
            section(ui, &self.words.get("preferences-pictures"));
            self.pictures(ui);
            divider(ui);
            ui.horizontal(|ui| {
                section(ui, &self.words.get("preferences-keys"));
                let changed = self.preferences.shortcuts.are_changed();
                ui.add_enabled_ui(changed, |ui| {
                    if ui.button(self.words.get("preferences-keys-reset")).clicked() {
                        self.preferences.shortcuts.reset();
                    }
                });
            });
            self.keys_table(ui, page);
        });
        if self.preferences != before {
            let ctx = ui.ctx().clone();
            self.apply_preferences(&ctx);
        }
    }

    fn look(&mut self, ui: &mut Ui) {
        row(ui, &self.words.get("preferences-theme"), |ui| {
            let themes: Vec<_> = ThemeChoice::ALL
                .iter()
                .map(|&theme| (theme, self.words.get(theme.message()), None))
                .collect();
            segments(ui, &mut self.preferences.theme, &themes);
        });
        row(ui, &self.words.get("preferences-language"), |ui| {
            let languages: Vec<_> = Language::ALL
                .iter()
                .map(|&language| (language, language.name().to_owned(), None))
                .collect();
            segments(ui, &mut self.preferences.language, &languages);
        });
        row(ui, &self.words.get("preferences-scale"), |ui| {
            let scales: Vec<_> = Preferences::SCALES
                .iter()
                .map(|&scale| (scale, format!("{:.0}%", scale * 100.0), None))
                .collect();
            segments(ui, &mut self.preferences.scale, &scales);
        });
        row(ui, &self.words.get("preferences-motion"), |ui| {
            let label = self.words.get("preferences-motion-off");
            checkbox(ui, &mut self.preferences.reduce_motion, &label);
        });
    }

    fn pictures(&mut self, ui: &mut Ui) {
        self.folder(ui, "preferences-folder", "preferences-folder-tip", |preferences| {
            &mut preferences.pictures_folder
        });
        self.folder(ui, "preferences-wildcards", "preferences-wildcards-tip", |preferences| {
            &mut preferences.wildcards_folder
        });
        self.folder(ui, "preferences-loras", "preferences-loras-tip", |preferences| {
            &mut preferences.lora_folder
        });
        self.folder(ui, "preferences-embeddings", "preferences-embeddings-tip", |preferences| {
            &mut preferences.embeddings_folder
        });
        row(ui, &self.words.get("preferences-format"), |ui| {
            list("format")
                .selected_text(self.preferences.format.to_string().to_uppercase())
                .show_ui(ui, |ui| {
                    for format in FileFormat::ALL {
                        let chosen = &mut self.preferences.format;
                        let name = format.to_string().to_uppercase();
                        ui.selectable_value(chosen, format, name);
                    }
                })
                .response
                .accessible_name(self.words.get("preferences-format"));
        });
        let tip = self.words.get("preferences-written-tip");
        row(ui, &self.words.get("preferences-written"), |ui| {
            let choices: Vec<_> = WrittenSettings::ALL
                .iter()
                .map(|&choice| {
                    let message = match choice {
                        WrittenSettings::All => "written-all",
                        WrittenSettings::ForOthers => "written-for-others",
                        WrittenSettings::Nothing => "written-nothing",
                    };
                    (choice, self.words.get(message), None)
                })
                .collect();
            ui.scope(|ui| segments(ui, &mut self.preferences.written, &choices))
                .response
                .on_hover_text(tip);
        });
        row(ui, &self.words.get("preferences-previews"), |ui| {
            let choices: Vec<_> = Previews::ALL
                .iter()
                .map(|&choice| (choice, self.words.get(choice.message()), None))
                .collect();
            segments(ui, &mut self.preferences.previews, &choices);
        });
        if self.preferences.previews == Previews::Tiny {
            self.preview_decoder(ui);
        }
        row(ui, &self.words.get("preferences-notify"), |ui| {
            let label = self.words.get("preferences-notify-when");
            checkbox(ui, &mut self.preferences.notify, &label);
        });
    }

    /// A folder, with a button that chooses another.
    fn folder(
        &mut self,
        ui: &mut Ui,
        name: &str,
        tip: &str,
        of: fn(&mut Preferences) -> &mut PathBuf,
    ) {
        row(ui, &self.words.get(name), |ui| {
            let path = of(&mut self.preferences).clone();
            let label = format!("{}  {}", icons::FOLDER_OPEN, path.display());
            let tip = format!("{}\n{}", self.words.get(tip), path.display());
            if ui.add(Button::new(label).truncate()).on_hover_text(tip).clicked() {
                self.ask(ui.ctx(), Question::folder(&path), move |window, ctx, folder| {
                    let pictures = window.preferences.pictures_folder.clone();
                    *of(&mut window.preferences) = folder;
                    if window.preferences.pictures_folder != pictures {
                        window.gallery.scan(ctx, &window.preferences.pictures_folder);
                    }
                });
            }
        });
    }

    /// The file of the small autoencoder.
    fn preview_decoder(&mut self, ui: &mut Ui) {
        let title = self.words.get("preferences-preview-decoder");
        row(ui, &title, |ui| {
            let text = match &self.preferences.preview_decoder {
                Some(path) => path.display().to_string(),
                None => self.words.get("preferences-preview-decoder-choose"),
            };
            let button = Button::new(format!("{}  {text}", icons::FOLDER_OPEN)).truncate();
            let tip = self.words.get("preferences-preview-decoder-tip");
            if ui.add(button).on_hover_text(tip).clicked() {
                let question = Question::open(title.clone(), &["safetensors", "pth", "pt"]);
                self.ask(ui.ctx(), question, |window, _, file| {
                    window.preferences.preview_decoder = Some(file);
                });
            }
        });
    }

    fn keys_table(&mut self, ui: &mut Ui, page: &mut PreferencesPage) {
        let colours = Colours::of_ui(ui);
        for action in Action::all() {
            row(ui, &self.words.get(action.message()), |ui| {
                let listening = page.listening == Some(action);
                let text = if listening {
                    self.words.get("preferences-keys-press")
                } else {
                    let keys = self.preferences.shortcuts.of(action);
                    keys.map_or_else(|| "–".to_owned(), |keys| keys.to_string())
                };
                let colour = if listening { colours.accent } else { colours.text };
                let button = Button::new(RichText::new(text).size(SMALL).color(colour))
                    .min_size(vec2(140.0, CONTROL_HEIGHT));
                let name = self.words.get(action.message());
                if ui.add(button).accessible_name(name).clicked() {
                    page.listening = Some(action);
                }
            });
        }
        small(ui, &self.words.get("preferences-keys-help"));
        if let Some(action) = page.listening
            && let Some((modifiers, key)) = pressed_key(ui)
        {
            page.listening = None;
            match key {
                Key::Escape => {}
                Key::Backspace => self.preferences.shortcuts.set(action, None),
                key => {
                    let shortcut = Shortcut(egui::KeyboardShortcut::new(modifiers, key));
                    self.preferences.shortcuts.set(action, Some(shortcut));
                }
            }
        }
    }
}

/// The key that was pressed in this frame, with its modifiers; nobody else gets it.
fn pressed_key(ui: &Ui) -> Option<(egui::Modifiers, Key)> {
    ui.input_mut(|input| {
        let place = input
            .events
            .iter()
            .position(|event| matches!(event, egui::Event::Key { pressed: true, .. }))?;
        match input.events.remove(place) {
            egui::Event::Key { key, modifiers, .. } => {
                let mut held = egui::Modifiers::NONE;
                held.command = modifiers.command || modifiers.ctrl;
                held.shift = modifiers.shift;
                held.alt = modifiers.alt;
                Some((held, key))
            }
            _ => None,
        }
    })
}
