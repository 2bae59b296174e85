//! LoRAs and embeddings.

use std::{path::PathBuf, sync::atomic::Ordering};

use egui::{Key, OutputCommand, accesskit::Role};
use emberbrush::engine::{DiffusionEngine, Engine, UnreadPrompt};
use emberbrush_pipeline::adapters::{AdapterFolders, AdapterSelection, UnusedKeys};
use emberbrush_tests::{
    checkpoint,
    egui_kittest::kittest::{NodeT, Queryable},
    fixtures,
};

use crate::{
    added::{answer, last_job, on_cpu, set_number, settings},
    studio::{Screen, Studio, click, ctrl, drop_file, generate, type_prompt, wait, window},
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

/// The LoRAs that the next picture is made with.
fn asked_for(screen: &Screen<'_>) -> Vec<String> {
    settings(screen).request().adapters.lora.iter().map(ToString::to_string).collect()
}

/// Adds a LoRA from the list.
fn add(screen: &mut Screen<'_>, name: &str) {
    click(screen, "Add a LoRA");
    wait(screen, |screen| screen.query_by_role_and_label(Role::Button, name).is_some());
    screen.get_by_role_and_label(Role::Button, name).click();
    screen.run_steps(3);
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
