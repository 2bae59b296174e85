//! What is added to a checkpoint beside adapters: ControlNets, another autoencoder, and the settings
//! that are folded away.

use std::path::{Path, PathBuf};

use egui::{Key, accesskit::Role};
use emberbrush::{
    engine::{
        Delivery, DiffusionEngine, Engine, Job, JobEnd, JobEvent, JobId, ModelSource, Setup,
        WrittenSettings,
    },
    window::{
        dialogs::{Dialogs, Question},
        settings::GenerationSettings,
    },
};
use emberbrush_pipeline::{
    adapters::AdapterFolders,
    checkpoint::folder::Family,
    device::DeviceChoice,
    metadata,
    picture::{self, FileFormat},
    request::{Control, ControlPreprocess, ControlUnit, FewerOperations, GenerationRequest},
    rng::RngSource,
    schedulers::Compat,
};
use emberbrush_tests::{checkpoint, controlnet, egui_kittest::kittest::Queryable, fixtures};

use crate::studio::{
    Screen, Studio, click, ctrl, defaults, drop_file, generate, type_into, type_prompt, wait,
    window, window_mut,
};

/// Answers every dialog with one path.
pub(crate) fn answer(screen: &mut Screen<'_>, path: PathBuf) {
    window_mut(screen).set_dialogs(Dialogs::new(move |_: &Question| Some(path.clone())));
}

pub(crate) fn settings<'a>(screen: &'a Screen<'_>) -> &'a GenerationSettings {
    window(screen).settings()
}

pub(crate) fn last_job(studio: &Studio) -> Job {
    studio.control.jobs.lock().unwrap().last().unwrap().clone()
}

/// Types a number into the field beside a slider.
pub(crate) fn set_number(screen: &mut Screen<'_>, name: &str, number: &str) {
    screen.get_by_role_and_label(Role::SpinButton, name).scroll_to_me();
    screen.run_steps(4);
    screen.get_by_role_and_label(Role::SpinButton, name).focus();
    screen.run_steps(2);
    screen.get_by_role_and_label(Role::SpinButton, name).type_text(number);
    screen.run_steps(2);
    screen.key_press(Key::Enter);
    screen.run_steps(2);
}

/// Opens a list of which one is chosen.
fn open_list(screen: &mut Screen<'_>, name: &str) {
    screen.get_by_role_and_label(Role::ComboBox, name).scroll_to_me();
    screen.run_steps(4);
    screen.get_by_role_and_label(Role::ComboBox, name).click();
    screen.run_steps(3);
}

pub(crate) fn on_cpu(model: &Path) -> Setup {
    Setup { model: ModelSource::Folder(model.to_path_buf()), vae: None, device: DeviceChoice::Cpu }
}

#[test]
fn the_rest_of_the_settings_is_folded_away_and_goes_with_the_request() {
    let studio = Studio::new();
    let mut screen = studio.open();
    assert!(screen.query_by_label("Clip skip").is_none());
    screen.get_by_label_contains("More").click();
    screen.run_steps(3);
    set_number(&mut screen, "Clip skip", "2");
    set_number(&mut screen, "Guidance rescale", "0.7");
    assert!(screen.query_by_label("Variation seed").is_none(), "nothing is varied yet");
    set_number(&mut screen, "Variation", "0.25");
    set_number(&mut screen, "Variation seed", "41");
    set_number(&mut screen, "Deep part every", "3");
    set_number(&mut screen, "Merged tokens", "0.5");
    set_number(&mut screen, "Negative prompt until", "0.75");
    set_number(&mut screen, "Prompt read until", "0.25");
    screen.get_by_label("A1111").scroll_to_me();
    screen.run_steps(4);
    click(&mut screen, "A1111");
    assert!(screen.query_by_label("Second prompt").is_none(), "this model reads one prompt");
    generate(&mut screen);
    let request = last_job(&studio).request;
    assert_eq!((request.conditioning.clip_skip, request.conditioning.guidance_rescale), (2, 0.7));
    let varied = (request.conditioning.variation_strength, request.conditioning.variation_seed);
    assert_eq!(varied, (0.25, 41));
    let FewerOperations {
        deep_cache,
        token_merging,
        skip_negative_after,
        reuse_cross_attention_after,
    } = request.fewer_operations;
    assert_eq!((deep_cache, token_merging), (3, 0.5));
    assert_eq!((skip_negative_after, reuse_cross_attention_after), (0.75, 0.25));
    assert_eq!((request.compat, request.rng), (Compat::A1111, RngSource::Philox));
}

#[test]
fn the_second_prompt_is_there_for_models_that_read_two() {
    let studio = Studio::new();
    *studio.control.family.lock().unwrap() = Some(Family::StableDiffusionXl);
    let mut screen = studio.open();
    screen.get_by_label_contains("More").click();
    screen.run_steps(3);
    type_into(&mut screen, "Second prompt", "in oil");
    generate(&mut screen);
    let conditioning = last_job(&studio).request.conditioning;
    assert_eq!((conditioning.prompt_2.as_deref(), conditioning.negative_2), (Some("in oil"), None));
}

#[test]
fn another_autoencoder_is_loaded_remembered_and_taken_from_pictures() {
    let studio = Studio::new();
    let mut screen = studio.open();
    screen.get_by_label_contains("More").click();
    screen.run_steps(3);
    let file = studio.path("bright.vae.safetensors");
    answer(&mut screen, file.clone());
    let loaded = |studio: &Studio| studio.control.setup.lock().unwrap().clone().unwrap().vae;
    open_list(&mut screen, "Autoencoder (VAE)");
    click(&mut screen, "Choose an autoencoder");
    wait(&mut screen, |_| loaded(&studio) == Some(file.clone()));
    generate(&mut screen);
    assert_eq!(last_job(&studio).setup.vae, Some(file.clone()));
    // Undo loads the model's own again.
    click(&mut screen, "Undo");
    wait(&mut screen, |_| loaded(&studio).is_none());
    // A picture names it, and its place is known.
    let picture = |name: &str| {
        let made = metadata::MadeWith {
            model: "x".to_owned(),
            model_hash: None,
            dtype: "f32".to_owned(),
            prompt_syntax: Default::default(),
            adapter_hashes: Default::default(),
            vae: Some(metadata::VaeRecord { name: name.to_owned(), hash: None }),
        };
        let texts = metadata::texts(&GenerationRequest { seed: 5, ..defaults() }, 0, &made);
        let path = studio.path(&format!("{name}.png"));
        let drawing = crate::studio::drawing(64, 64, 1);
        emberbrush_pipeline::output::write_png(&drawing, &texts, &path).unwrap();
        path
    };
    let known = picture("bright.vae.safetensors");
    drop_file(&mut screen, known);
    wait(&mut screen, |_| loaded(&studio) == Some(file.clone()));
    let unknown = picture("dim.vae.safetensors");
    drop_file(&mut screen, unknown);
    screen.step();
    assert_eq!(settings(&screen).vae, None);
    screen.get_by_label_contains("vae (dim.vae.safetensors)");
}

#[test]
fn controlnets_are_added_shown_a_picture_and_sent() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let network = studio.path("canny.safetensors");
    answer(&mut screen, network.clone());
    click(&mut screen, "Add a ControlNet");
    screen.get_by_label_contains("Choose a ControlNet file").click();
    wait(&mut screen, |screen| settings(screen).control.0.len() == 1);
    // Without a picture of its own it has none here.
    screen.get_by_label_contains("Acts on the canvas alone");
    generate(&mut screen);
    assert!(last_job(&studio).request.control.0.is_empty());
    let map = studio.path("map.png");
    answer(&mut screen, map.clone());
    open_list(&mut screen, "Picture for ControlNet 1");
    click(&mut screen, "Choose a picture");
    wait(&mut screen, |screen| settings(screen).control.0[0].image == Some(map.clone()));
    screen.get_by_label("As it is").scroll_to_me();
    screen.run_steps(4);
    click(&mut screen, "As it is");
    set_number(&mut screen, "To", "0.6");
    // The one that was used before is offered again.
    screen.get_by_label("Add a ControlNet").scroll_to_me();
    screen.run_steps(4);
    click(&mut screen, "Add a ControlNet");
    screen.get_by_role_and_label(Role::Button, "canny.safetensors").click();
    screen.run_steps(3);
    assert_eq!(settings(&screen).control.0.len(), 2);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    let control = last_job(&studio).request.control.0;
    assert_eq!(control.len(), 1);
    assert_eq!((&control[0].model, control[0].end), (&network, 0.6));
    assert_eq!(control[0].preprocess, ControlPreprocess::None);
    click(&mut screen, "Take ControlNet 2 away");
    assert_eq!(settings(&screen).control.0.len(), 1);
}

/// The picture that the engine makes of a request with a tiny checkpoint.
fn made(engine: &mut DiffusionEngine, setup: &Setup, request: GenerationRequest) -> Vec<u8> {
    let folder = fixtures().join("checkpoints/lora");
    let job = Job {
        id: JobId(1),
        request,
        first: 0,
        setup: setup.clone(),
        wildcards: PathBuf::new(),
        adapter_folders: AdapterFolders { lora: Some(folder), embeddings: None },
        preview_decoder: None,
        sources: None,
        delivery: Delivery::Memory,
        written: Default::default(),
    };
    let mut picture = None;
    let end = engine.run(&job, &mut |event| {
        if let JobEvent::Picture(finished) = event {
            picture = Some(finished.picture.pixels.to_rgb8().into_raw());
        }
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(end, JobEnd::Done);
    picture.unwrap()
}

#[test]
fn the_engine_merges_loras_by_name_and_loads_another_autoencoder() {
    let model = checkpoint("sd15-tiny");
    let mut setup = on_cpu(&model);
    let mut engine = DiffusionEngine::default();
    let loaded = engine.load(&setup).unwrap();
    let request = GenerationRequest {
        prompt: "a cat".to_owned(),
        steps: 2,
        width: 32,
        height: 32,
        ..loaded.defaults
    };
    let mut with_lora = request.clone();
    with_lora.adapters.lora = vec!["sd15-kohya:1".parse().unwrap()];
    let plain = made(&mut engine, &setup, request.clone());
    let merged = made(&mut engine, &setup, with_lora);
    let in_prompt =
        GenerationRequest { prompt: "a cat<lora:sd15-kohya:1>".to_owned(), ..request.clone() };
    assert_ne!(plain, merged);
    assert_eq!(merged, made(&mut engine, &setup, in_prompt));
    assert_eq!(plain, made(&mut engine, &setup, request.clone()), "and nothing of it stays");
    // The autoencoder of another checkpoint.
    let other = checkpoint("sd21-tiny");
    setup.vae = Some(other.join("vae"));
    assert_eq!(engine.load(&setup).unwrap().vae, setup.vae);
    setup.vae = Some("nowhere.safetensors".into());
    assert!(engine.load(&setup).unwrap_err().details.contains("nowhere.safetensors"));
}

#[test]
fn controlnets_count_in_the_memory_that_is_foretold() {
    let model = checkpoint("sd15-tiny");
    let setup = on_cpu(&model);
    let loaded = DiffusionEngine::default().load(&setup).unwrap();
    let plain = GenerationRequest { width: 64, height: 64, ..loaded.defaults.clone() };
    let network = controlnet("sd15-tiny", &serde_json::Map::new());
    let unit = ControlUnit {
        model: network.to_path_buf(),
        image: Some("map.png".into()),
        preprocess: ControlPreprocess::None,
        weight: 1.0,
        start: 0.0,
        end: 1.0,
        guess: false,
    };
    let peak = |units: usize| {
        let control = Control(vec![unit.clone(); units]);
        loaded
            .memory
            .forecast(&GenerationRequest { control, ..plain.clone() }, &Default::default())
            .peak
    };
    assert!(peak(0) < peak(1), "{} {}", peak(0), peak(1));
}

/// What settings are written under.
const KEYWORDS: [&str; 2] = [metadata::PARAMETERS, metadata::EMBERBRUSH];

/// Those that a PNG file has.
fn keywords_of(path: &Path) -> Vec<&'static str> {
    let bytes = std::fs::read(path).unwrap();
    let is_there = |keyword: &&str| {
        let chunk = format!("Xt{keyword}\0");
        bytes.windows(chunk.len()).any(|part| part == chunk.as_bytes())
    };
    KEYWORDS.into_iter().filter(is_there).collect()
}

#[test]
fn what_is_written_into_pictures_is_chosen() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    let mut known: Vec<String> = Vec::new();
    for (choice, keywords) in
        [("All settings", &KEYWORDS[..]), ("As A1111 does", &KEYWORDS[..1]), ("Nothing", &[])]
    {
        ctrl(&mut screen, Key::Comma);
        screen.get_by_label(choice).scroll_to_me();
        screen.run_steps(12);
        click(&mut screen, choice);
        screen.key_press(Key::Escape);
        screen.run_steps(2);
        generate(&mut screen);
        let file = studio.files().into_iter().find(|name| !known.contains(name)).unwrap();
        assert_eq!(keywords_of(&studio.pictures().join(&file)), keywords, "{choice}");
        known.push(file);
    }
}

#[test]
fn the_engine_writes_into_files_what_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint("sd15-tiny");
    let setup = on_cpu(&model);
    let mut engine = DiffusionEngine::default();
    let loaded = engine.load(&setup).unwrap();
    for (written, keywords) in [
        (WrittenSettings::All, &KEYWORDS[..]),
        (WrittenSettings::ForOthers, &KEYWORDS[..1]),
        (WrittenSettings::Nothing, &[]),
    ] {
        let path = folder.path().join(format!("{written:?}.png"));
        let job = Job {
            id: JobId(1),
            request: GenerationRequest {
                prompt: "a cat".to_owned(),
                steps: 1,
                width: 32,
                height: 32,
                ..loaded.defaults.clone()
            },
            first: 0,
            setup: setup.clone(),
            wildcards: PathBuf::new(),
            adapter_folders: AdapterFolders::default(),
            preview_decoder: None,
            sources: None,
            delivery: Delivery::File { path: path.clone(), format: FileFormat::Png },
            written,
        };
        let end = engine.run(&job, &mut |_| std::ops::ControlFlow::Continue(()));
        assert_eq!(end, JobEnd::Done);
        assert_eq!(keywords_of(&path), keywords, "{written:?}");
        assert_eq!(metadata::read(&path).is_ok(), written != WrittenSettings::Nothing);
        assert!(picture::read(&path).is_ok());
    }
}

/// A picture on the canvas, all of it marked.
pub(crate) fn canvas(studio: &Studio) -> Screen<'static> {
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Num2);
    let path = studio.path("apple.png");
    let drawing = crate::studio::drawing(64, 64, 1);
    emberbrush_pipeline::output::write_png(&drawing, &[], &path).unwrap();
    drop_file(&mut screen, path);
    wait(&mut screen, |screen| window(screen).canvas().editor().is_some());
    screen.run_steps(4);
    click(&mut screen, "Mark everything");
    screen
}

#[test]
fn a_controlnet_is_shown_what_is_on_the_canvas() {
    let studio = Studio::new();
    let mut screen = canvas(&studio);
    answer(&mut screen, studio.path("canny.safetensors"));
    click(&mut screen, "Add a ControlNet");
    screen.get_by_label_contains("Choose a ControlNet file").click();
    wait(&mut screen, |screen| settings(screen).control.0.len() == 1);
    assert!(screen.query_by_label_contains("Acts on the canvas alone").is_none());
    set_number(&mut screen, "From", "0.1");
    screen.get_by_role_and_label(Role::Button, "Fill").click();
    wait(&mut screen, |screen| {
        window(screen).canvas().editor().is_some_and(|editor| editor.candidate().is_some())
    });
    let job = last_job(&studio);
    let unit = &job.request.control.0[0];
    assert_eq!((&unit.image, unit.start), (&None, 0.1));
    assert_eq!(unit.preprocess, ControlPreprocess::Canny { low: 100.0, high: 200.0 });
    assert!(job.sources.is_some());
    job.request.check().unwrap();
}

#[test]
fn the_button_on_the_left_fills_and_takes_a_fill_back_that_waits() {
    let studio = Studio::new();
    let mut screen = canvas(&studio);
    assert!(screen.query_by_label("Generate").is_none());
    ctrl(&mut screen, Key::J);
    click(&mut screen, "Pause");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    screen.get_by_role_and_label(Role::Button, "Fill").click();
    wait(&mut screen, |screen| window(screen).canvas().filling().is_some());
    click(&mut screen, "Cancel the fill");
    screen.step();
    assert_eq!(window(&screen).canvas().filling(), None);
    screen.get_by_role_and_label(Role::Button, "Fill");
}
