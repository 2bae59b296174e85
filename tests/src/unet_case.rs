//! Inputs of the UNets' goldens.

use burn::tensor::{DType, Tensor};
use emberbrush_unet::{AddedConditions, UNetInput};

use crate::{Golden, values};

/// What a UNet is given in one case of its golden file.
pub struct UNetCase {
    sample: Tensor<4>,
    timesteps: Vec<f64>,
    context: Tensor<3>,
    /// Stable Diffusion XL's pooled text and sizes.
    added: Option<(Tensor<2>, Vec<f64>)>,
}

impl UNetCase {
    /// The keys of a case that it is read from.
    pub const PARTS: [&str; 5] = ["timestep", "time_ids", "sample", "context", "text_embeds"];

    /// Reads `case`.
    pub fn read(golden: &Golden, case: &str) -> Self {
        let key = |part: &str| format!("{case}.{part}");
        let doubles = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let added = golden.contains(&key("time_ids")).then(|| {
            let ids = values(&golden.tensor::<2>(&key("time_ids")));
            (golden.tensor(&key("text_embeds")), doubles(ids))
        });
        Self {
            sample: golden.tensor(&key("sample")),
            timesteps: doubles(values(&golden.tensor::<1>(&key("timestep")))),
            context: golden.tensor(&key("context")),
            added,
        }
    }

    /// The input in the type of a network.
    pub fn input(&self, dtype: DType) -> UNetInput<'_> {
        UNetInput {
            sample: self.sample.clone().cast(dtype),
            timesteps: &self.timesteps,
            encoder_hidden_states: self.context.clone().cast(dtype),
            added: self.added.as_ref().map(|(text_embeds, time_ids)| AddedConditions {
                text_embeds: text_embeds.clone().cast(dtype),
                time_ids,
            }),
            timestep_cond: None,
            residuals: None,
        }
    }
}
