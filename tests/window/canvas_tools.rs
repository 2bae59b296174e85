//! Tools of the canvas that need more than a drag: a pen, the bucket, and what a file keeps of a fill.

use eframe::egui::{Event, Key, Modifiers, Pos2, Role, TouchDeviceId, TouchId, TouchPhase};
use emberbrush::canvas::mask;
use emberbrush_pipeline::request::Mode;
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::canvas_desk::{Desk, RED};

impl Desk {
    /// Draws with a pen that is pressed so hard.
    fn draw_with_pen(&mut self, from: (f32, f32), to: (f32, f32), force: f32) {
        let touch = |phase, pos: Pos2| Event::Touch {
            device_id: TouchDeviceId(1),
            id: TouchId(1),
            phase,
            pos,
            force: Some(force),
        };
        let (from, to) = (self.at(from.0, from.1), self.at(to.0, to.1));
        self.harness.hover_at(from);
        self.harness.step();
        self.harness.input_mut().events.push(touch(TouchPhase::Start, from));
        self.harness.drag_at(from);
        self.harness.step();
        for part in 1..=4 {
            let at = from + (to - from) * (part as f32 / 4.0);
            self.harness.input_mut().events.push(touch(TouchPhase::Move, at));
            self.harness.hover_at(at);
            self.harness.step();
        }
        self.harness.drop_at(to);
        self.harness.step();
        self.harness.remove_cursor();
        self.harness.step();
    }

    /// Rows that the mask covers in a column.
    fn rows_at(&self, x: u32) -> usize {
        (0..64).filter(|&y| self.masked(x, y)).count()
    }
}

#[test]
fn a_pen_that_is_pressed_less_draws_a_narrower_stroke() {
    let mut desk = Desk::new();
    desk.open_picture();
    for _ in 0..4 {
        desk.press(Key::OpenBracket);
    }
    let size = desk.editor().tools.brush.size;
    desk.draw_with_pen((20.0, 32.0), (76.0, 32.0), 1.0);
    let firm = desk.rows_at(48);
    assert!((firm as f32 - size).abs() <= 4.0, "{firm} of {size}");
    desk.click("Clear the mask");
    desk.draw_with_pen((20.0, 32.0), (76.0, 32.0), 0.5);
    let light = desk.rows_at(48);
    assert!(light > 0 && light * 3 < firm * 2, "{light} and {firm}");
}

#[test]
fn the_bucket_fills_an_outline_and_an_edge_is_feathered() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::R);
    desk.drag((20.0, 10.0), (76.0, 54.0));
    desk.press(Key::X);
    desk.drag((24.0, 14.0), (72.0, 50.0));
    desk.press(Key::X);
    assert!(desk.masked(22, 30) && !desk.masked(48, 32), "an outline");
    desk.press(Key::F);
    desk.drag((48.0, 32.0), (48.0, 32.0));
    assert!(desk.masked(48, 32) && !desk.masked(10, 32));
    let is_soft = |desk: &Desk| {
        desk.document().mask().to_vec(0).iter().any(|value| (60..200).contains(value))
    };
    assert!(!is_soft(&desk));
    desk.harness.get_by_role_and_label(Role::Button, "Feather").click();
    desk.harness.run_steps(2);
    assert!(is_soft(&desk));
    desk.press_with(Modifiers::COMMAND, Key::Z);
    assert!(!is_soft(&desk));
    desk.click("Clear the mask");
    assert!(mask::is_empty(desk.document().mask()));
}

#[test]
fn a_fill_takes_the_colours_of_its_surroundings_or_keeps_its_own() {
    let mut desk = Desk::new();
    desk.open_picture();
    let mut matched = |choice: Option<&str>| {
        desk.press(Key::R);
        desk.drag((40.0, 20.0), (60.0, 40.0));
        if let Some(choice) = choice {
            desk.click(choice);
        }
        desk.fill();
        desk.press(Key::Enter);
        match &desk.document().layers().last().unwrap().request().mode {
            Mode::Inpaint(inpaint) => inpaint.match_colours,
            mode => panic!("a fill is inpainting, not {mode:?}"),
        }
    };
    assert!(matched(None));
    assert!(!matched(Some("Its own")));
    assert!(matched(Some("Matched")));
    assert!(matched(Some("Usual")));
}

#[test]
fn a_fill_in_a_file_is_made_anew_later() {
    let mut desk = Desk::new();
    let file = desk.open_document();
    desk.press(Key::R);
    desk.drag((40.0, 20.0), (60.0, 40.0));
    desk.fill();
    desk.press(Key::Enter);
    desk.press_with(Modifiers::COMMAND, Key::S);
    desk.wait("it is saved", |window| !window.canvas().editor().unwrap().state().unsaved);

    let mut later = Desk::new();
    later.drop_file(&file);
    later.wait("it is open", |window| window.canvas().editor().is_some());
    let layer = later.document().layers()[0].clone();
    assert!(layer.mask().get(50, 30) == Some(255) && layer.mask().get(10, 10) == Some(0));
    assert_eq!(layer.variations().len(), 3);
    later.click("Choose Fill 1");
    later.click("Make new variations");
    later.wait("three more", |window| {
        let editor = window.canvas().editor().unwrap();
        editor.candidate().is_some_and(|candidate| candidate.variations().len() == 3)
    });
    later.press(Key::Enter);
    let anew = &later.document().layers()[0];
    assert_eq!(anew.variations().len(), 6);
    assert_eq!(anew.request().prompt, layer.request().prompt);
    assert_ne!(anew.shown().seed(), layer.shown().seed());
    assert_eq!(later.seen(50, 30), RED);
}
