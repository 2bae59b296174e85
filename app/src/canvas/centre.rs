//! The centre of the Canvas place: the picture, and what floats over it.

use egui::{Align2, FontId, Frame, Margin, Rect, RichText, Stroke, Ui, UiBuilder, pos2, vec2};

use super::{
    place::{CanvasPlace, Message},
    surface::Preview,
};
use crate::window::{
    PlaceContext, controls, icons,
    theme::{Colours, SMALL, space},
};

impl CanvasPlace {
    /// The centre of the window.
    pub fn ui(&mut self, ui: &mut Ui, context: &mut PlaceContext<'_>) {
        for outcome in self.background.poll() {
            self.take(outcome, context);
        }
        self.take_input(ui, context);
        if std::mem::take(&mut self.wants_fill) {
            self.fill(&ui.ctx().clone(), None, context);
        }
        let Some(editor) = &mut self.editor else {
            self.empty(ui, context);
            return;
        };
        let preview = self.fill.as_ref().and_then(|fill| {
            let texture = fill.preview.as_ref()?;
            let (area, replaced) = fill.job.areas()?;
            let rect = |area: super::geometry::PixelRectangle| {
                Rect::from_min_max(
                    pos2(area.left as f32, area.top as f32),
                    pos2(area.right as f32, area.bottom as f32),
                )
            };
            Some(Preview { texture, area: rect(area), replaced: rect(replaced) })
        });
        let name = context.words.get("canvas");
        let response = self.surface.ui(ui, editor, &name, preview);
        self.floating(ui, context, response.rect);
        self.remember(ui.input(|input| input.time));
    }

    /// What floats over the picture: the tools, the size, and the last message.
    fn floating(&mut self, ui: &mut Ui, context: &PlaceContext<'_>, rect: Rect) {
        let Some(editor) = &self.editor else { return };
        if let Some(action) = super::tool_strip::tool_strip(ui, rect, context, &editor.tools) {
            self.act(ui.ctx(), action, context);
        }
        let Some(editor) = &self.editor else { return };
        let colours = Colours::of_ui(ui);
        let (width, height) = editor.document().size();
        let percent = self.surface.scale() * ui.pixels_per_point() * 100.0;
        let text = format!("{width} × {height}  ·  {percent:.0} %");
        let corner = rect.right_bottom() - vec2(space::M, space::S);
        let font = FontId::proportional(SMALL);
        let galley = ui.painter().layout_no_wrap(text, font, colours.dim);
        let place = Align2::RIGHT_BOTTOM.anchor_size(corner, galley.size());
        ui.painter().rect_filled(place.expand2(vec2(8.0, 4.0)), 4.0, colours.panel);
        ui.painter().galley(place.min, galley, colours.dim);
        let Some(message) = &self.message else { return };
        let colour = message.colour(&colours);
        let width = (rect.width() - 2.0 * 72.0).clamp(120.0, 520.0);
        let area = Rect::from_min_size(
            pos2(rect.center().x - width / 2.0, rect.top() + space::M),
            vec2(width, 40.0),
        );
        let mut dismissed = false;
        ui.scope_builder(UiBuilder::new().max_rect(area), |ui| {
            Frame::new()
                .fill(colours.panel)
                .stroke(Stroke::new(1.0, colours.line))
                .corner_radius(6.0)
                .inner_margin(Margin::symmetric(12, 6))
                .show(ui, |ui| {
                    ui.horizontal(|ui| {
                        let room = ui.available_width() - 72.0;
                        let told = RichText::new(message.told(context.words)).color(colour);
                        ui.allocate_ui(vec2(room, 0.0), |ui| {
                            ui.set_width(room);
                            ui.add(egui::Label::new(told).wrap());
                        });
                        let copy = context.words.get("failure-copy");
                        if let Message::Failed(failure) = message
                            && controls::icon_button(ui, icons::COPY, &copy, None).clicked()
                        {
                            ui.ctx().copy_text(failure.details.clone());
                        }
                        let name = context.words.get("canvas-dismiss");
                        dismissed = controls::icon_button(ui, icons::X, &name, None).clicked();
                    });
                });
        });
        if dismissed {
            self.message = None;
        }
    }

    fn empty(&mut self, ui: &mut Ui, context: &PlaceContext<'_>) {
        let colours = Colours::of_ui(ui);
        let room = ui.available_rect_before_wrap();
        let rect = Rect::from_center_size(room.center(), vec2(380.0, 220.0).min(room.size()));
        let mut wanted = false;
        ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
            ui.vertical_centered(|ui| {
                ui.label(RichText::new(icons::IMAGE_SQUARE).size(32.0).color(colours.accent));
                controls::section(ui, &context.words.get("canvas-empty"));
                ui.label(RichText::new(context.words.get("canvas-empty-text")).color(colours.dim));
                ui.add_space(space::S);
                let label = format!("{}  {}", icons::FOLDER_OPEN, context.words.get("canvas-open"));
                wanted = ui.add(egui::Button::new(label).min_size(vec2(200.0, 32.0))).clicked();
                if let Some(message) = &self.message {
                    let told = RichText::new(message.told(context.words));
                    ui.add_space(space::S);
                    ui.label(told.color(message.colour(&colours)));
                    if let Message::Failed(failure) = message
                        && ui.button(context.words.get("failure-copy")).clicked()
                    {
                        ui.ctx().copy_text(failure.details.clone());
                    }
                }
            });
        });
        if wanted {
            self.ask_to_open(ui.ctx(), context);
        }
    }
}
