//! The tools beside the picture.

use egui::{CornerRadius, Frame, Margin, Rect, Stroke, Ui, UiBuilder, pos2, vec2};

use super::{
    actions::CanvasAction,
    mask::Combine,
    tools::{Tool, Tools},
};
use crate::window::{
    PlaceContext,
    controls::{icon_button, icon_toggle},
    icons,
    theme::{CONTROL_HEIGHT, Colours, space},
};

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

/// Draws the strip at the left edge of `rect`, and returns what is asked for.
pub(super) fn tool_strip(
    ui: &mut Ui,
    rect: Rect,
    context: &PlaceContext<'_>,
    tools: &Tools,
) -> Option<CanvasAction> {
    let mut wanted = None;
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
                let mut button = |ui: &mut Ui, icon: &str, action: CanvasAction, on: bool| {
                    let name = context.words.get(action.message());
                    let keys = context.preferences.shortcuts.of(action.into());
                    let response = match on {
                        true => icon_toggle(ui, icon, &name, keys, true),
                        false => icon_button(ui, icon, &name, keys),
                    };
                    if response.clicked() {
                        wanted = Some(action);
                    }
                };
                for tool in Tool::ALL {
                    button(ui, icon(tool), CanvasAction::of_tool(tool), tools.tool == tool);
                }
                ui.add_space(3.0);
                crate::window::controls::divider(ui);
                let subtracts = tools.combine == Combine::Subtract;
                button(ui, icons::SUBTRACT, CanvasAction::ToolSwap, subtracts);
                button(ui, icons::CORNERS_OUT, CanvasAction::LookFit, false);
                button(ui, icons::MAGNIFYING_GLASS, CanvasAction::LookActualSize, false);
            });
    });
    wanted
}
