//! The left panel: the prompt and the settings of the next pictures.

use egui::{Frame, Margin, RichText, ScrollArea, TextEdit, Ui, vec2};
use emberbrush_pipeline::{
    request::LATENT_CELL,
    schedulers::{Sampler, Schedule},
};

use super::{
    actions::Action,
    application::Window,
    controls::{
        divider, field, icon_button, icon_toggle, list, menu_below, number, primary_button, small,
        wide_button,
    },
    icons, names,
    place::{ModelState, Place},
    results::Shown,
    settings::{Ratio, random_seed},
    styles::Style,
    theme::{BUTTON_HEIGHT, CONTROL_HEIGHT, Colours, SMALL, space},
};
use crate::engine::ModelSource;

/// The most steps that the panel offers.
const MAX_STEPS: u32 = 150;

/// The largest guidance that the panel offers.
const MAX_GUIDANCE: f64 = 30.0;

/// The largest side that the panel offers, in pixels.
const MAX_SIDE: u32 = 4096;

/// The most pictures of one run.
const MAX_COUNT: u32 = 1000;

/// Width of the number of pictures, in points.
const COUNT_WIDTH: f32 = 84.0;

impl Window {
    pub(super) fn prompt_panel(&mut self, ui: &mut Ui) {
        let margin = space::M as i8;
        egui::Panel::bottom("generate")
            .resizable(false)
            .show_separator_line(false)
            .frame(Frame::new().inner_margin(Margin {
                left: margin,
                right: margin,
                top: 8,
                bottom: margin,
            }))
            .show(ui, |ui| self.generate_button(ui));
        egui::CentralPanel::no_frame().show(ui, |ui| {
            ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                Frame::new().inner_margin(Margin::same(margin)).show(ui, |ui| {
                    ui.spacing_mut().item_spacing.y = space::M;
                    self.prompts(ui);
                    divider(ui);
                    self.model_choice(ui);
                    self.style_choice(ui);
                    self.size(ui);
                    self.seed_and_count(ui);
                    self.steps_and_guidance(ui);
                    self.sampler_and_schedule(ui);
                    divider(ui);
                    ui.vertical(|ui| {
                        ui.spacing_mut().item_spacing.y = space::XS;
                        self.adapters(ui);
                        self.controlnets(ui);
                        self.advanced_heading(ui);
                    });
                    self.advanced(ui);
                });
            });
        });
    }

    fn style_choice(&mut self, ui: &mut Ui) {
        let label = self.words.get("style");
        let tip = self.words.get("style-tip");
        let colours = Colours::of_ui(ui);
        let button = egui::Button::new(format!("{}  {label}", icons::PALETTE))
            .right_text(RichText::new(icons::CARET_DOWN).size(SMALL).color(colours.dim))
            .min_size(vec2(ui.available_width(), CONTROL_HEIGHT));
        let response = ui.add(button).on_hover_text(tip);
        if response.clicked() {
            self.styles.refresh();
        }
        menu_below(&response)
            .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
            .show(|ui| self.style_menu(ui));
    }

    fn style_menu(&mut self, ui: &mut Ui) {
        ui.set_width(280.0);
        let styles: Vec<Style> = self.styles.all().cloned().collect();
        if styles.is_empty() {
            small(ui, &self.words.get("style-none"));
        }
        for style in styles {
            ui.horizontal(|ui| {
                let width = ui.available_width() - CONTROL_HEIGHT - space::S;
                let button = egui::Button::selectable(false, &style.name)
                    .truncate()
                    .min_size(vec2(width, CONTROL_HEIGHT));
                if ui.add(button).clicked() {
                    self.change_settings("style", |settings| style.apply(settings));
                    ui.close();
                }
                let name = self.words.with("style-remove", [("style", style.name.clone().into())]);
                if icon_button(ui, icons::TRASH, &name, None).clicked()
                    && let Err(error) = self.styles.remove(&style.name)
                {
                    self.tell_error(error);
                }
            });
        }
        divider(ui);
        ui.horizontal(|ui| {
            let hint = self.words.get("style-name");
            let edit = TextEdit::singleline(&mut self.style_name)
                .hint_text(hint.clone())
                .desired_width(180.0);
            ui.add(edit).accessible_name(hint);
            let named = !self.style_name.trim().is_empty();
            let save = egui::Button::new(self.words.get("style-save"));
            if ui.add_enabled(named, save).clicked() {
                let name = std::mem::take(&mut self.style_name).trim().to_owned();
                let style = Style { name, settings: self.settings.clone() };
                if let Err(error) = self.styles.save(&style) {
                    self.tell_error(error);
                }
            }
        });
    }

    fn model_choice(&mut self, ui: &mut Ui) {
        let label = self.words.get("model");
        let tip = self.words.get("model-tip");
        field(ui, &label, &tip, |ui| {
            let name = match &self.settings.model {
                ModelSource::InTheBox => self.words.get("models-box"),
                other => other.name(),
            };
            let keys = self.preferences.shortcuts.of(Action::ShowModels);
            let colours = Colours::of_ui(ui);
            let button = egui::Button::new(format!("{}  {name}", icons::CUBE))
                .right_text(RichText::new(icons::CARET_DOWN).size(SMALL).color(colours.dim))
                .truncate()
                .min_size(vec2(ui.available_width(), CONTROL_HEIGHT));
            let response = ui.add(button).on_hover_text(match keys {
                Some(keys) => format!("{tip}  ·  {keys}"),
                None => tip.clone(),
            });
            if response.clicked() {
                self.act(&ui.ctx().clone(), Action::ShowModels);
            }
        });
    }

    fn size(&mut self, ui: &mut Ui) {
        let native_side = match &self.model {
            ModelState::Ready(model) => model.checkpoint.native_side,
            _ => 512,
        };
        let label = self.words.get("size");
        let tip = self.words.get("size-tip");
        field(ui, &label, &tip, |ui| {
            ui.horizontal(|ui| {
                let width = (ui.available_width() - 2.0 * CONTROL_HEIGHT - 3.0 * space::S) / 2.0;
                let side = |ui: &mut Ui, name: &str, value: &mut u32| {
                    ui.allocate_ui(vec2(width, CONTROL_HEIGHT), |ui| {
                        let step = f64::from(LATENT_CELL);
                        let response =
                            number(ui, name, value, LATENT_CELL..=MAX_SIDE, step, native_side);
                        if response.changed() {
                            *value = (*value / LATENT_CELL).max(1) * LATENT_CELL;
                        }
                    });
                };
                side(ui, &self.words.get("width"), &mut self.settings.width);
                let swap = self.words.get(Action::SwapSides.message());
                let keys = self.preferences.shortcuts.of(Action::SwapSides);
                if icon_button(ui, icons::ARROWS_LEFT_RIGHT, &swap, keys).clicked() {
                    self.settings.swap_sides();
                }
                side(ui, &self.words.get("height"), &mut self.settings.height);
                self.ratios(ui, native_side);
            });
        });
    }

    fn ratios(&mut self, ui: &mut Ui, native_side: u32) {
        let name = self.words.get("ratio");
        let button = icon_button(ui, icons::CROP, &name, None);
        menu_below(&button).show(|ui| {
            ui.set_min_width(140.0);
            for ratio in Ratio::ALL {
                let (width, height) = ratio.size(native_side);
                let on = (self.settings.width, self.settings.height) == (width, height);
                let text = format!("{}:{}   {width} × {height}", ratio.width, ratio.height);
                if ui.selectable_label(on, text).clicked() {
                    self.settings.set_ratio(ratio, native_side);
                    ui.close();
                }
            }
        });
    }

    fn seed_and_count(&mut self, ui: &mut Ui) {
        ui.horizontal_top(|ui| {
            let width = ui.available_width() - COUNT_WIDTH - space::S;
            ui.allocate_ui(vec2(width, 0.0), |ui| self.seed(ui));
            let label = self.words.get("count");
            let tip = self.words.get("count-tip");
            field(ui, &label, &tip, |ui| {
                number(ui, &label, &mut self.settings.count, 1..=MAX_COUNT, 1.0, 1);
            });
        });
    }

    fn seed(&mut self, ui: &mut Ui) {
        let label = self.words.get("seed");
        let tip = self.words.get("seed-tip");
        field(ui, &label, &tip, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = space::XS;
                // Room for it is made by choosing a picture, never while a seed is typed.
                let reuses = matches!(self.results.shown, Shown::Result(_));
                let buttons = if reuses { 3.0 } else { 2.0 };
                let width = ui.available_width() - buttons * (CONTROL_HEIGHT + space::XS);
                ui.allocate_ui(vec2(width, CONTROL_HEIGHT), |ui| {
                    let response =
                        number(ui, &label, &mut self.settings.seed, 0..=u64::MAX >> 11, 1.0, 0);
                    if response.changed() {
                        self.settings.seed_is_locked = true;
                    }
                });
                let dice = self.words.get(Action::NewSeed.message());
                let keys = self.preferences.shortcuts.of(Action::NewSeed);
                if icon_button(ui, icons::DICE_FIVE, &dice, keys).clicked() {
                    self.settings.seed = random_seed();
                }
                if reuses {
                    let name = self.words.get(Action::ReuseSeed.message());
                    let keys = self.preferences.shortcuts.of(Action::ReuseSeed);
                    ui.add_enabled_ui(self.other_seed_in_view().is_some(), |ui| {
                        let icon = icons::ARROW_COUNTER_CLOCKWISE;
                        if icon_button(ui, icon, &name, keys).clicked() {
                            self.act(&ui.ctx().clone(), Action::ReuseSeed);
                        }
                    });
                }
                let locked = self.settings.seed_is_locked;
                let icon = if locked { icons::LOCK_SIMPLE } else { icons::LOCK_SIMPLE_OPEN };
                let name = self.words.get(Action::LockSeed.message());
                let keys = self.preferences.shortcuts.of(Action::LockSeed);
                if icon_toggle(ui, icon, &name, keys, locked).clicked() {
                    self.settings.seed_is_locked = !locked;
                }
            });
        });
    }

    /// The seed of the picture in view, where it is not the one that is set.
    pub(super) fn other_seed_in_view(&self) -> Option<u64> {
        let seed = self.results.shown_picture()?.request.seed;
        (self.session.place == Place::Prompt && seed != self.settings.seed).then_some(seed)
    }

    fn steps_and_guidance(&mut self, ui: &mut Ui) {
        let (steps, guidance) = match &self.model {
            ModelState::Ready(model) => (model.defaults.steps, model.defaults.guidance_scale),
            _ => (20, 7.5),
        };
        ui.columns_const(|[left, right]| {
            let label = self.words.get("steps");
            let tip = self.words.get("steps-tip");
            field(left, &label, &tip, |ui| {
                number(ui, &label, &mut self.settings.steps, 1..=MAX_STEPS, 1.0, steps);
            });
            let label = self.words.get("guidance");
            let tip = self.words.get("guidance-tip");
            field(right, &label, &tip, |ui| {
                number(ui, &label, &mut self.settings.guidance, 1.0..=MAX_GUIDANCE, 0.5, guidance);
            });
        });
    }

    fn sampler_and_schedule(&mut self, ui: &mut Ui) {
        ui.columns_const(|[left, right]| {
            let label = self.words.get("sampler");
            let tip = self.words.get("sampler-tip");
            field(left, &label, &tip, |ui| {
                let chosen = &mut self.settings.sampler;
                choice(ui, "sampler", &label, chosen, &Sampler::ALL, |value| {
                    value.display_name().to_owned()
                });
            });
            let label = self.words.get("schedule");
            let tip = self.words.get("schedule-tip");
            field(right, &label, &tip, |ui| {
                let chosen = &mut self.settings.schedule;
                choice(ui, "schedule", &label, chosen, &Schedule::ALL, |value| {
                    names::schedule(&self.words, value)
                });
            });
        });
    }

    fn generate_button(&mut self, ui: &mut Ui) {
        self.memory_note(ui);
        let shortcuts = &self.preferences.shortcuts;
        ui.set_min_height(BUTTON_HEIGHT);
        if self.session.place == Place::Canvas {
            self.fill_button(ui);
            return;
        }
        if self.queue.running().is_none() {
            let keys = shortcuts.of(Action::Generate);
            let label = self.words.get("generate");
            if primary_button(ui, icons::SPARKLE, &label, keys).clicked() {
                self.act(&ui.ctx().clone(), Action::Generate);
            }
            return;
        }
        let keys = shortcuts.of(Action::Cancel);
        let label = self.words.get("cancel");
        let generate = self.preferences.shortcuts.of(Action::Generate);
        let generate = generate.map_or_else(String::new, |keys| keys.to_string());
        let hint = self.words.with("queue-another", [("keys", generate.into())]);
        let response = wide_button(ui, icons::STOP_CIRCLE, &label, keys).on_hover_text(hint);
        if response.clicked() {
            self.cancel_running();
        }
    }

    /// The same button on the canvas, where it fills what is marked.
    fn fill_button(&mut self, ui: &mut Ui) {
        let shortcuts = &self.preferences.shortcuts;
        if self.canvas.filling().is_some() {
            let keys = shortcuts.of(Action::Cancel);
            let label = self.words.get("fill-cancel");
            if wide_button(ui, icons::STOP_CIRCLE, &label, keys).clicked() {
                self.with_canvas(|canvas, context| canvas.cancel(context));
            }
            return;
        }
        let keys = shortcuts.of(Action::Generate);
        let (label, tip) = (self.words.get("fill"), self.words.get("fill-tip"));
        let button = ui.add_enabled_ui(self.canvas.can_fill(), |ui| {
            primary_button(ui, icons::SPARKLE, &label, keys)
        });
        if button.inner.on_hover_text(tip).clicked() {
            self.act(&ui.ctx().clone(), Action::Generate);
        }
    }
}

/// A list of which one is chosen, as wide as there is room.
pub(super) fn choice<T: Copy + PartialEq>(
    ui: &mut Ui,
    id: &str,
    name: &str,
    chosen: &mut T,
    choices: &[T],
    display: impl Fn(T) -> String,
) {
    let response = list(id)
        .width(ui.available_width())
        .selected_text(display(*chosen))
        .show_ui(ui, |ui| {
            for &value in choices {
                ui.selectable_value(chosen, value, display(value));
            }
        })
        .response;
    response.accessible_name(name);
}
