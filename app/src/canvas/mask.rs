//! The mask that a person paints: 8 bits a pixel, 255 is repainted.

use std::path::Path;

use emberbrush_pipeline::{
    output::{OutputError, write_over},
    picture::{self, FileFormat, Mask, MaskEdge, MaskSource, Picture, PictureError},
};
use image::{DynamicImage, GrayImage};
use thiserror::Error;

use super::{geometry::PixelRectangle, selection::Selection, tiles::TiledImage};

/// A mask in tiles, from 0 (keep) to 255 (repaint).
pub type MaskTiles = TiledImage<u8>;

/// What is done with what is painted or chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combine {
    /// It is repainted.
    #[default]
    Add,
    /// It is kept.
    Subtract,
}

/// How the edge of a mask is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeChange {
    /// Outwards by pixels.
    Grow(u32),
    /// Inwards by pixels.
    Shrink(u32),
    /// Fading out over pixels, outwards.
    Feather(u32),
}

/// Why a mask could not be opened or saved.
#[derive(Debug, Error)]
pub enum MaskFileError {
    /// The file is no mask for this picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The file could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Puts a selection into a mask, and returns where.
pub fn combine(mask: &mut MaskTiles, selection: &Selection, how: Combine) -> PixelRectangle {
    mask.update(selection.area(), |x, y, before| match how {
        Combine::Add => before.max(selection.coverage(x, y)),
        Combine::Subtract => before.min(255 - selection.coverage(x, y)),
    })
}

/// Swaps what is repainted and what is kept.
pub fn invert(mask: &mut MaskTiles) {
    mask.update(mask.bounds(), |_, _, before| 255 - before);
}

/// Whether nothing is repainted.
pub fn is_empty(mask: &MaskTiles) -> bool {
    mask.is_all(0)
}

/// Moves the edge, looking at what is above half (as [`MaskEdge`] does). Shrinking may leave
/// nothing.
pub fn change_edge(mask: &mut MaskTiles, change: EdgeChange) {
    let Some(extent) = mask.extent(|value| value > 0) else { return };
    let (edge, reach) = match change {
        EdgeChange::Grow(pixels) => {
            (MaskEdge { grow: to_signed(pixels), feather: 0, blur: 0.0 }, pixels)
        }
        EdgeChange::Shrink(pixels) => {
            (MaskEdge { grow: -to_signed(pixels), feather: 0, blur: 0.0 }, pixels)
        }
        EdgeChange::Feather(pixels) => (MaskEdge { grow: 0, feather: pixels, blur: 0.0 }, pixels),
    };
    // Distances are only needed where they can matter, with a pixel that is kept all around.
    let margin = reach.saturating_add(2);
    let area = PixelRectangle {
        left: extent.left.saturating_sub(margin),
        top: extent.top.saturating_sub(margin),
        right: extent.right.saturating_add(margin),
        bottom: extent.bottom.saturating_add(margin),
    }
    .intersection(mask.bounds());
    match edge.apply(&to_floats(mask, area)) {
        Ok(changed) => {
            mask.update(area, |x, y, _| {
                let value = changed.get_pixel(x - area.left, y - area.top).0[0];
                (value * 255.0).round() as u8
            });
        }
        Err(_) => {
            mask.update(area, |_, _, _| 0);
        }
    }
}

fn to_signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

fn to_floats(mask: &MaskTiles, area: PixelRectangle) -> Mask {
    Mask::from_fn(area.width(), area.height(), |x, y| {
        let value = mask.get(area.left + x, area.top + y).unwrap_or(0);
        image::Luma([f32::from(value) / 255.0])
    })
}

/// The mask as a grey picture.
pub fn to_picture(mask: &MaskTiles) -> Picture {
    let (width, height) = mask.size();
    let pixels = GrayImage::from_raw(width, height, mask.to_vec(0)).unwrap_or_default();
    Picture::new(DynamicImage::ImageLuma8(pixels))
}

/// A mask from a grey picture of the same size: white is repainted. Where it has transparent parts
/// they are kept.
///
/// # Errors
///
/// [`PictureError::MaskSize`] and [`PictureError::EmptyMask`].
pub fn from_picture(picture: &Picture, size: (u32, u32)) -> Result<MaskTiles, PictureError> {
    let floats = picture::mask_from(picture, size, false, MaskSource::Grey)?;
    let mut mask = MaskTiles::new(size.0, size.1, 0);
    mask.update(mask.bounds(), |x, y, _| (floats.get_pixel(x, y).0[0] * 255.0).round() as u8);
    Ok(mask)
}

/// Opens a mask for a picture of `size`.
///
/// # Errors
///
/// Where the file cannot be read, is of another size, or repaints nothing.
pub fn open(path: &Path, size: (u32, u32)) -> Result<MaskTiles, MaskFileError> {
    Ok(from_picture(&picture::read(path)?, size)?)
}

/// Saves a mask as PNG, over a file of that name.
///
/// # Errors
///
/// Where the file cannot be written; it is then as it was.
pub fn save(mask: &MaskTiles, path: &Path) -> Result<(), MaskFileError> {
    let bytes = picture::encode(&to_picture(mask), FileFormat::Png, &[])?;
    Ok(write_over(&bytes, path)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canvas::geometry::Point;

    fn square() -> MaskTiles {
        let mut mask = MaskTiles::new(300, 200, 0);
        let area = PixelRectangle { left: 100, top: 50, right: 160, bottom: 110 };
        mask.update(area, |_, _, _| 255);
        mask
    }

    fn count(mask: &MaskTiles, value: u8) -> usize {
        mask.to_vec(0).iter().filter(|&&pixel| pixel == value).count()
    }

    #[test]
    fn selections_are_added_and_taken_away() {
        let mut mask = square();
        let selection =
            Selection::rectangle(Point::new(150.0, 60.0), Point::new(200.0, 70.0), (300, 200));
        let area = combine(&mut mask, &selection, Combine::Add);
        assert_eq!((area.left, area.right, count(&mask, 255)), (150, 200, 3600 + 400));
        combine(&mut mask, &selection, Combine::Subtract);
        assert_eq!(count(&mask, 255), 3600 - 100);
        invert(&mut mask);
        assert_eq!(count(&mask, 255), 60_000 - 3500);
        assert!(!is_empty(&mask));
    }

    #[test]
    fn edges_move_as_they_do_in_the_whole_picture() {
        for change in [EdgeChange::Grow(7), EdgeChange::Shrink(9), EdgeChange::Feather(12)] {
            let mut mask = square();
            change_edge(&mut mask, change);
            let edge = match change {
                EdgeChange::Grow(_) => MaskEdge { grow: 7, feather: 0, blur: 0.0 },
                EdgeChange::Shrink(_) => MaskEdge { grow: -9, feather: 0, blur: 0.0 },
                EdgeChange::Feather(_) => MaskEdge { grow: 0, feather: 12, blur: 0.0 },
            };
            let before = square();
            let whole = edge.apply(&to_floats(&before, before.bounds())).unwrap();
            for (x, y) in mask.bounds().pixels() {
                let expected = (whole.get_pixel(x, y).0[0] * 255.0).round() as u8;
                assert_eq!(mask.get(x, y), Some(expected), "{change:?} {x} {y}");
            }
        }
        let mut mask = square();
        change_edge(&mut mask, EdgeChange::Shrink(200));
        assert!(is_empty(&mask));
        change_edge(&mut mask, EdgeChange::Grow(3));
        assert!(is_empty(&mask));
    }

    #[test]
    fn masks_come_back_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        std::fs::write(&path, "older").unwrap();
        let mut mask = square();
        change_edge(&mut mask, EdgeChange::Feather(20));
        save(&mask, &path).unwrap();
        assert_eq!(open(&path, (300, 200)).unwrap().to_vec(0), mask.to_vec(0));
        let error = open(&path, (301, 200)).unwrap_err().to_string();
        assert!(error.contains("300×200") && error.contains("301×200"), "{error}");
        save(&MaskTiles::new(300, 200, 0), &path).unwrap();
        assert!(open(&path, (300, 200)).unwrap_err().to_string().contains("empty"));
        assert!(save(&mask, &folder.path().join("none/mask.png")).is_err());
    }
}
