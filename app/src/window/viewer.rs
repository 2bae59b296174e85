//! The centre of the Prompt place: the picture, as it forms and when it is done.

use egui::{
    Button, Color32, Frame, Margin, Pos2, Rect, RichText, ScrollArea, Sense, Stroke, StrokeKind,
    TextureHandle, Ui, UiBuilder, Vec2, pos2, vec2,
};

use super::{
    actions::Action,
    application::Window,
    controls::{section, small},
    icons,
    place::ModelState,
    results::Shown,
    theme::{Colours, space},
    words::Words,
};
use crate::failure::Failure;

/// Points for a pixel: pictures smaller than the place for them are enlarged, but no more than this.
const MAX_ENLARGEMENT: f32 = 4.0;

/// The side of a picture in the film strip, in points.
const STRIP_SIDE: f32 = 76.0;

/// The messages of prompts to begin with, which the model in the box draws well.
const SAMPLE_PROMPTS: [&str; 4] = ["sample-apple", "sample-sun", "sample-tree", "sample-cat"];

impl Window {
    pub(super) fn viewer(&mut self, ui: &mut Ui) {
        let area = ui.available_rect_before_wrap().shrink(space::L);
        let ctx = ui.ctx().clone();
        if let Some(failure) = self.failure.clone() {
            self.failure_card(ui, area, &failure);
            return;
        }
        if let ModelState::Failed(source, failure) = self.model.clone() {
            self.model_failure_card(ui, area, &source.name(), &failure);
            return;
        }
        let texture = match self.results.shown {
            Shown::Newest => {
                self.results.preview.clone().map(|texture| (texture, true)).or_else(|| {
                    if self.results.running.is_some() {
                        return None;
                    }
                    self.results.pictures.first_mut().map(|picture| (picture.texture(&ctx), false))
                })
            }
            Shown::Result(place) => {
                self.results.pictures.get_mut(place).map(|picture| (picture.texture(&ctx), false))
            }
        };
        match texture {
            Some((texture, is_preview)) => {
                let pixels = match (is_preview, self.results.running.as_ref()) {
                    (true, _) => self.preview_size(&texture),
                    _ => texture.size_vec2(),
                };
                draw_picture(ui, area, &texture, pixels);
                if self.results.was_cancelled && self.results.shown == Shown::Newest {
                    self.cancelled_note(ui, area);
                }
            }
            None if self.results.running.is_some() => self.starting(ui, area),
            None => self.empty(ui, area),
        }
    }

    /// The size in pixels that the picture of a preview will have: previews are smaller, with the
    /// same proportions.
    fn preview_size(&self, texture: &TextureHandle) -> Vec2 {
        let size = texture.size_vec2();
        let running = self.results.running.as_ref().and_then(|running| self.queue.get(running.job));
        match running {
            Some(entry) => vec2(entry.request.width as f32, entry.request.height as f32),
            None => size * emberbrush_pipeline::request::LATENT_CELL as f32,
        }
    }

    fn starting(&self, ui: &mut Ui, area: Rect) {
        let colours = Colours::of_ui(ui);
        let rect = Rect::from_center_size(area.center(), vec2(420.0, 80.0).min(area.size()));
        ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
            ui.vertical_centered(|ui| {
                let text = self.words.get("viewer-starting");
                ui.label(RichText::new(text).color(colours.dim));
                if self.awaits_kernels {
                    let text = self.words.get("viewer-new-device");
                    ui.add(egui::Label::new(RichText::new(text).color(colours.dim)).wrap());
                }
            });
        });
    }

    fn cancelled_note(&mut self, ui: &mut Ui, area: Rect) {
        let rect =
            Rect::from_center_size(pos2(area.center().x, area.bottom() - 24.0), vec2(360.0, 40.0));
        let text = self.words.get("viewer-cancelled");
        let again = self.words.get("viewer-go-on");
        let colours = Colours::of_ui(ui);
        let mut wanted = false;
        ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
            Frame::new()
                .fill(colours.panel)
                .stroke(Stroke::new(1.0, colours.line))
                .corner_radius(6.0)
                .inner_margin(Margin::symmetric(12, 4))
                .show(ui, |ui| {
                    ui.horizontal_centered(|ui| {
                        ui.label(text);
                        wanted = ui.button(again).clicked();
                    });
                });
        });
        if wanted {
            self.retry_last_cancelled();
        }
    }

    fn retry_last_cancelled(&mut self) {
        use super::queue::EntryState;
        let last = self
            .queue
            .entries()
            .iter()
            .rev()
            .find(|entry| entry.state == EntryState::Cancelled)
            .map(|entry| entry.id);
        if let Some(id) = last {
            self.queue.retry(id);
        }
    }

    fn empty(&mut self, ui: &mut Ui, area: Rect) {
        let colours = Colours::of_ui(ui);
        let rect = Rect::from_center_size(area.center(), vec2(420.0, 260.0).min(area.size()));
        ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
            ui.vertical_centered(|ui| {
                ui.label(RichText::new(icons::SPARKLE).size(32.0).color(colours.accent));
                section(ui, &self.words.get("viewer-empty-title"));
                let text = self.words.get("viewer-empty-text");
                ui.label(RichText::new(text).color(colours.dim));
                ui.add_space(space::S);
                for message in SAMPLE_PROMPTS {
                    let prompt = self.words.get(message);
                    if ui.add(Button::new(prompt.as_str()).min_size(vec2(280.0, 32.0))).clicked() {
                        self.change_settings("sample", |settings| settings.prompt = prompt);
                        self.act(&ui.ctx().clone(), Action::Generate);
                    }
                }
            });
        });
    }

    fn failure_card(&mut self, ui: &mut Ui, area: Rect, failure: &Failure) {
        let title = self.words.get("failure-title");
        if error_card(ui, &self.words, area, &title, failure, "failure-dismiss") {
            self.failure = None;
        }
    }

    fn model_failure_card(&mut self, ui: &mut Ui, area: Rect, model: &str, failure: &Failure) {
        let title = self.words.with("failure-model", [("model", model.into())]);
        if error_card(ui, &self.words, area, &title, failure, "failure-use-box") {
            self.choose_model(crate::engine::ModelSource::InTheBox);
        }
    }

    pub(super) fn film_strip(&mut self, ui: &mut Ui) {
        let colours = Colours::of_ui(ui);
        let mut chosen = None;
        ScrollArea::horizontal().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                for (place, picture) in self.results.pictures.iter().enumerate() {
                    let (rect, response) =
                        ui.allocate_exact_size(vec2(STRIP_SIDE, STRIP_SIDE), Sense::click());
                    let name = picture.request.prompt.clone();
                    response
                        .widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
                    if !ui.is_rect_visible(rect) {
                        continue;
                    }
                    let size = picture.thumbnail.size_vec2();
                    let inner = fitted(rect, size, f32::INFINITY);
                    paint(ui, &picture.thumbnail, inner);
                    let is_shown = match self.results.shown {
                        Shown::Newest => place == 0 && self.results.running.is_none(),
                        Shown::Result(shown) => shown == place,
                    };
                    if is_shown || response.hovered() {
                        let colour = if is_shown { colours.accent } else { colours.dim };
                        let stroke = Stroke::new(2.0, colour);
                        ui.painter().rect_stroke(inner, 3.0, stroke, StrokeKind::Inside);
                    }
                    super::controls::focus_ring(ui, &response);
                    if response.clicked() {
                        chosen = Some(place);
                    }
                    response.on_hover_ui(|ui| {
                        let side = 256.0;
                        let size = fitted(
                            Rect::from_min_size(Pos2::ZERO, Vec2::splat(side)),
                            size,
                            f32::INFINITY,
                        );
                        let (rect, _) = ui.allocate_exact_size(size.size(), Sense::hover());
                        paint(ui, &picture.thumbnail, rect);
                        ui.set_max_width(side);
                        ui.label(&picture.request.prompt);
                        let took = super::status::duration(&self.words, picture.took);
                        small(ui, &format!("{}  ·  {took}", picture.request.seed));
                    });
                }
            });
        });
        if let Some(place) = chosen {
            self.results.shown = if place == 0 { Shown::Newest } else { Shown::Result(place) };
        }
    }
}

/// The place of a picture of `size` within `area`, in its middle.
pub(super) fn fitted(area: Rect, size: Vec2, max_scale: f32) -> Rect {
    let scale = (area.size() / size.max(Vec2::splat(1.0))).min_elem().min(max_scale);
    Rect::from_center_size(area.center(), size * scale)
}

fn paint(ui: &Ui, texture: &TextureHandle, rect: Rect) {
    let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    ui.painter().image(texture.id(), rect, uv, Color32::WHITE);
}

fn draw_picture(ui: &mut Ui, area: Rect, texture: &TextureHandle, pixels: Vec2) {
    paint(ui, texture, fitted(area, pixels, MAX_ENLARGEMENT));
}

/// What happened, what to do, details to copy, and a button with the message `go_on`. Whether that was chosen.
fn error_card(
    ui: &mut Ui,
    words: &Words,
    area: Rect,
    title: &str,
    Failure { explanation, details }: &Failure,
    go_on: &str,
) -> bool {
    let colours = Colours::of_ui(ui);
    let rect = Rect::from_center_size(area.center(), vec2(520.0, 220.0).min(area.size()));
    let mut went_on = false;
    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
        Frame::new()
            .fill(colours.panel)
            .stroke(Stroke::new(1.0, colours.line))
            .corner_radius(8.0)
            .inner_margin(Margin::same(16))
            .show(ui, |ui| {
                ui.set_width(rect.width() - 32.0);
                ui.horizontal(|ui| {
                    ui.label(RichText::new(icons::WARNING_CIRCLE).size(20.0).color(colours.bad));
                    section(ui, title);
                });
                ScrollArea::vertical().max_height(110.0).show(ui, |ui| {
                    let told = words.explain(explanation);
                    ui.add(egui::Label::new(told).wrap().selectable(true));
                });
                ui.add_space(space::XS);
                ui.horizontal(|ui| {
                    went_on = ui.button(words.get(go_on)).clicked();
                    if ui.button(words.get("failure-copy")).clicked() {
                        ui.ctx().copy_text(details.clone());
                    }
                });
            });
    });
    went_on
}
