//! The centre of the Canvas place: the picture, what is drawn on it, and the pointer.

use egui::{
    Color32, Context, CornerRadius, CursorIcon, Event, Id, Key, Painter, PointerButton, Pos2, Rect,
    Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::{
    brush::{Brush, StrokePoint},
    colouring::{MaskColouring, RgbaColouring},
    editor::{Editor, Gesture},
    extension::{Side, drag_side, paint_extension, side_at},
    geometry::Point,
    keyboard_pointer::KeyboardPointer,
    overlay::{Overlay, level, place},
    screen_image::ScreenImage,
    textures::{Checker, draw_part},
    tools::Tool,
    view::{View, Viewport},
};
use crate::window::theme::Colours;

/// How opaque the mask's tint is.
pub(super) const TINT: f32 = 0.4;

/// How far a turn of the wheel by a point zooms, as an exponent.
const WHEEL_ZOOM: f32 = 1.0 / 240.0;

/// Width of the room that the tools take, in points.
const TOOLS: f32 = 52.0;

/// How a picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// All of it.
    Fit,
    /// A pixel of it for a pixel of the screen.
    ActualSize,
}

/// How the picture lies in the window, and the textures that it is drawn with.
#[derive(Debug, Default)]
pub(super) struct Surface {
    view: Option<View>,
    next: Option<Look>,
    /// Whether the view follows the window's size.
    is_fitted: bool,
    shown_size: (u32, u32),
    shown_room: Vec2,
    pan: bool,
    shows_original: bool,
    side: Option<Side>,
    /// The brush as it was where a drag with Alt began, which sets its size and hardness.
    sized: Option<(Pos2, Brush)>,
    pub(super) keyboard: KeyboardPointer,
    id: Option<Id>,
    checker: Checker,
    picture: Overlay<RgbaColouring>,
    mask: Overlay<MaskColouring>,
    sketch: Overlay<RgbaColouring>,
}

/// A picture that is drawn over a part of the document while a fill is made.
pub(super) struct Preview<'a> {
    /// The preview.
    pub(super) texture: &'a egui::TextureHandle,
    /// The part that it shows, in pixels of the document.
    pub(super) area: Rect,
    /// The part that the fill replaces, in pixels of the document.
    pub(super) replaced: Rect,
}

fn point(at: Pos2) -> Point {
    Point::new(at.x, at.y)
}

pub(super) fn position(at: Point) -> Pos2 {
    pos2(at.x, at.y)
}

/// The room for the picture beside the tools, which float at the left edge.
fn viewport(rect: Rect) -> Viewport {
    let left = (rect.left() + TOOLS).min(rect.center().x);
    Viewport { least: Point::new(left, rect.top()), most: point(rect.max) }
}

impl Surface {
    /// Another document is shown.
    pub(super) fn reset(&mut self) {
        self.view = None;
        self.picture = Overlay::default();
        self.mask = Overlay::default();
        self.sketch = Overlay::default();
    }

    /// Points of the screen for a pixel of the picture.
    pub(super) fn scale(&self) -> f32 {
        self.view.map_or(1.0, View::scale)
    }

    /// Where a place of the picture is on the screen.
    pub(super) fn screen_position(&self, place: Point) -> Option<Pos2> {
        self.view.map(|view| position(view.to_screen(place)))
    }

    /// Whether the picture was last drawn as it was at first.
    pub(super) fn shows_original(&self) -> bool {
        self.shows_original
    }

    /// The picture as it was last drawn, without mask and sketch.
    pub(super) fn seen<'a>(&self, editor: &'a Editor) -> &'a ScreenImage {
        if self.shows_original { editor.original() } else { editor.shown() }
    }

    /// Whether no other control has the focus of the keyboard.
    pub(super) fn is_focus_free(&self, ctx: &Context) -> bool {
        ctx.memory(|memory| memory.focused()).is_none_or(|focused| Some(focused) == self.id)
    }

    /// Looks at the picture in another way from the next frame on.
    pub(super) fn look(&mut self, look: Look) {
        self.next = Some(look);
    }

    /// Draws the document and lets the pointer work on it. `name` is what the canvas is called.
    pub(super) fn ui(
        &mut self,
        ui: &mut Ui,
        editor: &mut Editor,
        name: &str,
        preview: Option<Preview<'_>>,
    ) -> Response {
        let room = ui.available_size();
        let (rect, response) = ui.allocate_exact_size(room, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, name));
        self.id = Some(response.id);
        let view = self.settle_view(ui, editor, rect);
        let view = self.move_view(ui, editor, &response, view);
        let view = self.take_look(ui, editor, rect, view);
        self.view = Some(view);
        self.point(ui, editor, &response, view);
        self.keyboard.work(ui, editor, &response, view);
        self.shows_original =
            !ui.ctx().text_edit_focused() && ui.input(|input| input.key_down(Key::Backslash));
        self.paint(ui, editor, rect, &response, view, preview);
        response
    }

    fn settle_view(&mut self, ui: &Ui, editor: &Editor, rect: Rect) -> View {
        let size = editor.document().size();
        let same = self.shown_size == size && self.shown_room == rect.size();
        self.shown_size = size;
        self.shown_room = rect.size();
        match self.view {
            Some(view) if same || !self.is_fitted => view,
            _ => {
                self.is_fitted = true;
                fitted(ui, size, rect)
            }
        }
    }

    fn move_view(&mut self, ui: &Ui, editor: &Editor, response: &Response, view: View) -> View {
        let mut view = view;
        let (pointer, scroll, zoom, delta, space) = ui.input(|input| {
            (
                input.pointer.latest_pos(),
                input.smooth_scroll_delta().y,
                input.zoom_delta(),
                input.pointer.delta(),
                input.key_down(Key::Space),
            )
        });
        if let Some(pointer) = pointer.filter(|_| response.hovered()) {
            let factor = (scroll * WHEEL_ZOOM).exp() * zoom;
            if factor != 1.0 {
                view = view.zoomed(point(pointer), factor);
                self.is_fitted = false;
            }
        }
        let typing = ui.ctx().text_edit_focused();
        let by_hand = editor.tools.tool == Tool::Hand || (space && !typing);
        let (middle, primary, released) = ui.input(|input| {
            (
                input.pointer.button_down(PointerButton::Middle),
                input.pointer.primary_pressed(),
                !input.pointer.any_down(),
            )
        });
        if released {
            self.pan = false;
        }
        if response.is_pointer_button_down_on() && (middle || (primary && by_hand)) {
            self.pan = true;
        }
        if self.pan && delta != Vec2::ZERO {
            let size = editor.document().size();
            view = view.panned(Point::new(delta.x, delta.y), size, viewport(response.rect));
            self.is_fitted = false;
        }
        view
    }

    fn take_look(&mut self, ui: &Ui, editor: &Editor, rect: Rect, view: View) -> View {
        let size = editor.document().size();
        match self.next.take() {
            None => view,
            Some(Look::Fit) => {
                self.is_fitted = true;
                fitted(ui, size, rect)
            }
            Some(Look::ActualSize) => {
                self.is_fitted = false;
                View::actual_size(size, viewport(rect), ui.pixels_per_point())
            }
        }
    }

    fn point(&mut self, ui: &Ui, editor: &mut Editor, response: &Response, view: View) {
        if self.pan || editor.tools.tool == Tool::Hand {
            return;
        }
        let (pressed, down, at, moves, pressure) = ui.input(|input| {
            let moves: Vec<Pos2> = input
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::PointerMoved(at) => Some(*at),
                    _ => None,
                })
                .collect();
            let pressure = input.events.iter().rev().find_map(|event| match event {
                Event::Touch { force: Some(force), .. } => Some(*force),
                _ => None,
            });
            let pointer = &input.pointer;
            (
                pointer.primary_pressed(),
                pointer.primary_down(),
                pointer.interact_pos(),
                moves,
                pressure,
            )
        });
        let stroke_point = |at: Pos2| StrokePoint {
            at: view.to_picture(point(at)),
            pressure: pressure.unwrap_or(1.0),
        };
        if pressed && response.is_pointer_button_down_on() {
            // Who was writing the prompt is painting now, and its keys are those of the tools.
            ui.memory_mut(|memory| {
                if let Some(focused) = memory.focused() {
                    memory.surrender_focus(focused);
                }
            });
            let origin = ui.input(|input| input.pointer.press_origin()).or(at);
            if let Some(at) = origin {
                self.side = side_at(editor, view, at);
                let is_sizing =
                    editor.tools.tool.is_brush() && ui.input(|input| input.modifiers.alt);
                if is_sizing && self.side.is_none() {
                    self.sized = Some((at, editor.tools.brush));
                } else if self.side.is_none() && editor.candidate().is_none() {
                    editor.press(stroke_point(at));
                }
            }
        }
        if let Some((from, brush)) = self.sized {
            if let Some(at) = at {
                let by = (at - from) / view.scale();
                editor.tools.brush = brush.dragged(Point::new(by.x, by.y));
            }
            if !down {
                self.sized = None;
            }
            return;
        }
        if let Some(side) = self.side {
            if let Some(at) = at {
                drag_side(editor, side, view.to_picture(point(at)));
            }
            if !down {
                self.side = None;
            }
            return;
        }
        if editor.gesture().is_some() && !self.keyboard.draws() {
            // Every place that the pointer was at since the last frame, so that quick curves stay
            // round.
            for at in moves {
                editor.drag(stroke_point(at));
            }
            if !down {
                editor.release();
            }
        }
    }

    fn paint(
        &mut self,
        ui: &Ui,
        editor: &Editor,
        rect: Rect,
        response: &Response,
        view: View,
        preview: Option<Preview<'_>>,
    ) {
        let colours = Colours::of_ui(ui);
        let painter = ui.painter_at(rect);
        let document = editor.document();
        let original = self.shows_original;
        let picture = self.seen(editor);
        if document.picture().pixels.color().has_alpha() {
            self.checker.draw(&painter, place(picture.pixels().bounds(), view));
        }
        let level = level(&painter, view);
        // The last pixels of a halved picture may be halves of pixels.
        let inside = rect.intersect(place(picture.pixels().bounds(), view));
        let (picture, view_of_halved) = (picture.halved(level), view.of_halved(level));
        self.picture.draw(&painter.with_clip_rect(inside), picture, RgbaColouring, view_of_halved);
        if let Some(preview) = preview.filter(|_| !original) {
            let corner = |at: Pos2| position(view.to_screen(point(at)));
            let replaced =
                Rect::from_min_max(corner(preview.replaced.min), corner(preview.replaced.max));
            draw_part(
                &painter.with_clip_rect(replaced.intersect(rect)),
                preview.texture,
                preview.area,
                view,
            );
        }
        if editor.candidate().is_none() && !original {
            self.sketch.draw(&painter, document.sketch(), RgbaColouring, view);
            let colouring =
                MaskColouring { tint: colours.accent.gamma_multiply(TINT), edge: colours.accent };
            self.mask.draw(&painter, document.mask(), colouring, view);
        }
        paint_extension(&painter, editor, view, &colours);
        paint_gesture(&painter, editor, view, &colours);
        let keyboard = || self.keyboard.at(response).map(|at| position(view.to_screen(at)));
        // A brush that is sized stays where that began.
        let pointer = self.sized.map(|(from, _)| from).or_else(|| response.hover_pos());
        if let Some(at) = pointer.or_else(keyboard) {
            self.paint_pointer(ui, &painter, editor, view, at);
        }
        if response.has_focus() {
            let stroke = Stroke::new(2.0, colours.accent);
            painter.rect_stroke(rect.shrink(1.0), CornerRadius::ZERO, stroke, StrokeKind::Inside);
        }
    }

    fn paint_pointer(&self, ui: &Ui, painter: &Painter, editor: &Editor, view: View, at: Pos2) {
        let tools = &editor.tools;
        let icon = match tools.tool {
            Tool::Hand => CursorIcon::Grab,
            _ if self.pan => CursorIcon::Grabbing,
            _ if ui.input(|input| input.key_down(Key::Space)) => CursorIcon::Grab,
            _ if editor.candidate().is_some() => CursorIcon::Default,
            _ => match self.side.or_else(|| side_at(editor, view, at)) {
                Some(Side::Left | Side::Right) => CursorIcon::ResizeHorizontal,
                Some(Side::Top | Side::Bottom) => CursorIcon::ResizeVertical,
                None => CursorIcon::Crosshair,
            },
        };
        let radius = tools.brush.size / 2.0 * view.scale();
        if icon == CursorIcon::Crosshair && tools.tool.is_brush() && radius > 2.0 {
            let dark = Stroke::new(2.5, Color32::from_black_alpha(140));
            let light = Stroke::new(1.0, Color32::WHITE);
            painter.circle_stroke(at, radius, dark);
            painter.circle_stroke(at, radius, light);
            let inner = radius * tools.brush.hardness;
            if inner > 2.0 && inner < radius - 2.0 {
                painter.circle_stroke(at, inner, Stroke::new(1.0, Color32::from_white_alpha(110)));
            }
            painter.circle_filled(at, 1.0, Color32::WHITE);
            ui.ctx().set_cursor_icon(CursorIcon::None);
        } else {
            ui.ctx().set_cursor_icon(icon);
        }
    }
}

fn fitted(ui: &Ui, size: (u32, u32), rect: Rect) -> View {
    // Small pictures are enlarged by whole pixels of the screen.
    let largest = size.0.max(size.1) as f32;
    let room = (rect.size() - vec2(TOOLS, 0.0)).min_elem() * ui.pixels_per_point();
    let enlarged = (room / largest).floor().clamp(1.0, 8.0);
    View::fit(size, viewport(rect), enlarged / ui.pixels_per_point())
}

fn paint_gesture(painter: &Painter, editor: &Editor, view: View, colours: &Colours) {
    let screen = |at: Point| position(view.to_screen(at));
    let (dark, light) =
        (Stroke::new(3.0, Color32::from_black_alpha(120)), Stroke::new(1.0, colours.accent));
    let line = |points: &[Pos2]| {
        painter.add(Shape::line(points.to_vec(), dark));
        painter.extend(Shape::dashed_line(points, light, 5.0, 3.0));
    };
    match editor.gesture() {
        Some(Gesture::Span { from, to }) if editor.tools.tool == Tool::Gradient => {
            line(&[screen(*from), screen(*to)]);
            painter.circle_filled(screen(*to), 4.0, colours.accent);
        }
        Some(Gesture::Span { from, to }) => {
            let rect = Rect::from_two_pos(screen(*from), screen(*to));
            painter.rect_filled(rect, CornerRadius::ZERO, colours.accent.gamma_multiply(0.15));
            line(&[
                rect.left_top(),
                rect.right_top(),
                rect.right_bottom(),
                rect.left_bottom(),
                rect.left_top(),
            ]);
        }
        Some(Gesture::Lasso(points)) => {
            let mut points: Vec<Pos2> = points.iter().map(|&at| screen(at)).collect();
            points.extend(points.first().copied());
            line(&points);
        }
        _ => {}
    }
}
