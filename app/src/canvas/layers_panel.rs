//! The layers of the document, in the right panel.

use egui::{Color32, Frame, Margin, TextEdit, Ui, vec2};

use super::{
    fill::Target,
    layer::{FillLayer, LayerId},
    panel::{RESULT_SIDE, Thumbnails, picture_button},
    place::CanvasPlace,
};
use crate::window::{
    PlaceContext,
    controls::{icon_button, icon_toggle, section, small},
    icons,
    theme::{Colours, space},
    words::Words,
};

/// Side of the thumbnail of a layer, in points.
const LAYER_SIDE: f32 = 40.0;

/// What a person asks of a layer.
enum LayerAction {
    Visible(bool),
    Move(usize),
    Rename(String),
    Choose(usize),
    UseMask,
    Anew,
    Delete,
}

pub(super) fn layers_section(place: &mut CanvasPlace, ui: &mut Ui, context: &mut PlaceContext<'_>) {
    let words = context.words;
    section(ui, &words.get("layers"));
    let Some(editor) = &place.editor else { return };
    let layers: Vec<_> = editor.document().layers().to_vec();
    if layers.is_empty() {
        small(ui, &words.get("layers-empty"));
        return;
    }
    let mut wanted: Option<(LayerId, LayerAction)> = None;
    for (index, layer) in layers.iter().enumerate().rev() {
        let id = layer.id();
        let is_selected = place.panel.selected == Some(id);
        let colours = Colours::of_ui(ui);
        let fill = if is_selected { colours.raised } else { Color32::TRANSPARENT };
        let name = match layer.name() {
            "" => words.with("layer-unnamed", [("number", (index + 1).into())]),
            name => name.to_owned(),
        };
        Frame::new().fill(fill).corner_radius(6.0).inner_margin(Margin::same(4)).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = space::XS;
                let visible = layer.is_visible();
                let (icon, message) = match visible {
                    true => (icons::EYE, "layer-hide"),
                    false => (icons::EYE_SLASH, "layer-show"),
                };
                let label = words.with(message, [("layer", name.as_str().into())]);
                if icon_button(ui, icon, &label, None).clicked() {
                    wanted = Some((id, LayerAction::Visible(!visible)));
                }
                let texture =
                    place.panel.thumbnails.of(ui.ctx(), layer.shown().painted(), RESULT_SIDE);
                let label = words.with("layer-select", [("layer", name.as_str().into())]);
                if picture_button(ui, &texture, LAYER_SIDE, &label, is_selected).clicked() {
                    place.panel.selected = (!is_selected).then_some(id);
                }
                let colour = if visible { colours.text } else { colours.dim };
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 0.0;
                    ui.add(egui::Label::new(egui::RichText::new(&name).color(colour)).truncate());
                    let text = words.with(
                        "layer-variations",
                        [
                            ("chosen", (layer.chosen() + 1).into()),
                            ("count", layer.variations().len().into()),
                        ],
                    );
                    small(ui, &text);
                });
            });
            if is_selected && wanted.is_none() {
                let busy = place.fill.is_some() || place.background.is_busy();
                let thumbnails = &mut place.panel.thumbnails;
                let action = layer_details(ui, words, layer, index, layers.len(), thumbnails, busy);
                wanted = action.map(|action| (id, action));
            }
        });
    }
    let Some((id, action)) = wanted else { return };
    if matches!(action, LayerAction::Anew) {
        place.fill(&ui.ctx().clone(), Some(Target::Layer(id)), context);
        return;
    }
    let Some(editor) = &mut place.editor else { return };
    match action {
        LayerAction::Visible(visible) => {
            editor.edit_layer(id, |document, id| document.set_visible(id, visible));
        }
        LayerAction::Move(index) => {
            editor.edit_layer(id, |document, id| document.move_layer(id, index));
        }
        LayerAction::Rename(name) => {
            editor.edit_layer(id, |document, id| document.rename_layer(id, &name));
        }
        LayerAction::Choose(index) => editor.edit_layer(id, |document, id| {
            // The panel offers only variations that there are.
            let _ = document.edit_layer(id, |layer| layer.choose(index));
        }),
        LayerAction::UseMask => {
            if let Some(layer) = editor.document().layer(id) {
                let mask = layer.mask().as_ref().clone();
                editor.replace_mask(mask);
            }
        }
        LayerAction::Delete => {
            editor.edit_layer(id, |document, id| document.remove_layer(id));
            place.panel.selected = None;
        }
        LayerAction::Anew => {}
    }
}

fn layer_details(
    ui: &mut Ui,
    words: &Words,
    layer: &FillLayer,
    index: usize,
    count: usize,
    thumbnails: &mut Thumbnails,
    busy: bool,
) -> Option<LayerAction> {
    let mut action = None;
    ui.add_space(space::XS);
    let mut name = layer.name().to_owned();
    let edit = TextEdit::singleline(&mut name)
        .hint_text(words.get("layer-name"))
        .desired_width(ui.available_width());
    let response = ui.add(edit).accessible_name(words.get("layer-name"));
    if response.changed() {
        action = Some(LayerAction::Rename(name));
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(space::XS, space::XS);
        for (at, variation) in layer.variations().iter().enumerate() {
            let label = words.with("variation", [("number", (at + 1).into())]);
            let texture = thumbnails.of(ui.ctx(), variation.painted(), RESULT_SIDE);
            let on = at == layer.chosen();
            if picture_button(ui, &texture, 52.0, &label, on).clicked() && !on {
                action = Some(LayerAction::Choose(at));
            }
        }
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::XS;
        ui.add_enabled_ui(index + 1 < count, |ui| {
            if icon_button(ui, icons::ARROW_UP, &words.get("layer-up"), None).clicked() {
                action = Some(LayerAction::Move(index + 1));
            }
        });
        ui.add_enabled_ui(index > 0, |ui| {
            if icon_button(ui, icons::ARROW_DOWN, &words.get("layer-down"), None).clicked() {
                action = Some(LayerAction::Move(index.saturating_sub(1)));
            }
        });
        ui.add_enabled_ui(!busy, |ui| {
            let name = words.get("layer-anew");
            if icon_button(ui, icons::ARROW_CLOCKWISE, &name, None).clicked() {
                action = Some(LayerAction::Anew);
            }
        });
        if icon_toggle(ui, icons::SELECTION, &words.get("layer-use-mask"), None, false).clicked() {
            action = Some(LayerAction::UseMask);
        }
        if icon_button(ui, icons::TRASH, &words.get("layer-delete"), None).clicked() {
            action = Some(LayerAction::Delete);
        }
    });
    let request = layer.request();
    if !request.prompt.is_empty() && request.prompt != layer.name() {
        small(ui, &request.prompt);
    }
    small(ui, &words.with("layer-seed", [("seed", layer.shown().seed().to_string().into())]));
    action
}
