//! Which part of a picture the model sees, and at what size.

use super::Mask;
use crate::request::{LATENT_CELL, ResizeMode};

/// A part of a picture in its pixels; may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rectangle {
    /// First column.
    pub left: i64,
    /// First row.
    pub top: i64,
    /// Number of columns, from 1.
    pub width: u32,
    /// Number of rows, from 1.
    pub height: u32,
}

impl Rectangle {
    /// What a picture of `size` shows at the proportions of `target`.
    pub fn for_mode(size: (u32, u32), target: (u32, u32), mode: ResizeMode) -> Self {
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let aspect = f64::from(target.0) / f64::from(target.1);
        let wide = width / height > aspect;
        let (width, height) = match mode {
            ResizeMode::Stretch => (width, height),
            ResizeMode::Crop if wide => (height * aspect, height),
            ResizeMode::Crop => (width, width / aspect),
            ResizeMode::Fit if wide => (width, width / aspect),
            ResizeMode::Fit => (height * aspect, height),
        };
        let (width, height) = (width.round().max(1.0) as u32, height.round().max(1.0) as u32);
        Self {
            left: (i64::from(size.0) - i64::from(width)) / 2,
            top: (i64::from(size.1) - i64::from(height)) / 2,
            width,
            height,
        }
    }

    /// The smallest rectangle around all that the mask repaints, with `padding` pixels around it
    /// inside the picture. `None` for an empty mask.
    pub fn around(mask: &Mask, padding: u32) -> Option<Self> {
        let mut bounds: Option<(u32, u32, u32, u32)> = None;
        for (x, y, _) in mask.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 0.0) {
            let (left, top, right, bottom) = bounds.unwrap_or((x, y, x, y));
            bounds = Some((left.min(x), top.min(y), right.max(x), bottom.max(y)));
        }
        let (left, top, right, bottom) = bounds?;
        let (left, top) = (left.saturating_sub(padding), top.saturating_sub(padding));
        let right = right.saturating_add(padding).min(mask.width() - 1);
        let bottom = bottom.saturating_add(padding).min(mask.height() - 1);
        Some(Self {
            left: i64::from(left),
            top: i64::from(top),
            width: right - left + 1,
            height: bottom - top + 1,
        })
    }

    /// Grown to the proportions `aspect` (width over height) as far as the picture goes.
    pub fn grown_to(self, aspect: f64, size: (u32, u32)) -> Self {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        let grow = |start: i64, length: u32, wanted: f64, side: u32| {
            let wanted = (wanted.round() as u32).clamp(length, side);
            let start = start - i64::from(wanted - length) / 2;
            (start.clamp(0, i64::from(side - wanted)), wanted)
        };
        let (left, width) = grow(self.left, self.width, width.max(height * aspect), size.0);
        let (top, height) =
            grow(self.top, self.height, height.max(f64::from(self.width) / aspect), size.1);
        Self { left, top, width, height }
    }

    /// Whether the rectangle's pixel at `x`, `y` is one of a picture of `size`.
    pub(super) fn covers(self, size: (u32, u32), x: u32, y: u32) -> bool {
        let inside = |at: i64, side: u32| at >= 0 && at < i64::from(side);
        inside(self.left + i64::from(x), size.0) && inside(self.top + i64::from(y), size.1)
    }

    /// The rectangle's position of a picture's pixel, where it is in it.
    pub(crate) fn position(self, x: u32, y: u32) -> Option<(u32, u32)> {
        let at = |pixel: u32, start: i64, length: u32| {
            u32::try_from(i64::from(pixel) - start).ok().filter(|&at| at < length)
        };
        Some((at(x, self.left, self.width)?, at(y, self.top, self.height)?))
    }
}

/// The size for a model at which a picture of `size` is best worked on: its own, in multiples of
/// [`LATENT_CELL`], where its area is at most `largest` times that of a square of `native_side`;
/// else its proportions with that square's area.
pub fn fitted_size(size: (u32, u32), native_side: u32, largest: f64) -> (u32, u32) {
    let area = f64::from(size.0) * f64::from(size.1);
    if area <= f64::from(native_side).powi(2) * largest {
        scaled_size(size, 1.0)
    } else {
        native_size(size, native_side)
    }
}

/// The proportions of `size` with the area of a square of `native_side`, in multiples of
/// [`LATENT_CELL`].
pub fn native_size(size: (u32, u32), native_side: u32) -> (u32, u32) {
    let area = f64::from(size.0) * f64::from(size.1);
    scaled_size(size, f64::from(native_side) / area.sqrt())
}

fn scaled_size(size: (u32, u32), factor: f64) -> (u32, u32) {
    let cells = |side: u32| {
        let cells = (f64::from(side) * factor / f64::from(LATENT_CELL)).round().max(1.0);
        cells as u32 * LATENT_CELL
    };
    (cells(size.0), cells(size.1))
}
