//! The text encoders against transformers, hidden state by hidden state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{Device, FloatDType, Tensor};
use emberbrush_layers::{
    interrupt::Cancelled,
    weights::{WeightError, Weights},
};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{Golden, NETWORK_TOLERANCE, assert_close, checkpoint, load};
use emberbrush_text_encoder::{ClipTextConfig, ClipTextModel, ForwardError};

fn config(name: &str, folder: &str) -> ClipTextConfig {
    let root = checkpoint(name);
    let content = std::fs::read(root.join(folder).join("config.json")).unwrap();
    serde_json::from_slice(&content).unwrap()
}

fn model(name: &str, folder: &str) -> ClipTextModel {
    let root = checkpoint(name);
    let config = config(name, folder);
    load(root.join(folder).join("model.safetensors"), &Device::flex(), |weights| {
        ClipTextModel::new(&config, weights)
    })
}

fn build(name: &str, config: &ClipTextConfig) -> Result<ClipTextModel, WeightError> {
    let root = checkpoint(name);
    let file = SafetensorsFile::open(root.join("text_encoder/model.safetensors")).unwrap();
    ClipTextModel::new(config, &Weights::new(&file, &Device::flex(), FloatDType::F32))
}

/// The failure to build; the network itself is too long to print.
fn refusal(result: Result<ClipTextModel, WeightError>) -> String {
    result.map(drop).expect_err("an error").to_string()
}

fn ids(golden: &Golden) -> Vec<Vec<u32>> {
    let tensor: Tensor<2, burn::tensor::Int> = golden.integers("input_ids");
    let [_, tokens] = tensor.dims();
    let values: Vec<i64> = tensor.to_data().convert::<i64>().try_to_vec().unwrap();
    values.chunks(tokens).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect()
}

fn check(golden: &str, name: &str, folder: &str) {
    let golden = Golden::open(golden, &Device::flex());
    let model = model(name, folder);
    let ids = ids(&golden);
    let output = model.forward(&ids, &mut || ControlFlow::Continue(())).unwrap();
    assert_eq!(output.hidden_states().len(), model.config().num_hidden_layers + 1);
    let same = |key: &str, actual: Tensor<3>| {
        let expected: Tensor<3> = golden.tensor(key);
        let actual = actual.narrow(0, 0, expected.dims()[0]);
        assert_close(key, &actual, &expected, NETWORK_TOLERANCE);
    };
    for (index, hidden) in output.hidden_states().iter().enumerate() {
        same(&format!("hidden_states.{index}"), hidden.clone());
    }
    same("last_hidden_state", output.last_hidden_state());
    same("last_hidden_state", output.hidden_layer_normalized(0).unwrap());
    same("penultimate", output.hidden_layer(1).unwrap());
    same("penultimate_final_ln", output.hidden_layer_normalized(1).unwrap());
    assert!(output.hidden_layer(model.config().num_hidden_layers).is_some());
    assert!(output.hidden_layer(model.config().num_hidden_layers + 1).is_none());
    assert!(output.hidden_layer(usize::MAX).is_none());
    if golden.contains("text_embeds") {
        let actual = output.text_embeds().expect("a projection");
        assert_close("text_embeds", &actual, &golden.tensor("text_embeds"), NETWORK_TOLERANCE);
    } else {
        assert!(output.text_embeds().is_none());
        let expected = golden.tensor("pooler_output");
        assert_close("pooler_output", &output.pooled(), &expected, NETWORK_TOLERANCE);
    }
}

#[test]
fn sd15() {
    check("text_sd15", "sd15-tiny", "text_encoder");
}

#[test]
fn sd21() {
    check("text_sd21", "sd21-tiny", "text_encoder");
}

#[test]
fn sdxl_text_encoder() {
    check("text_sdxl_te1", "sdxl-tiny", "text_encoder");
}

#[test]
fn sdxl_text_encoder_2() {
    check("text_sdxl_te2", "sdxl-tiny", "text_encoder_2");
}

#[test]
fn pooling_follows_the_stated_end_token() {
    let ids = [49406, 320, 49409, 49407, 49407];
    let mut config = ClipTextConfig { eos_token_id: 2, ..ClipTextConfig::default() };
    assert_eq!(config.eos_position(&ids), 2, "the largest id");
    config.eos_token_id = 49407;
    assert_eq!(config.eos_position(&ids), 3, "the first end token");
    config.eos_token_id = 7;
    assert_eq!(config.eos_position(&ids), 0, "no end token");
}

#[test]
fn stops_between_layers() {
    let model = model("sd15-tiny", "text_encoder");
    let mut calls = 0;
    let result = model.forward(&[vec![49406, 49407]], &mut || {
        calls += 1;
        if calls == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(result.err(), Some(ForwardError::Cancelled(Cancelled)));
    assert_eq!(calls, 2);
}

#[test]
fn refuses_ids_that_do_not_fit() {
    let model = model("sd15-tiny", "text_encoder");
    let refused = |ids: &[Vec<u32>]| {
        let output = model.forward(ids, &mut || ControlFlow::Continue(()));
        output.map(drop).expect_err("an error")
    };
    for id in [49408, u32::MAX] {
        let expected = ForwardError::UnknownToken { id, vocab_size: 49408 };
        assert_eq!(refused(&[vec![49406, id]]), expected);
    }
    assert_eq!(refused(&[vec![1; 78]]), ForwardError::TooLong { found: 78, limit: 77 });
    for uneven in [&[][..], &[vec![]], &[vec![1, 2], vec![1]]] {
        assert_eq!(refused(uneven), ForwardError::Uneven);
    }
}

#[test]
fn names_what_disagrees_with_the_weights() {
    let config = config("sd15-tiny", "text_encoder");
    let wider = ClipTextConfig { intermediate_size: 96, ..config.clone() };
    let message = refusal(build("sd15-tiny", &wider));
    assert!(message.contains("text_model.encoder.layers.0.mlp.fc1.weight"), "{message}");
    assert!(message.contains("[128, 32]") && message.contains("[96, 32]"), "{message}");

    let smaller = ClipTextConfig { vocab_size: 100, ..config.clone() };
    let message = refusal(build("sd15-tiny", &smaller));
    assert!(message.contains("token_embedding.weight") && message.contains("[100, 32]"));

    let deeper = ClipTextConfig { num_hidden_layers: 5, ..config.clone() };
    let message = refusal(build("sd15-tiny", &deeper));
    assert!(message.contains("text_model.encoder.layers.4.layer_norm1.weight"), "{message}");

    let projected = ClipTextConfig {
        architectures: vec!["CLIPTextModelWithProjection".to_owned()],
        ..config.clone()
    };
    assert!(refusal(build("sd15-tiny", &projected)).contains("text_projection.weight"));

    let other = ClipTextConfig { architectures: vec!["T5Model".to_owned()], ..config.clone() };
    assert!(refusal(build("sd15-tiny", &other)).contains("T5Model"));

    let heads = ClipTextConfig { num_attention_heads: 5, ..config.clone() };
    assert!(refusal(build("sd15-tiny", &heads)).contains("num_attention_heads 5"));
    let none = ClipTextConfig { num_attention_heads: 0, ..config };
    assert!(refusal(build("sd15-tiny", &none)).contains("num_attention_heads"));

    let unknown = serde_json::from_str::<ClipTextConfig>(r#"{"hidden_act": "mish"}"#);
    assert!(unknown.unwrap_err().to_string().contains("mish"));
}
