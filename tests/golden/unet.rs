//! The UNet against diffusers, outputs and inner activations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, ops::ControlFlow};

use burn::tensor::{DType, Device, FloatDType, Tensor};
use emberbrush_layers::weights::{WeightError, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{
    Golden, NETWORK_TOLERANCE, UNetCase, assert_close, checkpoint, relative_difference,
    tolerance_of_rounding, values,
};
use emberbrush_unet::{AddedConditions, UNet2DConditionConfig, UNet2DConditionModel, UNetInput};
use serde_json::{Value, json};

const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";
const CASES: [&str; 7] = ["b1", "b1_t0", "b2", "b2_tvec", "b1_t_frac", "nonsquare", "odd"];

fn json_config(name: &str) -> Value {
    let text = std::fs::read(checkpoint(name).join("unet/config.json")).expect("config");
    serde_json::from_slice(&text).expect("json")
}

fn config(name: &str) -> UNet2DConditionConfig {
    serde_json::from_value(json_config(name)).expect("config")
}

fn model(name: &str, device: &Device) -> UNet2DConditionModel {
    model_in(name, device, FloatDType::F32)
}

fn model_in(name: &str, device: &Device, dtype: FloatDType) -> UNet2DConditionModel {
    let folder = checkpoint(name);
    let file = SafetensorsFile::open(folder.join(WEIGHTS)).expect("weights");
    let weights = Weights::new(&file, device, dtype);
    UNet2DConditionModel::new(&config(name), &weights).unwrap_or_else(|error| panic!("{error}"))
}

/// Largest allowed difference in f64, where only the sinusoids of timesteps are rounded to f32.
const DOUBLE_TOLERANCE: f32 = 1e-6;

/// Compares with every key of the golden file in f32, and with f64 outputs in f64.
///
/// The last is the sharper test, see [`tolerance_of_rounding`].
fn check(name: &str, golden_name: &str) {
    let device = Device::flex();
    let golden = Golden::open(golden_name, &device);
    let doubles = Golden::open("unet_f64", &device);
    let unet = model(name, &device);
    let unet_f64 = model_in(name, &device, FloatDType::F64);
    let mut unused = golden.keys().into_iter().collect::<BTreeSet<_>>();
    for case in CASES {
        let key = |part: &str| format!("{case}.{part}");
        let of_case = UNetCase::read(&golden, case);
        let input = of_case.input(DType::F32);
        unet.check(&input).unwrap();
        for part in UNetCase::PARTS {
            unused.remove(&key(part));
        }
        let mut compared = Vec::new();
        let mut observe = |name: &str, actual: Tensor<4>| {
            let key = format!("{case}.inner.{name}");
            if golden.contains(&key) {
                let shape = golden.shape(&key);
                let expected = if shape.len() == 2 {
                    let expected = golden.tensor::<2>(&key);
                    expected.reshape([shape[0], shape[1], 1, 1])
                } else {
                    golden.tensor::<4>(&key)
                };
                let what = format!("{golden_name} {key}");
                assert_close(&what, &actual, &expected, NETWORK_TOLERANCE);
                compared.push(key);
            }
        };
        let observed = unet
            .forward_observed(input.clone(), &mut || ControlFlow::Continue(()), &mut observe)
            .unwrap();
        for key in compared {
            assert!(unused.remove(&key), "{key} was shown twice");
        }
        let what = format!("{golden_name} {case}");
        let double_key = format!("{}.{case}.out", golden_name.replace("unet_", ""));
        let exact = doubles.tensor::<4>(&double_key);
        let doubled = of_case.input(DType::F64);
        let actual = unet_f64.forward(doubled, &mut || ControlFlow::Continue(())).unwrap();
        let actual = actual.cast(DType::F32);
        assert_close(&format!("{what} in f64"), &actual, &exact, DOUBLE_TOLERANCE);
        let expected = golden.tensor::<4>(&key("out"));
        assert_close(&what, &observed, &expected, tolerance_of_rounding(&expected, &exact));
        let plain = unet.forward(input, &mut || ControlFlow::Continue(())).unwrap();
        assert_eq!(values(&plain), values(&observed), "{what}: observing changed the result");
        unused.remove(&key("out"));
    }
    assert!(unused.is_empty(), "goldens that nothing was compared with: {unused:?}");
}

/// Largest allowed difference where weights and the inputs of products are bf16; sums, and all
/// else, are f32. diffusers in bf16 differs by 3.9e-2 to 8.2e-2 from its own f32 in these cases.
const BF16_TOLERANCE: f32 = 8e-2;

#[test]
fn weights_in_bf16_stay_within_their_bound() {
    let device = Device::flex();
    for (name, golden_name) in [("sd15-tiny", "unet_sd15"), ("sd21-tiny", "unet_sd21")] {
        let golden = Golden::open(golden_name, &device);
        let unet = model_in(name, &device, FloatDType::BF16);
        for case in ["b1", "b2", "odd"] {
            let of_case = UNetCase::read(&golden, case);
            let input = of_case.input(DType::F32);
            let output = unet.forward(input, &mut || ControlFlow::Continue(())).unwrap();
            let expected = golden.tensor::<4>(&format!("{case}.out"));
            let difference = relative_difference(&output, &expected);
            println!("{golden_name} {case} in bf16: {difference:.2e}");
            assert!(difference <= BF16_TOLERANCE, "{golden_name} {case}: {difference:.2e}");
            // f32 would be closer: the weights are bf16 indeed.
            assert!(difference > NETWORK_TOLERANCE, "{golden_name} {case}: {difference:.2e}");
        }
    }
}

#[test]
fn stable_diffusion_1() {
    check("sd15-tiny", "unet_sd15");
}

#[test]
fn stable_diffusion_1_inpainting() {
    check("sd15-inpaint-tiny", "unet_sd15_inpaint");
}

#[test]
fn stable_diffusion_2() {
    check("sd21-tiny", "unet_sd21");
}

#[test]
fn stable_diffusion_xl() {
    check("sdxl-tiny", "unet_sdxl");
}

/// The first case of the SD1 golden with the answers of `checkpoint`.
fn input<'a>(golden: &Golden, timesteps: &'a [f64]) -> UNetInput<'a> {
    UNetInput {
        sample: golden.tensor("b1.sample"),
        timesteps,
        encoder_hidden_states: golden.tensor("b1.context"),
        added: None,
        timestep_cond: None,
        residuals: None,
    }
}

#[test]
fn a_cancel_stops_before_the_next_block() {
    let device = Device::flex();
    let golden = Golden::open("unet_sd15", &device);
    let unet = model("sd15-tiny", &device);
    let mut calls = 0;
    let complete = unet.forward(input(&golden, &[981.0]), &mut || {
        calls += 1;
        ControlFlow::Continue(())
    });
    assert!(complete.is_ok());
    // 22 residual blocks, 16 transformers, 3 upsamplers, the start and the end.
    assert_eq!(calls, 43);
    for stop in 1..=calls {
        let mut seen = 0;
        let cancelled = unet.forward(input(&golden, &[981.0]), &mut || {
            seen += 1;
            if seen == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(cancelled.is_err());
        assert_eq!(seen, stop);
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let device = Device::flex();
    let golden = Golden::open("unet_sd15", &device);
    let sd15 = model("sd15-tiny", &device);
    let refusal = |input: &UNetInput<'_>| sd15.check(input).unwrap_err().to_string();
    let fitting = input(&golden, &[981.0]);
    assert!(sd15.check(&fitting).is_ok());

    let nine = Golden::open("unet_sd15_inpaint", &device).tensor("b1.sample");
    let message = refusal(&UNetInput { sample: nine, ..fitting.clone() });
    assert!(message.contains("sample") && message.contains("[1, 9, 8, 8]"), "{message}");
    let wide = Golden::open("unet_sdxl", &device).tensor("b1.context");
    let message = refusal(&UNetInput { encoder_hidden_states: wide, ..fitting.clone() });
    assert!(message.contains("[1, 77, 56]") && message.contains("32"), "{message}");
    let message = refusal(&UNetInput { timesteps: &[1.0, 2.0], ..fitting });
    assert!(message.contains("timesteps"), "{message}");

    let golden = Golden::open("unet_sdxl", &device);
    let sdxl = model("sdxl-tiny", &device);
    let mut input = input(&golden, &[981.0]);
    assert!(sdxl.check(&input).unwrap_err().to_string().contains("missing"));
    let text_embeds = golden.tensor("b1.text_embeds");
    input.added = Some(AddedConditions { text_embeds, time_ids: &[64.0; 5] });
    assert!(sdxl.check(&input).unwrap_err().to_string().contains("88"));
}

/// Builds the SD2 network, its configuration changed.
fn build(changes: Value) -> Result<UNet2DConditionModel, String> {
    let mut config = json_config("sd21-tiny");
    for (key, value) in changes.as_object().expect("object") {
        config[key] = value.clone();
    }
    let config = serde_json::from_value::<UNet2DConditionConfig>(config)
        .map_err(|error| error.to_string())?;
    let folder = checkpoint("sd21-tiny");
    let file = SafetensorsFile::open(folder.join(WEIGHTS)).expect("weights");
    let weights = Weights::new(&file, &Device::flex(), FloatDType::F32);
    UNet2DConditionModel::new(&config, &weights).map_err(|error: WeightError| error.to_string())
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_its_key() {
    assert!(build(json!({})).is_ok());
    for (changes, mentioned) in [
        (json!({"block_out_channels": []}), "block_out_channels"),
        (json!({"block_out_channels": [0, 32, 32, 48]}), "block_out_channels"),
        (json!({"block_out_channels": [16, 32, 32]}), "down_block_types"),
        (
            json!({"block_out_channels": [16, 32, 32, 9_000_000_000_000_000_000_u64]}),
            "9000000000000000000",
        ),
        (json!({"attention_head_dim": [2, 4, 4]}), "attention_head_dim"),
        (json!({"attention_head_dim": [2, 5, 4, 6]}), "attention_head_dim"),
        (json!({"attention_head_dim": 0}), "attention_head_dim"),
        (json!({"num_attention_heads": 7}), "num_attention_heads"),
        (json!({"layers_per_block": 0}), "layers_per_block"),
        (json!({"layers_per_block": [2, 2]}), "layers_per_block"),
        (json!({"transformer_layers_per_block": [1, 1]}), "transformer_layers_per_block"),
        (json!({"transformer_layers_per_block": [1, [1, 1], 1, 1]}), "reverse_transformer_layers"),
        (json!({"cross_attention_dim": [32]}), "cross_attention_dim"),
        (json!({"only_cross_attention": [true]}), "only_cross_attention"),
        (json!({"norm_num_groups": 7}), "7 normalisation groups"),
        (json!({"norm_num_groups": 0}), "norm_num_groups"),
        (json!({"conv_in_kernel": 4}), "conv_in_kernel"),
        (json!({"downsample_padding": 2}), "downsample_padding"),
        (json!({"freq_shift": 8}), "freq_shift"),
        (json!({"mid_block_scale_factor": 0}), "mid_block_scale_factor"),
        (json!({"addition_embed_type": "text_time"}), "addition_time_embed_dim"),
        (json!({"addition_embed_type": "text_image"}), "text_image"),
        (json!({"class_embed_type": "timestep"}), "class_embed_type"),
        (json!({"encoder_hid_dim": 768}), "encoder_hid_dim"),
        (json!({"resnet_time_scale_shift": "scale_shift"}), "scale_shift"),
        (json!({"time_embedding_type": "fourier"}), "fourier"),
        (json!({"attention_type": "gated"}), "gated"),
        (json!({"dual_cross_attention": true}), "dual_cross_attention"),
        (json!({"act_fn": "mish"}), "mish"),
        (
            json!({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}),
            "UNetMidBlock2DSimpleCrossAttn",
        ),
        (json!({"down_block_types": ["AttnDownBlock2D"]}), "AttnDownBlock2D"),
        (json!({"up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D", "K"]}), "`K`"),
    ] {
        let message = build(changes.clone()).err().unwrap_or_else(|| panic!("{changes} accepted"));
        assert!(message.contains(mentioned), "{changes}: {message}");
    }
}

#[test]
fn weights_of_another_shape_are_named_with_both_shapes() {
    let message = build(json!({"cross_attention_dim": 64})).unwrap_err();
    for part in [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "[16, 64]",
        "[16, 32]",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = build(json!({"layers_per_block": 3})).unwrap_err();
    for part in ["down_blocks.0.resnets.2.time_emb_proj.weight", "missing", "[16, 64]"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Options of published networks that the fixtures do not have are at least run.
#[test]
fn rarer_layouts_run() {
    let device = Device::flex();
    let golden = Golden::open("unet_sd21", &device);
    let base = golden.tensor::<4>("b1.out");
    for changes in [
        json!({"mid_block_type": null}),
        json!({"mid_block_type": "UNetMidBlock2D"}),
        json!({"num_attention_heads": 1}),
        json!({"only_cross_attention": false, "attention_head_dim": 2}),
        json!({"center_input_sample": true}),
        json!({"mid_block_scale_factor": 2.0}),
    ] {
        let unet = build(changes.clone()).unwrap();
        let output =
            unet.forward(input(&golden, &[981.0]), &mut || ControlFlow::Continue(())).unwrap();
        assert!(relative_difference(&output, &base) > 1e-3, "{changes} had no effect");
    }
    // One number for each layer of a level is the same as one for all.
    let unet = build(json!({
        "transformer_layers_per_block": [[1, 1], 1, [1, 1], 1],
        "reverse_transformer_layers_per_block": [1, 1, [1, 1, 1], 1],
        "layers_per_block": [2, 2, 2, 2],
        "cross_attention_dim": [32, 32, 32, 32],
        "only_cross_attention": [false, false, false, false],
    }))
    .unwrap();
    let output = unet.forward(input(&golden, &[981.0]), &mut || ControlFlow::Continue(())).unwrap();
    assert_close("lists", &output, &base, NETWORK_TOLERANCE);
}
