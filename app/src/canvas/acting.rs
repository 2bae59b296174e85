//! What keys, the palette and pastes ask of the canvas, done.

use std::sync::Arc;

use egui::{ColorImage, Context, Event as Input, Key, Modifiers, Ui};
use emberbrush_pipeline::{picture::Picture, request::Extension};
use image::DynamicImage;

use super::{
    actions::CanvasAction, background::Place, document::Document, editor::Editor, mask::EdgeChange,
    place::CanvasPlace, surface::Look,
};
use crate::window::PlaceContext;

impl CanvasPlace {
    /// Does what a key or the palette asks for.
    pub fn act(&mut self, ctx: &Context, action: CanvasAction, context: &PlaceContext<'_>) {
        match action {
            CanvasAction::SaveDocument => self.save(ctx, context, false),
            CanvasAction::SaveDocumentAs => self.save(ctx, context, true),
            CanvasAction::ExportPicture => self.export(ctx, context),
            CanvasAction::LookFit => self.surface.look(Look::Fit),
            CanvasAction::LookActualSize => self.surface.look(Look::ActualSize),
            CanvasAction::MaskOpen => self.open_mask(ctx, context),
            CanvasAction::MaskSave => self.save_mask(ctx, context),
            CanvasAction::VariationNext => self.step_result(1),
            CanvasAction::VariationPrevious => self.step_result(-1),
            CanvasAction::VariationAccept => self.accept(),
            CanvasAction::VariationsDiscard => self.edit(|editor| {
                editor.discard_results();
            }),
            CanvasAction::MaskAll => self.edit(Editor::mask_all),
            CanvasAction::MaskInvert => self.edit(Editor::invert_mask),
            CanvasAction::MaskClear => self.edit(Editor::clear_mask),
            CanvasAction::MaskGrow => self.change_edge(EdgeChange::Grow),
            CanvasAction::MaskShrink => self.change_edge(EdgeChange::Shrink),
            CanvasAction::MaskFeather => self.change_edge(EdgeChange::Feather),
            CanvasAction::SketchClear => self.edit(Editor::clear_sketch),
            CanvasAction::ToolSwap => self.edit(|editor| editor.tools.swap()),
            CanvasAction::ToolReset => self.edit(|editor| editor.tools.reset()),
            CanvasAction::BrushLarger => self.edit(|editor| editor.tools.resize_brush(true)),
            CanvasAction::BrushSmaller => self.edit(|editor| editor.tools.resize_brush(false)),
            CanvasAction::BrushHarder => self.edit(|editor| editor.tools.harden_brush(true)),
            CanvasAction::BrushSofter => self.edit(|editor| editor.tools.harden_brush(false)),
            CanvasAction::ToolBrush
            | CanvasAction::ToolEraser
            | CanvasAction::ToolRectangle
            | CanvasAction::ToolLasso
            | CanvasAction::ToolWand
            | CanvasAction::ToolBucket
            | CanvasAction::ToolGradient
            | CanvasAction::ToolColourBrush
            | CanvasAction::ToolEyedropper
            | CanvasAction::ToolHand => self.edit(|editor| {
                editor.abort();
                editor.tools.tool = action.tool().unwrap_or_default();
            }),
        }
    }

    /// Whether a key belongs to an action of the canvas at the moment: arrows and Enter only where
    /// there are variations, and no other control has the focus.
    pub fn takes(&self, ctx: &Context, action: CanvasAction) -> bool {
        let has_results =
            || self.editor.as_ref().is_some_and(|editor| editor.candidate().is_some());
        self.has_keys(ctx)
            && (!action.is_of_variations() || (has_results() && self.surface.is_focus_free(ctx)))
    }

    /// Whether keys without modifiers belong to the canvas, and not to text or to what is open above.
    fn has_keys(&self, ctx: &Context) -> bool {
        let is_covered = ctx.memory(|memory| memory.top_modal_layer().is_some());
        !ctx.text_edit_focused() && !is_covered && !egui::Popup::is_any_open(ctx)
    }

    fn edit(&mut self, change: impl FnOnce(&mut Editor)) {
        if let Some(editor) = &mut self.editor {
            change(editor);
        }
    }

    fn change_edge(&mut self, change: fn(u32) -> EdgeChange) {
        let pixels = self.panel.edge;
        self.edit(|editor| editor.change_edge(change(pixels)));
    }

    /// Writes what is seen to a file.
    pub(super) fn export(&mut self, ctx: &Context, context: &PlaceContext<'_>) {
        let Some(editor) = &self.editor else { return };
        let document = editor.document().clone();
        let title = context.words.get("canvas-export");
        let name = self.file_name(context);
        self.background.export(ctx, document, Place::Ask { title, name });
    }

    fn open_mask(&mut self, ctx: &Context, context: &PlaceContext<'_>) {
        let Some(editor) = &self.editor else { return };
        let place = Place::Ask { title: context.words.get("mask-open"), name: String::new() };
        self.background.open_mask(ctx, place, editor.document().size());
    }

    fn save_mask(&mut self, ctx: &Context, context: &PlaceContext<'_>) {
        let Some(editor) = &self.editor else { return };
        let name = format!("{}-mask", editor.document().name);
        let place = Place::Ask { title: context.words.get("mask-save"), name };
        self.background.save_mask(ctx, editor.document().mask().clone(), place);
    }

    /// Pastes and Escape.
    pub(super) fn take_input(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        let ctx = ui.ctx().clone();
        let pasted = ctx.input(|input| {
            input.events.iter().find_map(|event| match event {
                Input::PasteImage(image) => Some(Arc::clone(image)),
                _ => None,
            })
        });
        if let Some(image) = pasted {
            let name = context.words.get("canvas-pasted");
            self.show(Document::new(name, Picture::new(of_clipboard(&image))), None);
        }
        if self.has_keys(&ctx)
            && ctx.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Escape))
        {
            self.escape(context);
        }
    }

    /// Goes back one thing: a stroke, an extension, the fill that is made, or its results.
    fn escape(&mut self, context: &mut PlaceContext<'_>) {
        let Some(editor) = &mut self.editor else { return };
        if editor.abort() {
            return;
        }
        if editor.extension != Extension::default() && editor.candidate().is_none() {
            editor.extension = Extension::default();
        } else if let Some(fill) = &self.fill {
            context.cancelled.push(fill.id);
        } else if !editor.discard_results() {
            self.message = None;
        }
    }
}

fn of_clipboard(image: &ColorImage) -> DynamicImage {
    let pixels: Vec<u8> =
        image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
    let [width, height] = image.size.map(|side| side as u32);
    let pixels = image::RgbaImage::from_raw(width, height, pixels).unwrap_or_default();
    if pixels.pixels().all(|pixel| pixel.0[3] == 255) {
        // An alpha channel that says nothing would only cost room.
        return DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).to_rgb8());
    }
    DynamicImage::ImageRgba8(pixels)
}
