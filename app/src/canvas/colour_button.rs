//! A colour in the right panel, and the sliders that change it.

use egui::{
    Color32, CornerRadius, Frame, Id, Margin, PopupCloseBehavior, Rect, Response, Role, Sense,
    Slider, Stroke, StrokeKind, Ui, WidgetInfo, ecolor::Hsva, vec2,
};

use crate::window::{
    controls::{focus_ring, menu_below, small},
    theme::{CONTROL_HEIGHT, Colours, RADIUS, space},
    words::Words,
};

/// Width of the sliders with their numbers, in points.
const WIDTH: f32 = 220.0;

/// A button of the colour; it opens sliders for hue, saturation and brightness.
pub(super) fn colour_button(ui: &mut Ui, words: &Words, colour: &mut [u8; 3]) -> Response {
    let size = vec2(2.0 * CONTROL_HEIGHT, CONTROL_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let [red, green, blue] = *colour;
    let name = words.get("brush-colour");
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ColorWell, ui.is_enabled(), &name);
        info.current_text_value = Some(format!("#{red:02x}{green:02x}{blue:02x}"));
        info
    });
    swatch(ui, rect, *colour);
    focus_ring(ui, &response);
    menu_below(&response).close_behavior(PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        let room = Frame::new().inner_margin(Margin::same(space::S as i8));
        room.show(ui, |ui| sliders(ui, words, colour));
    });
    response.on_hover_text(words.get("brush-colour-tip"))
}

fn swatch(ui: &Ui, rect: Rect, [red, green, blue]: [u8; 3]) {
    let radius = CornerRadius::same(RADIUS);
    ui.painter().rect_filled(rect, radius, Color32::from_rgb(red, green, blue));
    let line = Stroke::new(1.0, Colours::of_ui(ui).line);
    ui.painter().rect_stroke(rect, radius, line, StrokeKind::Inside);
}

fn sliders(ui: &mut Ui, words: &Words, colour: &mut [u8; 3]) {
    ui.set_width(WIDTH);
    ui.spacing_mut().slider_width = WIDTH - 76.0;
    let (rect, _) = ui.allocate_exact_size(vec2(WIDTH, CONTROL_HEIGHT), Sense::hover());
    swatch(ui, rect, *colour);
    // Greys have no hue and black no saturation: what was set stays while the colour is the same.
    let id = Id::unique("colour sliders");
    let kept = ui.data(|data| data.get_temp::<Hsva>(id));
    let mut chosen = match kept {
        Some(kept) if kept.to_srgb() == *colour => kept,
        _ => Hsva::from_srgb(*colour),
    };
    let mut is_changed = false;
    for (message, value, most, unit) in [
        ("colour-hue", &mut chosen.h, 360.0, "°"),
        ("colour-saturation", &mut chosen.s, 100.0, " %"),
        ("colour-brightness", &mut chosen.v, 100.0, " %"),
    ] {
        let name = words.get(message);
        small(ui, &name);
        let mut shown = *value * most;
        let slider = Slider::new(&mut shown, 0.0..=most).fixed_decimals(0).suffix(unit);
        if ui.add(slider).accessible_name(name).changed() {
            *value = shown / most;
            is_changed = true;
        }
    }
    if is_changed {
        *colour = chosen.to_srgb();
        ui.data_mut(|data| data.insert_temp(id, chosen));
    }
}
