//! The Canvas place, worked by pointer and keyboard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canvas_desk;
mod canvas_files;
mod canvas_tools;
mod canvas_view;
mod without_screen;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use canvas_desk::{Desk, GREEN, RED, SIZE, original};
use eframe::egui::{Key, Modifiers, Role, Vec2};
use emberbrush::{
    canvas::{ember_file, mask, tools::Tool},
    engine::{DiffusionEngine, Engine, Job, JobEnd, JobEvent, LoadedModel, Setup},
    failure::Failure,
    window::Window,
};
use emberbrush_pipeline::{device::DeviceInfo, metadata, picture};
use emberbrush_tests::egui_kittest::kittest::Queryable;
use tempfile::TempDir;

#[test]
fn a_picture_is_opened_painted_filled_compared_accepted_undone_saved_and_opened_again() {
    let mut desk = Desk::new();
    let file = desk.open_document();
    assert_eq!(desk.window().canvas().document_name(), Some("cat"));

    desk.drag((40.0, 32.0), (60.0, 32.0));
    assert!(desk.masked(50, 32) && !desk.masked(5, 5));
    desk.fill();
    assert_eq!(desk.seen(50, 32), RED, "the first variation is shown");
    assert_eq!(desk.seen(1, 1), original(1, 1));
    desk.press(Key::ArrowRight);
    assert_eq!(desk.seen(50, 32), GREEN, "arrows compare");
    assert!(desk.document().layers().is_empty(), "nothing is accepted yet");
    desk.press(Key::Enter);
    assert_eq!(desk.document().layers().len(), 1);
    assert_eq!(desk.document().layers()[0].variations().len(), 3);
    assert!(mask::is_empty(desk.document().mask()));
    assert_eq!(desk.seen(50, 32), GREEN);

    desk.press_with(Modifiers::COMMAND, Key::Z);
    assert!(desk.document().layers().is_empty() && desk.masked(50, 32));
    assert_eq!(desk.seen(50, 32), original(50, 32));
    desk.press_with(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(desk.seen(50, 32), GREEN);

    assert!(desk.editor().state().unsaved);
    desk.press_with(Modifiers::COMMAND, Key::S);
    desk.wait("it is saved", |window| !window.canvas().editor().unwrap().state().unsaved);
    let composite = desk.document().composite();
    assert_eq!(ember_file::open(&file).unwrap().composite(), composite);
    desk.open_picture();
    desk.wait("the picture", |window| window.canvas().editor().unwrap().state().file.is_none());
    desk.drop_file(&file);
    desk.wait("the document", |window| window.canvas().editor().unwrap().state().file.is_some());
    assert_eq!(desk.document().composite(), composite);
    assert_eq!(desk.document().layers()[0].chosen(), 1);
}

#[test]
fn nothing_is_lost_when_the_program_is_killed() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.drag((40.0, 32.0), (60.0, 32.0));
    desk.fill();
    desk.press(Key::Enter);
    desk.drag((10.0, 10.0), (20.0, 10.0));
    let (mask, composite) = (desk.document().mask().to_vec(0), desk.document().composite());
    let desk = desk.killed();
    assert_eq!(desk.document().mask().to_vec(0), mask);
    assert_eq!(desk.document().composite(), composite);
    assert_eq!(desk.document().layers()[0].variations().len(), 3);
    assert!(desk.editor().state().unsaved);
}

#[test]
fn a_stroke_that_is_being_drawn_survives_too_and_escape_takes_it_back() {
    let mut desk = Desk::new();
    desk.open_picture();
    let (from, to) = (desk.at(40.0, 32.0), desk.at(60.0, 32.0));
    desk.harness.drag_at(from);
    desk.harness.step();
    desk.harness.hover_at(to);
    desk.harness.run_steps(60);
    assert!(desk.masked(50, 32), "seen before the button is let go");
    let mut desk = desk.killed();
    assert!(desk.masked(50, 32));
    let mask = desk.document().mask().to_vec(0);
    desk.harness.drag_at(from);
    desk.harness.step();
    desk.harness.hover_at(desk.at(60.0, 5.0));
    desk.harness.step();
    assert_ne!(desk.document().mask().to_vec(0), mask);
    desk.press(Key::Escape);
    assert_eq!(desk.document().mask().to_vec(0), mask);
}

#[test]
fn every_tool_has_its_key_and_works() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::R);
    desk.drag((10.0, 10.0), (30.0, 20.0));
    assert!(desk.masked(20, 15) && desk.masked(10, 10) && !desk.masked(31, 15));
    desk.press(Key::E);
    desk.press(Key::OpenBracket);
    let size = desk.editor().tools.brush.size;
    assert!(size < 48.0);
    desk.press_with(Modifiers::SHIFT, Key::CloseBracket);
    assert_eq!(desk.editor().tools.brush.hardness, 0.9);
    desk.drag((20.0, 15.0), (21.0, 15.0));
    assert!(!desk.masked(20, 15), "erased");
    desk.press(Key::D);
    assert_eq!(desk.editor().tools.brush.size, 48.0);
    desk.press(Key::X);
    desk.drag((80.0, 50.0), (81.0, 50.0));
    assert!(desk.masked(80, 50), "a swapped eraser paints");
    desk.press(Key::X);

    desk.click("Clear the mask");
    assert!(mask::is_empty(desk.document().mask()));
    desk.press(Key::W);
    desk.drag((20.0, 15.0), (20.0, 15.0));
    assert!(desk.masked(20, 15) && desk.masked(25, 15) && !desk.masked(60, 15));
    desk.click("Invert the mask");
    assert!(!desk.masked(20, 15) && desk.masked(60, 15));
    desk.click("Clear the mask");

    desk.press(Key::L);
    let corners = [(10.0, 10.0), (50.0, 10.0), (50.0, 50.0), (10.0, 50.0)];
    desk.harness.drag_at(desk.at(10.0, 10.0));
    desk.harness.step();
    for (x, y) in corners {
        desk.harness.hover_at(desk.at(x, y));
        desk.harness.step();
    }
    desk.harness.drop_at(desk.at(10.0, 50.0));
    desk.harness.step();
    assert!(desk.masked(30, 30) && !desk.masked(55, 30));
    desk.click("Grow");
    assert!(desk.masked(55, 30));
    desk.click("Shrink");
    assert!(!desk.masked(55, 30) && desk.masked(30, 30));
    desk.click("Clear the mask");

    desk.press(Key::G);
    desk.drag((0.0, 32.0), (96.0, 32.0));
    let row: Vec<u8> = (0..96).map(|x| desk.document().mask().get(x, 32).unwrap()).collect();
    assert!(row.windows(2).all(|pair| pair[0] <= pair[1]) && row[0] < 5 && row[95] > 250);
    desk.click("Clear the mask");

    desk.press(Key::I);
    desk.drag((30.0, 20.0), (30.0, 20.0));
    assert_eq!(desk.editor().tools.colour, original(30, 20));
    assert_eq!(desk.editor().tools.tool, Tool::ColourBrush);
    desk.drag((70.0, 50.0), (71.0, 50.0));
    let [red, green, blue, alpha] = desk.document().sketch().get(70, 50).unwrap();
    assert_eq!(([red, green, blue], alpha), (original(30, 20), 255));
    assert!(mask::is_empty(desk.document().mask()));
    desk.press(Key::H);
    desk.drag((30.0, 20.0), (60.0, 30.0));
    assert!(mask::is_empty(desk.document().mask()), "the hand paints nothing");
}

#[test]
fn the_colour_that_is_sketched_with_is_changed_by_sliders() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::C);
    let before = desk.editor().tools.colour;
    desk.harness.get_by_role_and_label(Role::ColorWell, "Colour").click();
    desk.harness.run_steps(4);
    let turned = |desk: &mut Desk, name: &str, key: Key| {
        desk.harness.get_by_role_and_label(Role::Slider, name).focus();
        desk.harness.run_steps(2);
        for _ in 0..40 {
            desk.harness.key_press(key);
            desk.harness.step();
        }
        desk.editor().tools.colour
    };
    let darker = turned(&mut desk, "Brightness", Key::ArrowLeft);
    assert!((0..3).all(|channel| darker[channel] <= before[channel]) && darker[0] < before[0]);
    let other = turned(&mut desk, "Hue", Key::ArrowRight);
    assert_ne!(other, darker);
    let brightest = |colour: [u8; 3]| colour.into_iter().max();
    assert_eq!(brightest(other), brightest(darker), "the hue alone");
}

#[test]
fn layers_are_hidden_moved_named_deleted_and_made_anew() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.drag((40.0, 32.0), (60.0, 32.0));
    desk.fill();
    desk.click("Variation 2");
    assert_eq!(desk.seen(50, 32), GREEN);
    desk.press(Key::Enter);
    desk.drag((44.0, 32.0), (56.0, 32.0));
    desk.fill();
    desk.press(Key::Enter);
    assert_eq!(desk.seen(50, 32), RED);
    desk.click("Hide Fill 2");
    assert_eq!(desk.seen(50, 32), GREEN);
    desk.click("Show Fill 2");
    desk.click("Choose Fill 2");
    desk.click("Move down");
    assert_eq!(desk.seen(50, 32), GREEN, "below the first");
    desk.click("Name of the layer");
    desk.harness.get_by_label("Name of the layer").type_text("eye");
    desk.harness.run_steps(2);
    assert_eq!(desk.document().layers()[0].name(), "eye");
    assert_eq!(desk.editor().tools.tool, Tool::Brush, "typing chooses no tool");
    desk.click("Make new variations");
    desk.wait("six variations", |window| {
        let editor = window.canvas().editor().unwrap();
        editor.candidate().is_some_and(|candidate| candidate.variations().len() == 3)
    });
    desk.press(Key::Enter);
    assert_eq!(desk.document().layers()[0].variations().len(), 6);
    desk.click("Delete the layer");
    assert_eq!(desk.document().layers().len(), 1);
    desk.press_with(Modifiers::COMMAND, Key::Z);
    assert_eq!(desk.document().layers().len(), 2);
}

#[test]
fn dragging_the_border_extends_the_picture() {
    let mut desk = Desk::new();
    desk.open_picture();
    let edge = desk.at(96.0, 32.0);
    let scale = desk.at(96.0, 0.0).x - desk.at(95.0, 0.0).x;
    desk.drag_points(edge + Vec2::new(6.0, 0.0), edge + Vec2::new(32.0 * scale, 0.0));
    assert_eq!(desk.editor().extension.right, 32);
    assert!(mask::is_empty(desk.document().mask()), "beside the picture nothing is painted");
    desk.fill();
    assert_eq!(desk.editor().shown().pixels().size().0, 128);
    desk.press(Key::Enter);
    assert_eq!(desk.document().size(), (128, 64));
    assert_eq!(desk.seen(120, 30), RED);
    assert_eq!(desk.seen(90, 30), original(90, 30));
    assert_eq!(desk.editor().extension.right, 0);
    desk.press_with(Modifiers::COMMAND, Key::Z);
    assert_eq!(desk.document().size(), SIZE);
}

#[test]
fn what_goes_wrong_is_said_and_changes_nothing() {
    let mut desk = Desk::new();
    desk.press_with(Modifiers::COMMAND, Key::Enter);
    assert!(desk.harness.query_by_label_contains("Open a picture first").is_some());
    desk.open_picture();
    desk.press_with(Modifiers::COMMAND, Key::Enter);
    for _ in 0..200 {
        desk.harness.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(desk.harness.query_by_label_contains("Paint a mask first").is_some());
    let broken = desk.path("broken.ember");
    std::fs::write(&broken, "no zip").unwrap();
    desk.drop_file(&broken);
    for _ in 0..100 {
        desk.harness.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(desk.harness.query_by_label_contains("broken.ember").is_some());
    assert_eq!(desk.document().size(), SIZE, "the open document stays");
}

#[test]
fn a_fill_is_cancelled_and_keeps_what_is_done() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").focus();
    desk.harness.step();
    desk.harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").type_text("slow apple");
    desk.harness.run_steps(2);
    assert_eq!(desk.window().settings().prompt, "slow apple");
    desk.drag((40.0, 32.0), (60.0, 32.0));
    desk.press(Key::E);
    assert_eq!(desk.editor().tools.tool, Tool::Eraser, "painting ended typing");
    desk.press_with(Modifiers::COMMAND, Key::Enter);
    desk.wait("the first variation", |window| {
        window.canvas().editor().unwrap().candidate().is_some()
    });
    desk.click("Cancel the fill");
    desk.wait("the end", |window| window.queue().open_count() == 0);
    let candidate = desk.editor().candidate().unwrap();
    assert_eq!(candidate.variations().len(), 1);
    assert_eq!(candidate.job().request.prompt, "slow apple");
}

/// The model in the box, with few steps and pixels.
#[derive(Default)]
struct QuickEngine(DiffusionEngine);

impl Engine for QuickEngine {
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure> {
        let mut loaded = self.0.load(setup)?;
        loaded.defaults.steps = 4;
        (loaded.defaults.width, loaded.defaults.height) = (128, 128);
        Ok(loaded)
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        self.0.run(job, on_event)
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        self.0.devices()
    }
}

/// The model in the box on the processor: a prompt becomes a picture, which is opened on the canvas,
/// painted on and filled; then four pictures of the prompt are exported, and their files read.
#[test]
fn the_whole_way_with_the_model_in_the_box() {
    let mut desk = Desk::with(TempDir::new().unwrap(), QuickEngine::default);
    let patient = |desk: &mut Desk, what: &str, is_so: &dyn Fn(&Window) -> bool| {
        for _ in 0..30_000 {
            desk.harness.step();
            if is_so(desk.window()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited for: {what}");
    };
    desk.press_with(Modifiers::COMMAND, Key::Num1);
    let prompt = "a red apple on a blue background";
    let field = |desk: &Desk| {
        desk.harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").rect().center()
    };
    let at = field(&desk);
    desk.drag_points(at, at);
    desk.harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").type_text(prompt);
    desk.harness.run_steps(2);
    desk.press_with(Modifiers::COMMAND, Key::Enter);
    patient(&mut desk, "a picture", &|window| !window.results().pictures.is_empty());
    let made = desk.window().results().pictures[0].path.clone().expect("it is on disk");

    desk.press_with(Modifiers::COMMAND, Key::Num3);
    desk.wait("it is in the gallery", |window| window.gallery().pictures().len() == 1);
    desk.click(&made.file_name().unwrap().to_string_lossy());
    desk.harness.get_by_label_contains("Open on the canvas").click();
    desk.wait("it is open", |window| window.canvas().editor().is_some());
    // From the frame after it was opened on, it is known where it lies.
    desk.harness.run_steps(3);
    let (width, height) = desk.document().size();
    desk.press(Key::R);
    desk.drag((width as f32 * 0.3, height as f32 * 0.3), (width as f32 * 0.7, height as f32 * 0.7));
    let mask = desk.document().mask().clone();
    desk.press_with(Modifiers::COMMAND, Key::Enter);
    patient(&mut desk, "three variations", &|window| {
        let candidate = window.canvas().editor().and_then(|editor| editor.candidate());
        candidate.is_some_and(|candidate| candidate.variations().len() == 3)
    });
    desk.harness.run_steps(2);
    desk.press(Key::ArrowRight);
    desk.press(Key::Enter);
    let layer = Arc::clone(&desk.document().layers()[0]);
    assert_eq!((layer.variations().len(), layer.chosen()), (3, 1));
    let before = picture::read(&made).unwrap();
    let after = desk.document().composite();
    let (before, after) = (before.pixels.to_rgb8(), after.pixels.to_rgb8());
    let area = layer.patch().area();
    let mut changed = 0;
    for (x, y, pixel) in after.enumerate_pixels() {
        let is_changed = pixel != before.get_pixel(x, y);
        assert!(!is_changed || area.contains(x, y), "{x} {y} is outside of the fill");
        changed += u32::from(is_changed && mask.get(x, y) == Some(255));
    }
    assert!(changed > 0, "something was painted");
    assert_ne!(layer.variations()[0].painted(), layer.variations()[1].painted());

    let files = std::fs::read_dir(desk.path("pictures")).unwrap().count();
    assert_eq!(files, 4, "the picture and three fills are in the folder");

    desk.press_with(Modifiers::COMMAND, Key::E);
    desk.click("Queue 4 pictures");
    patient(&mut desk, "four more", &|window| window.queue().open_count() == 0);
    let settings = desk.window().settings().clone();
    let mut exported = Vec::new();
    for index in 0..4 {
        let seed = settings.seed + index;
        let name = format!("{}-{seed}-{prompt}.png", index + 1);
        let file = desk.path("pictures").join(name);
        let read = metadata::read(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.program.to_string(), "Emberbrush");
        let expected = serde_json::json!({
            "prompt": prompt, "seed": seed, "width": 128, "height": 128, "count": 1,
            "steps": settings.steps, "cfg": settings.guidance, "sampler": settings.sampler,
            "schedule": settings.schedule, "model": emberbrush_assets::DEFAULT_MODEL_NAME,
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&read.fields[field], value, "{field} of {}", file.display());
        }
        let picture = picture::read(&file).unwrap().pixels.to_rgb8();
        assert_eq!(picture.dimensions(), (128, 128));
        assert!(!exported.contains(&picture), "each seed has a picture of its own");
        exported.push(picture);
    }
    assert_eq!(exported[0], before, "the same seed and settings give the same picture");
    let files = std::fs::read_dir(desk.path("pictures")).unwrap().count();
    assert_eq!(files, 8, "and nothing else was written or taken away");
}
