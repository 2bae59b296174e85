//! The window without a pointer: every control is reached with Tab, the palette has every command, and the canvas is
//! painted with the arrows.

use std::collections::BTreeMap;

use egui::{Event, Key, Modifiers, accesskit::Role};
use emberbrush::{
    canvas::{mask, tools::Tool},
    window::Place,
};
use emberbrush_tests::egui_kittest::kittest::{NodeT, Queryable, by};

use crate::{
    added::canvas,
    studio::{Screen, Studio, click, ctrl, generate, type_prompt, wait, window},
};

/// What a person can work with, by its identity: its role and name.
fn controls(screen: &Screen<'_>) -> BTreeMap<String, String> {
    const ROLES: [Role; 9] = [
        Role::Button,
        Role::CheckBox,
        Role::Slider,
        Role::SpinButton,
        Role::TextInput,
        Role::MultilineTextInput,
        Role::ComboBox,
        Role::ColorWell,
        Role::Canvas,
    ];
    screen
        .query_all(by().predicate(|node| ROLES.contains(&node.role()) && !node.is_disabled()))
        .map(|node| {
            let node = node.accesskit_node();
            let name = node.label().unwrap_or_default();
            (format!("{:?}", node.id()), format!("{:?} {name}", node.role()))
        })
        .collect()
}

fn focused(screen: &Screen<'_>) -> Option<String> {
    screen
        .query_all(by().predicate(|node| node.is_focused() && node.is_focused_in_tree()))
        .map(|node| format!("{:?}", node.accesskit_node().id()))
        .next_back()
}

/// Fails where Tab does not come to a control of the screen.
#[track_caller]
fn assert_reached_by_tab(screen: &mut Screen<'_>, what: &str) {
    let mut left = controls(screen);
    assert!(left.len() > 10, "{what}: {left:?}");
    for _ in 0..left.len() + 20 {
        screen.key_press(Key::Tab);
        screen.run_steps(2);
        if let Some(id) = focused(screen) {
            left.remove(&id);
        }
    }
    assert!(left.is_empty(), "{what}: Tab does not come to {:?}", left.values());
}

#[test]
fn every_control_is_reached_with_tab() {
    let studio = Studio::new();
    let mut screen = studio.open();
    screen.get_by_label_contains("More").click();
    screen.run_steps(3);
    assert_reached_by_tab(&mut screen, "Prompt");
    type_prompt(&mut screen, "a cat");
    generate(&mut screen);
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 1);
    let name = studio.files().remove(0);
    click(&mut screen, &name);
    assert_reached_by_tab(&mut screen, "Gallery");
    for (page, key) in [("Models", Key::M), ("Settings", Key::Comma), ("Many pictures", Key::E)] {
        ctrl(&mut screen, key);
        screen.run_steps(4);
        // What is below the page is covered.
        let all = controls(&screen).len();
        let mut reached = std::collections::BTreeSet::new();
        for _ in 0..all + 20 {
            screen.key_press(Key::Tab);
            screen.run_steps(2);
            reached.extend(focused(&screen));
        }
        assert!(reached.len() >= 5, "{page}: {} of {all}", reached.len());
        screen.key_press(Key::Escape);
        screen.run_steps(2);
        screen.key_press(Key::Escape);
        screen.run_steps(2);
    }
    drop(screen);
    let studio = Studio::new();
    let mut screen = canvas(&studio);
    assert_reached_by_tab(&mut screen, "Canvas");
}

fn focus_canvas(screen: &mut Screen<'_>) {
    screen.get_by_role_and_label(Role::Canvas, "Canvas").focus();
    screen.run_steps(3);
    assert!(screen.get_by_role_and_label(Role::Canvas, "Canvas").is_focused());
}

fn masked(screen: &Screen<'_>, x: u32, y: u32) -> bool {
    window(screen).canvas().editor().unwrap().document().mask().get(x, y).unwrap() > 127
}

fn press(screen: &mut Screen<'_>, modifiers: Modifiers, key: Key, times: usize) {
    for _ in 0..times {
        screen.key_press_modifiers(modifiers, key);
        screen.run_steps(1);
    }
}

/// Presses arrows while Shift is held.
fn draw(screen: &mut Screen<'_>, arrows: &[Key]) {
    screen.event(Event::ModifiersChanged(Modifiers::SHIFT));
    for &key in arrows {
        let (physical_key, repeat, modifiers) = (None, false, Modifiers::SHIFT);
        screen.event(Event::Key { key, physical_key, pressed: true, repeat, modifiers });
        screen.event(Event::Key { key, physical_key, pressed: false, repeat, modifiers });
    }
    screen.event(Event::ModifiersChanged(Modifiers::NONE));
    screen.run_steps(2);
}

#[test]
fn the_canvas_is_painted_with_the_arrows() {
    let studio = Studio::new();
    let mut screen = canvas(&studio);
    click(&mut screen, "Clear the mask");
    focus_canvas(&mut screen);
    // The picture has 64 pixels on a side, and the pointer begins in its middle.
    press(&mut screen, Modifiers::NONE, Key::OpenBracket, 10);
    press(&mut screen, Modifiers::NONE, Key::ArrowLeft, 3);
    assert!(mask::is_empty(window(&screen).canvas().editor().unwrap().document().mask()));
    draw(&mut screen, &[Key::ArrowRight; 6]);
    assert!(masked(&screen, 32, 32) && !masked(&screen, 32, 5) && !masked(&screen, 2, 32));
    let editor = window(&screen).canvas().editor().unwrap();
    assert!(editor.gesture().is_none(), "without Shift the stroke is whole");
    ctrl(&mut screen, Key::Z);
    assert!(!masked(&screen, 32, 32), "and one step to undo");
    // A rectangle from where the pointer is.
    press(&mut screen, Modifiers::NONE, Key::R, 1);
    draw(&mut screen, &[Key::ArrowDown, Key::ArrowDown, Key::ArrowLeft, Key::ArrowLeft]);
    let editor = window(&screen).canvas().editor().unwrap();
    let marked = editor.document().mask().extent(|value| value > 127).unwrap();
    assert!(marked.width() > 1 && marked.height() > 1, "{marked:?}");
    assert_eq!(marked.pixels().filter(|&(x, y)| !masked(&screen, x, y)).count(), 0);
    // Enter is a click: the eyedropper takes a colour.
    press(&mut screen, Modifiers::NONE, Key::I, 1);
    press(&mut screen, Modifiers::NONE, Key::Enter, 1);
    let editor = window(&screen).canvas().editor().unwrap();
    assert_eq!(editor.tools.tool, Tool::ColourBrush);
    assert!(screen.get_by_role_and_label(Role::Canvas, "Canvas").is_focused());
}

#[test]
fn the_palette_has_the_commands_of_the_canvas_and_their_keys_can_be_changed() {
    let studio = Studio::new();
    let mut screen = canvas(&studio);
    ctrl(&mut screen, Key::Num1);
    let by_palette = |screen: &mut Screen<'_>, text: &str| {
        ctrl(screen, Key::P);
        screen.run_steps(2);
        screen.event(Event::Text(text.to_owned()));
        screen.run_steps(2);
        screen.key_press(Key::Enter);
        screen.run_steps(3);
    };
    assert!(masked(&screen, 10, 10));
    by_palette(&mut screen, "clear the mask");
    assert_eq!(window(&screen).place(), Place::Canvas, "where the command works");
    assert!(!masked(&screen, 10, 10));
    by_palette(&mut screen, "lasso");
    assert_eq!(window(&screen).canvas().editor().unwrap().tools.tool, Tool::Lasso);
    // Other keys; on the canvas there is a button of the same name.
    ctrl(&mut screen, Key::Num1);
    ctrl(&mut screen, Key::Comma);
    screen.get_by_label("Mark everything").scroll_to_me();
    screen.run_steps(12);
    click(&mut screen, "Mark everything");
    screen.key_press_modifiers(Modifiers::SHIFT, Key::A);
    screen.run_steps(2);
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    ctrl(&mut screen, Key::Num2);
    screen.key_press_modifiers(Modifiers::SHIFT, Key::A);
    screen.run_steps(2);
    assert!(masked(&screen, 10, 10));
    window(&screen).journal().flush();
    let kept = std::fs::read_to_string(studio.data().join("preferences.json")).unwrap();
    assert!(kept.contains(r#""mask-all":"Shift+A""#) || kept.contains(r#""mask-all": "Shift+A""#));
    // Keys of the canvas are letters where text is typed.
    screen.get_by_role_and_label(Role::MultilineTextInput, "Prompt").focus();
    screen.run_steps(2);
    screen.event(Event::Text("be".to_owned()));
    screen.key_press(Key::B);
    screen.run_steps(2);
    assert_eq!(window(&screen).settings().prompt, "be");
    assert_eq!(window(&screen).canvas().editor().unwrap().tools.tool, Tool::Lasso);
}
