//! Weights and long prompts in the conditioning, against their definition.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{DiffusionPipeline, UNetConditioning},
    prompt::PromptSyntax,
    request::GenerationRequest,
    schedulers::Sampler,
};
use emberbrush_tests::{checkpoint, values};

const TOKENS: usize = 77;

fn pipeline(name: &str, syntax: PromptSyntax) -> DiffusionPipeline {
    let folder = checkpoint(name);
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let files = folder::locate(&folder).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
    pipeline.set_prompt_syntax(syntax);
    pipeline
}

fn encode(pipeline: &mut DiffusionPipeline, prompt: &str, negative: &str) -> UNetConditioning {
    let request = GenerationRequest {
        negative_prompt: negative.to_owned(),
        width: 64,
        height: 64,
        steps: 1,
        guidance_scale: 7.5,
        sampler: Sampler::Ddim,
        ..GenerationRequest::new(prompt)
    };
    let conditioning = pipeline.encode_prompt(&request, &mut || ControlFlow::Continue(())).unwrap();
    conditioning.at(1).batches.remove(0)
}

/// The positive prompt's hidden states.
fn positive(pipeline: &mut DiffusionPipeline, prompt: &str) -> Tensor<3> {
    encode(pipeline, prompt, "").encoder_hidden_states.narrow(0, 1, 1)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[test]
fn weights_multiply_tokens_and_keep_the_mean() {
    let mut pipeline = pipeline("sd15-tiny", PromptSyntax::Weighted);
    let plain = positive(&mut pipeline, "cat dog");
    let weighted = values(&positive(&mut pipeline, "(cat:2) dog"));
    let channels = plain.dims()[2];
    let mut expected = values(&plain);
    let before = mean(&expected);
    // Token 0 is the begin token. The tiny vocabulary may need several for a word: the last
    // content token belongs to `dog`.
    let cat = values(&positive(&mut pipeline, "(cat:0) dog"));
    let zeroed = |token: usize| cat[token * channels..][..channels].iter().all(|&v| v == 0.0);
    let of_cat: Vec<usize> = (0..TOKENS).filter(|&token| zeroed(token)).collect();
    assert_eq!(of_cat.first(), Some(&1));
    assert!(of_cat.len() < 6, "{of_cat:?}");
    for token in of_cat {
        for value in &mut expected[token * channels..][..channels] {
            *value *= 2.0;
        }
    }
    let ratio = before / mean(&expected);
    for (found, expected) in weighted.iter().zip(&expected) {
        assert!((found - expected * ratio).abs() <= 1e-4 * ratio.abs().max(1.0));
    }
}

#[test]
fn prompts_without_weights_are_as_diffusers_encodes_them() {
    for name in ["sd15-tiny", "sdxl-tiny"] {
        let mut weighted = pipeline(name, PromptSyntax::Weighted);
        let mut literal = pipeline(name, PromptSyntax::Literal);
        let plain = values(&positive(&mut literal, "a cat, sharp"));
        assert_eq!(values(&positive(&mut weighted, "a cat, sharp")), plain, "{name}");
        assert_eq!(values(&positive(&mut weighted, "a (cat:1), sharp")), plain, "{name}");
        assert_ne!(values(&positive(&mut weighted, "a (cat), sharp")), plain, "{name}");
        assert_ne!(values(&positive(&mut literal, "a (cat:1), sharp")), plain, "{name}");
    }
}

#[test]
fn long_prompts_are_encoded_in_chunks() {
    let long = "cat ".repeat(100);
    for name in ["sd15-tiny", "sdxl-tiny"] {
        let mut weighted = pipeline(name, PromptSyntax::Weighted);
        let long_states = encode(&mut weighted, &long, "dog");
        let [batch, tokens, channels] = long_states.encoder_hidden_states.dims();
        assert_eq!(batch, 2);
        assert!(tokens > TOKENS && tokens.is_multiple_of(TOKENS), "{tokens}");
        // The shorter one is completed with the encoding of nothing.
        let negative = long_states.encoder_hidden_states.narrow(0, 0, 1);
        let short = encode(&mut weighted, "dog", "").encoder_hidden_states.narrow(0, 1, 1);
        assert_eq!(values(&negative.clone().narrow(1, 0, TOKENS)), values(&short), "{name}");
        let nothing = positive(&mut weighted, "");
        assert_eq!(values(&negative.narrow(1, TOKENS, TOKENS)), values(&nothing), "{name}");

        let mut literal = pipeline(name, PromptSyntax::Literal);
        let cut = positive(&mut literal, &long);
        assert_eq!(cut.dims(), [1, TOKENS, channels], "{name}");
    }
}
