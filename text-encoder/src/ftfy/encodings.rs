//! The single-byte encodings for which UTF-8 is commonly mistaken, in the order in which ftfy
//! tries them (`chardata.py` and `bad_codecs/sloppy.py`).

const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°\
     ±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";
const WINDOWS_1251: &str = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГД\
     ЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя";
const WINDOWS_1250: &str = "€\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°\
     ±˛ł´µ¶·¸ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
const WINDOWS_1253: &str = "€\u{81}‚ƒ„…†‡\u{88}‰\u{8a}‹\u{8c}\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}\
     \u{9d}\u{9e}\u{9f}\u{a0}΅Ά£¤¥¦§¨©ª«¬\u{ad}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧ\
     ΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ";
const WINDOWS_1254: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}\u{9e}Ÿ\u{a0}¡¢£¤¥¦§¨©ª«\
     ¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùú\
     ûüışÿ";
const WINDOWS_1257: &str = "€\u{81}‚\u{83}„…†‡\u{88}‰\u{8a}‹\u{8c}¨ˇ¸\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}¯˛\u{9f}\
     \u{a0}¡¢£¤¥¦§Ø©Ŗ«¬\u{ad}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽßąįāćäåęēčé\
     źėģķīļšńņóōõö÷ųłśūüżž˙";
const ISO_8859_2: &str = "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\
     \u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\
     \u{9c}\u{9d}\u{9e}\u{9f}\u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃ\
     ŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";
const MAC_ROMAN: &str = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒ\
     œ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙\
     ╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A single-byte encoding that contains ASCII.
#[derive(Debug)]
pub(super) struct Encoding {
    /// What bytes 0x80 to 0xFF stand for; Latin-1 where `None`.
    upper: Option<&'static str>,
    /// Whether unassigned bytes stand for Latin-1's control characters, and byte 0x1A for
    /// U+FFFD, which marks a byte that was lost.
    pub(super) sloppy: bool,
    /// Whether byte 0xA0 may have become a space; in Mac Roman that would fit an en dash before
    /// a space.
    pub(super) restore_a0: bool,
}

const fn sloppy(upper: &'static str) -> Encoding {
    Encoding { upper: Some(upper), sloppy: true, restore_a0: true }
}

/// The encodings to try, in this order.
pub(super) const ENCODINGS: [Encoding; 10] = [
    Encoding { upper: None, sloppy: false, restore_a0: true },
    sloppy(WINDOWS_1252),
    sloppy(WINDOWS_1251),
    sloppy(WINDOWS_1250),
    sloppy(WINDOWS_1253),
    sloppy(WINDOWS_1254),
    sloppy(WINDOWS_1257),
    Encoding { upper: Some(ISO_8859_2), sloppy: false, restore_a0: true },
    Encoding { upper: Some(MAC_ROMAN), sloppy: false, restore_a0: false },
    Encoding { upper: Some(CODE_PAGE_437), sloppy: false, restore_a0: true },
];

impl Encoding {
    /// The bytes that this encoding would read as `text`, or `None` where there are none.
    pub(super) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let upper: Vec<char> = match self.upper {
            Some(upper) => upper.chars().collect(),
            None => ('\u{80}'..='\u{ff}').collect(),
        };
        text.chars()
            .map(|character| match character {
                '\u{1a}' if self.sloppy => None,
                '\u{fffd}' if self.sloppy => Some(0x1a),
                '\0'..='\x7f' => Some(character as u8),
                _ => {
                    let index = upper.iter().position(|&upper| upper == character)?;
                    u8::try_from(0x80 + index).ok()
                }
            })
            .collect()
    }
}

/// What Windows-1252 has where Latin-1 has the C1 control character `control`; the character
/// itself where Windows-1252 leaves the byte unassigned or `control` is another character.
pub(super) fn windows_1252(control: char) -> char {
    match control {
        '\u{80}'..='\u{9f}' => WINDOWS_1252.chars().nth(control as usize - 0x80).unwrap_or(control),
        _ => control,
    }
}
