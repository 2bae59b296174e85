//! The right panel: the document, the tool in hand, the mask, results that are compared, and
//! layers.

use std::{collections::HashMap, sync::Arc};

use egui::{
    Color32, Context, CornerRadius, Rect, Response, Role, ScrollArea, Sense, Slider, Stroke,
    StrokeKind, TextureHandle, Ui, Vec2, WidgetInfo, pos2, vec2,
};
use emberbrush_pipeline::{picture::Picture, request::MaskMode};

use super::{
    actions::CanvasAction,
    brush::BRUSH_SIZES,
    colour_button::colour_button,
    fill::FillColours,
    layer::LayerId,
    place::CanvasPlace,
    textures::{fitted, thumbnail},
    tools::Tool,
};
use crate::window::{
    PlaceContext,
    controls::{
        checkbox, divider, field, focus_ring, icon_button, number, section, segments, small,
    },
    icons,
    theme::{Colours, space},
    words::Words,
};

/// Side of the thumbnail of a result, in points.
pub(super) const RESULT_SIDE: f32 = 72.0;

/// Thumbnails that are kept.
const KEPT_THUMBNAILS: usize = 128;

/// What the panel remembers.
#[derive(Debug)]
pub(super) struct PanelState {
    /// Pixels by which the mask's edge is moved.
    pub(super) edge: u32,
    pub(super) selected: Option<LayerId>,
    pub(super) thumbnails: Thumbnails,
}

impl Default for PanelState {
    fn default() -> Self {
        Self { edge: 8, selected: None, thumbnails: Thumbnails::default() }
    }
}

/// Small pictures by the address of what they show, which is kept alive with them.
#[derive(Default)]
pub(super) struct Thumbnails(HashMap<usize, (Arc<Picture>, TextureHandle)>);

impl std::fmt::Debug for Thumbnails {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Thumbnails").field(&self.0.len()).finish()
    }
}

impl Thumbnails {
    pub(super) fn of(&mut self, ctx: &Context, picture: &Arc<Picture>, side: f32) -> TextureHandle {
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
        // Nothing else can be done before one of them is accepted or all are left.
        if place.editor.as_ref().is_some_and(|editor| editor.candidate().is_some()) {
            separated(ui);
            section(ui, &context.words.get("fill"));
            fill_progress(place, ui, context.words);
            results(place, ui, context.words);
            separated(ui);
            super::layers_panel::layers_section(place, ui, context);
            return;
        }
        separated(ui);
        tool_options(place, ui, context.words);
        separated(ui);
        mask_section(place, ui, context);
        separated(ui);
        fill_section(place, ui, context);
        separated(ui);
        super::layers_panel::layers_section(place, ui, context);
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
            action_button(place, ui, context, icons::FLOPPY_DISK, CanvasAction::SaveDocument);
            action_button(place, ui, context, icons::EXPORT, CanvasAction::ExportPicture);
        });
        if place.background.is_busy() {
            ui.spinner();
        }
    });
}

/// A button for a command, with its name and keys.
fn action_button(
    place: &mut CanvasPlace,
    ui: &mut Ui,
    context: &PlaceContext<'_>,
    icon: &str,
    action: CanvasAction,
) {
    let name = context.words.get(action.message());
    let keys = context.preferences.shortcuts.of(action.into());
    if icon_button(ui, icon, &name, keys).clicked() {
        place.act(ui.ctx(), action, context);
    }
}

fn tool_options(place: &mut CanvasPlace, ui: &mut Ui, words: &Words) {
    let Some(editor) = &mut place.editor else { return };
    let tools = &mut editor.tools;
    section(ui, &words.get(CanvasAction::of_tool(tools.tool).message()));
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
                colour_button(ui, words, &mut tools.colour);
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
    section(ui, &words.get("mask"));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::XS;
        for (icon, action) in [
            (icons::SELECTION_ALL, CanvasAction::MaskAll),
            (icons::SELECTION_INVERSE, CanvasAction::MaskInvert),
            (icons::SELECTION_SLASH, CanvasAction::MaskClear),
        ] {
            action_button(place, ui, context, icon, action);
        }
        ui.add_space(space::S);
        action_button(place, ui, context, icons::UPLOAD_SIMPLE, CanvasAction::MaskOpen);
        action_button(place, ui, context, icons::DOWNLOAD_SIMPLE, CanvasAction::MaskSave);
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::XS;
        let pixels = &mut place.panel.edge;
        ui.allocate_ui(vec2(44.0, 28.0), |ui| {
            number(ui, &words.get("mask-edge"), pixels, 1..=256, 1.0, 8);
        });
        for (message, action) in [
            ("mask-grow", CanvasAction::MaskGrow),
            ("mask-shrink", CanvasAction::MaskShrink),
            ("mask-feather", CanvasAction::MaskFeather),
        ] {
            if ui.button(words.get(message)).clicked() {
                place.act(ui.ctx(), action, context);
            }
        }
    });
}

fn fill_section(place: &mut CanvasPlace, ui: &mut Ui, context: &PlaceContext<'_>) {
    section(ui, &context.words.get("fill"));
    if place.fill.is_some() {
        fill_progress(place, ui, context.words);
    } else {
        fill_options(place, ui, context.words);
    }
}

/// How far the fill is that the engine works on.
fn fill_progress(place: &CanvasPlace, ui: &mut Ui, words: &Words) {
    let Some(fill) = &place.fill else { return };
    let arguments = [
        ("index", (fill.index + 1).into()),
        ("count", fill.job.request.count.into()),
        ("step", fill.step.into()),
        ("steps", fill.steps.into()),
    ];
    small(ui, &words.with("fill-progress", arguments));
}

fn fill_options(place: &mut CanvasPlace, ui: &mut Ui, words: &Words) {
    let options = &mut place.options;
    let is_automatic = options.strength.is_none();
    let mut strength = options.strength.unwrap_or(0.75);
    ui.horizontal(|ui| {
        let mut automatic = is_automatic;
        checkbox(ui, &mut automatic, &words.get("fill-strength-automatic"))
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
    field(ui, &words.get("fill-colours"), &words.get("fill-colours-tip"), |ui| {
        let choices = [
            (FillColours::Usual, "fill-colours-usual"),
            (FillColours::Matched, "fill-colours-matched"),
            (FillColours::Own, "fill-colours-own"),
        ];
        let choices = choices.map(|(colours, message)| (colours, words.get(message), None));
        segments(ui, &mut options.colours, &choices);
    });
    let mut soft = options.mask_mode == MaskMode::Soft;
    checkbox(ui, &mut soft, &words.get("fill-greys")).on_hover_text(words.get("fill-greys-tip"));
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
pub(super) fn picture_button(
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
