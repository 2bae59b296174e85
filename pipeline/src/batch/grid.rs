//! A table of pictures that differ in one or two fields.

use std::str::FromStr;

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Job, csv, jobs};

/// The most values of an axis.
const MAX_VALUES: usize = 256;

/// The most pixels of a sheet.
const MAX_PIXELS: u64 = 1 << 28;

/// The side of a letter in the font, in pixels.
const LETTER: u32 = 8;

/// Letters of a label beside a row at most; longer ones are cut.
const ROW_LABEL: usize = 24;

/// Why there is no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GridError {
    /// Text that is no axis.
    #[error("`{0}` is no axis; write a field and its values, such as sampler=euler,ddim")]
    Axis(String),
    /// An axis has very many values.
    #[error("an axis has {MAX_VALUES} values at most, but here are {0}")]
    TooMany(usize),
    /// Both axes are the same field.
    #[error("both axes are `{0}`")]
    Same(String),
    /// The pictures fill more than an image file should hold.
    #[error("the sheet would be {0}x{1} pixels large; the pictures are there one by one")]
    TooLarge(u64, u64),
}

/// A field of the request with several values.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    field: String,
    /// Label and value.
    values: Vec<(String, Value)>,
}

impl FromStr for Axis {
    type Err = GridError;

    /// Reads `field=value,value`; values with commas are written in quotation marks.
    fn from_str(text: &str) -> Result<Self, GridError> {
        let wrong = || GridError::Axis(text.to_owned());
        let (field, values) = text.split_once('=').ok_or_else(wrong)?;
        let mut records = csv::records(values).map_err(|_| wrong())?;
        let (Some((_, cells)), true) = (records.pop(), records.is_empty()) else {
            return Err(wrong());
        };
        if field.trim().is_empty() {
            return Err(wrong());
        }
        if cells.len() > MAX_VALUES {
            return Err(GridError::TooMany(cells.len()));
        }
        let field = field.trim().to_owned();
        let values = cells
            .into_iter()
            .map(|cell| (format!("{field} {}", cell.trim()), jobs::value(&field, &cell)))
            .collect();
        Ok(Self { field, values })
    }
}

/// A table: columns, and rows where there is a second axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    x: Axis,
    y: Option<Axis>,
}

impl Grid {
    /// A table of two axes that are different fields, or of one.
    pub fn new(x: Axis, y: Option<Axis>) -> Result<Self, GridError> {
        match &y {
            Some(y) if y.field == x.field => Err(GridError::Same(x.field)),
            _ => Ok(Self { x, y }),
        }
    }

    /// A job for each cell, row by row.
    pub fn jobs(&self, fields: &Map<String, Value>) -> Vec<Job> {
        let rows: Vec<Option<&Value>> = match &self.y {
            Some(y) => y.values.iter().map(|(_, value)| Some(value)).collect(),
            None => vec![None],
        };
        let mut jobs = Vec::new();
        for row in rows {
            for (_, column) in &self.x.values {
                let mut fields = fields.clone();
                fields.insert(self.x.field.clone(), column.clone());
                if let (Some(y), Some(row)) = (&self.y, row) {
                    fields.insert(y.field.clone(), row.clone());
                }
                jobs.push(Job { line: jobs.len() + 1, fields });
            }
        }
        jobs
    }

    /// The pictures of [`Self::jobs`] beside and below one another, with labels; absent ones are
    /// left white.
    pub fn sheet(&self, pictures: &[Option<RgbImage>]) -> Result<RgbImage, GridError> {
        let largest = |side: fn(&RgbImage) -> u32| {
            pictures.iter().flatten().map(side).max().unwrap_or(LETTER)
        };
        let (width, height) = (largest(RgbImage::width), largest(RgbImage::height));
        let columns = self.x.values.len() as u64;
        let rows = self.y.as_ref().map_or(1, |y| y.values.len() as u64);
        let scale = if width >= 256 { 2 } else { 1 };
        let letter = LETTER * scale;
        let labels = self.y.iter().flat_map(|y| &y.values);
        let longest = labels.map(|(label, _)| label.chars().count().min(ROW_LABEL)).max();
        let left = longest.map_or(0, |longest| (longest as u32 + 1) * letter);
        let top = 2 * letter;
        let gap = LETTER / 2;
        let total = |count: u64, side: u32| count * u64::from(side + gap);
        let whole = (u64::from(left) + total(columns, width), u64::from(top) + total(rows, height));
        if whole.0 * whole.1 > MAX_PIXELS {
            return Err(GridError::TooLarge(whole.0, whole.1));
        }
        let mut sheet = RgbImage::from_pixel(whole.0 as u32, whole.1 as u32, Rgb([255; 3]));
        let place =
            |column: u32, row: u32| (left + column * (width + gap), top + row * (height + gap));
        for (column, (label, _)) in self.x.values.iter().enumerate() {
            let room = (width / letter) as usize;
            write(&mut sheet, label, room, (place(column as u32, 0).0, letter / 2), scale);
        }
        for (row, (label, _)) in self.y.iter().flat_map(|y| &y.values).enumerate() {
            let middle = place(0, row as u32).1 + height.saturating_sub(letter) / 2;
            write(&mut sheet, label, ROW_LABEL, (letter / 2, middle), scale);
        }
        for (index, picture) in pictures.iter().enumerate() {
            if let Some(picture) = picture {
                let (column, row) = (index as u64 % columns, index as u64 / columns);
                let (x, y) = place(column as u32, row as u32);
                imageops::replace(&mut sheet, picture, i64::from(x), i64::from(y));
            }
        }
        Ok(sheet)
    }
}

/// Writes at most `room` letters at a place; characters that the font lacks become `?`.
fn write(sheet: &mut RgbImage, text: &str, room: usize, (left, top): (u32, u32), scale: u32) {
    for (index, character) in text.chars().take(room).enumerate() {
        let glyph = BASIC_FONTS.get(character).or_else(|| LATIN_FONTS.get(character));
        let Some(glyph) = glyph.or_else(|| BASIC_FONTS.get('?')) else { continue };
        for (row, bits) in glyph.iter().enumerate() {
            for column in 0..LETTER {
                if bits >> column & 1 == 0 {
                    continue;
                }
                for (dx, dy) in (0..scale).flat_map(|dx| (0..scale).map(move |dy| (dx, dy))) {
                    let x = left + (index as u32 * LETTER + column) * scale + dx;
                    let y = top + row as u32 * scale + dy;
                    if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
                        *pixel = Rgb([0; 3]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grid() -> Grid {
        let y = r#"prompt="a, b",c"#.parse().unwrap();
        Grid::new("cfg=1,2.5,4".parse().unwrap(), Some(y)).unwrap()
    }

    #[test]
    fn every_cell_is_a_job() {
        let fields = json!({ "prompt": "x", "seed": 3 });
        let jobs = grid().jobs(fields.as_object().unwrap());
        assert_eq!(jobs.len(), 6);
        assert_eq!(
            Value::from(jobs[1].fields.clone()),
            json!({ "prompt": "a, b", "seed": 3, "cfg": 2.5 })
        );
        assert_eq!(jobs[3].fields["prompt"], "c");
    }

    #[test]
    fn pictures_are_in_their_places_and_labelled() {
        let red = RgbImage::from_pixel(64, 32, Rgb([255, 0, 0]));
        let pictures: Vec<_> = (0..6).map(|index| (index == 4).then(|| red.clone())).collect();
        let sheet = grid().sheet(&pictures).unwrap();
        let reds: Vec<_> = sheet
            .enumerate_pixels()
            .filter(|(.., pixel)| pixel.0 == [255, 0, 0])
            .map(|(x, y, _)| (x, y))
            .collect();
        assert_eq!(reds.len(), 64 * 32);
        let left = 12 * LETTER;
        assert_eq!(reds.iter().min(), Some(&(left + 68, 16 + 36)));
        let labelled = sheet
            .enumerate_pixels()
            .filter(|(x, y, pixel)| *x < left && *y > 16 && pixel.0 == [0; 3]);
        assert!(labelled.count() > 100);
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        for text in ["", "cfg", "=1", "cfg=", "cfg=\"1", "a=1\n2"] {
            assert_eq!(text.parse::<Axis>(), Err(GridError::Axis(text.to_owned())), "{text}");
        }
        let axis: Axis = "cfg=1".parse().unwrap();
        assert_eq!(Grid::new(axis.clone(), Some(axis)), Err(GridError::Same("cfg".into())));
    }
}
