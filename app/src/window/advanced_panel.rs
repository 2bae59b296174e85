//! The settings that are seldom needed, folded away in the left panel.

use std::path::PathBuf;

use egui::{Id, RichText, Ui, vec2};
use emberbrush_pipeline::{
    request::{ConditioningOptions, FewerOperations},
    rng::RngSource,
    schedulers::Compat,
};

use super::{
    application::Window,
    controls::{field, icon_button, list, number, segments, slider},
    dialogs::Question,
    icons,
    place::ModelState,
    prompt_editor::text_area,
    settings::random_seed,
    theme::{CONTROL_HEIGHT, SMALL, space},
};

/// The most layers of a text encoder that can be left out.
const MAX_CLIP_SKIP: u32 = 12;

/// The most evaluations for which the deep part of the UNet is run once that the panel offers.
const MAX_DEEP_CACHE: u32 = 10;

/// The largest share of tokens that can be merged.
const MAX_MERGED: f64 = 0.75;

/// Endings of the files that hold autoencoders.
const VAE_ENDINGS: [&str; 4] = ["safetensors", "ckpt", "pt", "bin"];

/// What is chosen in the list of autoencoders.
enum VaeWish {
    Take(Option<PathBuf>),
    Ask,
}

impl Window {
    /// A line that unfolds the rest.
    pub(super) fn advanced_heading(&mut self, ui: &mut Ui) {
        let icon = if self.session.shows_more { icons::CARET_UP } else { icons::CARET_DOWN };
        let text = RichText::new(format!("{} {icon}", self.words.get("more"))).size(SMALL);
        let unfold = ui.add(egui::Button::new(text).frame(false));
        if unfold.on_hover_text(self.words.get("more-tip")).clicked() {
            self.session.shows_more = !self.session.shows_more;
        }
    }

    /// The settings below that line.
    pub(super) fn advanced(&mut self, ui: &mut Ui) {
        if !self.session.shows_more {
            return;
        }
        let is_xl = match &self.model {
            ModelState::Ready(model) => model.family.is_xl(),
            _ => false,
        };
        self.vae_choice(ui);
        self.clip_skip_and_compat(ui);
        self.guidance_rescale(ui);
        self.variation(ui);
        if is_xl {
            self.second_prompts(ui);
        }
        self.fewer_operations(ui);
    }

    fn vae_choice(&mut self, ui: &mut Ui) {
        let label = self.words.get("vae");
        let tip = self.words.get("vae-tip");
        let own = self.words.get("vae-own");
        let choose = self.words.get("vae-file");
        let name = |path: &PathBuf| {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        };
        let mut wish = None;
        field(ui, &label, &tip, |ui| {
            let chosen = &self.settings.vae;
            let response = list("vae")
                .width(ui.available_width())
                .selected_text(chosen.as_ref().map_or_else(|| own.clone(), name))
                .truncate()
                .show_ui(ui, |ui| {
                    if ui.selectable_label(chosen.is_none(), &own).clicked() {
                        wish = Some(VaeWish::Take(None));
                    }
                    for file in &self.preferences.vae_files {
                        let is_chosen = chosen.as_ref() == Some(file);
                        let row = ui.selectable_label(is_chosen, name(file));
                        if row.on_hover_text(file.display().to_string()).clicked() {
                            wish = Some(VaeWish::Take(Some(file.clone())));
                        }
                    }
                    if ui.selectable_label(false, &choose).clicked() {
                        wish = Some(VaeWish::Ask);
                    }
                })
                .response;
            response.accessible_name(&label);
        });
        match wish {
            Some(VaeWish::Take(file)) => self.settings.vae = file,
            Some(VaeWish::Ask) => {
                self.ask(ui.ctx(), Question::open(choose, &VAE_ENDINGS), |window, _, file| {
                    if !window.preferences.vae_files.contains(&file) {
                        window.preferences.vae_files.push(file.clone());
                    }
                    window.change_settings("vae", |settings| settings.vae = Some(file));
                });
            }
            None => {}
        }
    }

    fn clip_skip_and_compat(&mut self, ui: &mut Ui) {
        ui.columns_const(|[left, right]| {
            let label = self.words.get("clip-skip");
            let tip = self.words.get("clip-skip-tip");
            field(left, &label, &tip, |ui| {
                let layers = &mut self.settings.conditioning.clip_skip;
                number(ui, &label, layers, 1..=MAX_CLIP_SKIP, 1.0, 1);
            });
            let label = self.words.get("compat");
            let tip = self.words.get("compat-tip");
            field(right, &label, &tip, |ui| {
                let choices = [
                    (Compat::Diffusers, "diffusers".to_owned(), None),
                    (Compat::A1111, "A1111".to_owned(), None),
                ];
                if segments(ui, &mut self.settings.compat, &choices) {
                    // Each takes its own random numbers.
                    self.settings.rng = match self.settings.compat {
                        Compat::Diffusers => RngSource::Torch,
                        Compat::A1111 => RngSource::Philox,
                    };
                }
            });
        });
    }

    fn guidance_rescale(&mut self, ui: &mut Ui) {
        let label = self.words.get("guidance-rescale");
        let tip = self.words.get("guidance-rescale-tip");
        field(ui, &label, &tip, |ui| {
            let share = &mut self.settings.conditioning.guidance_rescale;
            slider(ui, &label, share, 0.0..=1.0, 0.0..=1.0, 0.0);
        });
    }

    fn variation(&mut self, ui: &mut Ui) {
        let label = self.words.get("variation-strength");
        let tip = self.words.get("variation-strength-tip");
        let ConditioningOptions { variation_seed, variation_strength, .. } =
            &mut self.settings.conditioning;
        field(ui, &label, &tip, |ui| {
            slider(ui, &label, variation_strength, 0.0..=1.0, 0.0..=1.0, 0.0);
        });
        if *variation_strength == 0.0 {
            return;
        }
        let label = self.words.get("variation-seed");
        let tip = self.words.get("variation-seed-tip");
        field(ui, &label, &tip, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = space::XS;
                let width = ui.available_width() - CONTROL_HEIGHT - space::XS;
                ui.allocate_ui(vec2(width, CONTROL_HEIGHT), |ui| {
                    number(ui, &label, variation_seed, 0..=u64::MAX >> 11, 1.0, 0);
                });
                let dice = self.words.get("variation-seed-new");
                if icon_button(ui, icons::DICE_FIVE, &dice, None).clicked() {
                    *variation_seed = random_seed();
                }
            });
        });
    }

    /// What may be left out for nearly the same picture in less time.
    fn fewer_operations(&mut self, ui: &mut Ui) {
        let FewerOperations {
            skip_negative_after,
            deep_cache,
            token_merging,
            reuse_cross_attention_after,
        } = &mut self.settings.fewer_operations;
        let words = &self.words;
        let share =
            |ui: &mut Ui, message: &str, tip: &str, share: &mut f64, most: f64, usual: f64| {
                let label = words.get(message);
                field(ui, &label, &words.get(tip), |ui| {
                    number(ui, &label, share, 0.0..=most, 0.05, usual);
                });
            };
        ui.columns_const(|[left, right]| {
            let label = words.get("deep-cache");
            field(left, &label, &words.get("deep-cache-tip"), |ui| {
                number(ui, &label, deep_cache, 1..=MAX_DEEP_CACHE, 1.0, 1);
            });
            share(right, "token-merging", "token-merging-tip", token_merging, MAX_MERGED, 0.0);
        });
        ui.columns_const(|[left, right]| {
            let tip = "skip-negative-tip";
            share(left, "skip-negative", tip, skip_negative_after, 1.0, 1.0);
            let tip = "reuse-attention-tip";
            share(right, "reuse-attention", tip, reuse_cross_attention_after, 1.0, 1.0);
        });
    }

    /// The prompts of SDXL's second text encoder; without them it reads those of the first.
    fn second_prompts(&mut self, ui: &mut Ui) {
        let ConditioningOptions { prompt_2, negative_2, .. } = &mut self.settings.conditioning;
        for (id, message, prompt) in
            [("prompt-2", "prompt-2", prompt_2), ("negative-2", "negative-2", negative_2)]
        {
            let label = self.words.get(message);
            let tip = self.words.get("prompt-2-tip");
            let hint = self.words.get("prompt-2-hint");
            field(ui, &label, &tip, |ui| {
                let mut text = prompt.clone().unwrap_or_default();
                text_area(ui, Id::unique(id), &mut text, &hint, 2).accessible_name(&label);
                *prompt = (!text.is_empty()).then_some(text);
            });
        }
    }
}
