//! The model in the box through the command line, with nothing but a prompt, and where it fills: the pictures are those
//! that diffusers draws with the same folder (`tests/fixtures/make_default_model.py`).

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
    init: Option<String>,
}

#[test]
fn the_default_model_draws_what_diffusers_draws() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/default-model");
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(fixtures.join("prompts.json")).unwrap()).unwrap();
    let workshop = Workshop::new();
    let fixture = |name: &str| fixtures.join(format!("{name}.png")).display().to_string();
    let mask = fixture("mask");
    for Case { name, prompt, seed, init } in &cases {
        let file = format!("{name}.png");
        let seed = seed.to_string();
        let init = init.as_deref().map(fixture);
        let mut arguments =
            vec!["generate", prompt, "--seed", &seed, "--device", "cpu", "-o", &file];
        if let Some(init) = &init {
            arguments.extend(["--init", init, "--mask", &mask, "--raw", "--count", "1"]);
        }
        workshop.run(&arguments).succeeded();
        let ours = image::open(workshop.path(&file)).unwrap().to_rgb8();
        let theirs = image::open(fixtures.join(&file)).unwrap().to_rgb8();
        let furthest = furthest(&ours, &theirs);
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
    assert_eq!(cases.len(), 4);
}
