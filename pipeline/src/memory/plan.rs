//! How a run is made to fit into the memory that it has.

use std::fmt;

use bytesize::ByteSize;
use emberbrush_layers::attention::AttentionSlicing;
use serde::Serialize;
use thiserror::Error;

use super::{
    Budget, MemoryBound, MemoryMode, MemorySpace, ModelMemory, StageMemory, Workload, predict::Run,
};
use crate::{checkpoint::CheckpointError, diffusion::VaeTiling, error::PipelineError};

/// The sides in pixels of the autoencoder's tiles, in the order in which they are tried. Smaller
/// tiles see too little of the picture.
const TILES: [u32; 2] = [512, 256];

/// Scores that sliced attention holds at once: 64 MiB in f32.
const SLICE_SCORES: usize = 1 << 24;

/// What becomes of the text encoders once a prompt is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextEncoderUse {
    /// They stay for the next prompt.
    #[default]
    Keep,
    /// They are dropped, and loaded again for the next prompt that is new.
    DropAfterEncoding,
}

/// What of a run trades memory for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySettings {
    /// How the autoencoder works on pictures.
    pub vae_tiling: VaeTiling,
    /// Pictures that are denoised at once, from 1.
    pub batch: u32,
    /// How many queries of an attention are answered at once.
    pub attention_slicing: AttentionSlicing,
    /// Whether the text encoders stay loaded.
    pub text_encoder: TextEncoderUse,
}

impl MemorySettings {
    /// One picture at a time, and nothing spared.
    pub const FULL: Self = Self {
        vae_tiling: VaeTiling::Automatic,
        batch: 1,
        attention_slicing: AttentionSlicing::Off,
        text_encoder: TextEncoderUse::Keep,
    };

    /// Whether both spare memory in the same ways.
    pub(crate) fn spares_as(&self, other: &Self) -> bool {
        Self { batch: other.batch, ..*self } == *other
    }

    /// Settings that take less memory by one step each, in the order in which they are tried.
    pub(super) fn smaller(&self) -> impl Iterator<Item = (StepDown, Self)> + '_ {
        let present = match self.vae_tiling {
            VaeTiling::Automatic => u32::MAX,
            // Asked for, so it stays.
            VaeTiling::Off => 0,
            VaeTiling::Tiles(tile) => tile,
        };
        let tiles = TILES.into_iter().filter(move |&tile| tile < present).map(|tile| {
            let vae_tiling = VaeTiling::Tiles(tile);
            (StepDown::TiledVae { tile }, Self { vae_tiling, ..*self })
        });
        let fewer = (self.batch > 1).then(|| {
            let batch = self.batch / 2;
            (StepDown::SmallerBatch { batch }, Self { batch, ..*self })
        });
        let slices = (self.attention_slicing == AttentionSlicing::Off).then(|| {
            let attention_slicing = AttentionSlicing::Scores(SLICE_SCORES);
            (StepDown::SlicedAttention, Self { attention_slicing, ..*self })
        });
        let text = (self.text_encoder == TextEncoderUse::Keep).then(|| {
            let text_encoder = TextEncoderUse::DropAfterEncoding;
            (StepDown::DroppedTextEncoder, Self { text_encoder, ..*self })
        });
        tiles.chain([fewer, slices, text].into_iter().flatten())
    }
}

/// A way to take less memory than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum StepDown {
    /// The autoencoder works in tiles.
    TiledVae {
        /// Their side in pixels.
        tile: u32,
    },
    /// Fewer pictures are denoised at once.
    SmallerBatch {
        /// Their number.
        batch: u32,
    },
    /// Attention answers its queries slice by slice.
    SlicedAttention,
    /// The text encoders are dropped once the prompt is encoded.
    DroppedTextEncoder,
}

impl fmt::Display for StepDown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TiledVae { tile } => write!(formatter, "the VAE in tiles of {tile} pixels"),
            Self::SmallerBatch { batch: 1 } => write!(formatter, "one picture at a time"),
            Self::SmallerBatch { batch } => write!(formatter, "{batch} pictures at a time"),
            Self::SlicedAttention => write!(formatter, "attention in slices"),
            Self::DroppedTextEncoder => {
                write!(formatter, "the text encoder dropped after the prompt")
            }
        }
    }
}

/// Adds a step, which replaces one of its own kind.
pub(super) fn record(steps: &mut Vec<StepDown>, step: StepDown) {
    let kind = std::mem::discriminant(&step);
    steps.retain(|other| std::mem::discriminant(other) != kind);
    steps.push(step);
}

/// A run does not fit, whatever is done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.message())]
pub struct InsufficientMemory {
    /// The run with everything done that takes less.
    pub plan: Box<MemoryPlan>,
    /// What there is.
    pub budget: Budget,
}

impl InsufficientMemory {
    fn message(&self) -> String {
        let stage = self.plan.peak().map(StageMemory::to_string).unwrap_or_default();
        let steps: Vec<String> = self.plan.stepped_down.iter().map(StepDown::to_string).collect();
        let even = match steps.as_slice() {
            [] => String::new(),
            steps => format!(", even with {}", steps.join(", ")),
        };
        let advice = match self.budget.bound {
            MemoryBound::Machine => "close other programs",
            MemoryBound::ControlGroup => "raise the limit of the container or service",
            MemoryBound::GraphicsCard => "choose the processor with --device cpu",
            MemoryBound::Limit => "raise --memory-limit",
        };
        format!(
            "not enough memory: {stage} takes {}, but {} {}{even}. Choose a smaller size or model, \
             or {advice}",
            ByteSize(self.plan.peak_bytes()),
            self.budget.bound,
            ByteSize(self.budget.bytes),
        )
    }
}

/// How a run will be made, and the memory that each of its stages takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// What the run is to be made with.
    pub settings: MemorySettings,
    /// Its stages, in order.
    pub stages: Vec<StageMemory>,
    /// What it may use.
    pub budget: Option<Budget>,
    /// How the settings differ from those that were wanted.
    pub stepped_down: Vec<StepDown>,
}

impl MemoryPlan {
    /// Plans a run. Where it does not fit, or is to take little, it steps down in this order, as far
    /// as each step lowers a stage that takes too much: the autoencoder in tiles of 512, then 256
    /// pixels; half as many pictures at once, down to one; attention in slices; text encoders
    /// dropped after encoding.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Memory`] where it cannot fit, and the errors of impossible configurations.
    pub fn new(
        model: &ModelMemory,
        workload: &Workload,
        wanted: MemorySettings,
        space: &MemorySpace,
    ) -> Result<Self, PipelineError> {
        let run = Run { model, workload, kernels: space.kernels, own_bytes: space.own_bytes };
        let stages =
            |settings: &MemorySettings| run.stages(settings).map_err(CheckpointError::from);
        let mut plan = Self {
            stages: stages(&wanted)?,
            settings: wanted,
            budget: space.budget,
            stepped_down: Vec::new(),
        };
        let enough = match space.mode {
            MemoryMode::Normal => space.budget.map_or(u64::MAX, |budget| budget.bytes),
            MemoryMode::Low => 0,
        };
        while plan.peak_bytes() > enough {
            let mut smaller = None;
            for (step, settings) in plan.settings.smaller() {
                let lowered = stages(&settings)?;
                let helps = plan.stages.iter().zip(&lowered).any(|(before, after)| {
                    before.bytes() > enough && after.bytes() < before.bytes()
                });
                if helps {
                    smaller = Some((step, settings, lowered));
                    break;
                }
            }
            let Some((step, settings, lowered)) = smaller else { break };
            record(&mut plan.stepped_down, step);
            plan.settings = settings;
            plan.stages = lowered;
        }
        match space.budget {
            Some(budget) if plan.peak_bytes() > budget.bytes => {
                Err(InsufficientMemory { plan: Box::new(plan), budget }.into())
            }
            _ => Ok(plan),
        }
    }

    /// The stage that takes most.
    pub fn peak(&self) -> Option<&StageMemory> {
        self.stages.iter().max_by_key(|stage| stage.bytes())
    }

    /// The most bytes that the process will hold at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak().map_or(0, StageMemory::bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(super) mod tests {
    use emberbrush_layers::memory::Kernels;
    use emberbrush_text_encoder::ClipTextConfig;
    use emberbrush_unet::{ControlNetConfig, KeptTensors, UNet2DConditionConfig, config::PerLevel};
    use emberbrush_vae::{AutoencoderConfig, AutoencoderKlConfig, AutoencoderTinyConfig};

    use super::*;
    use crate::memory::{
        AdapterMemory, KeptWeights, NetworkWeights, Pass, PreviewMemory, PromptSize, RunStage,
    };

    pub(in crate::memory) const GIB: u64 = 1 << 30;

    /// Stable Diffusion 1.5, with the published numbers of parameters.
    pub(in crate::memory) fn model(element_bytes: u64) -> ModelMemory {
        let weights = |parameters, element_bytes| NetworkWeights {
            parameters,
            element_bytes,
            kept_bytes: parameters * element_bytes,
            conversion_bytes: 0,
        };
        let text = ClipTextConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_attention_heads: 12,
            ..ClipTextConfig::default()
        };
        ModelMemory {
            text: vec![(text, weights(123_060_480, element_bytes))],
            unet_config: UNet2DConditionConfig {
                cross_attention_dim: PerLevel::Same(768),
                ..UNet2DConditionConfig::default()
            },
            unet: weights(859_520_964, element_bytes),
            controlnets: Vec::new(),
            vae_config: AutoencoderConfig::Kl(AutoencoderKlConfig::published()),
            decoder: weights(49_490_199, 4),
            encoder: weights(34_163_664, 4),
            preview: None,
            adapters: AdapterMemory::default(),
            embedded_bytes: 0,
            kept: KeptWeights::Converted,
        }
    }

    pub(in crate::memory) fn workload(side: u32, encodes: bool) -> Workload {
        let pass = Pass { width: side, height: side, encodes };
        Workload {
            passes: vec![pass],
            enlargement: None,
            guided: true,
            kept: KeptTensors::default(),
            prompts: PromptSize::SHORT,
            picture_bytes: 0,
        }
    }

    pub(in crate::memory) fn space(kernels: Kernels, gibibytes: Option<f64>) -> MemorySpace {
        let bytes = gibibytes.map(|gibibytes| (gibibytes * GIB as f64) as u64);
        let budget = bytes.map(|bytes| Budget { bytes, bound: MemoryBound::Limit });
        MemorySpace { kernels, own_bytes: 0, budget, mode: MemoryMode::Normal }
    }

    const CPU: Kernels = Kernels::Cpu { threads: 2 };

    fn plan(
        workload: &Workload,
        batch: u32,
        space: MemorySpace,
    ) -> Result<MemoryPlan, PipelineError> {
        let wanted = MemorySettings { batch, ..MemorySettings::FULL };
        MemoryPlan::new(&model(4), workload, wanted, &space)
    }

    fn gibibytes(bytes: u64) -> f64 {
        bytes as f64 / GIB as f64
    }

    #[test]
    fn the_peak_is_the_largest_stage() {
        let plan = plan(&workload(512, false), 1, space(CPU, None)).unwrap();
        let stages: Vec<RunStage> = plan.stages.iter().map(|stage| stage.stage).collect();
        use RunStage::{Decode, Denoise, EncodePicture, EncodePrompt, Load};
        assert_eq!(stages, [Load, EncodePrompt, Denoise, Decode]);
        let weights = gibibytes((123_060_480 + 859_520_964 + 49_490_199) * 4);
        assert!((gibibytes(plan.stages[0].bytes()) - weights).abs() < 1e-6);
        let peak = plan.peak().unwrap();
        assert_eq!((peak.stage, peak.width), (Decode, 512));
        // Five times 128 channels of the picture.
        let working = gibibytes(peak.working_bytes);
        assert!((0.625..0.65).contains(&working), "{working}");
        assert!(plan.stepped_down.is_empty());

        let edit = self::plan(&workload(512, true), 1, space(CPU, None)).unwrap();
        assert_eq!(edit.stages[2].stage, EncodePicture);
        assert_eq!(edit.stages[2].weight_bytes - plan.stages[2].weight_bytes, 34_163_664 * 4);
    }

    /// It steps down as far as that takes less of anything, and is not refused for it.
    #[test]
    fn a_low_run_takes_as_little_as_it_can_be_made_with() {
        let low = |side, bytes| {
            let space = MemorySpace { mode: MemoryMode::Low, ..space(CPU, bytes) };
            plan(&workload(side, false), 4, space)
        };
        let normal = plan(&workload(512, false), 4, space(CPU, None)).unwrap();
        let least = low(512, None).unwrap();
        let (tiles, text) = (StepDown::TiledVae { tile: 256 }, StepDown::DroppedTextEncoder);
        assert_eq!(least.stepped_down, [tiles, StepDown::SmallerBatch { batch: 1 }, text]);
        assert!(least.peak_bytes() < normal.peak_bytes());
        // Tiles as large as the picture would take nothing less.
        let small = low(256, None).unwrap().stepped_down;
        assert_eq!(small, [StepDown::SmallerBatch { batch: 1 }, text]);
        let peak = gibibytes(least.peak_bytes());
        assert_eq!(low(512, Some(peak + 0.01)).unwrap().settings, least.settings);
        assert!(matches!(low(512, Some(peak - 0.01)), Err(PipelineError::Memory(_))));
    }

    /// What ControlNets add is held while the UNet goes down, and the maps all the time.
    #[test]
    fn controlnets_cost_their_weights_and_what_they_add() {
        let denoising = |controlnets: usize| {
            let mut model = model(4);
            let mut config = ControlNetConfig::default();
            config.unet.cross_attention_dim = PerLevel::Same(768);
            let parameters = 361_279_120;
            let weights = NetworkWeights {
                parameters,
                element_bytes: 4,
                kept_bytes: 4 * parameters,
                conversion_bytes: 0,
            };
            model.controlnets = vec![(config, weights); controlnets];
            let (workload, wanted) = (workload(512, false), MemorySettings::FULL);
            let plan = MemoryPlan::new(&model, &workload, wanted, &space(CPU, None)).unwrap();
            (plan.stages[2].weight_bytes, plan.stages[2].working_bytes)
        };
        let (none, one, two) = (denoising(0), denoising(1), denoising(2));
        assert_eq!(one.0 - none.0, 361_279_120 * 4);
        // Twelve tensors of a guided batch, 13 MB of them at the highest resolution.
        assert!((20_000_000..60_000_000).contains(&(one.1 - none.1)), "{none:?} {one:?}");
        // One map, for both halves of guidance.
        let map = 320 * 64 * 64 * 4;
        assert!((map..2 * map).contains(&(two.1 - one.1)), "{one:?} {two:?}");
    }

    /// Of a guided batch at 512²: what goes into the last residual block, and with it what
    /// ControlNets add; and the outputs of 16 cross-attentions, five on each of three levels, of
    /// which each holds half as much as the one above, and one in the middle.
    #[test]
    fn what_evaluations_keep_counts() {
        let denoising = |deep_features: bool, cross_attention: bool| {
            let kept = KeptTensors { deep_features, cross_attention };
            let workload = Workload { kept, ..workload(512, false) };
            plan(&workload, 1, space(CPU, None)).unwrap().stages[2].working_bytes
        };
        let none = denoising(false, false);
        let finest = 2 * 4096 * 320 * 4;
        assert_eq!(denoising(true, false) - none, 2 * finest);
        let blocks = 5 * finest + 5 * finest / 2 + 5 * finest / 4 + finest / 16;
        assert_eq!(denoising(false, true) - none, blocks);
    }

    #[test]
    fn a_unet_that_is_told_the_guidance_takes_half() {
        let denoising = |guided: bool, is_told: bool| {
            let mut model = model(4);
            model.unet_config.time_cond_proj_dim = is_told.then_some(256);
            let workload = Workload { guided, ..workload(512, false) };
            let wanted = MemorySettings::FULL;
            let plan = MemoryPlan::new(&model, &workload, wanted, &space(CPU, None)).unwrap();
            plan.stages[2].working_bytes
        };
        assert_eq!(denoising(true, true), denoising(false, false));
        assert!(denoising(true, false) > denoising(true, true) * 3 / 2);
    }

    /// The most that denoising holds beside weights, with a workload and a model that are changed.
    fn denoising(change: impl FnOnce(&mut Workload, &mut ModelMemory)) -> u64 {
        let (mut workload, mut model) = (workload(512, false), model(4));
        change(&mut workload, &mut model);
        let space = space(CPU, None);
        let plan = MemoryPlan::new(&model, &workload, MemorySettings::FULL, &space).unwrap();
        let stage = plan.stages.iter().find(|stage| stage.stage == RunStage::Denoise).unwrap();
        stage.working_bytes
    }

    #[test]
    fn prompts_that_and_joins_are_guided_at_any_scale() {
        let unguided = |workload: &mut Workload| workload.guided = false;
        let alone = denoising(|workload, _| unguided(workload));
        let joined = denoising(|workload, _| {
            unguided(workload);
            workload.prompts = PromptSize { prompts: 3, encoded_chunks: 4, ..PromptSize::SHORT };
        });
        let guided = denoising(|_, _| {});
        assert!(joined > guided && guided > alone * 3 / 2, "{alone} {guided} {joined}");
    }

    #[test]
    fn long_prompts_cost_their_keys_and_values() {
        let chunks = |negative_chunks, positive_chunks| {
            denoising(|workload, _| {
                let encoded_chunks = negative_chunks + positive_chunks;
                workload.prompts =
                    PromptSize { prompts: 1, negative_chunks, positive_chunks, encoded_chunks };
            })
        };
        // Each chunk is held encoded, and once more for both halves of guidance.
        let chunk = 77 * 768 * 4;
        let (short, long) = (chunks(1, 1), chunks(200, 200));
        assert!(long - short > 2 * 2 * 199 * chunk, "{short} {long}");
        assert!(chunks(1, 2) < short, "halves of another length are evaluated one by one");
    }

    #[test]
    fn previews_cost_where_they_take_more_than_the_unet() {
        let config = AutoencoderTinyConfig::default();
        let weights = NetworkWeights { kept_bytes: 4_900_000, ..NetworkWeights::default() };
        let preview = Some(PreviewMemory { config, weights });
        let (without, with) =
            (denoising(|_, _| {}), denoising(|_, model| model.preview = preview.clone()));
        // Three times 64 channels of the picture.
        let picture = 64 * 512 * 512 * 4;
        assert!(with >= without && with > 3 * picture && with < without + 3 * picture, "{with}");
    }

    #[test]
    fn adapters_are_held_beside_the_file_and_on_a_gpu_in_its_place() {
        let adapters = AdapterMemory {
            text_elements: 1000,
            unet_elements: 2000,
            largest: 500,
            file_bytes: 77,
        };
        let weights = |kept| {
            let mut model = model(2);
            (model.adapters, model.kept) = (adapters, kept);
            let (workload, settings) = (workload(512, false), MemorySettings::FULL);
            let plan = MemoryPlan::new(&model, &workload, settings, &space(CPU, None)).unwrap();
            assert_eq!(plan.stages[1].stage, RunStage::MergeAdapters);
            assert_eq!(plan.stages[1].working_bytes, 4 * 500 * 4);
            plan.stages[3].weight_bytes - plan.stages[0].weight_bytes
        };
        assert_eq!(weights(KeptWeights::AsStored), 3000 * (4 - 2) + 77);
        assert_eq!(weights(KeptWeights::Converted), 0);
    }

    #[test]
    fn a_batch_costs_more_while_denoising_alone() {
        let one = plan(&workload(512, false), 1, space(CPU, None)).unwrap();
        let four = plan(&workload(512, false), 4, space(CPU, None)).unwrap();
        assert!(four.stages[2].working_bytes > 2 * one.stages[2].working_bytes);
        assert!(four.stages[3].working_bytes < one.stages[3].working_bytes + (1 << 20));
    }

    #[test]
    fn steps_are_taken_in_their_order_and_as_far_as_needed() {
        use StepDown::{DroppedTextEncoder, SmallerBatch, TiledVae};
        let large = workload(1024, false);
        let full = plan(&large, 2, space(CPU, None)).unwrap();
        let steps = |gibibytes| plan(&large, 2, space(CPU, Some(gibibytes))).unwrap().stepped_down;
        assert_eq!(steps(gibibytes(full.peak_bytes()) + 0.01), []);
        assert_eq!(steps(gibibytes(full.peak_bytes()) - 0.1), [TiledVae { tile: 512 }]);
        let tighter = steps(4.9);
        assert_eq!(tighter, [TiledVae { tile: 512 }, SmallerBatch { batch: 1 }]);
        let tightest = steps(4.3);
        assert_eq!(
            tightest,
            [TiledVae { tile: 256 }, SmallerBatch { batch: 1 }, DroppedTextEncoder]
        );
        let fitted = plan(&large, 2, space(CPU, Some(4.3))).unwrap();
        assert!(fitted.peak_bytes() <= (4.3 * GIB as f64) as u64);
        assert_eq!(fitted.settings.vae_tiling, VaeTiling::Tiles(256));
        assert_eq!(fitted.settings.text_encoder, TextEncoderUse::DropAfterEncoding);
    }

    #[test]
    fn a_gpu_slices_its_attention() {
        let wanted = MemorySettings::FULL;
        let plan = |gibibytes| {
            let space = space(Kernels::Gpu, gibibytes);
            MemoryPlan::new(&model(2), &workload(768, false), wanted, &space).unwrap()
        };
        let full = plan(None);
        let sliced = plan(Some(4.0));
        assert!(full.peak_bytes() > 5 * GIB, "{full:?}");
        assert!(sliced.stepped_down.contains(&StepDown::SlicedAttention), "{sliced:?}");
        assert!(sliced.peak_bytes() <= 4 * GIB);
    }

    #[test]
    fn what_cannot_fit_is_refused_with_the_figures() {
        let error = plan(&workload(1024, false), 4, space(CPU, Some(2.0))).unwrap_err();
        let PipelineError::Memory(refused) = &error else { panic!("{error}") };
        assert!(refused.plan.peak_bytes() > 2 * GIB);
        let message = error.to_string();
        for part in ["not enough memory: ", "2.0 GiB", "--memory-limit", "Choose a smaller size"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn tiles_are_made_where_they_help_and_were_not_ruled_out() {
        let small = plan(&workload(384, false), 1, space(CPU, Some(4.1))).unwrap();
        assert_eq!(small.stepped_down, [StepDown::TiledVae { tile: 256 }], "512 would not help");
        let space = space(CPU, Some(5.0));
        let wanted = MemorySettings { vae_tiling: VaeTiling::Off, ..MemorySettings::FULL };
        let refused = MemoryPlan::new(&model(4), &workload(1024, false), wanted, &space);
        assert!(refused.is_err());
        let large = workload(4096, false);
        let fitted = MemoryPlan::new(&model(4), &large, MemorySettings::FULL, &space);
        assert!(fitted.is_err(), "the middle of 4096² alone is too large: {fitted:?}");
    }
}
