//! EXIF, as far as settings are kept in it (CIPA DC-008, Exif 2.32; TIFF 6.0 for the layout).
//!
//! AUTOMATIC1111 writes its text into `UserComment` of JPEG and WebP files, Fooocus the same with
//! the name of the text's scheme in `MakerNote`, and ComfyUI writes `Make` and `Model` of the
//! camera. This program writes A1111's text into `UserComment` and its own JSON into `MakerNote`.

const SOFTWARE: u16 = 0x0131;
const EXIF_IFD: u16 = 0x8769;
const USER_COMMENT: u16 = 0x9286;
const MAKER_NOTE: u16 = 0x927C;

const ASCII: u16 = 2;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

/// The code of a `UserComment` in UTF-16.
const UNICODE: &[u8] = b"UNICODE\0";

/// Directories hold this many entries at most; real ones hold some dozens.
const MAX_ENTRIES: usize = 1024;

/// The texts of an EXIF block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ExifTexts {
    /// The comment, decoded.
    pub(super) user_comment: Option<String>,
    /// The maker's note, where it is text.
    pub(super) maker_note: Option<String>,
    /// Other texts of the first directory, such as the camera's make and model.
    pub(super) others: Vec<String>,
}

/// An EXIF block with a comment, a maker's note and the program's name.
pub(crate) fn block(user_comment: &str, maker_note: Option<&str>) -> Vec<u8> {
    let software = concat!("emberbrush ", env!("CARGO_PKG_VERSION"), "\0").as_bytes().to_vec();
    let mut comment = UNICODE.to_vec();
    comment.extend(user_comment.encode_utf16().flat_map(u16::to_be_bytes));
    let mut exif = Vec::new();
    // Entries of a directory are in the order of their tags.
    if let Some(note) = maker_note {
        exif.push((MAKER_NOTE, UNDEFINED, note.as_bytes().to_vec()));
    }
    exif.push((USER_COMMENT, UNDEFINED, comment));

    let mut out = b"MM\0\x2A\0\0\0\x08".to_vec();
    let second = 8 + directory_length(&[(SOFTWARE, ASCII, software.clone())]) + ENTRY;
    let pointer = (second as u32).to_be_bytes().to_vec();
    write_directory(&mut out, &[(SOFTWARE, ASCII, software), (EXIF_IFD, LONG, pointer)]);
    write_directory(&mut out, &exif);
    out
}

type Entry = (u16, u16, Vec<u8>);

/// Bytes of one entry of a directory.
const ENTRY: usize = 12;

fn directory_length(entries: &[Entry]) -> usize {
    let outside: usize =
        entries.iter().map(|(.., value)| value.len()).filter(|&length| length > 4).sum();
    2 + entries.len() * ENTRY + 4 + outside
}

fn write_directory(out: &mut Vec<u8>, entries: &[Entry]) {
    out.extend((entries.len() as u16).to_be_bytes());
    let mut offset = out.len() + entries.len() * ENTRY + 4;
    let mut outside = Vec::<u8>::new();
    for (tag, kind, value) in entries {
        out.extend(tag.to_be_bytes());
        out.extend(kind.to_be_bytes());
        let count = if *kind == LONG { 1 } else { value.len() as u32 };
        out.extend(count.to_be_bytes());
        if value.len() > 4 {
            out.extend((offset as u32).to_be_bytes());
            offset += value.len();
            outside.extend(value);
        } else {
            let mut inside = value.clone();
            inside.resize(4, 0);
            out.extend(inside);
        }
    }
    out.extend([0; 4]);
    out.extend(outside);
}

/// Reads the texts of an EXIF block; what is broken in it is left out.
pub(super) fn read(block: &[u8]) -> ExifTexts {
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let mut texts = ExifTexts::default();
    let big_endian = match block.get(..4) {
        Some(b"MM\0\x2A") => true,
        Some(b"II\x2A\0") => false,
        _ => return texts,
    };
    let tiff = Tiff { block, big_endian };
    let first = tiff.long(4).map(|offset| tiff.directory(offset)).unwrap_or_default();
    for &(tag, kind, value) in &first {
        if tag == EXIF_IFD {
            let entries = tiff.number(value).map(|offset| tiff.directory(offset));
            for (tag, _, value) in entries.unwrap_or_default() {
                match tag {
                    USER_COMMENT => texts.user_comment = Some(comment(value, big_endian)),
                    MAKER_NOTE => {
                        texts.maker_note = std::str::from_utf8(value)
                            .ok()
                            .map(|note| note.trim_end_matches('\0').to_owned());
                    }
                    _ => {}
                }
            }
        } else if kind == ASCII && tag != SOFTWARE {
            texts.others.push(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
    }
    texts
}

struct Tiff<'a> {
    block: &'a [u8],
    big_endian: bool,
}

impl<'a> Tiff<'a> {
    fn number(&self, bytes: &[u8]) -> Option<usize> {
        let value = match bytes.len() {
            2 => {
                let bytes = bytes.try_into().ok()?;
                u32::from(if self.big_endian {
                    u16::from_be_bytes(bytes)
                } else {
                    u16::from_le_bytes(bytes)
                })
            }
            4 => {
                let bytes = bytes.try_into().ok()?;
                if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
            }
            _ => return None,
        };
        usize::try_from(value).ok()
    }

    fn slice(&self, offset: usize, length: usize) -> Option<&'a [u8]> {
        self.block.get(offset..offset.checked_add(length)?)
    }

    fn long(&self, offset: usize) -> Option<usize> {
        self.number(self.slice(offset, 4)?)
    }

    fn short(&self, offset: usize) -> Option<usize> {
        self.number(self.slice(offset, 2)?)
    }

    /// Tag, type and value of each entry that can be read.
    fn directory(&self, offset: usize) -> Vec<(u16, u16, &'a [u8])> {
        let count = self.short(offset).unwrap_or(0).min(MAX_ENTRIES);
        (0..count).filter_map(|index| self.entry(offset + 2 + index * ENTRY)).collect()
    }

    fn entry(&self, at: usize) -> Option<(u16, u16, &'a [u8])> {
        let (tag, kind) = (self.short(at)?, self.short(at + 2)?);
        let size = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = self.long(at + 4)?.checked_mul(size)?;
        let place = if length > 4 { self.long(at + 8)? } else { at + 8 };
        Some((u16::try_from(tag).ok()?, u16::try_from(kind).ok()?, self.slice(place, length)?))
    }
}

/// A `UserComment`: eight bytes that name the code, then the text. Programs disagree about the
/// byte order of UTF-16, so it is told from where the zeros of ASCII characters are.
fn comment(value: &[u8], big_endian: bool) -> String {
    let text = if let Some(wide) = value.strip_prefix(UNICODE) {
        let pairs = || wide.chunks_exact(2);
        let zeros_first = pairs().filter(|pair| pair[0] == 0).count();
        let zeros_last = pairs().filter(|pair| pair[1] == 0).count();
        let big = if zeros_first == zeros_last { big_endian } else { zeros_first > zeros_last };
        let units = pairs().map(|pair| {
            let pair = [pair[0], pair[1]];
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        });
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        let text = value
            .strip_prefix(b"ASCII\0\0\0")
            .or_else(|| value.strip_prefix(&[0; 8]))
            .unwrap_or(value);
        String::from_utf8_lossy(text).into_owned()
    };
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let block = block("a cat, 고양이 🐈\nSteps: 1", Some("{\"steps\":1}"));
        let texts = read(&block);
        assert_eq!(texts.user_comment.unwrap(), "a cat, 고양이 🐈\nSteps: 1");
        assert_eq!(texts.maker_note.unwrap(), "{\"steps\":1}");
        assert_eq!(texts.others, [""; 0]);
    }

    #[test]
    fn comments_of_either_byte_order_are_read() {
        for (units, big_endian) in
            [(u16::to_be_bytes as fn(u16) -> [u8; 2], false), (u16::to_le_bytes, true)]
        {
            let mut value = UNICODE.to_vec();
            value.extend("Steps: 20".encode_utf16().flat_map(units));
            assert_eq!(comment(&value, big_endian), "Steps: 20");
        }
        assert_eq!(comment(b"ASCII\0\0\0Steps: 20\0", true), "Steps: 20");
    }

    #[test]
    fn broken_blocks_are_read_as_far_as_they_go() {
        let whole = block("a cat", Some("note"));
        for length in 0..whole.len() {
            read(&whole[..length]);
        }
        for position in 0..whole.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut broken = whole.clone();
                broken[position] = value;
                read(&broken);
            }
        }
    }
}
