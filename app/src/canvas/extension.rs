//! The edges of the picture, which are dragged outwards to let it go on there.

use egui::{CornerRadius, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, pos2, vec2};

use super::{
    editor::Editor,
    geometry::Point,
    surface::{TINT, position},
    view::View,
};
use crate::window::theme::Colours;

/// From this far outside, an edge of the picture can be dragged, in points.
const HANDLE_REACH: f32 = 18.0;

/// Length of the mark that shows that an edge can be dragged, in points.
const HANDLE_LENGTH: f32 = 36.0;

/// A side of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Top,
    Right,
    Bottom,
}

/// The picture's corners on the screen.
fn bounds(editor: &Editor, view: View) -> Rect {
    let (width, height) = editor.document().size();
    Rect::from_min_max(
        position(view.to_screen(Point::new(0.0, 0.0))),
        position(view.to_screen(Point::new(width as f32, height as f32))),
    )
}

/// The side that can be dragged from `at`: only from outside of the picture, so that the pointer
/// can paint up to its edge.
pub(super) fn side_at(editor: &Editor, view: View, at: Pos2) -> Option<Side> {
    if editor.candidate().is_some() || editor.gesture().is_some() {
        return None;
    }
    let bounds = extended(editor, view);
    let within = |value: f32, low: f32, high: f32| value >= low && value <= high;
    let near = |distance: f32| within(distance, 0.5, HANDLE_REACH);
    let along = |value: f32, middle: f32| (value - middle).abs() <= HANDLE_LENGTH;
    let (x, y) = (at.x, at.y);
    match () {
        () if near(bounds.left() - x) && along(y, bounds.center().y) => Some(Side::Left),
        () if near(x - bounds.right()) && along(y, bounds.center().y) => Some(Side::Right),
        () if near(bounds.top() - y) && along(x, bounds.center().x) => Some(Side::Top),
        () if near(y - bounds.bottom()) && along(x, bounds.center().x) => Some(Side::Bottom),
        () => None,
    }
}

/// The picture with what is added to it, on the screen.
fn extended(editor: &Editor, view: View) -> Rect {
    let bounds = bounds(editor, view);
    let extension = editor.extension;
    let scale = view.scale();
    Rect::from_min_max(
        bounds.min - vec2(extension.left as f32, extension.top as f32) * scale,
        bounds.max + vec2(extension.right as f32, extension.bottom as f32) * scale,
    )
}

/// A side was dragged to a place of the picture.
pub(super) fn drag_side(editor: &mut Editor, side: Side, at: Point) {
    let (width, height) = editor.document().size();
    let added = |distance: f32, side: u32| distance.round().clamp(0.0, side as f32) as u32;
    let extension = &mut editor.extension;
    match side {
        Side::Left => extension.left = added(-at.x, width),
        Side::Right => extension.right = added(at.x - width as f32, width),
        Side::Top => extension.top = added(-at.y, height),
        Side::Bottom => extension.bottom = added(at.y - height as f32, height),
    }
}

/// Draws what is added to the picture, and the marks where its edges can be dragged.
pub(super) fn paint_extension(painter: &Painter, editor: &Editor, view: View, colours: &Colours) {
    let bounds = bounds(editor, view);
    let line = Stroke::new(1.0, colours.line);
    painter.rect_stroke(bounds, CornerRadius::ZERO, line, StrokeKind::Outside);
    if editor.candidate().is_some() {
        return;
    }
    let extended = extended(editor, view);
    if extended != bounds {
        let corners = [
            extended.left_top(),
            extended.right_top(),
            extended.right_bottom(),
            extended.left_bottom(),
            extended.left_top(),
        ];
        let tint = colours.accent.gamma_multiply(TINT * 0.5);
        for band in bands(extended, bounds) {
            painter.rect_filled(band, CornerRadius::ZERO, tint);
        }
        painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, colours.accent), 6.0, 4.0));
    }
    let half = HANDLE_LENGTH / 2.0;
    let (left, right) = (extended.left() - 6.0, extended.right() + 6.0);
    let (top, bottom) = (extended.top() - 6.0, extended.bottom() + 6.0);
    let (middle_x, middle_y) = (extended.center().x, extended.center().y);
    for (from, to) in [
        (pos2(left, middle_y - half), pos2(left, middle_y + half)),
        (pos2(right, middle_y - half), pos2(right, middle_y + half)),
        (pos2(middle_x - half, top), pos2(middle_x + half, top)),
        (pos2(middle_x - half, bottom), pos2(middle_x + half, bottom)),
    ] {
        painter.line_segment([from, to], Stroke::new(3.0, colours.dim.gamma_multiply(0.6)));
    }
}

/// What `outer` has beyond `inner`.
fn bands(outer: Rect, inner: Rect) -> [Rect; 4] {
    [
        Rect::from_min_max(outer.min, pos2(outer.right(), inner.top())),
        Rect::from_min_max(pos2(outer.left(), inner.bottom()), outer.max),
        Rect::from_min_max(pos2(outer.left(), inner.top()), inner.left_bottom()),
        Rect::from_min_max(inner.right_top(), pos2(outer.right(), inner.bottom())),
    ]
}
