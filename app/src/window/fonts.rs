//! The fonts of the window: Inter and the icons first, then what the system has, then fonts that the program
//! carries for Hangul, Han, Kana and emoji.

use std::sync::Arc;

use egui::{
    Context, FontData, FontDefinitions, FontFamily,
    epaint::text::{FallbackRequest, FontInsert, FontPriority, InsertFontFamily},
};

use super::theme::semibold;

/// Gives a context the fonts. Those of the system are found by eframe, which comes before the last resort here.
pub(super) fn install(ctx: &Context) {
    ctx.set_fonts(carried());
    ctx.add_font_provider(Arc::new(last_resort));
}

fn carried() -> FontDefinitions {
    let mut fonts = FontDefinitions::empty();
    for (name, bytes) in [
        ("inter", emberbrush_assets::INTER_REGULAR),
        ("inter-semibold", emberbrush_assets::INTER_SEMIBOLD),
        ("phosphor", emberbrush_assets::PHOSPHOR),
        ("phosphor-fill", emberbrush_assets::PHOSPHOR_FILL),
    ] {
        let mut data = FontData::from_static(bytes);
        if name.starts_with("phosphor") {
            // Icons are drawn around the middle of the small letters.
            data.tweak.y_offset_factor = 0.08;
            data.tweak.scale = 1.15;
        }
        fonts.font_data.insert(name.to_owned(), Arc::new(data));
    }
    let family = |first: &str| [first, "phosphor", "phosphor-fill"].map(str::to_owned).to_vec();
    fonts.families.insert(FontFamily::Proportional, family("inter"));
    fonts.families.insert(FontFamily::Monospace, family("inter"));
    fonts.families.insert(semibold(), family("inter-semibold"));
    fonts
}

/// A font for a letter that neither the fonts of the window nor the system have.
fn last_resort(request: &FallbackRequest<'_>) -> Option<FontInsert> {
    let (name, bytes) = match request.cluster.chars().next()? {
        '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => {
            ("fallback-hangul", emberbrush_assets::FALLBACK_HANGUL)
        }
        '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}' => {
            ("fallback-han", emberbrush_assets::FALLBACK_HAN)
        }
        '\u{203c}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}' => {
            ("fallback-emoji", emberbrush_assets::FALLBACK_EMOJI)
        }
        _ => return None,
    };
    let family =
        InsertFontFamily { family: request.family.clone(), priority: FontPriority::Lowest };
    let mut data = FontData::from_static(bytes);
    if name == "fallback-hangul" {
        // Its syllables stand higher than Inter's letters.
        data.tweak.y_offset_factor = 0.12;
    }
    Some(FontInsert::new(name, data, vec![family]))
}

#[cfg(test)]
mod tests {
    use egui::FontId;

    use super::*;

    /// The letters of `text` that are drawn as boxes, without any font of the system.
    fn missing(text: &str) -> String {
        let ctx = Context::default();
        install(&ctx);
        let mut missing = String::new();
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            for family in [FontFamily::Proportional, semibold()] {
                let font = FontId::new(14.0, family);
                missing.extend(
                    text.chars()
                        .filter(|&letter| !ui.fonts_mut(|fonts| fonts.has_glyph(&font, letter))),
                );
            }
        });
        output.textures_delta.clear();
        missing
    }

    #[test]
    fn letters_are_found_without_fonts_of_the_system() {
        let prompts = [
            "고양이가 창가에서 햇볕을 쬐고 있다, 수채화",
            "夕焼けの海と小さなボート、水彩画「ねこ」",
            "一只在窗边晒太阳的猫，水彩画",
            "🍎🐱🌳🚀😀❤⭐",
            "Пейзаж, Θάλασσα, éàüñø – “quotes” €",
        ];
        for prompt in prompts {
            assert_eq!(missing(prompt), "", "{prompt}");
        }
    }

    #[test]
    fn every_letter_of_the_korean_window_is_found() {
        let words = include_str!("../../locales/ko.ftl");
        let letters: String = words.chars().filter(|letter| !letter.is_control()).collect();
        assert_eq!(missing(&letters), "");
    }

    #[test]
    fn a_letter_of_no_font_is_known_to_be_missing() {
        assert_ne!(missing("𓀀"), "");
    }
}
