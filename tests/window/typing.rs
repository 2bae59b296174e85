//! What is typed into the prompt: names that are completed, other scripts, and input methods.

use egui::{Event, ImeEvent, Key};
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::studio::{Screen, Studio, click, ctrl, type_prompt, window};

fn prompt<'a>(screen: &'a Screen<'_>) -> &'a str {
    &window(screen).settings().prompt
}

fn studio_with_wildcards() -> Studio {
    let studio = Studio::new();
    let folder = studio.path("wildcards");
    std::fs::create_dir_all(folder.join("animals")).unwrap();
    for name in ["colours", "countries", "animals/cats"] {
        std::fs::write(folder.join(format!("{name}.txt")), "one\ntwo\n").unwrap();
    }
    studio
}

#[test]
fn wildcards_are_completed_while_they_are_typed() {
    let studio = studio_with_wildcards();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a __co");
    screen.get_by_label("__colours__");
    screen.get_by_label("__countries__");
    assert!(screen.query_by_label("__animals/cats__").is_none());
    screen.key_press(Key::ArrowDown);
    screen.step();
    screen.key_press(Key::Enter);
    screen.run_steps(2);
    assert_eq!(prompt(&screen), "a __countries__");
    assert!(screen.query_by_label("__colours__").is_none(), "nothing more is offered");
    type_prompt(&mut screen, " with __cat");
    click(&mut screen, "__animals/cats__");
    assert_eq!(prompt(&screen), "a __countries__ with __animals/cats__");
    type_prompt(&mut screen, " at night");
    assert_eq!(prompt(&screen), "a __countries__ with __animals/cats__ at night");
}

#[test]
fn escape_closes_what_is_offered_and_enter_is_a_new_line_again() {
    let studio = studio_with_wildcards();
    let mut screen = studio.open();
    type_prompt(&mut screen, "__co");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    assert!(screen.query_by_label("__colours__").is_none());
    screen.key_press(Key::Enter);
    screen.run_steps(2);
    assert_eq!(prompt(&screen), "__co\n");
}

/// The harness fails where a letter is drawn as a box.
#[test]
fn prompts_in_other_scripts_are_shown_and_kept() {
    let studio = Studio::new();
    let mut screen = studio.open();
    let text = "고양이 猫 ねこ 一只猫 🐱🍎";
    type_prompt(&mut screen, text);
    assert_eq!(prompt(&screen), text);
    ctrl(&mut screen, Key::Enter);
    window(&screen).journal().flush();
    drop(screen);
    let screen = studio.open();
    assert_eq!(prompt(&screen), text);
}

#[test]
fn input_methods_compose_in_the_prompt() {
    let studio = Studio::new();
    let mut screen = studio.open();
    type_prompt(&mut screen, "a ");
    let compose = |screen: &mut Screen<'_>, text: &str| {
        let text = text.to_owned();
        screen.event(Event::Ime(ImeEvent::Preedit { text, active_range_chars: None }));
        screen.step();
    };
    for text in ["ㄱ", "고", "공"] {
        compose(&mut screen, text);
        assert_eq!(prompt(&screen), format!("a {text}"), "what is composed is seen in its place");
    }
    let place = screen.output().platform_output.ime.expect("the input method is told where it is");
    let field = screen.get_by_role_and_label(egui::accesskit::Role::MultilineTextInput, "Prompt");
    assert!(field.rect().contains_rect(place.cursor_rect), "its window opens at the cursor");
    screen.event(Event::Ime(ImeEvent::Commit("공".to_owned())));
    screen.step();
    assert_eq!(prompt(&screen), "a 공");
    type_prompt(&mut screen, " ball");
    assert_eq!(prompt(&screen), "a 공 ball");
}
