//! What the window knows of the machine: devices, memory, checkpoints; and what it says of its settings.

use std::sync::atomic::Ordering;

use egui::Key;
use emberbrush_pipeline::device::DeviceChoice;
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::studio::{Screen, Studio, click, ctrl, generate, type_prompt, wait, window, window_mut};

#[test]
fn devices_are_listed_with_their_memory_and_chosen() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::M);
    wait(&mut screen, |screen| screen.query_by_label_contains("Graphics card").is_some());
    screen.get_by_label_contains("16.0 GB");
    screen.get_by_label_contains("12.0 GB");
    screen.get_by_label_contains("Graphics card").click();
    wait(&mut screen, |_| device(&studio) == Some(DeviceChoice::WgpuIndex(0)));
    screen.key_press(Key::Escape);
    wait(&mut screen, |screen| screen.query_by_label_contains("discrete GPU  ·  12 GB").is_some());
    window(&screen).journal().flush();
    drop(screen);
    let _screen = studio.open();
    assert_eq!(device(&studio), Some(DeviceChoice::WgpuIndex(0)));
}

#[test]
fn a_device_that_is_new_is_told_to_take_minutes_until_its_first_picture() {
    let studio = Studio::new();
    studio.control.is_device_new.store(true, Ordering::Relaxed);
    let mut screen = studio.open();
    screen.get_by_label_contains("Processor with 8 cores is used for the first time");
    studio.control.holds_before_steps.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| {
        screen.query_by_label_contains("the fastest kernels are looked for").is_some()
    });
    studio.control.holds_before_steps.store(false, Ordering::Relaxed);
    wait(&mut screen, |screen| !window(screen).results().pictures.is_empty());
    studio.control.holds_before_steps.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| screen.query_by_label("Preparing").is_some());
    assert!(screen.query_by_label_contains("the fastest kernels").is_none(), "only once");
    studio.control.holds_before_steps.store(false, Ordering::Relaxed);
}

/// The device that the checkpoint was last loaded onto.
fn device(studio: &Studio) -> Option<DeviceChoice> {
    studio.control.setup.lock().unwrap().as_ref().map(|setup| setup.device)
}

/// Sets both sides at once, as the ratios do.
fn set_size(screen: &mut Screen<'_>, side: u32) {
    window_mut(screen).set_size(side, side);
    screen.run_steps(2);
}

#[test]
fn a_tight_run_shows_its_plan_and_one_that_does_not_fit_a_smaller_size() {
    let studio = Studio::new();
    let mut screen = studio.open();
    set_size(&mut screen, 512);
    assert!(
        screen.query_by_label_contains("GB of").is_none()
            && screen.query_by_label_contains("Tight").is_none()
    );
    set_size(&mut screen, 768);
    let note = screen.get_by_label_contains("Tight: takes 2.4 GB of 4.0 GB");
    note.hover();
    wait(&mut screen, |screen| {
        screen.query_by_label_contains("the VAE in tiles of 512 pixels").is_some()
    });
    set_size(&mut screen, 1024);
    screen.get_by_label_contains("Too large: takes 4.2 GB of 4.0 GB");
    click(&mut screen, "Use 896 × 896");
    assert_eq!((window(&screen).settings().width, window(&screen).settings().height), (896, 896));
    screen.get_by_label_contains("Tight");
}

#[test]
fn a_checkpoint_is_shown_with_the_newest_picture_that_it_made() {
    let studio = Studio::new();
    let mut screen = studio.open();
    ctrl(&mut screen, Key::M);
    assert_eq!(window(&screen).picture_of_model(0), None);
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    for prompt in ["a cat", " and a dog"] {
        type_prompt(&mut screen, prompt);
        generate(&mut screen);
    }
    ctrl(&mut screen, Key::M);
    let newest = window(&screen).picture_of_model(0).expect("there are pictures of it now");
    assert!(newest.to_string_lossy().contains("dog"), "{}", newest.display());
}

#[test]
fn every_setting_says_what_it_does_and_what_it_costs() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let tips = [
        ("Model", "takes a moment to load"),
        ("Size in pixels", "twice the time and memory"),
        ("Seed", "Costs nothing"),
        ("Pictures", "Time grows with the number"),
        ("Steps", "Time grows with the number"),
        ("Guidance", "halves the time"),
        ("Sampler", "needs few steps"),
        ("Schedule", "Costs nothing"),
        ("LoRA", "a moment of time, and no memory"),
        ("ControlNet", "about a third more time"),
        ("Autoencoder (VAE)", "time stays the same"),
        ("Clip skip", "Costs nothing"),
        ("Works as", "Costs nothing"),
        ("Guidance rescale", "Costs nothing"),
        ("Variation", "Costs nothing"),
        ("Deep part every", "saves time and changes details"),
        ("Merged tokens", "Saves time in large pictures"),
        ("Negative prompt until", "take half the time"),
        ("Prompt read until", "Saves a little time"),
    ];
    screen.get_by_label_contains("More").click();
    screen.run_steps(3);
    for (name, tip) in tips {
        assert!(screen.query_by_label_contains(tip).is_none(), "{tip} is there before");
        let labels = screen.get_all_by_role_and_label(egui::accesskit::Role::Label, name);
        labels.into_iter().next().unwrap().scroll_to_me();
        screen.run_steps(12);
        let labels = screen.get_all_by_role_and_label(egui::accesskit::Role::Label, name);
        labels.into_iter().next().unwrap().hover();
        wait(&mut screen, |screen| screen.query_by_label_contains(tip).is_some());
        screen.hover_at(egui::pos2(900.0, 300.0));
        screen.run_steps(4);
    }
}

#[test]
fn buttons_name_their_command_and_its_keys() {
    let studio = Studio::new();
    let mut screen = studio.open();
    for (name, tip) in [
        ("Show the queue", "Show the queue  ·  Ctrl+J"),
        ("Settings", "Settings  ·  Ctrl+,"),
        ("Draw a new seed", "Draw a new seed  ·  Ctrl+R"),
    ] {
        screen.get_by_role_and_label(egui::accesskit::Role::Button, name).hover();
        wait(&mut screen, |screen| screen.query_by_label(tip).is_some());
    }
}
