//! The library on the models page, with a hub on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod studio;

use std::{fs, path::PathBuf};

use egui::{Key, accesskit::Role};
use emberbrush::window::dialogs::Dialogs;
use emberbrush_library::hub::{Endpoint, Hub};
use emberbrush_tests::{
    checkpoint,
    egui_kittest::kittest::Queryable,
    hub_server::{HubServer, Mischief, in_repository},
    single_file::{Tensors, write_hollow},
};
use studio::{Screen, Studio, ctrl, drop_file, wait, window_mut};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The models page, and the hub that it downloads from.
fn models_page(studio: &Studio) -> (Screen<'static>, HubServer) {
    let hub = HubServer::start();
    hub.publish_folder("someone/tiny", &checkpoint("sd15-tiny"));
    let mut screen = studio.open();
    let endpoint = Endpoint::new(&hub.address()).unwrap();
    window_mut(&mut screen).set_hub(Hub { endpoint, token: None });
    ctrl(&mut screen, Key::M);
    (screen, hub)
}

fn pull(screen: &mut Screen<'_>, origin: &str) {
    screen.get_by_role_and_label(Role::TextInput, "Model to download").focus();
    screen.step();
    screen.get_by_role_and_label(Role::TextInput, "Model to download").type_text(origin);
    screen.step();
    click_containing(screen, "Download");
}

/// Draws frames until the page, which grows and shrinks with what it holds, has come to rest.
fn settle(screen: &mut Screen<'_>) {
    for _ in 0..8 {
        screen.step();
    }
}

/// Clicks what has a name, once it has come to rest.
fn click(screen: &mut Screen<'_>, name: &str) {
    settle(screen);
    studio::click(screen, name);
    settle(screen);
}

/// Clicks the button whose name ends so; an icon comes before it.
fn click_containing(screen: &mut Screen<'_>, name: &str) {
    let is_button = |node: &emberbrush_tests::egui_kittest::kittest::AccessKitNode<'_>| {
        node.role() == Role::Button && node.label().is_some_and(|label| label.ends_with(name))
    };
    settle(screen);
    screen.get_by(is_button).click();
    settle(screen);
}

fn wait_for(screen: &mut Screen<'_>, text: &str) {
    wait(screen, |screen| screen.query_by_label_contains(text).is_some());
}

fn models(studio: &Studio) -> PathBuf {
    studio.data().join("models")
}

#[test]
fn a_model_is_downloaded_verified_and_removed() {
    let studio = Studio::new();
    let (mut screen, _hub) = models_page(&studio);
    screen.get_by_label_contains("are listed here");
    pull(&mut screen, "someone/tiny");
    wait_for(&mut screen, "tiny is in the library");
    assert!(models(&studio).join("tiny").join(UNET).is_file());
    screen.get_by_label("tiny");

    click(&mut screen, "Read tiny in full");
    wait_for(&mut screen, "Every value is a number in 3 files; 3 of them");

    let bin = studio.path("bin");
    fs::create_dir(&bin).unwrap();
    let put_away = bin.clone();
    window_mut(&mut screen).set_bin(Box::new(move |path| {
        let name = path.file_name().unwrap();
        fs::rename(path, put_away.join(name)).map_err(|error| error.to_string())
    }));
    click(&mut screen, "Remove tiny");
    screen.get_by_label_contains("Move tiny");
    click(&mut screen, "Keep");
    assert!(models(&studio).join("tiny").is_dir());
    click(&mut screen, "Remove tiny");
    click(&mut screen, "Remove");
    assert!(!models(&studio).join("tiny").exists());
    assert!(bin.join("tiny").join(UNET).is_file());
    screen.get_by_label_contains("are listed here");
}

#[test]
fn what_went_wrong_is_told_where_it_happened() {
    let studio = Studio::new();
    let (mut screen, hub) = models_page(&studio);
    hub.mischief(&in_repository("someone/tiny", UNET), Mischief::Spoil);
    pull(&mut screen, "someone/tiny");
    wait_for(&mut screen, "came otherwise than it was published");
    assert!(!models(&studio).join("tiny").exists());
    hub.behave();
    click_containing(&mut screen, "Download");
    wait_for(&mut screen, "tiny is in the library");

    // A value that is not a number, in a file that is not what was published.
    let weights = models(&studio).join("tiny").join(UNET);
    let mut bytes = fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    click(&mut screen, "Read tiny in full");
    wait_for(&mut screen, "is not what was published");

    window_mut(&mut screen).set_bin(Box::new(|_| Err("the bin is shut".to_owned())));
    click(&mut screen, "Remove tiny");
    click(&mut screen, "Remove");
    screen.get_by_label_contains("cannot be removed");
    settle(&mut screen);
    screen.get_by_label("Copy details").click();
    screen.step();
    let copied = screen.output().platform_output.commands.iter().any(|command| {
        matches!(command, egui::OutputCommand::CopyText(text) if text.contains("the bin is shut"))
    });
    assert!(copied, "{:?}", screen.output().platform_output.commands);
    assert!(models(&studio).join("tiny").is_dir());
}

#[test]
fn a_download_is_stopped_and_goes_on() {
    let studio = Studio::new();
    let (mut screen, hub) = models_page(&studio);
    let weights = in_repository("someone/tiny", UNET);
    hub.mischief(&weights, Mischief::Drop(30_000));
    hub.mischief(&weights, Mischief::Refuse(429, vec![("Retry-After", "100".to_owned())]));
    pull(&mut screen, "someone/tiny");
    wait_for(&mut screen, "too many requests");
    click(&mut screen, "Cancel");
    wait_for(&mut screen, "What has come is kept");
    click_containing(&mut screen, "Download");
    wait_for(&mut screen, "tiny is in the library");
}

#[test]
fn a_checkpoint_that_is_dropped_is_added_to_the_library() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let file = studio.path("elsewhere.safetensors");
    write_hollow(&file, "sd15", &Tensors::new(), |_| {});
    drop_file(&mut screen, file.clone());
    wait_for(&mut screen, "is in the library");
    click(&mut screen, "Remove elsewhere");
    screen.get_by_label_contains("Its files stay where they are");
    // What is no model of any kind is told on the same page.
    let text = studio.path("text.safetensors");
    fs::write(&text, "no tensors").unwrap();
    drop_file(&mut screen, text);
    wait_for(&mut screen, "text.safetensors is damaged");
}

#[test]
fn a_model_elsewhere_is_added_and_forgotten() {
    let studio = Studio::new();
    let original = checkpoint("sd15-tiny");
    let (mut screen, _hub) = models_page(&studio);
    let chosen = original.to_path_buf();
    window_mut(&mut screen).set_dialogs(Dialogs::new(move |_| Some(chosen.clone())));
    click_containing(&mut screen, "Add a checkpoint folder");
    wait_for(&mut screen, "is in the library");
    let name = original.file_name().unwrap().to_str().unwrap().to_owned();
    click(&mut screen, &format!("Remove {name}"));
    screen.get_by_label_contains("Its files stay where they are");
    click(&mut screen, "Remove");
    screen.get_by_label_contains("are listed here");
    assert!(original.join(UNET).is_file());
}
