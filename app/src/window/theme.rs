//! What the window is made of: one grid, one scale of type, and colours for dark and light.

use egui::{
    Color32, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle, Theme, Visuals,
    style::ScrollStyle, vec2,
};
use serde::{Deserialize, Serialize};

/// Spaces, in points: a grid of 4.
pub mod space {
    /// Within a control.
    pub const XS: f32 = 4.0;
    /// Between controls.
    pub const S: f32 = 8.0;
    /// Between groups of controls, and from edges.
    pub const M: f32 = 12.0;
    /// Between sections.
    pub const L: f32 = 16.0;
    /// Around whole pages.
    pub const XL: f32 = 24.0;
}

/// Height of a control in points.
pub const CONTROL_HEIGHT: f32 = 28.0;

/// Height of a button in points.
pub const BUTTON_HEIGHT: f32 = 32.0;

/// Height of a row of a list in points.
pub const ROW_HEIGHT: f32 = 36.0;

/// Radius of corners in points.
pub const RADIUS: u8 = 6;

/// How long panels take to open, in seconds.
const ANIMATION_SECONDS: f32 = 0.12;

/// How long panels take to open for a person, in seconds.
pub fn animation_seconds(reduce_motion: bool) -> f32 {
    if reduce_motion { 0.0 } else { ANIMATION_SECONDS }
}

/// Small type, in points.
pub const SMALL: f32 = 12.5;
/// Body type, in points.
pub const BODY: f32 = 14.0;
/// Headings of sections, in points.
pub const SECTION: f32 = 18.0;
/// Titles of pages, in points.
pub const TITLE: f32 = 24.0;

/// The family of headings.
pub fn semibold() -> FontFamily {
    FontFamily::Name("semibold".into())
}

/// Which colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeChoice {
    /// Those of the system.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

impl ThemeChoice {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::System, Self::Dark, Self::Light];

    /// The name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Self::System => "theme-system",
            Self::Dark => "theme-dark",
            Self::Light => "theme-light",
        }
    }
}

impl From<ThemeChoice> for egui::ThemePreference {
    fn from(choice: ThemeChoice) -> Self {
        match choice {
            ThemeChoice::System => Self::System,
            ThemeChoice::Dark => Self::Dark,
            ThemeChoice::Light => Self::Light,
        }
    }
}

/// The colours of a theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    /// Behind pictures.
    pub ground: Color32,
    /// Behind controls.
    pub panel: Color32,
    /// Controls, and what floats.
    pub raised: Color32,
    /// A control under the pointer.
    pub hovered: Color32,
    /// Borders.
    pub line: Color32,
    /// Text.
    pub text: Color32,
    /// Text that recedes.
    pub dim: Color32,
    /// What is chosen, and the one thing to do.
    pub accent: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// What went well.
    pub good: Color32,
    /// What may go wrong.
    pub warn: Color32,
    /// What went wrong.
    pub bad: Color32,
}

const fn rgb(value: u32) -> Color32 {
    Color32::from_rgb((value >> 16) as u8, (value >> 8) as u8, value as u8)
}

impl Colours {
    /// For dark rooms.
    pub const DARK: Self = Self {
        ground: rgb(0x16171A),
        panel: rgb(0x1D1F23),
        raised: rgb(0x26292E),
        hovered: rgb(0x2E3238),
        line: rgb(0x32363C),
        text: rgb(0xE6E8EB),
        dim: rgb(0x9AA1AB),
        accent: rgb(0xFF8A3D),
        on_accent: rgb(0x16171A),
        good: rgb(0x5BC58C),
        warn: rgb(0xE8B04A),
        bad: rgb(0xF0616D),
    };

    /// For light rooms.
    pub const LIGHT: Self = Self {
        ground: rgb(0xF4F5F7),
        panel: rgb(0xFFFFFF),
        raised: rgb(0xE6E9ED),
        hovered: rgb(0xDCE0E6),
        line: rgb(0xDDE1E6),
        text: rgb(0x1B1D21),
        dim: rgb(0x5E6670),
        accent: rgb(0xD9601A),
        on_accent: rgb(0x111215),
        good: rgb(0x187345),
        warn: rgb(0x8A5A00),
        bad: rgb(0xC0303C),
    };

    /// Those of a theme.
    pub fn of(theme: Theme) -> Self {
        match theme {
            Theme::Dark => Self::DARK,
            Theme::Light => Self::LIGHT,
        }
    }

    /// Those in use.
    pub fn of_ui(ui: &egui::Ui) -> Self {
        if ui.visuals().dark_mode { Self::DARK } else { Self::LIGHT }
    }
}

/// Sets fonts and both themes.
pub fn install(ctx: &egui::Context) {
    super::fonts::install(ctx);
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, theme));
    }
}

fn apply(style: &mut egui::Style, theme: Theme) {
    use FontFamily::{Monospace, Proportional};
    style.text_styles = [
        (TextStyle::Small, FontId::new(SMALL, Proportional)),
        (TextStyle::Body, FontId::new(BODY, Proportional)),
        (TextStyle::Button, FontId::new(BODY, Proportional)),
        (TextStyle::Heading, FontId::new(SECTION, semibold())),
        (TextStyle::Monospace, FontId::new(SMALL, Monospace)),
        (TextStyle::Name("title".into()), FontId::new(TITLE, semibold())),
    ]
    .into();
    style.animation_time = ANIMATION_SECONDS;
    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(space::S, space::S);
    spacing.button_padding = vec2(space::S, space::XS);
    spacing.interact_size = vec2(CONTROL_HEIGHT, CONTROL_HEIGHT);
    spacing.window_margin = Margin::same(space::L as i8);
    spacing.menu_margin = Margin::same(space::XS as i8);
    spacing.icon_width = 16.0;
    spacing.icon_width_inner = 8.0;
    spacing.icon_spacing = space::S;
    spacing.combo_height = 360.0;
    spacing.slider_rail_height = 4.0;
    spacing.tooltip_width = 320.0;
    spacing.scroll = ScrollStyle { bar_width: 8.0, ..ScrollStyle::floating() };
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.35;
    style.visuals = visuals(theme);
}

fn visuals(theme: Theme) -> Visuals {
    let colours = Colours::of(theme);
    let mut visuals = match theme {
        Theme::Dark => Visuals::dark(),
        Theme::Light => Visuals::light(),
    };
    let radius = CornerRadius::same(RADIUS);
    let line = Stroke::new(1.0, colours.line);
    visuals.weak_text_color = Some(colours.dim);
    visuals.hyperlink_color = colours.accent;
    visuals.faint_bg_color = colours.raised;
    visuals.extreme_bg_color = colours.ground;
    visuals.text_edit_bg_color = Some(colours.raised);
    visuals.code_bg_color = colours.raised;
    visuals.warn_fg_color = colours.warn;
    visuals.error_fg_color = colours.bad;
    visuals.window_corner_radius = CornerRadius::same(RADIUS + 2);
    visuals.menu_corner_radius = radius;
    visuals.window_fill = colours.panel;
    visuals.window_stroke = line;
    visuals.panel_fill = colours.panel;
    let shadow = match theme {
        Theme::Dark => Color32::from_black_alpha(110),
        Theme::Light => Color32::from_black_alpha(36),
    };
    visuals.window_shadow = Shadow { offset: [0, 8], blur: 24, spread: 0, color: shadow };
    visuals.popup_shadow = Shadow { offset: [0, 4], blur: 12, spread: 0, color: shadow };
    visuals.selection.bg_fill = colours.accent.gamma_multiply(0.32);
    visuals.selection.stroke = Stroke::new(1.0, colours.text);
    visuals.text_cursor.stroke = Stroke::new(2.0, colours.accent);
    visuals.slider_trailing_fill = true;
    visuals.indent_has_left_vline = false;

    let widgets = &mut visuals.widgets;
    widgets.noninteractive.bg_fill = colours.panel;
    widgets.noninteractive.weak_bg_fill = colours.panel;
    widgets.noninteractive.bg_stroke = line;
    widgets.noninteractive.fg_stroke = Stroke::new(1.0, colours.text);
    for (widget, fill, stroke) in [
        (&mut widgets.inactive, colours.raised, Stroke::NONE),
        (&mut widgets.hovered, colours.hovered, line),
        (&mut widgets.active, colours.hovered, Stroke::new(1.0, colours.accent)),
        (&mut widgets.open, colours.hovered, line),
    ] {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = stroke;
        widget.fg_stroke = Stroke::new(1.0, colours.text);
        widget.corner_radius = radius;
        widget.expansion = 0.0;
    }
    widgets.noninteractive.corner_radius = radius;
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of WCAG 2.2, from 1 to 21.
    fn contrast(a: Color32, b: Color32) -> f64 {
        let luminance = |colour: Color32| {
            let linear = |value: u8| {
                let value = f64::from(value) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(colour.r()) + 0.7152 * linear(colour.g()) + 0.0722 * linear(colour.b())
        };
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        if a > b { a / b } else { b / a }
    }

    #[test]
    fn text_can_be_read_on_everything_that_it_stands_on() {
        for colours in [Colours::DARK, Colours::LIGHT] {
            for text in [colours.text, colours.dim, colours.good, colours.warn, colours.bad] {
                for behind in [colours.ground, colours.panel, colours.raised] {
                    let contrast = contrast(text, behind);
                    assert!(contrast >= 4.5, "{text:?} on {behind:?}: {contrast:.2}");
                }
            }
            assert!(contrast(colours.text, colours.hovered) >= 4.5);
            assert!(contrast(colours.on_accent, colours.accent) >= 4.5);
            assert!(contrast(colours.accent, colours.panel) >= 3.0, "large text and icons");
        }
    }
}
