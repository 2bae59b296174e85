//! How prompts are read, against `make_prompts.py`, which reads them as A1111 does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use emberbrush_pipeline::{
    diffusion::load_tokenizer,
    prompt::{Prompt, PromptSyntax, RunSteps, schedule, sections},
};
use emberbrush_tests::{checkpoint, fixtures};
use serde_json::{Value, json};

fn cases() -> Vec<Value> {
    let text = std::fs::read(fixtures().join("goldens/prompts.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn prompts_change_over_the_steps_as_in_a1111() {
    let mut compared = 0;
    for case in cases() {
        let text = case["text"].as_str().unwrap();
        let runs = [
            ("ten", RunSteps::new(10)),
            ("hundred", RunSteps::new(100)),
            ("second", RunSteps { steps: 6, first_pass: Some(10) }),
        ];
        for (name, steps) in runs {
            if case[name].is_null() {
                continue;
            }
            let found: Vec<Value> = schedule(text, steps)
                .unwrap()
                .into_iter()
                .map(|part| json!([part.until, part.text]))
                .collect();
            assert_eq!(Value::from(found), case[name], "{text:?}, {name}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
}

#[test]
fn weights_and_breaks_are_those_of_a1111() {
    let folder = checkpoint("sd15-tiny");
    let files = emberbrush_pipeline::checkpoint::folder::locate(&folder).unwrap();
    let tokenizer = load_tokenizer(&files, "tokenizer").unwrap();
    for case in cases() {
        let text = case["text"].as_str().unwrap();
        if case["parts"].as_array().unwrap().len() > 1 {
            continue;
        }
        // Weights are read in what the prompt says at the first step, which brackets may change.
        let Some(first) = case["ten"][0][1].as_str().filter(|first| *first == text) else {
            continue;
        };
        let reading = tokenizer.read_prompt(first, RunSteps::new(10)).unwrap();
        let expected = case["spans"].as_array().unwrap();
        assert_eq!(reading.spans.len(), expected.len(), "{text:?}");
        for ((found, weight), expected) in reading.spans.iter().zip(expected) {
            assert_eq!(found, expected[0].as_str().unwrap(), "{text:?}");
            let difference = weight - expected[1].as_f64().unwrap();
            assert!(difference.abs() < 1e-12, "{text:?}: {weight}");
        }
    }
}

#[test]
fn and_joins_prompts_as_in_a1111() {
    for case in cases() {
        let text = case["text"].as_str().unwrap();
        let found: Vec<Value> = Prompt::read(text)
            .unwrap()
            .subprompts
            .into_iter()
            .map(|part| json!([part.text, part.weight]))
            .collect();
        assert_eq!(Value::from(found), case["parts"], "{text:?}");
    }
}

#[test]
fn chunks_break_at_commas_breaks_and_embeddings() {
    let folder = checkpoint("sd15-tiny");
    let files = emberbrush_pipeline::checkpoint::folder::locate(&folder).unwrap();
    let mut tokenizer = load_tokenizer(&files, "tokenizer").unwrap();
    let lengths = |tokenizer: &emberbrush_text_encoder::Tokenizer, text: &str| -> Vec<usize> {
        tokenizer.encode_sections(&sections(text)).iter().map(|chunk| chunk.content).collect()
    };
    let bang = |count: usize| vec!["!"; count].join(" ");
    assert_eq!(tokenizer.encode(&bang(5)).len(), 5);
    assert_eq!(lengths(&tokenizer, ""), [0]);
    assert_eq!(lengths(&tokenizer, &bang(75)), [75]);
    assert_eq!(lengths(&tokenizer, &bang(76)), [75, 1]);
    // A comma among the last twenty is where the chunk ends, and one further on is not.
    assert_eq!(lengths(&tokenizer, &format!("{} , {}", bang(55), bang(30))), [56, 30]);
    assert_eq!(lengths(&tokenizer, &format!("{} , {}", bang(54), bang(30))), [75, 10]);
    // One that ended a chunk does not end the next one as well.
    assert_eq!(lengths(&tokenizer, &format!("{} , {}", bang(60), bang(100))), [61, 75, 25]);
    // A comma that finds no room begins the next chunk.
    assert_eq!(lengths(&tokenizer, &format!("{} , {} , !", bang(60), bang(14))), [75, 2]);
    assert_eq!(lengths(&tokenizer, "! BREAK ! ! BREAK BREAK !"), [1, 2, 0, 1]);
    assert_eq!(lengths(&tokenizer, "! BREAK"), [1]);
    assert_eq!(lengths(&tokenizer, "BREAK !"), [0, 1]);

    // Stable Diffusion 2 fills up with `!`, the others with the end token.
    let second = checkpoint("sd21-tiny");
    let files = emberbrush_pipeline::checkpoint::folder::locate(&second).unwrap();
    let second = load_tokenizer(&files, "tokenizer").unwrap();
    for (tokenizer, padding) in [(&tokenizer, tokenizer.eos()), (&second, 0)] {
        for syntax in [PromptSyntax::Weighted, PromptSyntax::Literal] {
            let ids = tokenizer.encode_chunks("!", syntax).remove(0).ids;
            assert_eq!((ids.len(), ids[2], ids[3]), (77, tokenizer.eos(), padding));
        }
    }

    let ids = tokenizer.add_embedding("My-Style", 10).unwrap();
    assert!(tokenizer.add_embedding("my-style", 1).is_err());
    assert_eq!(tokenizer.encode("my-style"), ids.collect::<Vec<_>>());
    assert_eq!(lengths(&tokenizer, &format!("{} MY-STYLE !", bang(66))), [66, 11]);
    assert_eq!(lengths(&tokenizer, &format!("{} my-style !", bang(65))), [75, 1]);
    assert_eq!(tokenizer.embeddings_in("a my-style b MY-STYLE"), ["My-Style"]);
    let reading = tokenizer.read_prompt("a (my-style:1.2) <lora:x:2>", RunSteps::new(1)).unwrap();
    assert_eq!(reading.embeddings, ["My-Style"]);
    assert_eq!((reading.loras.len(), reading.loras[0].unet), (1, 2.0));
}
