//! What a person does in the window, clicked and typed, with an engine that draws at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod adapters;
mod added;
mod by_keyboard;
mod finding;
mod machine;
mod many;
mod previews;
mod studio;
mod typing;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
};

use egui::{Key, Modifiers, OutputCommand};
use emberbrush::{
    failure::Failure,
    window::{Place, queue::EntryState},
};
use emberbrush_pipeline::{metadata, output::OutputError, schedulers::Sampler};
use emberbrush_tests::egui_kittest::kittest::Queryable;
use studio::{
    Screen, Studio, Trouble, click, ctrl, drop_file, generate, status, type_into, type_prompt,
    wait, window, window_mut,
};

fn running_step(screen: &Screen<'_>) -> bool {
    window(screen).results().running.as_ref().is_some_and(|running| running.step >= 1)
}

#[test]
fn the_prompt_tells_how_it_is_read() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a [cat:dog:2] (red:1.5)");
    screen.get_by_label_contains("3/75 tokens").hover();
    wait(&mut screen, |screen| {
        screen.query_by_label_contains("To step 2: a cat (red:1.5)").is_some()
    });
    assert!(screen.query_by_label("To step 4: a dog (red:1.5)").is_some());
    assert!(screen.query_by_label("1.5 × a cat (red:1.5)").is_some());
}

#[test]
fn a_prompt_becomes_a_picture_step_by_step() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a red apple");
    assert!(screen.query_by_label_contains("3/75 tokens").is_some());
    screen.get_by_label_contains("Negative prompt").click();
    screen.run_steps(2);
    type_into(&mut screen, "Negative prompt", "blurry and dark, small");
    assert!(screen.query_by_label_contains("4/75 tokens").is_some());
    studio.control.holds.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| running_step(screen));
    let told = status(&screen);
    assert!(told.starts_with("Step 1/4  ·  2.0 it/s  ·  1.5 s left"), "{told}");
    assert!(window(&screen).results().preview.is_some());
    screen.get_by_label("Cancel");
    studio.control.holds.store(false, Ordering::Relaxed);
    wait(&mut screen, |screen| !window(screen).results().pictures.is_empty());
    let made = &window(&screen).results().pictures[0];
    let settings = metadata::read(made.path.as_ref().unwrap()).unwrap();
    assert_eq!(settings.fields["prompt"], "a red apple");
    assert_eq!(settings.fields["negative"], "blurry and dark, small");
    assert_eq!(settings.fields["seed"], made.request.seed);
    assert_eq!(studio.files().len(), 1);
}

#[test]
fn escape_cancels_and_the_preview_stays() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    studio.control.holds.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| running_step(screen));
    screen.key_press(Key::Escape);
    wait(&mut screen, |screen| window(screen).queue().running().is_none());
    assert!(window(&screen).results().preview.is_some());
    assert!(studio.files().is_empty());
    studio.control.holds.store(false, Ordering::Relaxed);
    click(&mut screen, "Make it after all");
    wait(&mut screen, |screen| !window(screen).results().pictures.is_empty());
    assert_eq!(studio.files().len(), 1);
}

#[test]
fn a_second_generate_queues_and_jobs_can_be_ordered_cancelled_and_tried_again() {
    let studio = Studio::new();
    let mut screen = studio.open();
    studio.control.holds.store(true, Ordering::Relaxed);
    for prompt in ["one ", "two ", "three "] {
        type_prompt(&mut screen, prompt);
        ctrl(&mut screen, Key::Enter);
    }
    wait(&mut screen, |screen| running_step(screen));
    assert_eq!(window(&screen).queue().open_count(), 3);
    ctrl(&mut screen, Key::J);
    screen.get_all_by_label("Later").next().unwrap().click();
    screen.step();
    let prompts = |screen: &Screen<'_>| -> Vec<usize> {
        window(screen).queue().entries().iter().map(|entry| entry.request.prompt.len()).collect()
    };
    let before = prompts(&screen);
    assert_eq!(before, [4, 14, 8], "the second and third changed places");
    screen.get_all_by_label("Cancel").last().unwrap().click();
    screen.step();
    assert_eq!(window(&screen).queue().entries()[2].state, EntryState::Cancelled);
    studio.control.holds.store(false, Ordering::Relaxed);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert_eq!(studio.files().len(), 2);
    click(&mut screen, "Try again");
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert_eq!(studio.files().len(), 3);
}

#[test]
fn a_paused_queue_begins_nothing() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::J);
    click(&mut screen, "Pause");
    screen.key_press(Key::Escape);
    screen.step();
    type_prompt(&mut screen, "a cat");
    ctrl(&mut screen, Key::Enter);
    screen.run_steps(10);
    assert!(window(&screen).queue().running().is_none());
    assert_eq!(window(&screen).queue().open_count(), 1);
    ctrl(&mut screen, Key::J);
    click(&mut screen, "Go on");
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert_eq!(studio.files().len(), 1);
}

#[test]
fn generate_forever_goes_on_until_it_is_cancelled() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    ctrl(&mut screen, Key::J);
    click(&mut screen, "Generate forever");
    screen.key_press(Key::Escape);
    wait(&mut screen, |screen| window(screen).results().pictures.len() >= 3);
    let seeds: std::collections::BTreeSet<u64> =
        window(&screen).results().pictures.iter().map(|made| made.request.seed).collect();
    assert!(seeds.len() >= 3, "each has a seed of its own");
    studio.control.holds.store(true, Ordering::Relaxed);
    wait(&mut screen, |screen| running_step(screen));
    click(&mut screen, "Cancel");
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert!(!window(&screen).queue().forever);
}

#[test]
fn a_panic_in_the_engine_leaves_the_window_alive() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    *studio.control.next.lock().unwrap() = Some(Trouble::Panic);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    screen.get_by_label("That did not work");
    assert_eq!(status(&screen), "The last picture was not made");
    screen.get_by_label_contains("started anew");
    assert_eq!(window(&screen).settings().prompt, "a cat", "the prompt is untouched");
    click(&mut screen, "Copy details");
    generate(&mut screen);
    assert_eq!(studio.files().len(), 1);
}

#[test]
fn an_error_is_told_with_what_to_do() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let failure = Failure::from(disk_full());
    *studio.control.next.lock().unwrap() = Some(Trouble::Fail(failure));
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    screen.get_by_label_contains("apple.png cannot be written. The disk is full: make room");
    click(&mut screen, "Back to the picture");
    assert!(screen.query_by_label_contains("apple.png").is_none());
}

#[test]
fn errors_of_the_engine_are_told_in_the_language_of_the_window() {
    let studio = Studio::new();
    let mut screen = studio.open();
    *studio.control.next.lock().unwrap() = Some(Trouble::Fail(Failure::from(disk_full())));
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    screen.get_by_label_contains("The disk is full");
    ctrl(&mut screen, Key::Comma);
    click(&mut screen, "한국어");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    assert!(screen.query_by_label_contains("The disk is full").is_none());
    screen.get_by_label_contains("apple.png 파일을 쓸 수 없습니다. 디스크가 가득 찼습니다.");
    let OutputCommand::CopyText(details) = finding::copied(&mut screen, "자세한 내용 복사")
    else {
        panic!("a picture was copied");
    };
    assert!(details.contains("apple.png: cannot be written"), "{details}");
}

fn disk_full() -> OutputError {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    OutputError::Io { path: "apple.png".to_owned(), source }
}

#[test]
fn what_is_wrong_with_a_prompt_is_said_below_it_and_moves_nothing() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let before = screen.get_by_label_contains("Negative prompt").rect();
    type_prompt(&mut screen, "a cat <lora:ink:much>");
    let told = screen.get_by_label_contains("much in <lora:ink:much> is no weight").rect();
    assert!(told.right() <= before.left(), "{told} {before}");
    assert_eq!(screen.get_by_label_contains("Negative prompt").rect(), before);
}

#[test]
fn settings_are_undone_and_redone() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let before = window(&screen).settings().clone();
    click(&mut screen, "Draw a new seed");
    let seed = window(&screen).settings().seed;
    assert_ne!(seed, before.seed);
    click(&mut screen, "Undo");
    assert_eq!(window(&screen).settings(), &before);
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    screen.step();
    screen.step();
    assert_eq!(window(&screen).settings().seed, seed);
}

#[test]
fn the_seed_of_the_picture_in_view_is_used_again() {
    let studio = Studio::new();
    let mut screen = studio.open();
    for (prompt, seed) in [("a cat", 11), ("a dog", 12)] {
        window_mut(&mut screen).set_prompt(prompt);
        window_mut(&mut screen).set_seed(seed);
        generate(&mut screen);
    }
    assert!(screen.query_by_label("Use the seed of the picture in view").is_none());
    click(&mut screen, "Keep this seed");
    assert!(!window(&screen).settings().seed_is_locked);
    click(&mut screen, "a cat");
    click(&mut screen, "Use the seed of the picture in view");
    let settings = window(&screen).settings();
    assert_eq!((settings.seed, settings.prompt.as_str()), (11, "a dog"), "the seed alone");
    assert!(settings.seed_is_locked);
}

#[test]
fn keys_change_the_weight_of_what_is_selected() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "apple");
    ctrl(&mut screen, Key::ArrowUp);
    ctrl(&mut screen, Key::ArrowUp);
    assert_eq!(window(&screen).settings().prompt, "(apple:1.2)");
    ctrl(&mut screen, Key::ArrowDown);
    assert_eq!(window(&screen).settings().prompt, "(apple:1.1)");
}

#[test]
fn prompt_settings_and_queue_come_back_after_a_kill() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a lighthouse");
    studio.control.holds.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| running_step(screen));
    type_prompt(&mut screen, ", not yet asked for");
    let settings = window(&screen).settings().clone();
    window(&screen).journal().flush();
    // Nothing is closed or saved, as when the process is killed.
    std::mem::forget(screen);

    studio.control.holds.store(false, Ordering::Relaxed);
    let mut screen = studio.open();
    assert_eq!(window(&screen).settings().prompt, settings.prompt);
    assert!(settings.prompt.contains("not yet asked for"));
    wait(&mut screen, |screen| window(screen).queue().open_count() == 0);
    assert!(studio.files().len() >= 2, "{:?}", studio.files());
}

#[test]
fn prompts_are_found_again() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a red apple");
    generate(&mut screen);
    type_prompt(&mut screen, " on a table");
    generate(&mut screen);
    ctrl(&mut screen, Key::H);
    screen.get_all_by_label("a red apple").last().unwrap().click();
    screen.step();
    screen.step();
    assert_eq!(window(&screen).settings().prompt, "a red apple");
}

#[test]
fn pictures_are_found_starred_used_and_thrown_away() {
    let studio = Studio::new();
    let mut screen = studio.open();
    for prompt in ["a red apple", " and a cat"] {
        type_prompt(&mut screen, prompt);
        generate(&mut screen);
    }
    let thrown: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let bin = Arc::clone(&thrown);
    window_mut(&mut screen).set_bin(Box::new(move |path| {
        bin.lock().unwrap().push(path.to_owned());
        std::fs::remove_file(path).map_err(|error| error.to_string())
    }));
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 2);
    let newest = studio.files().into_iter().find(|name| name.contains("cat")).unwrap();
    click(&mut screen, &newest);
    click(&mut screen, "Give a star");
    click(&mut screen, "Only those with a star");
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 1);
    click(&mut screen, "Only those with a star");
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 2);
    let seed = window(&screen).gallery().pictures()[0].fields["seed"].as_u64().unwrap();
    click(&mut screen, "Use these settings");
    assert_eq!(window(&screen).place(), Place::Prompt);
    assert_eq!(window(&screen).settings().seed, seed);
    assert_eq!(window(&screen).settings().prompt, "a red apple and a cat");
    ctrl(&mut screen, Key::Num3);
    click(&mut screen, "Put into the bin");
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 1);
    assert_eq!(thrown.lock().unwrap().len(), 1);
    assert_eq!(studio.files().len(), 1);
}

#[test]
fn another_picture_of_the_same_prompt_has_a_new_seed() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cup");
    generate(&mut screen);
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 1);
    let name = studio.files().remove(0);
    click(&mut screen, &name);
    screen.get_by_label_contains("Same prompt, new seed").click();
    wait(&mut screen, |screen| window(screen).results().pictures.len() == 2);
    let [second, first] = [0, 1].map(|place| &window(&screen).results().pictures[place].request);
    assert_eq!(first.prompt, second.prompt);
    assert_ne!(first.seed, second.seed);
}

#[test]
fn the_gallery_is_there_after_a_crash_and_after_its_index_is_lost() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cup");
    generate(&mut screen);
    // Otherwise the job may be begun again, which makes a second picture.
    window(&screen).journal().flush();
    std::mem::forget(screen);
    for name in ["gallery.sqlite", "gallery.sqlite-wal", "gallery.sqlite-shm"] {
        let _ = std::fs::remove_file(studio.data().join(name));
    }
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 1);
    assert_eq!(window(&screen).gallery().pictures()[0].prompt(), "a cup");
}

#[test]
fn a_dropped_picture_gives_its_settings() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let text = "an owl\nNegative prompt: blur\nSteps: 9, Sampler: Euler a, CFG scale: 3, Seed: 12, Size: 64x96, Model: x";
    let path = studio.path("foreign.png");
    let texts = [("parameters", text.to_owned())];
    emberbrush_pipeline::output::write_png(&studio::drawing(64, 96, 1), &texts, &path).unwrap();
    drop_file(&mut screen, path);
    screen.step();
    let settings = window(&screen).settings();
    assert_eq!((settings.prompt.as_str(), settings.negative.as_str()), ("an owl", "blur"));
    assert_eq!((settings.steps, settings.guidance, settings.seed), (9, 3.0, 12));
    assert_eq!((settings.width, settings.height), (64, 96));
    assert_eq!(settings.sampler, Sampler::EulerAncestral);
    screen.get_by_label_contains("Settings taken");
}

#[test]
fn job_files_become_pictures_under_their_names() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let jobs = studio.path("jobs.csv");
    std::fs::write(&jobs, "prompt,seed\nan apple,5\na cup,6\n").unwrap();
    window_mut(&mut screen).import_jobs(jobs);
    screen.step();
    screen.step();
    screen.get_by_label("1-5-an apple.png");
    screen.get_by_label("Queue 2 pictures").click();
    wait(&mut screen, |screen| studio_done(screen));
    assert_eq!(studio.files(), ["1-5-an apple.png", "2-6-a cup.png"]);
}

fn studio_done(screen: &Screen<'_>) -> bool {
    let queue = window(screen).queue();
    !queue.entries().is_empty() && queue.open_count() == 0
}

#[test]
fn many_pictures_are_exported_from_the_prompt() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    ctrl(&mut screen, Key::E);
    screen.get_by_label("Queue 4 pictures").click();
    wait(&mut screen, |screen| studio_done(screen));
    let files = studio.files();
    assert_eq!(files.len(), 4);
    assert!(files[0].starts_with("1-") && files[0].ends_with("-a cat.png"), "{files:?}");
}

#[test]
fn the_palette_knows_every_command() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::P);
    screen.step();
    let field = screen.get_by_role(egui::accesskit::Role::TextInput);
    field.type_text("gallery");
    screen.step();
    screen.key_press(Key::Enter);
    screen.step();
    screen.step();
    assert_eq!(window(&screen).place(), Place::Gallery);
}

#[test]
fn keys_of_commands_are_changed_and_stay_changed() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Comma);
    screen.get_by_label("Go to Canvas").scroll_to_me();
    screen.run_steps(12);
    click(&mut screen, "Go to Canvas");
    ctrl(&mut screen, Key::K);
    screen.key_press(Key::Escape);
    screen.step();
    screen.step();
    ctrl(&mut screen, Key::K);
    assert_eq!(window(&screen).place(), Place::Canvas);
    window(&screen).journal().flush();
    drop(screen);
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Num1);
    ctrl(&mut screen, Key::K);
    assert_eq!(window(&screen).place(), Place::Canvas);
}

#[test]
fn the_language_changes_while_the_program_runs() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Comma);
    click(&mut screen, "한국어");
    screen.step();
    assert!(screen.get_all_by_label("설정").count() >= 1);
    screen.key_press(Key::Escape);
    screen.step();
    screen.step();
    assert!(screen.get_all_by_label("생성").count() >= 1);
}

#[test]
fn styles_are_saved_and_used() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "{prompt}, in oil");
    screen.get_by_label_contains("Style").click();
    screen.step();
    screen.step();
    screen.get_by_role(egui::accesskit::Role::TextInput).focus();
    screen.step();
    screen.get_by_role(egui::accesskit::Role::TextInput).type_text("Oil");
    screen.step();
    click(&mut screen, "Save");
    assert!(studio.data().join("styles/Oil.json").is_file());
    screen.key_press(Key::Escape);
    screen.step();
    screen.step();
    window_mut(&mut screen).set_prompt("a boat");
    screen.step();
    screen.get_by_label_contains("Style").click();
    screen.step();
    screen.step();
    click(&mut screen, "Oil");
    assert_eq!(window(&screen).settings().prompt, "a boat, in oil");
}

#[test]
fn an_idle_window_does_not_draw() {
    let studio = Studio::new();
    let mut screen = studio.open();
    screen.run_ok();
    let delays: Vec<_> = (0..3)
        .map(|_| {
            screen.step();
            screen.output().viewport_output[&egui::ViewportId::ROOT].repaint_delay
        })
        .collect();
    assert!(delays.iter().all(|delay| delay.as_secs() > 3600), "{delays:?}");
}
