//! The gallery: comparing, copying, sending on, and very many pictures.

use egui::{Key, Modifiers, OutputCommand, pos2};
use emberbrush::window::Place;
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::studio::{
    Screen, Studio, click, ctrl, drawing, generate, type_prompt, wait, wheel, window,
};

/// A gallery with two pictures, of an apple and of a cup; the names of their files.
fn two_pictures(studio: &Studio) -> (Screen<'static>, [String; 2]) {
    let mut screen = studio.open();
    for prompt in ["an apple", " and a cup"] {
        type_prompt(&mut screen, prompt);
        generate(&mut screen);
    }
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 2);
    let files = studio.files();
    let named = |text: &str, other: bool| {
        files.iter().find(|name| name.contains(text) == other).unwrap().clone()
    };
    (screen, [named("cup", false), named("cup", true)])
}

/// What the window put on the clipboard in the frames since a command was given.
pub fn copied(screen: &mut Screen<'_>, name: &str) -> OutputCommand {
    screen.get_by_label(name).click();
    for _ in 0..4 {
        screen.step();
        let commands = &screen.output().platform_output.commands;
        let found = commands.iter().find(|command| {
            matches!(command, OutputCommand::CopyText(_) | OutputCommand::CopyImage(_))
        });
        if let Some(command) = found {
            return command.clone();
        }
    }
    panic!("{name} copied nothing");
}

#[test]
fn two_pictures_are_compared_with_a_slider() {
    let studio = Studio::new();
    let (mut screen, [apple, cup]) = two_pictures(&studio);
    click(&mut screen, &apple);
    screen.get_by_label(&cup).click_modifiers(Modifiers::COMMAND);
    screen.run_steps(2);
    screen.get_by_label_contains("Compare two").click();
    let slider =
        |screen: &Screen<'_>| screen.query_by_role(egui::accesskit::Role::Slider).is_some();
    wait(&mut screen, |screen| slider(screen));
    wait(&mut screen, |screen| window(screen).gallery().compared().is_some());
    assert_eq!(window(&screen).gallery().compared().unwrap(), 0.5);
    wait(&mut screen, |screen| window(screen).gallery().awaited_thumbnails() == 0);
    let place = screen.get_by_role(egui::accesskit::Role::Slider).rect();
    screen.hover_at(place.center());
    screen.step();
    screen.drag_at(place.center());
    screen.step();
    screen.hover_at(pos2(place.right() - 1.0, place.center().y));
    screen.step();
    screen.drop_at(pos2(place.right() - 1.0, place.center().y));
    screen.run_steps(2);
    assert_eq!(window(&screen).gallery().compared().unwrap(), 1.0, "the first picture alone");
}

#[test]
fn pictures_are_searched_by_prompt_and_settings() {
    let studio = Studio::new();
    let (mut screen, _) = two_pictures(&studio);
    let count = |screen: &Screen<'_>| window(screen).gallery().pictures().len();
    screen.get_by_label("Search prompts and settings").focus();
    screen.step();
    screen.get_by_label("Search prompts and settings").type_text("CUP apple");
    wait(&mut screen, |screen| count(screen) == 1);
    assert_eq!(window(&screen).gallery().pictures()[0].prompt(), "an apple and a cup");
    screen.get_by_label("1 picture");
    screen.get_by_label("Search prompts and settings").type_text(" pear");
    wait(&mut screen, |screen| count(screen) == 0);
    for _ in 0.."CUP apple pear".len() {
        screen.key_press(Key::Backspace);
        screen.step();
    }
    wait(&mut screen, |screen| count(screen) == 2);
    let seed = window(&screen).gallery().pictures()[1].fields["seed"].clone();
    screen.get_by_label("Search prompts and settings").type_text(&format!("seed: {seed}"));
    wait(&mut screen, |screen| count(screen) == 1);
    assert_eq!(window(&screen).gallery().pictures()[0].fields["seed"], seed);
}

#[test]
fn a_picture_and_its_settings_are_copied() {
    let studio = Studio::new();
    let (mut screen, [apple, _]) = two_pictures(&studio);
    click(&mut screen, &apple);
    let OutputCommand::CopyImage(image) = copied(&mut screen, "Copy the picture") else {
        panic!("a picture is copied");
    };
    assert_eq!(image.size, [128, 128]);
    let seed = window(&screen).gallery().pictures()[1].fields["seed"].as_u64().unwrap();
    let expected = drawing(128, 128, seed);
    let pixel = expected.get_pixel(5, 9).0;
    assert_eq!(image[(5, 9)].to_array()[..3], pixel);
    let OutputCommand::CopyText(text) = copied(&mut screen, "Copy its settings") else {
        panic!("text is copied");
    };
    assert!(text.starts_with("an apple\nNegative prompt:"), "{text}");
    assert!(text.contains(&format!("Seed: {seed}")) && text.contains("Steps: 4"), "{text}");
}

#[test]
fn a_picture_is_sent_to_the_canvas() {
    let studio = Studio::new();
    let (mut screen, [apple, _]) = two_pictures(&studio);
    click(&mut screen, &apple);
    screen.get_by_label_contains("Open on the canvas").click();
    screen.run_steps(3);
    assert_eq!(window(&screen).place(), Place::Canvas);
    let editor = window(&screen).canvas().editor().expect("a document is open");
    assert_eq!(editor.document().size(), (128, 128));
    assert_eq!(editor.document().name, apple.trim_end_matches(".png"));
}

#[test]
fn a_picture_that_was_just_made_comes_first_without_asking_for_all() {
    let studio = Studio::new();
    let (mut screen, _) = two_pictures(&studio);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 3);
    let pictures = window(&screen).gallery().pictures();
    assert!(pictures.is_sorted_by(|a, b| a.modified >= b.modified));
}

#[test]
fn of_ten_thousand_pictures_only_those_in_view_are_drawn() {
    const COUNT: usize = 10_000;
    let studio = Studio::new();
    studio.fill_gallery(COUNT);
    let mut screen = studio.open();
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == COUNT);
    screen.get_by_label("10000 pictures");
    let drawn = |screen: &Screen<'_>| screen.query_all_by_label_contains(".png").count();
    assert!((12..60).contains(&drawn(&screen)), "{}", drawn(&screen));
    let first = |screen: &Screen<'_>| screen.query_all_by_label_contains(".png").next().is_some();
    for _ in 0..5 {
        wheel(&mut screen, pos2(600.0, 400.0), -400.0);
        assert!(first(&screen) && drawn(&screen) < 60);
    }
    assert!(screen.query_by_label("picture-09999.png").is_none(), "it has scrolled on");
}
