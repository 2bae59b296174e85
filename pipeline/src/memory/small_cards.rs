//! Tests of what becomes of runs on graphics cards with little memory.

#![allow(clippy::unwrap_used)]

use emberbrush_layers::memory::Kernels;
use emberbrush_text_encoder::ClipTextConfig;
use serde_json::json;

use super::{
    MemoryAllowance, MemoryBound, MemoryPlan, MemorySettings, MemorySpace, ModelMemory,
    NetworkWeights, StepDown,
    plan::tests::{GIB, model, space, workload},
};
use crate::{
    device::{DeviceChoice, DeviceKind, tests::device},
    error::PipelineError,
};

/// Plans one picture on a card with so much memory.
fn plan(model: &ModelMemory, side: u32, gibibytes: f64) -> Result<MemoryPlan, PipelineError> {
    plan_in(&space(Kernels::Gpu, Some(gibibytes)), model, side)
}

fn plan_in(
    space: &MemorySpace,
    model: &ModelMemory,
    side: u32,
) -> Result<MemoryPlan, PipelineError> {
    MemoryPlan::new(model, &workload(side, false), MemorySettings::FULL, space)
}

/// Stable Diffusion XL in f16, with the published numbers of parameters.
fn xl() -> ModelMemory {
    let half = |parameters| NetworkWeights {
        parameters,
        element_bytes: 2,
        kept_bytes: 2 * parameters,
        conversion_bytes: 0,
    };
    let second = ClipTextConfig {
        hidden_size: 1280,
        intermediate_size: 5120,
        num_attention_heads: 20,
        num_hidden_layers: 32,
        ..ClipTextConfig::default()
    };
    let mut model = model(2);
    model.text.push((second, half(694_659_840)));
    model.unet = half(2_567_463_684);
    model.unet_config = serde_json::from_value(json!({
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }))
    .unwrap();
    model
}

#[test]
fn four_gibibytes_make_a_picture_of_stable_diffusion() {
    // A desktop and the driver take their part of a card of 4 GiB.
    for gibibytes in [4.0, 3.5] {
        let plan = plan(&model(2), 512, gibibytes).unwrap();
        assert_eq!(plan.stepped_down, [], "{gibibytes}");
    }
    let tight = plan(&model(2), 512, 3.0).unwrap();
    assert_eq!(tight.stepped_down, [StepDown::SlicedAttention]);
    assert!(tight.peak_bytes() <= 3 * GIB);
}

/// Where a card has no f16, weights take twice as much, and all that can be done is.
#[test]
fn four_gibibytes_make_it_in_f32_by_all_that_can_be_done() {
    let plan = plan(&model(4), 512, 4.0).unwrap();
    let tiles = StepDown::TiledVae { tile: 256 };
    assert_eq!(plan.stepped_down, [tiles, StepDown::SlicedAttention, StepDown::DroppedTextEncoder]);
    assert!(plan.peak_bytes() <= 4 * GIB);
}

#[test]
fn what_xl_takes_is_told_before_anything_is_loaded() {
    for gibibytes in [4.0, 6.0] {
        let error = plan(&xl(), 1024, gibibytes).unwrap_err().to_string();
        assert!(error.contains("takes 6.5 GiB"), "{error}");
        assert!(error.contains(&format!("{gibibytes:.1} GiB")), "{error}");
    }
    let plan = plan(&xl(), 1024, 8.0).unwrap();
    let tiles = StepDown::TiledVae { tile: 512 };
    assert_eq!(plan.stepped_down, [tiles, StepDown::SlicedAttention]);
}

/// Nobody has to name a limit: the card's own memory is one.
#[test]
fn a_run_is_planned_for_what_the_card_has() {
    let mut card = device(DeviceChoice::WgpuIndex(0), DeviceKind::DiscreteGpu);
    card.memory = Some(4 * GIB);
    let space = MemorySpace::now(&card, MemoryAllowance::default());
    assert_eq!(space.budget.map(|budget| budget.bytes), Some(7 * GIB / 2));
    assert_eq!(plan_in(&space, &model(2), 512).unwrap().stepped_down, []);
    let tiles = StepDown::TiledVae { tile: 512 };
    assert_eq!(plan_in(&space, &model(2), 768).unwrap().stepped_down[0], tiles);
    let error = plan_in(&space, &xl(), 1024).unwrap_err().to_string();
    assert!(error.contains("but the graphics card has 3.5 GiB"), "{error}");
    assert!(error.contains("choose the processor with --device cpu"), "{error}");

    let limit = Some(16 * GIB);
    let allowed = MemorySpace::now(&card, MemoryAllowance { limit, ..Default::default() });
    assert_eq!(allowed.budget.map(|budget| budget.bound), Some(MemoryBound::Limit));
    card.memory = None;
    assert_eq!(MemorySpace::now(&card, MemoryAllowance::default()).budget, None);
}
