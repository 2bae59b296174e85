//! How strongly pictures follow their prompts.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::DiffusionPipeline;
use crate::request::GenerationRequest;

/// What the guidance scales of pictures become in an evaluation of the UNet.
#[derive(Debug, Clone, Default)]
pub(super) struct Guidance {
    /// For classifier-free guidance, `[pictures, 1, 1, 1]` in f32.
    pub(super) scales: Option<Tensor<4>>,
    /// For UNets that are told the scale because guidance was distilled into them,
    /// `[pictures, time_cond_proj_dim]`.
    pub(super) embedding: Option<Tensor<2>>,
}

impl DiffusionPipeline {
    /// Whether the UNet is told the guidance scale, so that it evaluates prompts alone.
    fn is_told_guidance(&self) -> bool {
        self.unet.config().time_cond_proj_dim.is_some()
    }

    /// Whether each step of the request also evaluates the negative prompt.
    pub(super) fn uses_negative_prompt(&self, request: &GenerationRequest) -> bool {
        request.uses_guidance() && !self.is_told_guidance()
    }

    /// The guidance of `requests`, of which all use classifier-free guidance or none.
    pub(super) fn guidance(&self, requests: &[&GenerationRequest], device: &Device) -> Guidance {
        let of_each = || requests.iter().map(|request| request.guidance_scale);
        let embedding = self.unet.config().time_cond_proj_dim.map(|dim| {
            // Networks were distilled with the weight of Ho and Salimans, one less than the scale.
            let weights: Vec<f64> = of_each().map(|scale| scale - 1.0).collect();
            embedding(&weights, dim, device, self.dtype)
        });
        let is_guided = requests.iter().any(|request| self.uses_negative_prompt(request));
        let scales = is_guided.then(|| {
            let scales: Vec<f32> = of_each().map(|scale| scale as f32).collect();
            let data = TensorData::new(scales, [requests.len(), 1, 1, 1]);
            Tensor::from_data(data, (device, DType::F32))
        });
        Guidance { scales, embedding }
    }
}

/// Sines and cosines of guidance weights, `[weights, dim]` (diffusers
/// `pipelines/latent_consistency_models/pipeline_latent_consistency_text2img.py`,
/// `get_guidance_scale_embedding`).
fn embedding(weights: &[f64], dim: usize, device: &Device, dtype: FloatDType) -> Tensor<2> {
    let half = dim / 2;
    let step = 10_000_f64.ln() / (half.saturating_sub(1).max(1)) as f64;
    let mut values = Vec::with_capacity(weights.len() * dim);
    for weight in weights {
        let angles = (0..half).map(|index| weight * 1000.0 * (-step * index as f64).exp());
        values.extend(angles.clone().map(|angle| angle.sin() as f32));
        values.extend(angles.map(|angle| angle.cos() as f32));
        // An odd width ends with a zero.
        values.extend((2 * half..dim).map(|_| 0.0));
    }
    let data = TensorData::new(values, [weights.len(), dim]);
    Tensor::<2>::from_data(data, (device, DType::F32)).cast(DType::from(dtype))
}
