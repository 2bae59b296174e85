//! The right panel: the document, the tool in hand, the mask, results that are compared, and
//! layers.

use std::{collections::HashMap, sync::Arc};

use egui::{
    Color32, Context, CornerRadius, Frame, Margin, Rect, Response, Role, ScrollArea, Sense, Slider,
    Stroke, StrokeKind, TextEdit, TextureHandle, Ui, Vec2, WidgetInfo, pos2, vec2,
};
use emberbrush_pipeline::{picture::Picture, request::MaskMode};

use super::{
    background::Place,
    brush::BRUSH_SIZES,
    fill::Target,
    layer::LayerId,
    mask::EdgeChange,
    place::CanvasPlace,
    textures::{fitted, thumbnail},
    tool_strip,
    tools::Tool,
};
use crate::window::{
    PlaceContext,
    controls::{divider, focus_ring, icon_button, icon_toggle, number, section, small},
    icons,
    theme::{Colours, space},
    words::Words,
};

/// Side of the thumbnail of a result, in points.
const RESULT_SIDE: f32 = 72.0;

/// Side of the thumbnail of a layer, in points.
const LAYER_SIDE: f32 = 40.0;

/// Thumbnails that are kept.
const KEPT_THUMBNAILS: usize = 128;

/// What the panel remembers.
#[derive(Debug)]
pub(super) struct PanelState {
    /// Pixels by which the mask's edge is moved.
    edge: u32,
    selected: Option<LayerId>,
    thumbnails: Thumbnails,
}

impl Default for PanelState {
    fn default() -> Self {
        Self { edge: 8, selected: None, thumbnails: Thumbnails::default() }
    }
}

/// Small pictures by the address of what they show, which is kept alive with them.
#[derive(Default)]
struct Thumbnails(HashMap<usize, (Arc<Picture>, TextureHandle)>);

impl std::fmt::Debug for Thumbnails {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Thumbnails").field(&self.0.len()).finish()
    }
}

impl Thumbnails {
    fn of(&mut self, ctx: &Context, picture: &Arc<Picture>, side: f32) -> TextureHandle {
        if self.0.len() > KEPT_THUMBNAILS {
            self.0.clear();
        }
        let pixels = (side * ctx.pixels_per_point()).ceil() as u32;
        let (_, texture) = self
            .0
            .entry(Arc::as_ptr(picture) as usize)
            .or_insert_with(|| (Arc::clone(picture), thumbnail(ctx, picture, pixels)));
        texture.clone()
    }
}

/// Draws the panel.
pub(super) fn side_panel(place: &mut CanvasPlace, ui: &mut Ui, context: &mut PlaceContext<'_>) {
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        document_row(place, ui, context);
        if place.editor.is_none() {
            return;
        }
        separated(ui);
        tool_options(place, ui, context.words);
        separated(ui);
        mask_section(place, ui, context);
        separated(ui);
        fill_section(place, ui, context);
        separated(ui);
        layers_section(place, ui, context);
    });
}

fn separated(ui: &mut Ui) {
    ui.add_space(space::XS);
    divider(ui);
    ui.add_space(space::XS);
}

fn document_row(place: &mut CanvasPlace, ui: &mut Ui, context: &PlaceContext<'_>) {
    let words = context.words;
    let ctx = ui.ctx().clone();
    ui.horizontal(|ui| {
        let name = words.get("canvas-open");
        if icon_button(ui, icons::FOLDER_OPEN, &name, None).clicked() {
            place.ask_to_open(&ctx, context);
        }
        let has_document = place.editor.is_some();
        ui.add_enabled_ui(has_document, |ui| {
            let keys = "Ctrl+S".parse().ok();
            if icon_button(ui, icons::FLOPPY_DISK, &words.get("canvas-save"), keys).clicked() {
                place.save(&ctx, context, false);
            }
            if icon_button(ui, icons::EXPORT, &words.get("canvas-export"), None).clicked()
                && let Some(editor) = &place.editor
            {
                let picture = Arc::clone(editor.composite());
                let title = words.get("canvas-export");
                let name = place.file_name(context);
                place.background.export(&ctx, picture, Place::Ask { title, name });
            }
        });
        if place.background.is_busy() {
            ui.spinner();
        }
    });
}

fn tool_options(place: &mut CanvasPlace, ui: &mut Ui, words: &Words) {
    let Some(editor) = &mut place.editor else { return };
    let tools = &mut editor.tools;
    section(ui, &words.get(tool_strip::message(tools.tool)));
    let standard = super::tools::Tools::default();
    if tools.tool.is_brush() {
        slider(ui, &words.get("brush-size"), |ui, name| {
            let slider = Slider::new(&mut tools.brush.size, BRUSH_SIZES)
                .logarithmic(true)
                .fixed_decimals(0)
                .suffix(" px");
            reset_by_double_click(ui, slider, name)
        })
        .then(|| tools.brush.size = standard.brush.size);
        slider(ui, &words.get("brush-hardness"), |ui, name| {
            let slider = Slider::new(&mut tools.brush.hardness, 0.0..=1.0).fixed_decimals(1);
            reset_by_double_click(ui, slider, name)
        })
        .then(|| tools.brush.hardness = standard.brush.hardness);
    }
    match tools.tool {
        Tool::Wand => {
            slider(ui, &words.get("wand-tolerance"), |ui, name| {
                let slider = Slider::new(&mut tools.tolerance, 0..=255);
                reset_by_double_click(ui, slider, name)
            })
            .then(|| tools.tolerance = standard.tolerance);
        }
        Tool::ColourBrush | Tool::Eyedropper => {
            ui.horizontal(|ui| {
                small(ui, &words.get("brush-colour"));
                ui.color_edit_button_srgb(&mut tools.colour);
            });
            let clear = words.get("sketch-clear");
            if ui.button(clear).clicked() {
                editor.clear_sketch();
            }
        }
        _ => {}
    }
    small(ui, &words.get(hint(editor.tools.tool)));
}

/// What a tool is for.
fn hint(tool: Tool) -> &'static str {
    match tool {
        Tool::Brush | Tool::Eraser => "hint-brush",
        Tool::Rectangle | Tool::Lasso => "hint-area",
        Tool::Wand => "hint-wand",
        Tool::Bucket => "hint-bucket",
        Tool::Gradient => "hint-gradient",
        Tool::ColourBrush => "hint-colour-brush",
        Tool::Eyedropper => "hint-eyedropper",
        Tool::Hand => "hint-hand",
    }
}

/// A slider below its name. Whether it is to be reset.
fn slider(ui: &mut Ui, name: &str, add: impl FnOnce(&mut Ui, &str) -> bool) -> bool {
    small(ui, name);
    ui.spacing_mut().slider_width = (ui.available_width() - 76.0).max(60.0);
    add(ui, name)
}

fn reset_by_double_click(ui: &mut Ui, slider: Slider<'_>, name: &str) -> bool {
    ui.add(slider).accessible_name(name).double_clicked()
}

fn mask_section(place: &mut CanvasPlace, ui: &mut Ui, context: &PlaceContext<'_>) {
    let words = context.words;
    let ctx = ui.ctx().clone();
    let Some(editor) = &mut place.editor else { return };
    section(ui, &words.get("mask"));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::XS;
        if icon_button(ui, icons::SELECTION_ALL, &words.get("mask-all"), None).clicked() {
            editor.mask_all();
        }
        if icon_button(ui, icons::SELECTION_INVERSE, &words.get("mask-invert"), None).clicked() {
            editor.invert_mask();
        }
        if icon_button(ui, icons::SELECTION_SLASH, &words.get("mask-clear"), None).clicked() {
            editor.clear_mask();
        }
        ui.add_space(space::S);
        if icon_button(ui, icons::UPLOAD_SIMPLE, &words.get("mask-open"), None).clicked() {
            let place_of = Place::Ask { title: words.get("mask-open"), name: String::new() };
            place.background.open_mask(&ctx, place_of, editor.document().size());
        }
        if icon_button(ui, icons::DOWNLOAD_SIMPLE, &words.get("mask-save"), None).clicked() {
            let name = format!("{}-mask", editor.document().name);
            let place_of = Place::Ask { title: words.get("mask-save"), name };
            place.background.save_mask(&ctx, editor.document().mask().clone(), place_of);
        }
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::XS;
        let pixels = &mut place.panel.edge;
        ui.allocate_ui(vec2(44.0, 28.0), |ui| {
            number(ui, &words.get("mask-edge"), pixels, 1..=256, 1.0, 8);
        });
        for (message, change) in [
            ("mask-grow", EdgeChange::Grow(*pixels)),
            ("mask-shrink", EdgeChange::Shrink(*pixels)),
            ("mask-feather", EdgeChange::Feather(*pixels)),
        ] {
            if ui.button(words.get(message)).clicked() {
                editor.change_edge(change);
            }
        }
    });
}

fn fill_section(place: &mut CanvasPlace, ui: &mut Ui, context: &mut PlaceContext<'_>) {
    let words = context.words;
    section(ui, &words.get("fill"));
    if let Some(fill) = &place.fill {
        let text = words.with(
            "fill-progress",
            [
                ("index", (fill.index + 1).into()),
                ("count", fill.job.request.count.into()),
                ("step", fill.step.into()),
                ("steps", fill.steps.into()),
            ],
        );
        small(ui, &text);
    } else {
        fill_options(place, ui, words);
    }
    results(place, ui, words);
}

fn fill_options(place: &mut CanvasPlace, ui: &mut Ui, words: &Words) {
    let options = &mut place.options;
    let is_automatic = options.strength.is_none();
    let mut strength = options.strength.unwrap_or(0.75);
    ui.horizontal(|ui| {
        let mut automatic = is_automatic;
        ui.checkbox(&mut automatic, words.get("fill-strength-automatic"))
            .on_hover_text(words.get("fill-strength-tip"));
        options.strength = (!automatic).then_some(strength);
        if !automatic {
            ui.allocate_ui(vec2(ui.available_width(), 28.0), |ui| {
                let name = words.get("fill-strength");
                if number(ui, &name, &mut strength, 0.1..=1.0, 0.05, 0.75).changed() {
                    options.strength = Some(strength);
                }
            });
        }
    });
    let mut soft = options.mask_mode == MaskMode::Soft;
    ui.checkbox(&mut soft, words.get("fill-greys")).on_hover_text(words.get("fill-greys-tip"));
    options.mask_mode = if soft { MaskMode::Soft } else { MaskMode::Hard };
    if !soft {
        slider(ui, &words.get("fill-feather"), |ui, name| {
            reset_by_double_click(
                ui,
                Slider::new(&mut options.feather, 0..=128).suffix(" px"),
                name,
            )
        })
        .then(|| options.feather = 0);
    }
}

/// The results that are compared.
fn results(place: &mut CanvasPlace, ui: &mut Ui, words: &Words) {
    let Some(candidate) = place.editor.as_ref().and_then(|editor| editor.candidate()) else {
        return;
    };
    let pictures: Vec<Arc<Picture>> =
        candidate.variations().iter().map(|variation| Arc::clone(variation.painted())).collect();
    let chosen = candidate.chosen();
    ui.add_space(space::XS);
    let mut step = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(space::XS, space::XS);
        for (index, picture) in pictures.iter().enumerate() {
            let name = words.with("variation", [("number", (index + 1).into())]);
            let texture = place.panel.thumbnails.of(ui.ctx(), picture, RESULT_SIDE);
            let on = index == chosen;
            if picture_button(ui, &texture, RESULT_SIDE, &name, on).clicked() {
                step = Some(index as isize - chosen as isize);
            }
        }
    });
    if let Some(by) = step {
        place.step_result(by);
    }
    small(ui, &words.get("variations-hint"));
    ui.horizontal(|ui| {
        let accept = format!("{}  {}", icons::CHECK, words.get("variation-accept"));
        if ui.button(accept).clicked() {
            place.accept();
        }
        if ui.button(words.get("variations-discard")).clicked()
            && let Some(editor) = &mut place.editor
        {
            editor.discard_results();
        }
    });
}

/// A square with a picture that can be chosen.
fn picture_button(
    ui: &mut Ui,
    texture: &TextureHandle,
    side: f32,
    name: &str,
    on: bool,
) -> Response {
    let colours = Colours::of_ui(ui);
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, name));
    if ui.is_rect_visible(rect) {
        let inner = fitted(rect.shrink(3.0), texture.size_vec2());
        let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        ui.painter().rect_filled(rect, CornerRadius::same(4), colours.ground);
        ui.painter().image(texture.id(), inner, uv, Color32::WHITE);
        if on || response.hovered() {
            let colour = if on { colours.accent } else { colours.dim };
            let stroke = Stroke::new(2.0, colour);
            ui.painter().rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
        }
        focus_ring(ui, &response);
    }
    response.on_hover_text(name)
}

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

fn layers_section(place: &mut CanvasPlace, ui: &mut Ui, context: &mut PlaceContext<'_>) {
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
    layer: &super::layer::FillLayer,
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
