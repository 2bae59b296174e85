//! The settings of the next pictures, as a person sets them.

use std::path::PathBuf;

use emberbrush_pipeline::{
    request::{
        ConditioningOptions, Control, FewerOperations, GenerationRequest, LATENT_CELL, Mode,
    },
    rng::RngSource,
    schedulers::{Compat, Sampler, Schedule},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::adapters::AdapterChoices;
use crate::{commands::settings::OF_THE_RUN, engine::ModelSource};

/// What a person sets before pressing Generate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationSettings {
    /// What to draw.
    pub prompt: String,
    /// What to keep away from.
    pub negative: String,
    /// With which checkpoint.
    pub model: ModelSource,
    /// What stands in for its autoencoder.
    #[serde(default)]
    pub vae: Option<PathBuf>,
    /// How a step is made.
    pub sampler: Sampler,
    /// How noise levels are spaced.
    pub schedule: Schedule,
    /// Whose meaning sampler, schedule and the steps of a prompt have.
    #[serde(default)]
    pub compat: Compat,
    /// What the model is told beside the prompts, and how it is guided.
    #[serde(default)]
    pub conditioning: ConditioningOptions,
    /// What may be left out for nearly the same picture.
    #[serde(default)]
    pub fewer_operations: FewerOperations,
    /// Number of denoising steps.
    pub steps: u32,
    /// Weight of the prompt.
    pub guidance: f64,
    /// Width in pixels, a multiple of [`LATENT_CELL`].
    pub width: u32,
    /// Height in pixels, a multiple of [`LATENT_CELL`].
    pub height: u32,
    /// The seed of the first picture.
    pub seed: u64,
    /// Whether the seed stays for the next run, or a new one is drawn.
    pub seed_is_locked: bool,
    /// Which generator turns a seed into noise.
    pub rng: RngSource,
    /// Number of pictures.
    pub count: u32,
    /// What is added to the checkpoint.
    #[serde(default)]
    pub adapters: AdapterChoices,
    /// What steers the picture beside words. Those without a picture of their own see what is on
    /// the canvas, and act there alone.
    #[serde(default)]
    pub control: Control,
}

impl GenerationSettings {
    /// What a checkpoint recommends.
    pub fn recommended(model: ModelSource, defaults: &GenerationRequest) -> Self {
        Self {
            prompt: String::new(),
            negative: String::new(),
            model,
            vae: None,
            sampler: defaults.sampler,
            schedule: defaults.schedule,
            compat: defaults.compat,
            conditioning: defaults.conditioning.clone(),
            fewer_operations: defaults.fewer_operations,
            steps: defaults.steps,
            guidance: defaults.guidance_scale,
            width: defaults.width,
            height: defaults.height,
            seed: defaults.seed,
            seed_is_locked: false,
            rng: defaults.rng,
            count: 1,
            adapters: Default::default(),
            control: Default::default(),
        }
    }

    /// Takes over what another checkpoint recommends; prompts, seed and count stay.
    pub fn switch_model(&mut self, model: ModelSource, defaults: &GenerationRequest) {
        *self = Self {
            prompt: std::mem::take(&mut self.prompt),
            negative: std::mem::take(&mut self.negative),
            seed: self.seed,
            seed_is_locked: self.seed_is_locked,
            rng: self.rng,
            count: self.count,
            control: std::mem::take(&mut self.control),
            ..Self::recommended(model, defaults)
        };
    }

    /// The request that these settings mean at the Prompt place.
    pub fn request(&self) -> GenerationRequest {
        let mut request = self.request_on_canvas();
        request.control.0.retain(|unit| unit.image.is_some());
        request
    }

    /// The request that these settings mean where there is a picture to start from, which is yet to
    /// be named in its mode.
    pub fn request_on_canvas(&self) -> GenerationRequest {
        GenerationRequest {
            mode: Mode::TextToImage,
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            width: self.width,
            height: self.height,
            steps: self.steps,
            guidance_scale: self.guidance,
            sampler: self.sampler,
            schedule: self.schedule,
            compat: self.compat,
            conditioning: self.conditioning.clone(),
            fewer_operations: self.fewer_operations,
            seed: self.seed,
            rng: self.rng,
            count: self.count,
            adapters: self.adapters.selection(),
            control: self.control.clone(),
        }
    }

    /// Takes over the settings of a picture, such as a file or the gallery holds them: by the
    /// names of the flags. Adapters and ControlNets that it does not state are none. Gives the
    /// names of those that could not be taken over.
    pub fn take_fields(&mut self, fields: &Map<String, Value>) -> Vec<String> {
        let mut left = Vec::new();
        let mut request = GenerationRequest {
            count: 1,
            adapters: Default::default(),
            control: Default::default(),
            ..self.request()
        };
        let is_of_control = |name: &String| Control::FIELDS.contains(&name.as_str());
        let (control, others): (Map<_, _>, Map<_, _>) =
            fields.clone().into_iter().partition(|(name, _)| is_of_control(name));
        for (name, value) in others {
            // What a picture started from is not part of these settings, and the model is chosen
            // by hand, since a name does not say where its files are.
            if ["mode", "count"].contains(&name.as_str()) || OF_THE_RUN.contains(&name.as_str()) {
                continue;
            }
            match request.with_fields(&Map::from_iter([(name.clone(), value)])) {
                Ok(with) if with.mode == Mode::TextToImage => request = with,
                _ => left.push(name),
            }
        }
        if !control.is_empty() {
            // Other programs say neither where their maps are nor where their files.
            let says_where =
                ["control-image", "init"].iter().any(|name| fields.contains_key(*name));
            match request.with_fields(&control) {
                Ok(with) if says_where => request = with,
                _ => left.push(Control::FIELD.to_owned()),
            }
        }
        self.take_request(&request);
        left
    }

    /// Takes over everything that a request states but how many pictures; the seed is locked, so
    /// that the picture comes out again.
    pub fn take_request(&mut self, request: &GenerationRequest) {
        *self = Self {
            prompt: request.prompt.clone(),
            negative: request.negative_prompt.clone(),
            model: self.model.clone(),
            vae: self.vae.clone(),
            sampler: request.sampler,
            schedule: request.schedule,
            compat: request.compat,
            conditioning: request.conditioning.clone(),
            fewer_operations: request.fewer_operations,
            steps: request.steps,
            guidance: request.guidance_scale,
            width: request.width,
            height: request.height,
            seed: request.seed,
            seed_is_locked: true,
            rng: request.rng,
            count: 1,
            adapters: request.adapters.clone().into(),
            control: request.control.clone(),
        };
    }

    /// Swaps width and height.
    pub fn swap_sides(&mut self) {
        std::mem::swap(&mut self.width, &mut self.height);
    }

    /// Gives the picture another ratio, with about as many pixels as a square of `native_side`.
    pub fn set_ratio(&mut self, ratio: Ratio, native_side: u32) {
        let (width, height) = ratio.size(native_side);
        (self.width, self.height) = (width, height);
    }
}

/// A ratio of width to height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

impl Ratio {
    /// Those to choose from, wide before tall.
    pub const ALL: [Self; 7] = [
        Self { width: 1, height: 1 },
        Self { width: 4, height: 3 },
        Self { width: 3, height: 2 },
        Self { width: 16, height: 9 },
        Self { width: 3, height: 4 },
        Self { width: 2, height: 3 },
        Self { width: 9, height: 16 },
    ];

    /// Sides in pixels with about as many pixels as a square of `native_side`, both multiples of
    /// [`LATENT_CELL`].
    pub fn size(self, native_side: u32) -> (u32, u32) {
        let aspect = (f64::from(self.width) / f64::from(self.height)).sqrt();
        let cells = f64::from(native_side) / f64::from(LATENT_CELL);
        let side = |factor: f64| ((cells * factor).round().max(1.0) as u32) * LATENT_CELL;
        (side(aspect), side(1.0 / aspect))
    }
}

/// A seed that nobody chose, short enough to type again.
pub fn random_seed() -> u64 {
    crate::commands::generate::random_seed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::window::adapters::LoraChoice;

    /// Settings as the model in the box recommends them.
    fn settings() -> GenerationSettings {
        GenerationSettings {
            prompt: "a red apple".to_owned(),
            negative: "blur".to_owned(),
            model: ModelSource::InTheBox,
            vae: None,
            sampler: Sampler::Dpmpp2m,
            schedule: Schedule::Automatic,
            compat: Compat::default(),
            conditioning: ConditioningOptions::default(),
            fewer_operations: Default::default(),
            steps: 20,
            guidance: 5.0,
            width: 128,
            height: 128,
            seed: 7,
            seed_is_locked: false,
            rng: RngSource::Torch,
            count: 4,
            adapters: Default::default(),
            control: Default::default(),
        }
    }

    #[test]
    fn settings_of_a_picture_come_back() {
        let mut made = settings();
        made.sampler = Sampler::EulerAncestral;
        made.width = 192;
        made.seed = 99;
        made.compat = Compat::A1111;
        made.conditioning = ConditioningOptions {
            prompt_2: Some("in oil".to_owned()),
            clip_skip: 2,
            guidance_rescale: 0.5,
            variation_seed: 3,
            variation_strength: 0.25,
            ..ConditioningOptions::default()
        };
        made.fewer_operations = FewerOperations {
            skip_negative_after: 0.75,
            deep_cache: 3,
            token_merging: 0.5,
            reuse_cross_attention_after: 0.25,
        };
        made.adapters.lora = vec![LoraChoice::On("ink:0.5:1".parse().unwrap())];
        made.control = two_controlnets();
        let texts = emberbrush_pipeline::metadata::texts(
            &made.request(),
            0,
            &emberbrush_pipeline::metadata::MadeWith {
                model: "m".to_owned(),
                model_hash: Some("0123456789".to_owned()),
                dtype: "f32".to_owned(),
                prompt_syntax: emberbrush_pipeline::prompt::PromptSyntax::Weighted,
                adapter_hashes: Default::default(),
                vae: None,
            },
        );
        let texts: Vec<(String, String)> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let read = emberbrush_pipeline::metadata::interpret(&texts).unwrap();
        let mut taken = GenerationSettings { prompt: String::new(), ..settings() };
        assert_eq!(taken.take_fields(&read.fields), Vec::<String>::new());
        assert_eq!(taken, GenerationSettings { count: 1, seed_is_locked: true, ..made });
    }

    fn two_controlnets() -> Control {
        let fields = json!({
            "control": ["canny", "depth"], "control-image": ["a.png", "b.png"],
            "control-preprocess": ["canny", "none"], "control-weight": [0.5, 1.0],
            "control-start": [0.25, 0.0], "control-end": 0.75,
        });
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn controlnets_of_the_canvas_act_there_alone() {
        let mut settings = settings();
        settings.control = two_controlnets();
        settings.control.0[0].image = None;
        let models = |request: GenerationRequest| -> Vec<PathBuf> {
            request.control.0.into_iter().map(|unit| unit.model).collect()
        };
        assert_eq!(models(settings.request()), [PathBuf::from("depth")]);
        assert_eq!(models(settings.request_on_canvas()).len(), 2);
        settings.request().check().unwrap();
    }

    #[test]
    fn a_picture_without_adapters_takes_them_away_and_unknown_places_are_named() {
        let mut taken = settings();
        taken.adapters.lora = vec![LoraChoice::On("ink".parse().unwrap())];
        taken.control = two_controlnets();
        let fields = json!({ "prompt": "a", "control": ["canny"], "control-weight": [1.0] });
        assert_eq!(taken.take_fields(fields.as_object().unwrap()), ["control"]);
        assert_eq!(taken.adapters, AdapterChoices::default());
        assert_eq!(taken.control, Control::default());
    }

    #[test]
    fn what_cannot_be_taken_over_is_named() {
        let mut taken = settings();
        let fields = json!({ "steps": 9, "strength": 0.5, "sampler": "guess" });
        assert_eq!(taken.take_fields(fields.as_object().unwrap()), ["sampler", "strength"]);
        assert_eq!((taken.steps, taken.sampler), (9, Sampler::Dpmpp2m));
    }

    #[test]
    fn another_model_keeps_what_was_typed() {
        let mut switched = settings();
        let defaults =
            GenerationRequest { steps: 30, width: 512, height: 512, ..settings().request() };
        let folder = ModelSource::Folder("sd15".into());
        switched.switch_model(folder.clone(), &defaults);
        assert_eq!(
            (switched.prompt.as_str(), switched.seed, switched.count),
            ("a red apple", 7, 4)
        );
        assert_eq!((switched.steps, switched.width, switched.model), (30, 512, folder));
    }

    #[test]
    fn ratios_keep_the_area_and_the_grid() {
        for native_side in [128, 512, 1024] {
            for ratio in Ratio::ALL {
                let (width, height) = ratio.size(native_side);
                assert!(width % LATENT_CELL == 0 && height % LATENT_CELL == 0);
                let area = f64::from(width * height) / f64::from(native_side * native_side);
                assert!((0.85..1.15).contains(&area), "{ratio:?} of {native_side}: {area}");
                assert_eq!(width > height, ratio.width > ratio.height);
            }
        }
    }
}
