//! The Gallery place: every picture that was made, found again.

mod details;
mod finder;
pub mod index;
mod thumbnails;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use egui::{
    Align2, Color32, Context, CornerRadius, FontId, Key, Label, Modifiers, Rect, RichText, Sense,
    Stroke, StrokeKind, TextEdit, TextureHandle, Ui, Vec2, pos2, vec2,
};
use serde_json::{Map, Value};

use self::{
    finder::Finder,
    index::{Filter, GalleryIndex, GalleryPicture},
    thumbnails::Thumbnails,
};
use super::{
    controls::{icon_button, icon_toggle, small},
    icons,
    theme::{BODY, CONTROL_HEIGHT, Colours, RADIUS, space},
    viewer::fitted,
    words::Words,
};
use crate::failure::Failure;

/// The side of a picture in the grid, in points.
const CELL: f32 = 168.0;

/// The file of the index in the data folder.
const INDEX: &str = "gallery.sqlite";

/// What a person asked for in the gallery.
#[derive(Debug, Clone, PartialEq)]
pub enum GalleryAction {
    /// Use the settings of a picture.
    UseSettings(Map<String, Value>),
    /// Make a picture with its settings and a new seed.
    MakeAnother(Map<String, Value>),
    /// Open it on the canvas.
    ToCanvas(PathBuf),
    /// Put its pixels on the clipboard.
    CopyPicture(PathBuf),
    /// Put its settings on the clipboard.
    CopySettings(Map<String, Value>),
    /// Put its file into the system's bin.
    Delete(i64, PathBuf),
}

/// The Gallery place.
pub struct GalleryPlace {
    database: PathBuf,
    index: Option<GalleryIndex>,
    finder: Finder,
    thumbnails: Thumbnails,
    pictures: Vec<GalleryPicture>,
    filter: Filter,
    /// Whether `pictures` has to be asked for again.
    stale: bool,
    /// Ids of the pictures that are chosen, at most two.
    chosen: Vec<i64>,
    /// Where the line between two compared pictures is, from 0 to 1.
    split: f32,
    is_comparing: bool,
    scanned: Receiver<Result<bool, Failure>>,
    scanner: Sender<Result<bool, Failure>>,
    is_scanning: bool,
    failure: Option<Failure>,
    columns: usize,
}

impl GalleryPlace {
    /// Opens the index in the data folder.
    ///
    /// # Errors
    ///
    /// Where the system refuses a thread.
    pub fn new(ctx: &Context, data: &Path) -> std::io::Result<Self> {
        let (waker, search_waker) = (ctx.clone(), ctx.clone());
        let (scanner, scanned) = channel();
        let database = data.join(INDEX);
        let (index, failure) = match GalleryIndex::open(&database) {
            Ok(index) => (Some(index), None),
            Err(error) => (None, Some(error.into())),
        };
        Ok(Self {
            finder: Finder::start(database.clone(), move || search_waker.request_repaint())?,
            database,
            index,
            thumbnails: Thumbnails::start(move || waker.request_repaint())?,
            pictures: Vec::new(),
            filter: Filter::default(),
            stale: true,
            chosen: Vec::new(),
            split: 0.5,
            is_comparing: false,
            scanned,
            scanner,
            is_scanning: false,
            failure,
            columns: 1,
        })
    }

    /// Reads the folder of pictures again, beside the window.
    pub fn scan(&mut self, ctx: &Context, folder: &Path) {
        if self.is_scanning {
            return;
        }
        let (database, folder) = (self.database.clone(), folder.to_owned());
        let (sender, waker) = (self.scanner.clone(), ctx.clone());
        let scanning = thread::Builder::new().name("gallery".to_owned()).spawn(move || {
            let result = GalleryIndex::open(&database)
                .and_then(|mut index| index.update_from_folder(&folder))
                .map_err(Failure::from);
            let _ = sender.send(result);
            waker.request_repaint();
        });
        self.is_scanning = scanning.is_ok();
    }

    /// A picture was just written.
    pub fn added(&mut self, path: &Path) {
        let Some(index) = &self.index else { return };
        match index.add_file(path).and_then(|()| index.get(path)) {
            // Thousands of pictures are not asked for again because of one.
            Ok(Some(picture)) if self.filter == Filter::default() && !self.stale => {
                self.ask_again();
                self.pictures.retain(|known| known.id != picture.id);
                self.pictures.insert(0, picture);
            }
            Ok(_) => self.stale = true,
            Err(error) => self.failure = Some(error.into()),
        }
    }

    /// A picture was put into the bin.
    pub fn removed(&mut self, id: i64) {
        if let Some(index) = &self.index {
            self.failure = index.remove(id).err().map(Failure::from);
        }
        self.ask_again();
        self.chosen.retain(|&chosen| chosen != id);
        self.pictures.retain(|picture| picture.id != id);
    }

    /// Something changed: pictures that are being looked for may not know of it.
    fn ask_again(&mut self) {
        self.stale |= self.finder.awaits();
    }

    /// The newest picture that a checkpoint made: its file, and when that was written.
    pub(super) fn newest_of_model(&self, name: &str) -> Option<(PathBuf, i64)> {
        self.index.as_ref()?.newest_of_model(name).ok().flatten()
    }

    /// A small picture of a file; `None` until it is there.
    pub(super) fn thumbnail(&mut self, path: &Path, modified: i64) -> Option<TextureHandle> {
        self.thumbnails.get(path, modified)
    }

    /// The pictures in view.
    pub fn pictures(&self) -> &[GalleryPicture] {
        &self.pictures
    }

    /// Where the line between two compared pictures is, from 0 to 1, while two are compared.
    pub fn compared(&self) -> Option<f32> {
        (self.is_comparing && self.chosen.len() == 2).then_some(self.split)
    }

    /// Small pictures that are still being decoded.
    pub fn awaited_thumbnails(&self) -> usize {
        self.thumbnails.awaited()
    }

    /// Whether the folder is being read.
    pub fn is_scanning(&self) -> bool {
        self.is_scanning
    }

    /// Takes in what happened beside the window. Called before each frame; the pictures are asked
    /// for once the place is in view.
    pub fn logic(&mut self, ctx: &Context, is_in_view: bool) {
        self.thumbnails.logic(ctx);
        while let Ok(result) = self.scanned.try_recv() {
            self.is_scanning = false;
            match result {
                Ok(changed) => self.stale |= changed,
                Err(failure) => self.failure = Some(failure),
            }
        }
        match self.finder.found() {
            Some(Ok(pictures)) => {
                let before = std::mem::replace(&mut self.pictures, pictures);
                self.finder.forget(before);
            }
            Some(Err(error)) => self.failure = Some(error.into()),
            None => {}
        }
        if self.stale && is_in_view && self.index.is_some() && !self.finder.awaits() {
            self.stale = false;
            self.finder.find(self.filter.clone());
        }
    }

    /// Draws the place.
    pub fn ui(&mut self, ui: &mut Ui, words: &Words) -> Option<GalleryAction> {
        let mut action = None;
        if !self.chosen_pictures().is_empty() {
            egui::Panel::right("gallery-details")
                .exact_size(264.0)
                .resizable(false)
                .frame(egui::Frame::new().fill(Colours::of_ui(ui).panel).inner_margin(space::M))
                .show(ui, |ui| action = self.details(ui, words));
        }
        egui::Panel::top("gallery-tools")
            .exact_size(CONTROL_HEIGHT + 2.0 * space::S)
            .resizable(false)
            .show_separator_line(false)
            .frame(egui::Frame::new().inner_margin(egui::Margin::symmetric(16, 8)))
            .show(ui, |ui| self.tools(ui, words));
        egui::CentralPanel::no_frame().show(ui, |ui| {
            if self.is_comparing && self.chosen.len() == 2 {
                self.compare(ui, words);
            } else if self.pictures.is_empty() && (self.stale || self.finder.awaits()) {
                // Whether there is nothing is not known yet.
            } else if self.pictures.is_empty() {
                let text = if self.filter == Filter::default() {
                    words.get("gallery-empty")
                } else {
                    words.get("gallery-nothing-found")
                };
                let area = ui.available_rect_before_wrap();
                let font = FontId::proportional(BODY);
                let dim = Colours::of_ui(ui).dim;
                ui.painter().text(area.center(), Align2::CENTER_CENTER, text, font, dim);
            } else {
                self.keys(ui);
                self.grid(ui);
            }
        });
        action
    }

    fn tools(&mut self, ui: &mut Ui, words: &Words) {
        ui.horizontal_centered(|ui| {
            let label = words.get("gallery-search");
            let search = TextEdit::singleline(&mut self.filter.text)
                .hint_text(format!("{}  {label}", icons::MAGNIFYING_GLASS))
                .align(egui::Align2::LEFT_CENTER)
                .desired_width(320.0);
            if ui.add(search).accessible_name(label).changed() {
                self.stale = true;
            }
            let name = words.get("gallery-starred");
            let on = self.filter.starred_only;
            let icon = if on { icons::STAR_FILL } else { icons::STAR };
            if icon_toggle(ui, icon, &name, None, on).clicked() {
                self.filter.starred_only = !on;
                self.stale = true;
            }
            ui.add_enabled_ui(self.chosen.len() == 2, |ui| {
                let name = words.get("gallery-compare");
                if icon_toggle(ui, icons::SPLIT_HORIZONTAL, &name, None, self.is_comparing)
                    .clicked()
                {
                    self.is_comparing = !self.is_comparing;
                }
            });
            let count = self.pictures.len();
            small(ui, &words.with("gallery-count", [("pictures", count.into())]));
            if let Some(Failure { explanation, details }) = &self.failure {
                let copy = words.get("failure-copy");
                if icon_button(ui, icons::COPY, &copy, None).clicked() {
                    ui.ctx().copy_text(details.clone());
                }
                let told = RichText::new(words.explain(explanation));
                ui.add(Label::new(told.color(Colours::of_ui(ui).bad)).truncate());
            }
            if self.is_scanning {
                small(ui, &words.get("gallery-scanning"));
            }
        });
    }

    fn grid(&mut self, ui: &mut Ui) {
        let colours = Colours::of_ui(ui);
        let width = ui.available_width() - 2.0 * space::L;
        let columns = (((width + space::S) / (CELL + space::S)).floor() as usize).max(1);
        self.columns = columns;
        let cell = (width + space::S) / columns as f32 - space::S;
        let rows = self.pictures.len().div_ceil(columns);
        ui.spacing_mut().item_spacing = Vec2::splat(space::S);
        let mut clicked = None;
        egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, cell, rows, |ui, shown| {
            for row in shown {
                ui.horizontal(|ui| {
                    ui.add_space(space::L - space::S);
                    for place in row * columns..((row + 1) * columns).min(self.pictures.len()) {
                        let picture = &self.pictures[place];
                        let (rect, response) =
                            ui.allocate_exact_size(Vec2::splat(cell), Sense::click());
                        let name = picture.path.file_name().unwrap_or_default().to_string_lossy();
                        response.widget_info(|| {
                            egui::WidgetInfo::labeled(egui::Role::Button, true, name.as_ref())
                        });
                        let painter = ui.painter();
                        let radius = CornerRadius::same(RADIUS);
                        painter.rect_filled(rect, radius, colours.panel);
                        if let Some(texture) = self.thumbnails.get(&picture.path, picture.modified)
                        {
                            let size = texture.size_vec2();
                            let inner = fitted(rect, size, f32::INFINITY);
                            painter.image(texture.id(), inner, whole(), Color32::WHITE);
                        }
                        if picture.starred {
                            let place = rect.right_top() + vec2(-14.0, 14.0);
                            let font = FontId::proportional(16.0);
                            let icon = icons::STAR_FILL;
                            painter.text(place, Align2::CENTER_CENTER, icon, font, colours.accent);
                        }
                        let is_chosen = self.chosen.contains(&picture.id);
                        if is_chosen || response.hovered() {
                            let colour = if is_chosen { colours.accent } else { colours.line };
                            let stroke = Stroke::new(2.0, colour);
                            painter.rect_stroke(rect, radius, stroke, StrokeKind::Inside);
                        }
                        super::controls::focus_ring(ui, &response);
                        if response.clicked() {
                            clicked = Some(picture.id);
                        }
                    }
                });
            }
        });
        if let Some(id) = clicked {
            self.choose(id, ui.input(|input| input.modifiers.command));
        }
    }

    /// Chooses a picture, or a second one beside it.
    fn choose(&mut self, id: i64, beside: bool) {
        self.is_comparing = false;
        if self.chosen.contains(&id) {
            self.chosen.retain(|&chosen| chosen != id);
        } else if beside && !self.chosen.is_empty() {
            self.chosen.truncate(1);
            self.chosen.push(id);
        } else {
            self.chosen = vec![id];
        }
    }

    fn keys(&mut self, ui: &Ui) {
        if ui.ctx().egui_wants_keyboard_input() {
            return;
        }
        let Some(&id) = self.chosen.first() else { return };
        let Some(place) = self.pictures.iter().position(|picture| picture.id == id) else { return };
        let steps = [
            (Key::ArrowLeft, -1),
            (Key::ArrowRight, 1),
            (Key::ArrowUp, -(self.columns as isize)),
            (Key::ArrowDown, self.columns as isize),
        ];
        for (key, step) in steps {
            if ui.input_mut(|input| input.consume_key(Modifiers::NONE, key))
                && let Some(next) = place.checked_add_signed(step)
                && let Some(picture) = self.pictures.get(next)
            {
                self.chosen = vec![picture.id];
            }
        }
    }

    fn compare(&mut self, ui: &mut Ui, words: &Words) {
        let colours = Colours::of_ui(ui);
        let pictures = self.chosen_pictures();
        let [left, right] = pictures.as_slice() else { return };
        let area = ui.available_rect_before_wrap().shrink(space::L);
        let response = ui.interact(area, ui.scope_id().with("compare"), Sense::click_and_drag());
        response.widget_info(|| {
            egui::WidgetInfo::slider(true, f64::from(self.split), words.get("gallery-compare"))
        });
        let textures = [left, right].map(|picture| {
            self.thumbnails.get(&picture.path, picture.modified).map(|texture| (texture, picture))
        });
        let [Some((first, left)), Some((second, _))] = textures else { return };
        let size = vec2(left.width as f32, left.height as f32);
        let rect = fitted(area, size, f32::INFINITY);
        if let Some(pointer) = response.interact_pointer_pos() {
            self.split = ((pointer.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
        }
        let line = egui::lerp(rect.x_range(), self.split);
        let painter = ui.painter();
        let uv = |from: f32, to: f32| Rect::from_min_max(pos2(from, 0.0), pos2(to, 1.0));
        let before = Rect::from_min_max(rect.min, pos2(line, rect.bottom()));
        let after = Rect::from_min_max(pos2(line, rect.top()), rect.max);
        painter.image(first.id(), before, uv(0.0, self.split), Color32::WHITE);
        painter.image(second.id(), after, uv(self.split, 1.0), Color32::WHITE);
        painter.vline(line, rect.y_range(), Stroke::new(2.0, colours.accent));
    }

    fn chosen_pictures(&self) -> Vec<GalleryPicture> {
        self.chosen
            .iter()
            .filter_map(|id| self.pictures.iter().find(|picture| picture.id == *id))
            .cloned()
            .collect()
    }

    fn star(&mut self, picture: &GalleryPicture) {
        if let Some(index) = &self.index {
            let result = index.set_starred(picture.id, !picture.starred);
            self.failure = result.err().map(Failure::from);
            self.stale |= self.filter.starred_only;
            self.ask_again();
            let starred = !picture.starred;
            let listed = self.pictures.iter_mut().find(|listed| listed.id == picture.id);
            if let Some(listed) = listed {
                listed.starred = starred;
            }
        }
    }

    /// The close button of the details.
    fn close_button(&mut self, ui: &mut Ui, words: &Words) {
        if icon_button(ui, icons::X, &words.get("close"), None).clicked() {
            self.chosen.clear();
            self.is_comparing = false;
        }
    }
}

/// All of a texture.
fn whole() -> Rect {
    Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0))
}
