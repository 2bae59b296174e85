//! Records of a journal: each with its length and checksum.

use std::{io::Read, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::canvas::manifest::Manifest;

/// The first bytes of a journal.
pub(super) const SIGNATURE: &[u8; 8] = b"EMBRJRN1";

/// All of a document but its pixels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) file: Option<PathBuf>,
    pub(super) unsaved: bool,
    pub(super) document: Manifest,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Picture = 1,
    Header = 2,
    MaskTile = 3,
    SketchTile = 4,
    Commit = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Picture, Self::Header, Self::MaskTile, Self::SketchTile, Self::Commit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A record: kind, number, length and checksum of both and the content, then the content.
pub(super) fn push(records: &mut Vec<u8>, kind: Kind, number: u32, content: &[u8]) {
    let mut head = vec![kind as u8];
    head.extend(number.to_le_bytes());
    head.extend((content.len() as u32).to_le_bytes());
    let checksum = checksum(&head, content);
    records.extend(head);
    records.extend(checksum.to_le_bytes());
    records.extend(content);
}

fn checksum(head: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(content);
    hasher.finalize()
}

/// The next whole record; `None` at the end or where the rest is damaged.
pub(super) fn next_record(file: &mut impl Read, left: &mut u64) -> Option<(Kind, u32, Vec<u8>)> {
    let mut head = [0; 13];
    file.read_exact(&mut head).ok()?;
    *left = left.checked_sub(13)?;
    let number = |at: usize| {
        let four: [u8; 4] = head[at..at + 4].try_into().ok()?;
        Some(u32::from_le_bytes(four))
    };
    let (kind, index, length, expected) = (Kind::of(head[0])?, number(1)?, number(5)?, number(9)?);
    // A broken length must not ask for memory that the file cannot fill.
    *left = left.checked_sub(u64::from(length))?;
    let mut content = vec![0; length as usize];
    file.read_exact(&mut content).ok()?;
    (checksum(&head[..9], &content) == expected).then_some((kind, index, content))
}
