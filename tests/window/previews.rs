//! What shows unfinished pictures.

use egui::Key;
use emberbrush::window::dialogs::Dialogs;
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::studio::{Studio, click, ctrl, generate, type_prompt, wait, window_mut};

#[test]
fn a_small_autoencoder_makes_previews_where_a_file_of_one_was_chosen() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let file = studio.path("taesd_decoder.safetensors");
    let answer = file.clone();
    window_mut(&mut screen).set_dialogs(Dialogs::new(move |_| Some(answer.clone())));
    type_prompt(&mut screen, "a cat");
    generate(&mut screen);
    ctrl(&mut screen, Key::Comma);
    assert!(screen.query_by_label_contains("Choose a file").is_none());
    click(&mut screen, "Tiny autoencoder");
    screen.run_steps(2);
    screen.get_by_label_contains("Choose a file").click();
    wait(&mut screen, |screen| {
        screen.query_by_label_contains("taesd_decoder.safetensors").is_some()
    });
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    generate(&mut screen);
    // The choice stays while something else is shown.
    ctrl(&mut screen, Key::Comma);
    click(&mut screen, "Fast");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    generate(&mut screen);
    let jobs = studio.control.jobs.lock().unwrap();
    let used: Vec<_> = jobs.iter().map(|job| job.preview_decoder.clone()).collect();
    assert_eq!(used, [None, Some(file), None]);
}
