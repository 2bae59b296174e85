//! Many pictures: tables, the time that is left over all, and the notification at the end.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
};

use egui::{Key, Modifiers};
use emberbrush::window::dialogs::{Dialogs, Question};
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::studio::{Screen, Studio, click, ctrl, status, type_prompt, wait, window, window_mut};

fn is_done(screen: &Screen<'_>) -> bool {
    let queue = window(screen).queue();
    !queue.entries().is_empty() && queue.open_count() == 0
}

/// Types into a field of one line.
fn fill_in(screen: &mut Screen<'_>, name: &str, text: &str) {
    screen.get_by_role_and_label(egui::accesskit::Role::TextInput, name).focus();
    screen.step();
    screen.key_press_modifiers(Modifiers::COMMAND, Key::A);
    screen.step();
    screen.get_by_role_and_label(egui::accesskit::Role::TextInput, name).type_text(text);
    screen.run_steps(2);
}

#[test]
fn a_table_of_pictures_is_built_and_written_as_a_sheet() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::E);
    screen.run_steps(2);
    screen.get_by_label("Queue 4 pictures");
    fill_in(&mut screen, "Columns: values", "2, 4, 6");
    fill_in(&mut screen, "Rows: values", "euler, ddim");
    screen.get_by_label("Queue 6 pictures").click();
    wait(&mut screen, |screen| is_done(screen));
    let made: Vec<_> = window(&screen)
        .queue()
        .entries()
        .iter()
        .map(|entry| (entry.request.guidance_scale, entry.request.sampler, entry.request.seed))
        .collect();
    assert_eq!(made.len(), 6);
    assert!(made.iter().all(|(_, _, seed)| *seed == made[0].2), "one seed for all");
    assert_eq!(
        made.iter().map(|(guidance, ..)| *guidance).collect::<Vec<_>>()[..3],
        [2.0, 4.0, 6.0]
    );
    assert!(made[0].1 != made[3].1, "the second row has another sampler");
    wait(&mut screen, |_| studio.files().contains(&"sheet.png".to_owned()));
    assert_eq!(studio.files().len(), 7);
    let (width, height) = image::image_dimensions(studio.pictures().join("sheet.png")).unwrap();
    assert!(width > 3 * 128 && height > 2 * 128, "{width} x {height}");
    wait(&mut screen, |screen| screen.query_by_label_contains("sheet.png").is_some());
}

#[test]
fn a_table_goes_on_after_a_kill() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a cat");
    studio.control.holds.store(true, Ordering::Relaxed);
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::E);
    screen.run_steps(2);
    screen.get_by_label("Queue 4 pictures").click();
    wait(&mut screen, |screen| window(screen).queue().running().is_some());
    window(&screen).journal().flush();
    std::mem::forget(screen);
    studio.control.holds.store(false, Ordering::Relaxed);
    let mut screen = studio.open();
    wait(&mut screen, |_| studio.files().contains(&"sheet.png".to_owned()));
    assert!(studio.files().len() >= 5, "{:?}", studio.files());
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    let studio = Studio::new();
    let mut screen = studio.open();
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::E);
    screen.run_steps(2);
    fill_in(&mut screen, "Columns: values", "many");
    screen.get_by_label_contains("The value of cfg cannot be used");
    assert!(screen.query_by_label_contains("Queue ").is_none());
}

#[test]
fn the_time_left_over_all_is_told() {
    let studio = Studio::new();
    let mut screen = studio.open();
    studio.control.holds.store(true, Ordering::Relaxed);
    for prompt in ["one ", "two ", "three "] {
        type_prompt(&mut screen, prompt);
        ctrl(&mut screen, Key::Enter);
    }
    wait(&mut screen, |screen| status(screen).contains("3 pictures, about"));
    // A step takes half a second, and a picture four of them.
    // One of them is done.
    assert!(status(&screen).contains("3 pictures, about 5.5 s"), "{}", status(&screen));
    ctrl(&mut screen, Key::J);
    assert!(
        screen.query_all_by_label_contains("3 pictures, about").count() >= 2,
        "in the queue too"
    );
    studio.control.holds.store(false, Ordering::Relaxed);
}

#[test]
fn the_end_is_told_in_the_window_and_by_the_system() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&told);
    let notify = move |_: &str, text: &str| sink.lock().unwrap().push(text.to_owned());
    window_mut(&mut screen).set_notify(Box::new(notify));
    screen.input_mut().focused = true;
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| is_done(screen));
    assert!(told.lock().unwrap().is_empty(), "who looks at the window sees the picture");
    assert!(screen.query_by_label("1 picture is done").is_none());
    studio.control.holds.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        ctrl(&mut screen, Key::Enter);
    }
    screen.input_mut().focused = false;
    studio.control.holds.store(false, Ordering::Relaxed);
    wait(&mut screen, |screen| is_done(screen));
    screen.get_by_label("3 pictures are done");
    assert_eq!(*told.lock().unwrap(), ["3 pictures are done"]);
}

#[test]
fn dialogs_choose_the_folder_of_an_export_and_the_file_of_jobs() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let (folder, jobs) = (studio.path("elsewhere"), studio.path("jobs.txt"));
    std::fs::write(&jobs, "a boat\na house\n").unwrap();
    let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
    let answer = {
        let (asked, folder, jobs) = (Arc::clone(&asked), folder.clone(), jobs);
        move |question: &Question| -> Option<PathBuf> {
            asked.lock().unwrap().push(question.clone());
            Some(match question {
                Question::Folder { .. } => folder.clone(),
                _ => jobs.clone(),
            })
        }
    };
    window_mut(&mut screen).set_dialogs(Dialogs::new(answer));
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::I);
    let pictures = studio.pictures().display().to_string();
    wait(&mut screen, |screen| screen.query_by_label_contains(&pictures).is_some());
    screen.get_by_label_contains(&pictures).click();
    wait(&mut screen, |screen| screen.query_by_label_contains("elsewhere").is_some());
    click(&mut screen, "Queue 2 pictures");
    wait(&mut screen, |screen| is_done(screen));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
    let asked = asked.lock().unwrap();
    let Question::Open { title, extensions } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(
        (title.as_str(), extensions.join(" ").as_str()),
        ("Read jobs from a file", "txt csv jsonl")
    );
    assert_eq!(asked[1], Question::Folder { begin: studio.pictures() });
}
