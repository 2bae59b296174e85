//! What opens above the places: one at a time, closed by Escape or a click beside it.

use egui::{Align2, Area, Context, Frame, Id, Margin, Modal, Order, RichText, Stroke, Ui, vec2};

use super::{
    application::Window,
    controls::{icon_button, title},
    export::Export,
    history::History,
    icons,
    palette::Palette,
    preferences_page::PreferencesPage,
    theme::{Colours, RADIUS, space},
};

/// How long a notice stays, in seconds.
const NOTICE_SECONDS: f32 = 6.0;

/// What is open.
#[derive(Debug, Default)]
pub(super) enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The command palette.
    Palette(Palette),
    /// The history of prompts.
    History(History),
    /// The settings page.
    Preferences(PreferencesPage),
    /// The models page.
    Models,
    /// The queue.
    Queue,
    /// The dialog for many pictures.
    Export(Box<Export>),
}

/// Whether a page stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// It does.
    Stay,
    /// It closes.
    Close,
}

impl Window {
    pub(super) fn overlays(&mut self, ctx: &Context) {
        let mut overlay = std::mem::take(&mut self.overlay);
        let flow = match &mut overlay {
            Overlay::None => Flow::Close,
            Overlay::Palette(palette) => self.palette(ctx, palette),
            Overlay::History(history) => self.history(ctx, history),
            Overlay::Preferences(page) => {
                let name = self.words.get("preferences");
                page_modal(ctx, &name, &self.words.get("close"), |ui| {
                    self.preferences_page(ui, page);
                    Flow::Stay
                })
            }
            Overlay::Models => {
                let name = self.words.get("models");
                let close = self.words.get("close");
                page_modal(ctx, &name, &close, |ui| self.models_page(ui))
            }
            Overlay::Queue => {
                let name = self.words.get("queue");
                let close = self.words.get("close");
                page_modal(ctx, &name, &close, |ui| self.queue_page(ui))
            }
            Overlay::Export(export) => {
                let name = self.words.get("export");
                let close = self.words.get("close");
                page_modal(ctx, &name, &close, |ui| self.export_page(ui, export))
            }
        };
        // What a page opened itself stays.
        if flow == Flow::Stay && matches!(self.overlay, Overlay::None) {
            self.overlay = overlay;
        }
        self.show_notices(ctx);
    }

    /// The newest notice, for a while, above the status line.
    fn show_notices(&mut self, ctx: &Context) {
        let now = ctx.time();
        for notice in self.notices.drain(..) {
            self.shown_notice = Some((notice, now));
        }
        let Some((notice, since)) = &self.shown_notice else { return };
        let left = NOTICE_SECONDS - (now - since) as f32;
        if left <= 0.0 {
            self.shown_notice = None;
            return;
        }
        ctx.request_repaint_after_secs(left);
        let close = self.words.get("close");
        let copy = self.words.get("failure-copy");
        let mut closed = false;
        Area::new(Id::unique("notice"))
            .order(Order::Foreground)
            .anchor(Align2::CENTER_BOTTOM, vec2(0.0, -44.0))
            .show(ctx, |ui| {
                let colours = Colours::of_ui(ui);
                Frame::new()
                    .fill(colours.raised)
                    .stroke(Stroke::new(1.0, colours.line))
                    .corner_radius(RADIUS as f32)
                    // The button to close it has room of its own.
                    .inner_margin(Margin { left: 12, right: 4, top: 6, bottom: 6 })
                    .show(ui, |ui| {
                        ui.set_max_width(600.0);
                        ui.horizontal(|ui| {
                            let (icon, colour) = if notice.is_error {
                                (icons::WARNING_CIRCLE, colours.bad)
                            } else {
                                (icons::INFO, colours.dim)
                            };
                            ui.label(RichText::new(icon).color(colour));
                            ui.label(&notice.message);
                            if let Some(details) = &notice.details
                                && icon_button(ui, icons::COPY, &copy, None).clicked()
                            {
                                ctx.copy_text(details.clone());
                            }
                            closed = icon_button(ui, icons::X, &close, None).clicked();
                        });
                    });
            });
        if closed {
            self.shown_notice = None;
        }
    }
}

/// A page in the middle of the window, under its title.
fn page_modal(
    ctx: &Context,
    name: &str,
    close: &str,
    content: impl FnOnce(&mut Ui) -> Flow,
) -> Flow {
    let size = ctx.content_rect().size();
    let room = vec2((size.x - 96.0).min(760.0), (size.y - 120.0).min(620.0));
    let frame = Frame::window(&ctx.global_style()).inner_margin(Margin::same(24));
    let modal = Modal::new(Id::unique("page")).frame(frame).show(ctx, |ui| {
        ui.set_width(room.x);
        let mut flow = Flow::Stay;
        ui.horizontal(|ui| {
            title(ui, name);
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if icon_button(ui, icons::X, close, None).clicked() {
                    flow = Flow::Close;
                }
            });
        });
        ui.add_space(space::S);
        // The room is the content's alone, below the title.
        let inner = ui.vertical(|ui| {
            ui.set_max_height(room.y);
            content(ui)
        });
        if inner.inner == Flow::Close {
            flow = Flow::Close;
        }
        flow
    });
    if modal.should_close() { Flow::Close } else { modal.inner }
}
