//! The command palette: every command by name, with its keys.

use egui::{
    Align2, Button, Color32, Context, Id, Key, Modal, Modifiers, RichText, ScrollArea, TextEdit,
    vec2,
};

use super::{
    actions::Action,
    application::Window,
    overlay::Flow,
    theme::{Colours, ROW_HEIGHT, SMALL},
};

/// What is typed and chosen in the palette.
#[derive(Debug, Default)]
pub(super) struct Palette {
    text: String,
    chosen: usize,
}

/// Whether the letters of `typed` occur in `name` in this order, in any case.
fn matches(name: &str, typed: &str) -> bool {
    let mut letters = name.chars().flat_map(char::to_lowercase);
    typed
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .flat_map(char::to_lowercase)
        .all(|wanted| letters.any(|letter| letter == wanted))
}

impl Window {
    pub(super) fn palette(&mut self, ctx: &Context, palette: &mut Palette) -> Flow {
        let found: Vec<(Action, String)> = Action::all()
            .filter(|&action| action != Action::ShowPalette)
            .map(|action| (action, self.words.get(action.message())))
            .filter(|(_, name)| matches(name, &palette.text))
            .collect();
        palette.chosen = palette.chosen.min(found.len().saturating_sub(1));
        ctx.input_mut(|input| {
            if input.consume_key(Modifiers::NONE, Key::ArrowDown) {
                palette.chosen = (palette.chosen + 1).min(found.len().saturating_sub(1));
            }
            if input.consume_key(Modifiers::NONE, Key::ArrowUp) {
                palette.chosen = palette.chosen.saturating_sub(1);
            }
        });
        let entered = ctx.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Enter));
        let mut wanted = found.get(palette.chosen).filter(|_| entered).map(|(action, _)| *action);
        let area =
            Modal::default_area(Id::unique("palette")).anchor(Align2::CENTER_TOP, vec2(0.0, 72.0));
        let modal = Modal::new(Id::unique("palette"))
            .area(area)
            .backdrop_color(Color32::from_black_alpha(60))
            .show(ctx, |ui| {
                ui.set_width(480.0);
                let label = self.words.get("palette-hint");
                let edit = TextEdit::singleline(&mut palette.text)
                    .id(Id::unique("palette-text"))
                    .hint_text(label.clone())
                    .desired_width(f32::INFINITY)
                    .align(egui::Align2::LEFT_CENTER)
                    .min_size(vec2(0.0, ROW_HEIGHT));
                let response = ui.add(edit).accessible_name(label);
                response.request_focus();
                if response.changed() {
                    palette.chosen = 0;
                }
                ScrollArea::vertical().max_height(400.0).show(ui, |ui| {
                    let colours = Colours::of_ui(ui);
                    ui.spacing_mut().item_spacing.y = 0.0;
                    for (place, (action, name)) in found.iter().enumerate() {
                        let keys = self.preferences.shortcuts.of(*action);
                        let keys = keys.map_or_else(String::new, |keys| keys.to_string());
                        let button = Button::selectable(place == palette.chosen, name)
                            .right_text(RichText::new(keys).size(SMALL).color(colours.dim))
                            .min_size(vec2(ui.available_width(), 32.0));
                        let response = ui.add(button);
                        if response.clicked() {
                            wanted = Some(*action);
                        }
                        if place == palette.chosen && entered {
                            response.scroll_to_me(None);
                        }
                    }
                });
            });
        if let Some(action) = wanted {
            self.act(ctx, action);
            return Flow::Close;
        }
        if modal.should_close() { Flow::Close } else { Flow::Stay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_in_order() {
        assert!(matches("Go to Gallery", "gall"));
        assert!(matches("Go to Gallery", "gtg"));
        assert!(matches("Go to Gallery", ""));
        assert!(!matches("Go to Gallery", "yg"));
        assert!(matches("갤러리로 이동", "갤이"));
    }
}
