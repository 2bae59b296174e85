//! The model in the box through the command line, with nothing but a prompt: the pictures are those that diffusers
//! draws with the same folder (`tests/fixtures/make_default_model.py`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::path::Path;

use emberbrush_tests::runs::furthest;
use program::Workshop;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    prompt: String,
    seed: u64,
}

#[test]
fn the_default_model_draws_what_diffusers_draws() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/default-model");
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(fixtures.join("prompts.json")).unwrap()).unwrap();
    let workshop = Workshop::new();
    for Case { name, prompt, seed } in &cases {
        let file = format!("{name}.png");
        let seed = seed.to_string();
        workshop
            .run(&["generate", prompt, "--seed", &seed, "--device", "cpu", "-o", &file])
            .succeeded();
        let ours = image::open(workshop.path(&file)).unwrap().to_rgb8();
        let theirs = image::open(fixtures.join(&file)).unwrap().to_rgb8();
        let furthest = furthest(&ours, &theirs);
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
    assert_eq!(cases.len(), 3);
}
