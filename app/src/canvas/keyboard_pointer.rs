//! The canvas by keyboard alone: while it has the focus, the arrows move a pointer, with Shift they draw with the tool
//! in hand, and Enter is a click.

use egui::{EventFilter, Key, Modifiers, Response, Ui};

use super::{brush::StrokePoint, editor::Editor, geometry::Point, view::View};

/// How far an arrow moves the pointer, as a share of the brush.
const BRUSH_SHARE: f32 = 0.25;

/// How far it moves it with other tools, in points of the screen.
const STEP: f32 = 12.0;

/// A pointer that the arrows move.
#[derive(Debug, Default)]
pub(super) struct KeyboardPointer {
    /// Where it is in the picture, once it was moved.
    at: Option<Point>,
    /// Whether it draws.
    draws: bool,
}

impl KeyboardPointer {
    /// Where it is, while the canvas has the focus.
    pub(super) fn at(&self, canvas: &Response) -> Option<Point> {
        self.at.filter(|_| canvas.has_focus())
    }

    /// Whether it draws, so that the mouse has nothing to do with what is drawn.
    pub(super) fn draws(&self) -> bool {
        self.draws
    }

    /// Takes in the keys of this frame.
    pub(super) fn work(&mut self, ui: &Ui, editor: &mut Editor, canvas: &Response, view: View) {
        if !canvas.has_focus() {
            self.end(editor);
            return;
        }
        // Tab goes on to the next control, and the arrows stay here.
        let filter = EventFilter {
            horizontal_arrows: true,
            vertical_arrows: true,
            ..EventFilter::default()
        };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(canvas.id, filter));
        if editor.candidate().is_some() {
            return;
        }
        let (width, height) = editor.document().size();
        let (right, bottom) = (width as f32, height as f32);
        let from = self.at.unwrap_or(Point::new(right / 2.0, bottom / 2.0));
        self.at = Some(from);
        if !ui.input(|input| input.modifiers.shift) {
            self.end(editor);
        }
        let tools = &editor.tools;
        let step = match tools.tool.is_brush() {
            true => (tools.brush.size * BRUSH_SHARE).max(1.0),
            false => (STEP / view.scale()).max(1.0),
        };
        // Keys without modifiers are found in those with Shift too.
        let drawn = way(ui, Modifiers::SHIFT);
        let moved = way(ui, Modifiers::NONE);
        let (across, down) = (moved.0 + drawn.0, moved.1 + drawn.1);
        let to = Point::new(
            (from.x + across * step).clamp(0.0, right),
            (from.y + down * step).clamp(0.0, bottom),
        );
        if drawn != (0.0, 0.0) {
            if !self.draws {
                editor.press(StrokePoint { at: from, pressure: 1.0 });
                self.draws = true;
            }
            editor.drag(StrokePoint { at: to, pressure: 1.0 });
        }
        self.at = Some(to);
        if ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Enter)) {
            editor.press(StrokePoint { at: to, pressure: 1.0 });
            editor.release();
        }
    }

    /// What was drawn is whole.
    fn end(&mut self, editor: &mut Editor) {
        if std::mem::take(&mut self.draws) {
            editor.release();
        }
    }
}

/// How often arrows were pressed in this frame: to the right and down.
fn way(ui: &Ui, modifiers: Modifiers) -> (f32, f32) {
    let pressed = |key| ui.input_mut(|input| input.count_and_consume_key(modifiers, key)) as f32;
    let across = pressed(Key::ArrowRight) - pressed(Key::ArrowLeft);
    (across, pressed(Key::ArrowDown) - pressed(Key::ArrowUp))
}
