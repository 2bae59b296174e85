//! Controls that egui does not have in the window's own look.

use egui::{
    Align2, Button, Color32, ComboBox, CornerRadius, DragValue, FontId, Frame, Margin, RectAlign,
    Response, RichText, Role, Sense, Slider, SliderClamping, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, containers::menu::menu_style, emath::Numeric, vec2,
};

use super::{
    actions::Shortcut,
    icons,
    theme::{
        BODY, BUTTON_HEIGHT, CONTROL_HEIGHT, Colours, RADIUS, SECTION, SMALL, TITLE, semibold,
        space,
    },
};

/// Width of the number beside a slider, in points.
const NUMBER_WIDTH: f32 = 56.0;

/// The one button that is filled with the accent, as wide as there is room.
pub fn primary_button(ui: &mut Ui, icon: &str, label: &str, keys: Option<Shortcut>) -> Response {
    let colours = Colours::of_ui(ui);
    filled_button(ui, icon, label, keys, colours.accent, colours.on_accent)
}

/// A button as large as the primary one that recedes.
pub fn wide_button(ui: &mut Ui, icon: &str, label: &str, keys: Option<Shortcut>) -> Response {
    let colours = Colours::of_ui(ui);
    filled_button(ui, icon, label, keys, colours.raised, colours.text)
}

fn filled_button(
    ui: &mut Ui,
    icon: &str,
    label: &str,
    keys: Option<Shortcut>,
    fill: Color32,
    text: Color32,
) -> Response {
    let enabled = ui.is_enabled();
    let size = vec2(ui.available_width(), BUTTON_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, label));
    if ui.is_rect_visible(rect) {
        let fill = match () {
            () if !enabled => fill.gamma_multiply(0.4),
            () if response.is_pointer_button_down_on() => fill.gamma_multiply(0.85),
            () if response.hovered() => fill.gamma_multiply(0.92),
            () => fill,
        };
        let painter = ui.painter();
        painter.rect_filled(rect, CornerRadius::same(RADIUS), fill);
        focus_ring(ui, &response);
        let text = if enabled { text } else { text.gamma_multiply(0.6) };
        let title = format!("{icon}  {label}");
        let font = FontId::new(BODY, semibold());
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, title, font, text);
        if let Some(keys) = keys {
            let place = rect.right_center() - vec2(space::M, 0.0);
            let font = FontId::proportional(SMALL);
            let dim = text.gamma_multiply(0.72);
            ui.painter().text(place, Align2::RIGHT_CENTER, keys.to_string(), font, dim);
        }
    }
    response
}

/// A line around what has the focus of the keyboard.
pub fn focus_ring(ui: &Ui, response: &Response) {
    if response.has_focus() {
        let stroke = Stroke::new(2.0, Colours::of_ui(ui).accent);
        let rect = response.rect.expand(1.0);
        ui.painter().rect_stroke(rect, CornerRadius::same(RADIUS), stroke, StrokeKind::Outside);
    }
}

/// A square button with an icon. The tooltip names what it does, with its keys.
pub fn icon_button(ui: &mut Ui, icon: &str, name: &str, keys: Option<Shortcut>) -> Response {
    icon_toggle(ui, icon, name, keys, false)
}

/// [`icon_button`] for something that is on or off.
pub fn icon_toggle(
    ui: &mut Ui,
    icon: &str,
    name: &str,
    keys: Option<Shortcut>,
    on: bool,
) -> Response {
    let colours = Colours::of_ui(ui);
    let enabled = ui.is_enabled();
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(CONTROL_HEIGHT), Sense::click());
    response.widget_info(|| {
        if on {
            WidgetInfo::selected(Role::Button, enabled, on, name)
        } else {
            WidgetInfo::labeled(Role::Button, enabled, name)
        }
    });
    if ui.is_rect_visible(rect) {
        if on || (enabled && response.hovered()) {
            let fill = if on { colours.raised } else { colours.hovered };
            ui.painter().rect_filled(rect, CornerRadius::same(RADIUS), fill);
        }
        focus_ring(ui, &response);
        let colour = match () {
            () if !enabled => colours.dim.gamma_multiply(0.5),
            () if on => colours.accent,
            () if response.hovered() => colours.text,
            () => colours.dim,
        };
        let font = FontId::proportional(16.0);
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, icon, font, colour);
    }
    let tip = match keys {
        Some(keys) => format!("{name}  ·  {keys}"),
        None => name.to_owned(),
    };
    response.on_hover_text(tip.clone()).on_disabled_hover_text(tip)
}

/// A row of choices of which one is taken.
pub fn segments<T: Copy + PartialEq>(
    ui: &mut Ui,
    current: &mut T,
    choices: &[(T, String, Option<Shortcut>)],
) -> bool {
    let colours = Colours::of_ui(ui);
    let mut changed = false;
    Frame::new()
        .fill(colours.ground)
        .corner_radius(CornerRadius::same(RADIUS))
        .inner_margin(Margin::same(2))
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing.x = 2.0;
            // With its margins the row is as high as other controls.
            ui.spacing_mut().interact_size.y = CONTROL_HEIGHT - 4.0;
            ui.spacing_mut().button_padding.y = 2.0;
            ui.horizontal(|ui| {
                for (value, label, keys) in choices {
                    let on = value == current;
                    let text =
                        RichText::new(label).color(if on { colours.text } else { colours.dim });
                    let button = Button::new(text)
                        .fill(if on { colours.raised } else { Color32::TRANSPARENT })
                        .stroke(Stroke::NONE)
                        .selected(on)
                        .min_size(vec2(0.0, CONTROL_HEIGHT - 4.0));
                    let mut response = ui.add(button);
                    if let Some(keys) = keys {
                        response = response.on_hover_text(format!("{label}  ·  {keys}"));
                    }
                    if response.clicked() && !on {
                        *current = *value;
                        changed = true;
                    }
                }
            });
        });
    changed
}

/// A box to check, which is seen where it is not checked.
pub fn checkbox(ui: &mut Ui, checked: &mut bool, label: &str) -> Response {
    let colours = Colours::of_ui(ui);
    ui.scope(|ui| {
        ui.visuals_mut().widgets.inactive.bg_stroke = Stroke::new(1.0, colours.dim);
        ui.visuals_mut().widgets.hovered.bg_stroke = Stroke::new(1.0, colours.text);
        ui.checkbox(checked, label)
    })
    .inner
}

/// A small label above a control. The tooltip says what the control does and costs.
pub fn field<R>(ui: &mut Ui, label: &str, tip: &str, control: impl FnOnce(&mut Ui) -> R) -> R {
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = space::XS;
        let label = small(ui, label);
        if !tip.is_empty() {
            label.on_hover_text(tip);
        }
        control(ui)
    })
    .inner
}

/// A number that can be dragged, typed, or stepped with the wheel; a double click resets it.
pub fn number<N: Numeric>(
    ui: &mut Ui,
    name: &str,
    value: &mut N,
    range: std::ops::RangeInclusive<N>,
    step: f64,
    reset: N,
) -> Response {
    let decimals = match step {
        step if step < 0.1 => 2,
        step if step < 1.0 => 1,
        _ => 0,
    };
    let widget = DragValue::new(value)
        .range(range.clone())
        .speed(step * 0.25)
        .clip_text(true)
        .min_decimals(0)
        .max_decimals(decimals);
    let mut response = ui.add_sized(vec2(ui.available_width(), CONTROL_HEIGHT), widget);
    if response.hovered() {
        let turned = wheel_turned(ui);
        if turned != 0.0 {
            let next = value.to_f64() + step * f64::from(turned.signum());
            let next = next.clamp(range.start().to_f64(), range.end().to_f64());
            if next != value.to_f64() {
                *value = N::from_f64(next);
                response.mark_changed();
            }
        }
    }
    if response.double_clicked() {
        *value = reset;
        response.surrender_focus();
        response.mark_changed();
    }
    response.accessible_name(name)
}

/// A slider with its number beside it, as wide as there is room; a double click resets it. Numbers
/// beyond its ends can be typed within `bounds`.
pub fn slider(
    ui: &mut Ui,
    name: &str,
    value: &mut f64,
    ends: std::ops::RangeInclusive<f64>,
    bounds: std::ops::RangeInclusive<f64>,
    reset: f64,
) -> Response {
    let step = 0.05;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::S;
        ui.spacing_mut().slider_width = ui.available_width() - NUMBER_WIDTH - space::S;
        let slider = Slider::new(value, ends)
            .show_value(false)
            .step_by(step)
            // What is typed may lie beyond.
            .clamping(SliderClamping::Edits);
        let mut response = ui.add(slider).accessible_name(name);
        if response.double_clicked() {
            *value = reset;
            response.mark_changed();
        }
        let size = vec2(NUMBER_WIDTH, CONTROL_HEIGHT);
        let typed = ui.allocate_ui(size, |ui| number(ui, name, value, bounds, step, reset)).inner;
        response | typed
    })
    .inner
}

/// The menu that a button opens. Those of egui leave no room beside text.
pub fn menu_below(button: &Response) -> egui::Popup<'_> {
    egui::Popup::menu(button).style(|style: &mut egui::Style| {
        menu_style(style);
        style.spacing.button_padding = vec2(space::S, space::XS);
    })
}

/// A heading with a button beside it that opens a menu.
pub fn heading_with_menu(
    ui: &mut Ui,
    label: &str,
    tip: &str,
    icon: &str,
    name: &str,
    menu: impl FnOnce(&mut Ui),
) -> Response {
    ui.horizontal(|ui| {
        ui.set_min_height(CONTROL_HEIGHT);
        small(ui, label).on_hover_text(tip);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let button = icon_button(ui, icon, name, None);
            // Beside the panel, so that what is listed below the heading is not covered.
            menu_below(&button)
                .align(RectAlign::RIGHT_START)
                .align_alternatives(&[RectAlign::RIGHT_END, RectAlign::RIGHT])
                .gap(space::L)
                .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
                .show(menu);
            button
        })
        .inner
    })
    .inner
}

/// How far the wheel was turned in this frame. The wheel then does not scroll what is around.
fn wheel_turned(ui: &Ui) -> f32 {
    ui.input_mut(|input| {
        let turned = input
            .events
            .iter()
            .map(|event| match event {
                egui::Event::MouseWheel { delta, modifiers, .. } if modifiers.is_none() => delta.y,
                _ => 0.0,
            })
            .sum();
        input.smooth_scroll_delta = Vec2::ZERO;
        turned
    })
}

/// A list of which one is chosen, with the same arrow as the window's other buttons that open something.
pub fn list(id: &str) -> ComboBox<'static> {
    ComboBox::from_id_salt(id.to_owned()).icon(|ui, rect, _, _| {
        let font = FontId::proportional(SMALL);
        let colour = Colours::of_ui(ui).dim;
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, icons::CARET_DOWN, font, colour);
    })
}

/// Text that recedes.
pub fn small(ui: &mut Ui, text: &str) -> Response {
    let colours = Colours::of_ui(ui);
    ui.label(RichText::new(text).size(SMALL).color(colours.dim))
}

/// The heading of a section.
pub fn section(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).size(SECTION).family(semibold()))
}

/// The title of a page.
pub fn title(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).size(TITLE).family(semibold()))
}

/// A line across.
pub fn divider(ui: &mut Ui) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 1.0), Sense::hover());
    let stroke = Stroke::new(1.0, Colours::of_ui(ui).line);
    ui.painter().hline(rect.x_range(), rect.center().y, stroke);
}
