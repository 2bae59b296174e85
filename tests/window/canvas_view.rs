//! Looking at the picture of the canvas: zoom, pan, fit, actual size, and the original.

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, PointerButton, Pos2, TouchPhase, Vec2,
};
use emberbrush::canvas::{geometry::Point, mask};
use emberbrush_tests::egui_kittest::kittest::Queryable;

use crate::canvas_desk::{Desk, RED, original};

impl Desk {
    /// Points of the screen for a pixel of the picture.
    fn scale(&self) -> f32 {
        self.at(1.0, 0.0).x - self.at(0.0, 0.0).x
    }

    fn wheel(&mut self, at: Pos2, lines: f32) {
        self.harness.hover_at(at);
        self.harness.step();
        self.harness.event(Event::MouseWheel {
            unit: MouseWheelUnit::Line,
            delta: Vec2::new(0.0, lines),
            phase: TouchPhase::Move,
            source: MouseWheelSource::Wheel,
            modifiers: Modifiers::NONE,
        });
        self.harness.run_steps(6);
    }

    fn drag_with(&mut self, button: PointerButton, from: Pos2, to: Pos2) {
        let event = |pos, pressed| Event::PointerButton {
            pos,
            button,
            pressed,
            modifiers: Modifiers::NONE,
        };
        self.harness.hover_at(from);
        self.harness.step();
        self.harness.event(event(from, true));
        self.harness.step();
        for part in 1..=4 {
            self.harness.hover_at(from + (to - from) * (part as f32 / 4.0));
            self.harness.step();
        }
        self.harness.event(event(to, false));
        self.harness.run_steps(2);
    }
}

#[test]
fn the_wheel_zooms_at_the_pointer() {
    let mut desk = Desk::new();
    desk.open_picture();
    let (scale, pointer) = (desk.scale(), desk.at(70.0, 20.0));
    desk.wheel(pointer, 3.0);
    assert!(desk.scale() > 1.05 * scale, "{} {scale}", desk.scale());
    assert!(desk.at(70.0, 20.0).distance(pointer) < 0.5, "what is under the pointer stays there");
    assert!(desk.at(0.0, 0.0).distance(pointer) > 1.0);
    desk.wheel(pointer, -3.0);
    assert!((desk.scale() / scale - 1.0).abs() < 0.02);
    assert!(mask::is_empty(desk.document().mask()), "nothing is painted");
}

#[test]
fn the_middle_button_space_and_the_hand_move_the_picture() {
    let mut desk = Desk::new();
    desk.open_picture();
    let (scale, from) = (desk.scale(), desk.at(40.0, 30.0));
    let by = Vec2::new(60.0, 24.0);
    desk.drag_with(PointerButton::Middle, from, from + by);
    assert!(desk.at(40.0, 30.0).distance(from + by) < 0.5);
    desk.harness.key_down(Key::Space);
    desk.harness.step();
    desk.drag_with(PointerButton::Primary, from + by, from);
    desk.harness.key_up(Key::Space);
    desk.harness.step();
    assert!(desk.at(40.0, 30.0).distance(from) < 0.5);
    desk.press(Key::H);
    desk.drag_with(PointerButton::Primary, from, from + by);
    assert!(desk.at(40.0, 30.0).distance(from + by) < 0.5);
    assert_eq!(desk.scale(), scale);
    assert!(mask::is_empty(desk.document().mask()), "nothing is painted");
}

#[test]
fn keys_show_the_whole_picture_and_its_actual_size() {
    let mut desk = Desk::new();
    desk.open_picture();
    let (scale, corner) = (desk.scale(), desk.at(0.0, 0.0));
    desk.press(Key::Num1);
    assert_eq!(desk.scale(), 1.0);
    let pointer = desk.at(90.0, 60.0);
    desk.wheel(pointer, 6.0);
    assert_ne!(desk.scale(), 1.0);
    desk.press(Key::Num0);
    assert_eq!(desk.scale(), scale);
    assert!(desk.at(0.0, 0.0).distance(corner) < 0.5);
}

#[test]
fn a_drag_with_alt_sets_size_and_hardness_of_the_brush() {
    let mut desk = Desk::new();
    desk.open_picture();
    let before = desk.editor().tools.brush;
    let (from, scale) = (desk.at(40.0, 30.0), desk.scale());
    let event = |pos, pressed| Event::PointerButton {
        pos,
        button: PointerButton::Primary,
        pressed,
        modifiers: Modifiers::ALT,
    };
    desk.harness.hover_at(from);
    desk.harness.step();
    desk.harness.event_modifiers(event(from, true), Modifiers::ALT);
    desk.harness.step();
    let to = from + Vec2::new(8.0 * scale, 20.0 * scale);
    desk.harness.hover_at(to);
    desk.harness.step();
    desk.harness.event(event(to, false));
    desk.harness.run_steps(2);
    let after = desk.editor().tools.brush;
    assert_eq!(after.size, before.size + 16.0);
    assert!((before.hardness - after.hardness - 0.1).abs() < 0.01, "{after:?}");
    assert!(mask::is_empty(desk.document().mask()), "nothing is painted");
    desk.drag((40.0, 32.0), (50.0, 32.0));
    assert!(desk.masked(45, 32), "the next drag paints");
}

#[test]
fn a_narrow_window_folds_the_right_panel_until_it_is_asked_for() {
    let mut desk = Desk::new();
    desk.open_picture();
    assert!(desk.harness.query_by_label("Clear the mask").is_some());
    desk.harness.set_size(Vec2::new(900.0, 620.0));
    desk.harness.run_steps(3);
    assert!(desk.harness.query_by_label("Clear the mask").is_none());
    desk.press_with(Modifiers::COMMAND, Key::B);
    desk.click("Clear the mask");
    desk.harness.set_size(Vec2::new(1280.0, 800.0));
    desk.harness.run_steps(3);
    assert!(desk.harness.query_by_label("Clear the mask").is_some(), "a wide one has its own");
}

#[test]
fn a_held_key_shows_the_original() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::R);
    desk.drag((10.0, 10.0), (40.0, 40.0));
    desk.fill();
    desk.press(Key::Enter);
    assert_eq!(desk.seen(20, 20), RED);
    assert!(!desk.window().canvas().shows_original());
    desk.harness.key_down(Key::Backslash);
    desk.harness.run_steps(2);
    assert!(desk.window().canvas().shows_original());
    assert_eq!(desk.seen(20, 20), original(20, 20));
    desk.harness.key_up(Key::Backslash);
    desk.harness.run_steps(2);
    assert!(!desk.window().canvas().shows_original());
    assert_eq!(desk.seen(20, 20), RED);
    assert!(desk.window().canvas().screen_position(Point::new(0.0, 0.0)).is_some());
}
