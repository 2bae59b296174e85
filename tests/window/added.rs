//! What is added to a checkpoint and to a prompt's meaning: LoRAs, embeddings, ControlNets, another
//! autoencoder, and the settings that are folded away.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use egui::{Key, OutputCommand, accesskit::Role};
use emberbrush::{
    engine::{
        Delivery, DiffusionEngine, Engine, Job, JobEnd, JobEvent, JobId, ModelSource, Setup,
        UnreadPrompt, WrittenSettings,
    },
    window::{
        dialogs::{Dialogs, Question},
        settings::GenerationSettings,
    },
};
use emberbrush_pipeline::{
    adapters::{AdapterFolders, AdapterSelection, UnusedKeys},
    checkpoint::folder::Family,
    device::DeviceChoice,
    metadata,
    picture::{self, FileFormat},
    request::{Control, ControlPreprocess, ControlUnit, FewerOperations, GenerationRequest},
    rng::RngSource,
    schedulers::Compat,
};
use emberbrush_tests::{
    checkpoint, controlnet,
    egui_kittest::kittest::{NodeT, Queryable},
    fixtures,
};

use crate::studio::{
    Screen, Studio, click, ctrl, defaults, drop_file, generate, type_into, type_prompt, wait,
    window, window_mut,
};

/// A studio with two LoRAs, one broken file and an embedding in their folders.
fn studio_with_adapters() -> Studio {
    let studio = Studio::new();
    let (loras, embeddings) = (studio.path("loras"), studio.path("embeddings"));
    std::fs::create_dir_all(loras.join("styles")).unwrap();
    std::fs::create_dir_all(&embeddings).unwrap();
    let stored = fixtures().join("checkpoints");
    let lora = stored.join("lora/sd15-kohya.safetensors");
    std::fs::copy(&lora, loras.join("ink.safetensors")).unwrap();
    std::fs::copy(&lora, loras.join("styles/oil paint.safetensors")).unwrap();
    std::fs::write(loras.join("torn.safetensors"), "x").unwrap();
    let embedding = stored.join("textual-inversion/sd15-a1111-3vec.safetensors");
    std::fs::copy(embedding, embeddings.join("toy-cat.safetensors")).unwrap();
    studio
}

/// Answers every dialog with one path.
fn answer(screen: &mut Screen<'_>, path: PathBuf) {
    window_mut(screen).set_dialogs(Dialogs::new(move |_: &Question| Some(path.clone())));
}

fn settings<'a>(screen: &'a Screen<'_>) -> &'a GenerationSettings {
    window(screen).settings()
}

/// The LoRAs that the next picture is made with.
fn asked_for(screen: &Screen<'_>) -> Vec<String> {
    settings(screen).request().adapters.lora.iter().map(ToString::to_string).collect()
}

fn last_job(studio: &Studio) -> Job {
    studio.control.jobs.lock().unwrap().last().unwrap().clone()
}

/// Adds a LoRA from the list.
fn add(screen: &mut Screen<'_>, name: &str) {
    click(screen, "Add a LoRA");
    wait(screen, |screen| screen.query_by_role_and_label(Role::Button, name).is_some());
    screen.get_by_role_and_label(Role::Button, name).click();
    screen.run_steps(3);
}

/// Types a number into the field beside a slider.
fn set_number(screen: &mut Screen<'_>, name: &str, number: &str) {
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

fn on_cpu(model: &Path) -> Setup {
    Setup { model: ModelSource::Folder(model.to_path_buf()), vae: None, device: DeviceChoice::Cpu }
}

#[test]
fn loras_are_added_weighed_switched_off_and_taken_away() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    add(&mut screen, "oil paint");
    add(&mut screen, "ink");
    assert_eq!(asked_for(&screen), ["oil paint:1", "ink:1"]);
    set_number(&mut screen, "Weight of ink", "0.65");
    assert_eq!(asked_for(&screen), ["oil paint:1", "ink:0.65"]);
    click(&mut screen, "Use oil paint");
    assert_eq!(asked_for(&screen), ["ink:0.65"]);
    generate(&mut screen);
    let job = last_job(&studio);
    assert_eq!(job.request.adapters.lora[0].to_string(), "ink:0.65");
    assert_eq!(job.adapter_folders.lora, Some(studio.path("loras")));
    click(&mut screen, "Use oil paint");
    click(&mut screen, "Take ink away");
    assert_eq!(asked_for(&screen), ["oil paint:1"]);
    click(&mut screen, "Undo");
    assert_eq!(asked_for(&screen), ["oil paint:1", "ink:0.65"]);
    click(&mut screen, "Use ink");
    // What is off comes back too.
    window(&screen).journal().flush();
    drop(screen);
    let screen = studio.open();
    screen.get_by_label("Use ink");
    assert_eq!(asked_for(&screen), ["oil paint:1"]);
}

#[test]
fn the_list_of_loras_is_searched_tells_what_cannot_be_used_and_takes_files() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    click(&mut screen, "Add a LoRA");
    wait(&mut screen, |screen| screen.query_by_label("torn").is_some());
    assert!(screen.get_by_label("torn").accesskit_node().is_disabled());
    let search = screen.get_by_role_and_label(Role::TextInput, "Search LoRAs");
    search.focus();
    screen.step();
    screen.get_by_role_and_label(Role::TextInput, "Search LoRAs").type_text("PAINT");
    screen.run_steps(2);
    assert!(screen.query_by_label("ink").is_none());
    screen.get_by_label("oil paint");
    let file = studio.path("elsewhere/own.safetensors");
    answer(&mut screen, file.clone());
    screen.get_by_label_contains("Choose a file").click();
    wait(&mut screen, |screen| !settings(screen).adapters.lora.is_empty());
    assert_eq!(settings(&screen).adapters.lora[0].selection().file, file);
}

#[test]
fn loras_and_embeddings_that_are_dropped_go_into_the_settings() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    let lora = studio.path("loras/ink.safetensors");
    drop_file(&mut screen, lora.clone());
    wait(&mut screen, |screen| !settings(screen).adapters.lora.is_empty());
    assert_eq!(settings(&screen).adapters.lora[0].selection().file, lora);
    let embedding = studio.path("embeddings/toy-cat.safetensors");
    drop_file(&mut screen, embedding.clone());
    assert_eq!(settings(&screen).adapters.embedding, [embedding]);
}

#[test]
fn loras_and_embeddings_are_completed_while_they_are_typed() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat <lora:paint");
    click(&mut screen, "<lora:oil paint:1>");
    assert_eq!(settings(&screen).prompt, "a cat <lora:oil paint:1>");
    type_prompt(&mut screen, " with a to");
    screen.key_press(Key::Enter);
    screen.run_steps(2);
    assert_eq!(settings(&screen).prompt, "a cat <lora:oil paint:1> with a toy-cat");
    generate(&mut screen);
    assert_eq!(last_job(&studio).adapter_folders.embeddings, Some(studio.path("embeddings")));
}

#[test]
fn embeddings_of_the_folder_are_told_where_the_prompt_names_them() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a toy-cat");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    screen.get_by_label_contains("2/75 tokens").hover();
    wait(&mut screen, |screen| screen.query_by_label("Embedding toy-cat").is_some());
}

#[test]
fn embeddings_are_counted_with_all_their_vectors() {
    let studio = studio_with_adapters();
    let model = checkpoint("sd15-tiny");
    let setup = on_cpu(&model);
    let loaded = DiffusionEngine::default().load(&setup).unwrap();
    let read = |text: &str, folder: Option<PathBuf>, files: Vec<PathBuf>| {
        let folders = AdapterFolders { lora: None, embeddings: folder };
        let adapters = AdapterSelection { embedding: files, ..AdapterSelection::default() };
        let unread = UnreadPrompt { text, steps: 4, adapters: &adapters, folders: &folders };
        let reading = loaded.prompts.read(&unread).unwrap();
        (reading.tokens, reading.embeddings)
    };
    let folder = studio.path("embeddings");
    let without = read("a toy-cat", None, Vec::new());
    assert!(without.1.is_empty(), "{without:?}");
    let plain = read("a", Some(folder.clone()), Vec::new()).0;
    let named = (plain + 3, vec!["toy-cat".to_owned()]);
    assert_eq!(read("a toy-cat", Some(folder.clone()), Vec::new()), named, "three vectors");
    assert_eq!(read("a toy-cat", None, vec![folder.join("toy-cat.safetensors")]), named);
}

#[test]
fn keys_of_a_lora_that_have_no_use_are_told_with_details_to_copy() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let keys = ["lora_unet_a".to_owned(), "lora_unet_b".to_owned()];
    let unused = UnusedKeys { path: "loras/ink.safetensors".to_owned(), keys: keys.to_vec() };
    *studio.control.unused_keys.lock().unwrap() = Some(unused);
    // The note is there for a number of frames only.
    studio.control.holds_before_steps.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| {
        screen.query_by_label("ink.safetensors: 2 keys change nothing in this model").is_some()
    });
    screen.run_steps(2);
    screen.get_by_label("Copy details").click();
    screen.step();
    let copied = screen.output().platform_output.commands.iter().any(|command| {
        matches!(command, OutputCommand::CopyText(text) if text == "lora_unet_a\nlora_unet_b")
    });
    assert!(copied, "{:?}", screen.output().platform_output.commands);
    studio.control.holds_before_steps.store(false, Ordering::Relaxed);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert_eq!(studio.files().len(), 1, "the picture is made all the same");
}

#[test]
fn styles_bring_loras_back_and_are_given_to_others_as_files() {
    let studio = studio_with_adapters();
    let mut screen = studio.open();
    add(&mut screen, "ink");
    set_number(&mut screen, "Weight of ink", "0.65");
    let open_styles = |screen: &mut Screen<'_>| {
        screen.get_by_label_contains("Style").scroll_to_me();
        screen.run_steps(12);
        screen.get_by_label_contains("Style").click();
        screen.run_steps(3);
    };
    open_styles(&mut screen);
    screen.get_by_role_and_label(Role::TextInput, "Name").focus();
    screen.step();
    screen.get_by_role_and_label(Role::TextInput, "Name").type_text("Inked");
    screen.run_steps(2);
    click(&mut screen, "Save");
    let file = std::fs::read(studio.data().join("styles/Inked.json")).unwrap();
    drop(screen);

    let other = studio_with_adapters();
    std::fs::create_dir_all(other.data().join("styles")).unwrap();
    std::fs::write(other.data().join("styles/from a friend.json"), file).unwrap();
    let mut screen = other.open();
    type_prompt(&mut screen, "a boat");
    assert!(asked_for(&screen).is_empty());
    open_styles(&mut screen);
    click(&mut screen, "Inked");
    assert_eq!(asked_for(&screen), ["ink:0.65"]);
    assert_eq!(settings(&screen).prompt, "a boat");
    click(&mut screen, "Undo");
    assert!(asked_for(&screen).is_empty());
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
