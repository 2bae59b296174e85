//! What is said of memory above the button: a plan where a run would be tight, and a smaller size where it does not fit.

use egui::{Id, RichText, Ui};
use emberbrush_pipeline::{
    memory::PlanContext,
    prompt::PromptSyntax,
    request::{ConditioningOptions, ControlPreprocess, GenerationRequest, LATENT_CELL},
};

use super::{
    application::Window,
    icons,
    names::saving,
    place::ModelState,
    theme::{Colours, SMALL, space},
    words::bytes,
};
use crate::engine::MemoryForecast;

impl Window {
    /// A line about memory where the run that is set would be tight, and a smaller size where it
    /// would not fit.
    pub(super) fn memory_note(&mut self, ui: &mut Ui) {
        let ModelState::Ready(model) = &self.model else { return };
        let wanted = what_takes_memory(self.settings.request());
        let context = self.plan_context();
        let id = Id::unique("memory");
        let cached = ui.data(|data| data.get_temp::<ForecastOf>(id));
        let forecast = match cached {
            Some(((of, with), forecast)) if of == wanted && with == context => forecast,
            _ => {
                let forecast = model.memory.forecast(&wanted, &context);
                let kept: ForecastOf = ((wanted, context), forecast.clone());
                ui.data_mut(|data| data.insert_temp(id, kept));
                forecast
            }
        };
        let MemoryForecast { peak, budget, savings, fits } = forecast;
        let Some(budget) = budget.filter(|_| !fits || !savings.is_empty()) else { return };
        let colours = Colours::of_ui(ui);
        let sizes = [("peak", bytes(peak).into()), ("budget", bytes(budget).into())];
        let (message, colour) = match fits {
            true => ("memory-tight", colours.warn),
            false => ("memory-too-large", colours.bad),
        };
        let text = format!("{}  {}", icons::WARNING_CIRCLE, self.words.with(message, sizes));
        let label = ui.add(egui::Label::new(RichText::new(text).size(SMALL).color(colour)).wrap());
        if !savings.is_empty() {
            let steps = savings.iter().map(|&step| saving(&self.words, step));
            let steps = steps.collect::<Vec<_>>().join(", ");
            label.on_hover_text(self.words.with("memory-savings", [("steps", steps.into())]));
        }
        if !fits && let Some((width, height)) = self.smaller_size() {
            let arguments = [("width", width.into()), ("height", height.into())];
            if ui.button(self.words.with("memory-smaller", arguments)).clicked() {
                self.change_settings("size", |settings| {
                    (settings.width, settings.height) = (width, height);
                });
            }
        }
        ui.add_space(space::XS);
    }

    /// The largest size of the same proportions that fits into memory.
    fn smaller_size(&self) -> Option<(u32, u32)> {
        let ModelState::Ready(model) = &self.model else { return None };
        let request = what_takes_memory(self.settings.request());
        let context = self.plan_context();
        let side = |side: u32, part: u32| (side * part / 8 / LATENT_CELL).max(1) * LATENT_CELL;
        (1..8).rev().map(|part| (side(request.width, part), side(request.height, part))).find(
            |&(width, height)| {
                let request = GenerationRequest { width, height, ..request.clone() };
                model.memory.forecast(&request, &context).fits
            },
        )
    }

    /// What decides the memory of a run beside its request.
    fn plan_context(&self) -> PlanContext {
        PlanContext {
            prompt_syntax: PromptSyntax::Weighted,
            adapter_folders: self.preferences.adapter_folders(),
            preview_decoder: self.preferences.preview_decoder_in_use().cloned(),
        }
    }
}

/// A request and what decides its memory beside it, with the forecast for them.
type ForecastOf = ((GenerationRequest, PlanContext), MemoryForecast);

/// The request without what makes little difference to memory, so that typing and dragging do not
/// have it foretold again.
fn what_takes_memory(mut request: GenerationRequest) -> GenerationRequest {
    request.prompt.clear();
    request.negative_prompt.clear();
    request.seed = 0;
    request.conditioning = ConditioningOptions::default();
    request.adapters.embedding.clear();
    for lora in &mut request.adapters.lora {
        (lora.unet, lora.text) = (1.0, 1.0);
    }
    for unit in &mut request.control.0 {
        (unit.weight, unit.start, unit.end, unit.guess) = (1.0, 0.0, 1.0, false);
        unit.preprocess = ControlPreprocess::None;
    }
    request
}
