//! The tools beside the picture.

use egui::{
    CornerRadius, Frame, Key, KeyboardShortcut, Margin, Modifiers, Rect, Stroke, Ui, UiBuilder,
    pos2, vec2,
};

use super::{
    mask::Combine,
    surface::{Look, Surface},
    tools::{Tool, Tools},
};
use crate::window::{
    actions::Shortcut,
    controls::{icon_button, icon_toggle},
    icons,
    theme::{CONTROL_HEIGHT, Colours, space},
    words::Words,
};

/// The key of a tool.
pub(super) fn key(tool: Tool) -> Key {
    match tool {
        Tool::Brush => Key::B,
        Tool::Eraser => Key::E,
        Tool::Rectangle => Key::R,
        Tool::Lasso => Key::L,
        Tool::Wand => Key::W,
        Tool::Bucket => Key::F,
        Tool::Gradient => Key::G,
        Tool::ColourBrush => Key::C,
        Tool::Eyedropper => Key::I,
        Tool::Hand => Key::H,
    }
}

fn icon(tool: Tool) -> &'static str {
    match tool {
        Tool::Brush => icons::PAINT_BRUSH,
        Tool::Eraser => icons::ERASER,
        Tool::Rectangle => icons::RECTANGLE_DASHED,
        Tool::Lasso => icons::LASSO,
        Tool::Wand => icons::MAGIC_WAND,
        Tool::Bucket => icons::PAINT_BUCKET,
        Tool::Gradient => icons::GRADIENT,
        Tool::ColourBrush => icons::PALETTE,
        Tool::Eyedropper => icons::EYEDROPPER,
        Tool::Hand => icons::HAND,
    }
}

/// The name of a tool's message.
pub(super) fn message(tool: Tool) -> &'static str {
    match tool {
        Tool::Brush => "tool-brush",
        Tool::Eraser => "tool-eraser",
        Tool::Rectangle => "tool-rectangle",
        Tool::Lasso => "tool-lasso",
        Tool::Wand => "tool-wand",
        Tool::Bucket => "tool-bucket",
        Tool::Gradient => "tool-gradient",
        Tool::ColourBrush => "tool-colour-brush",
        Tool::Eyedropper => "tool-eyedropper",
        Tool::Hand => "tool-hand",
    }
}

fn plain(key: Key) -> Option<Shortcut> {
    Some(Shortcut(KeyboardShortcut::new(Modifiers::NONE, key)))
}

/// Draws the strip at the left edge of `rect`.
pub(super) fn tool_strip(
    ui: &mut Ui,
    rect: Rect,
    words: &Words,
    tools: &mut Tools,
    surface: &mut Surface,
) {
    let colours = Colours::of_ui(ui);
    let count = Tool::ALL.len() as f32 + 3.0;
    let height = count * CONTROL_HEIGHT + (count - 1.0) * 2.0 + 2.0 * 4.0 + 9.0;
    let top = (rect.center().y - height / 2.0).max(rect.top() + space::S);
    let area = Rect::from_min_size(
        pos2(rect.left() + space::M, top),
        vec2(CONTROL_HEIGHT + 2.0 * 4.0, height),
    );
    ui.scope_builder(UiBuilder::new().max_rect(area), |ui| {
        Frame::new()
            .fill(colours.panel)
            .stroke(Stroke::new(1.0, colours.line))
            .corner_radius(CornerRadius::same(8))
            .inner_margin(Margin::same(4))
            .show(ui, |ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                for tool in Tool::ALL {
                    let name = words.get(message(tool));
                    let on = tools.tool == tool;
                    if icon_toggle(ui, icon(tool), &name, plain(key(tool)), on).clicked() {
                        tools.tool = tool;
                    }
                }
                ui.add_space(3.0);
                crate::window::controls::divider(ui);
                let subtracts = tools.combine == Combine::Subtract;
                let name = words.get("tool-swap");
                if icon_toggle(ui, icons::SUBTRACT, &name, plain(Key::X), subtracts).clicked() {
                    tools.swap();
                }
                let name = words.get("canvas-fit");
                if icon_button(ui, icons::CORNERS_OUT, &name, plain(Key::Num0)).clicked() {
                    surface.look(Look::Fit);
                }
                let name = words.get("canvas-actual-size");
                if icon_button(ui, icons::MAGNIFYING_GLASS, &name, plain(Key::Num1)).clicked() {
                    surface.look(Look::ActualSize);
                }
            });
    });
}
