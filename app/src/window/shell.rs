//! Where everything is: the bar, the panels, the centre, the film strip and the status line.

use egui::{Frame, Margin, Panel, Stroke, Ui};

use super::{
    actions::Action,
    application::Window,
    overlay::Overlay,
    place::Place,
    theme::{Colours, space},
};
use crate::canvas::actions::CanvasAction;

/// Height of the bar in points.
const BAR_HEIGHT: f32 = 44.0;

/// Width of the left panel in points.
const LEFT_WIDTH: f32 = 320.0;

/// Width of the right panel in points.
const RIGHT_WIDTH: f32 = 264.0;

/// Windows narrower than this fold the right panel until it is asked for.
const NARROW: f32 = 1100.0;

/// Height of the film strip in points.
const STRIP_HEIGHT: f32 = 96.0;

/// Height of the status line in points.
const STATUS_HEIGHT: f32 = 28.0;

/// Changes that are further apart than this are undone one by one.
const PAUSE_SECONDS: f64 = 1.0;

impl Window {
    /// Draws the window and takes in what a person does.
    pub fn ui(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        self.keys(&ctx);
        let before = self.settings.clone();
        let colours = Colours::of_ui(ui);
        let panel = |margin: Margin| Frame::new().fill(colours.panel).inner_margin(margin);

        Panel::top("bar")
            .exact_size(BAR_HEIGHT)
            .resizable(false)
            .frame(panel(Margin::symmetric(space::M as i8, space::S as i8)))
            .show(ui, |ui| self.bar(ui));
        if self.session.place != Place::Gallery {
            Panel::left("left")
                .exact_size(LEFT_WIDTH)
                .resizable(false)
                .frame(panel(Margin::ZERO))
                .show(ui, |ui| self.prompt_panel(ui));
        }
        if self.has_side_panel() && *self.shows_side_panel(&ctx) {
            Panel::right("right")
                .exact_size(RIGHT_WIDTH)
                .resizable(false)
                .frame(panel(Margin::same(space::M as i8)))
                .show(ui, |ui| self.side_panel(ui));
        }
        Panel::bottom("status")
            .exact_size(STATUS_HEIGHT)
            .resizable(false)
            .frame(panel(Margin::symmetric(space::M as i8, 0)))
            .show(ui, |ui| self.status(ui));
        if self.session.place == Place::Prompt && !self.results.pictures.is_empty() {
            Panel::bottom("strip")
                .exact_size(STRIP_HEIGHT)
                .resizable(false)
                .frame(panel(Margin::same(space::S as i8)))
                .show(ui, |ui| self.film_strip(ui));
        }
        let centre = Frame::new().fill(colours.ground).stroke(Stroke::NONE);
        egui::CentralPanel::no_frame().frame(centre).show(ui, |ui| match self.session.place {
            Place::Prompt => self.viewer(ui),
            Place::Canvas => {
                self.with_canvas(|canvas, context| canvas.ui(ui, context));
            }
            Place::Gallery => self.gallery_place(ui),
        });
        self.take_dropped(&ctx);
        self.overlays(&ctx);
        self.note_changes(&ctx, &before);
    }

    /// Whether the right panel is open at this width; a window that is narrow remembers it for itself.
    pub(super) fn shows_side_panel(&mut self, ctx: &egui::Context) -> &mut bool {
        match ctx.content_rect().width() >= NARROW {
            true => &mut self.session.shows_side_panel,
            false => &mut self.session.shows_side_panel_when_narrow,
        }
    }

    fn has_side_panel(&self) -> bool {
        self.session.place == Place::Canvas
    }

    fn side_panel(&mut self, ui: &mut Ui) {
        self.with_canvas(|canvas, context| canvas.side_panel(ui, context));
    }

    fn keys(&mut self, ctx: &egui::Context) {
        if matches!(&self.overlay, Overlay::Preferences(page) if page.is_listening()) {
            return;
        }
        let is_canvas = self.session.place == Place::Canvas;
        let canvas = &self.canvas;
        // What the canvas takes is known before its keys are taken out of the input.
        let taken: Vec<_> = match is_canvas {
            true => CanvasAction::ALL.into_iter().filter(|&a| canvas.takes(ctx, a)).collect(),
            false => Vec::new(),
        };
        let actions = ctx.input_mut(|input| {
            self.preferences.shortcuts.consume(input, |action, shortcut| match action {
                Action::Canvas(action) => {
                    is_canvas && (shortcut.has_command() || taken.contains(&action))
                }
                // Keys without modifiers belong to the widget that has the focus first.
                _ => shortcut.0.modifiers != egui::Modifiers::NONE,
            })
        });
        for action in actions {
            self.act(ctx, action);
        }
        // Escape closes what is open first, and lets the canvas drop a stroke.
        let cancel = self.preferences.shortcuts.of(Action::Cancel);
        if let Some(cancel) = cancel
            && matches!(self.overlay, Overlay::None)
            && self.session.place != Place::Canvas
            && self.queue.running().is_some()
            && !egui::Popup::is_any_open(ctx)
            && ctx.input_mut(|input| input.consume_shortcut(&cancel.0))
        {
            self.cancel_running();
        }
    }

    /// Puts what the controls changed into the timeline.
    fn note_changes(&mut self, ctx: &egui::Context, before: &super::settings::GenerationSettings) {
        if std::mem::take(&mut self.is_recorded) {
            return;
        }
        let after = &self.settings;
        // What follows once the pointer was let go is a step of its own.
        let is_let_go = ctx.input(|input| input.pointer.any_released());
        if after == before {
            if is_let_go {
                self.timeline.end_step();
            }
            return;
        }
        let subject = match () {
            () if after.prompt != before.prompt => "prompt",
            () if after.negative != before.negative => "negative",
            () if after.steps != before.steps => "steps",
            () if after.guidance != before.guidance => "guidance",
            () if (after.width, after.height) != (before.width, before.height) => "size",
            () if after.seed != before.seed => "seed",
            () if after.count != before.count => "count",
            () => "choice",
        };
        // After a pause, typing goes on in a step of its own.
        let now = ctx.time();
        if now - std::mem::replace(&mut self.last_change, now) > PAUSE_SECONDS {
            self.timeline.end_step();
        }
        self.timeline.changed(before, subject);
        if is_let_go {
            self.timeline.end_step();
        }
    }
}
