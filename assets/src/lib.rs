//! What the program carries with it: the model in the box, and the fonts of the window.

/// The name under which people see the model in the box.
pub const DEFAULT_MODEL_NAME: &str = "emberbrush-default";

/// The files of the model in the box: relative path and content.
pub static DEFAULT_MODEL: &[(&str, &[u8])] =
    include!(concat!(env!("OUT_DIR"), "/default_model.rs"));

/// The merges of CLIP's tokenizer (`merges.txt`, gzip), which Stable Diffusion's single files lack.
pub static CLIP_MERGES: &[u8] = include_bytes!("../clip/merges.txt.gz");

/// Inter, regular (OpenType).
pub static INTER_REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.otf");

/// Inter, semibold (OpenType).
pub static INTER_SEMIBOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.otf");

/// Icons of Phosphor, outlined (TrueType).
pub static PHOSPHOR: &[u8] = include_bytes!("../fonts/Phosphor.ttf");

/// Icons of Phosphor, filled (TrueType).
pub static PHOSPHOR_FILL: &[u8] = include_bytes!("../fonts/Phosphor-Fill.ttf");

/// The everyday syllables of Hangul (TrueType), for systems without a font for them.
pub static FALLBACK_HANGUL: &[u8] = include_bytes!("../fonts/Fallback-Hangul.ttf");

/// Kana and the everyday characters of Japanese and Chinese (TrueType), likewise.
pub static FALLBACK_HAN: &[u8] = include_bytes!("../fonts/Fallback-Han.ttf");

/// Emoji of one colour (TrueType), likewise.
pub static FALLBACK_EMOJI: &[u8] = include_bytes!("../fonts/Fallback-Emoji.ttf");

/// The icon of the program (PNG, 256 × 256).
pub static ICON: &[u8] = include_bytes!("../desktop/emberbrush.png");
