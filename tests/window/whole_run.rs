//! The window with the engine that runs checkpoints: from a prompt to a file, on the CPU.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use egui::{Key, Modifiers};
use emberbrush::{
    engine::{DiffusionEngine, ModelSource},
    window::{
        Start, Window, journal::Journal, preferences::Preferences, session::Session,
        settings::GenerationSettings, words::Language,
    },
};
use emberbrush_pipeline::{
    device::DeviceChoice,
    metadata,
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::egui_kittest::Harness;

#[test]
fn a_prompt_becomes_a_file_with_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("data")).unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(folder.path().join("wildcards")).unwrap();
    std::fs::write(folder.path().join("wildcards/fruit.txt"), "apple\n").unwrap();
    journal.write(
        "preferences.json",
        &Preferences {
            pictures_folder: pictures.clone(),
            wildcards_folder: folder.path().join("wildcards"),
            device: DeviceChoice::Cpu,
            language: Language::English,
            ..Preferences::default()
        },
    );
    journal.write(
        "session.json",
        &Session {
            settings: Some(GenerationSettings {
                prompt: "a red __fruit__".to_owned(),
                negative: String::new(),
                model: ModelSource::InTheBox,
                vae: None,
                sampler: Sampler::Dpmpp2m,
                schedule: Schedule::Automatic,
                steps: 2,
                guidance: 5.0,
                width: 64,
                height: 64,
                seed: 7,
                seed_is_locked: true,
                rng: RngSource::Torch,
                count: 1,
                adapters: Default::default(),
                compat: Default::default(),
                conditioning: Default::default(),
                fewer_operations: Default::default(),
                control: Default::default(),
            }),
            awaits_recommendation: false,
            ..Session::default()
        },
    );
    journal.flush();
    let mut harness = Harness::builder().with_size(egui::vec2(1280.0, 720.0)).build_ui_state(
        |ui, window: &mut Option<Window>| {
            let window = window.get_or_insert_with(|| {
                let start = Start { journal: journal.clone(), engine: DiffusionEngine::default };
                Window::new(ui.ctx(), start).unwrap()
            });
            window.logic(&ui.ctx().clone());
            window.ui(ui);
        },
        None,
    );
    harness.step();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    let started = Instant::now();
    let mut previews = 0;
    loop {
        harness.step();
        let window = harness.state().as_ref().unwrap();
        previews += u32::from(window.results().preview.is_some());
        if !window.results().pictures.is_empty() {
            break;
        }
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(600), "status: {}", window.status_text());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(previews > 0, "the picture was seen while it formed");
    let file = std::fs::read_dir(&pictures).unwrap().next().unwrap().unwrap().path();
    assert_eq!(file.file_name().unwrap(), "7-a-red-apple.png");
    assert_eq!(image::image_dimensions(&file).unwrap(), (64, 64));
    let fields = metadata::read(&file).unwrap().fields;
    assert_eq!((&fields["prompt"], &fields["steps"]), (&"a red apple".into(), &2.into()));
    assert_eq!(fields["model"], emberbrush_assets::DEFAULT_MODEL_NAME);
}
