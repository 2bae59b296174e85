//! Images in shared tiles: a copy costs next to nothing, and two copies know where they differ.
//!
//! That is what undo, the journal and the textures of the window are made of.

use std::sync::Arc;

use super::geometry::PixelRectangle;

/// Pixels on a side of a tile.
pub const TILE_SIDE: u32 = 128;

const TILE_PIXELS: usize = (TILE_SIDE * TILE_SIDE) as usize;

/// An image of `width` × `height` pixels of type `P`. Cloning shares the tiles; changing a pixel
/// copies its tile where it is shared.
#[derive(Debug, Clone)]
pub struct TiledImage<P> {
    width: u32,
    height: u32,
    columns: u32,
    tiles: Vec<Arc<[P]>>,
}

impl<P: Copy + PartialEq> TiledImage<P> {
    /// An image of one colour, which takes the memory of one tile.
    pub fn new(width: u32, height: u32, colour: P) -> Self {
        let columns = width.div_ceil(TILE_SIDE);
        let rows = height.div_ceil(TILE_SIDE);
        let tile: Arc<[P]> = vec![colour; TILE_PIXELS].into();
        Self { width, height, columns, tiles: vec![tile; (columns * rows) as usize] }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// All of it.
    pub fn bounds(&self) -> PixelRectangle {
        PixelRectangle { left: 0, top: 0, right: self.width, bottom: self.height }
    }

    /// The pixel at `x`, `y`; `None` outside.
    pub fn get(&self, x: u32, y: u32) -> Option<P> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let tile = (y / TILE_SIDE * self.columns + x / TILE_SIDE) as usize;
        Some(self.tiles[tile][place(x, y)])
    }

    /// Gives each pixel of `area` the value of `change(x, y, before)`. Tiles in which nothing changes
    /// stay shared.
    ///
    /// Returns what was looked at: `area` inside the image.
    pub fn update(
        &mut self,
        area: PixelRectangle,
        mut change: impl FnMut(u32, u32, P) -> P,
    ) -> PixelRectangle {
        self.update_runs(
            area,
            |_| (area.left, area.right),
            |x, y, run| {
                for (x, pixel) in (x..).zip(run) {
                    *pixel = change(x, y, *pixel);
                }
            },
        )
    }

    /// Calls `change(x, y, pixels)` for runs of pixels in a row that cover those of `area` that are
    /// also from the first column of `columns(y)` to before the second one. Tiles in which nothing
    /// changes stay shared.
    ///
    /// Returns `area` inside the image.
    pub fn update_runs(
        &mut self,
        area: PixelRectangle,
        columns: impl Fn(u32) -> (u32, u32),
        mut change: impl FnMut(u32, u32, &mut [P]),
    ) -> PixelRectangle {
        let area = area.intersection(self.bounds());
        let columns: Vec<(u32, u32)> = (area.top..area.bottom).map(columns).collect();
        let mut changed = Vec::with_capacity(TILE_SIDE as usize);
        for index in self.tiles_in(area) {
            let part = self.tile_bounds(index).intersection(area);
            for y in part.top..part.bottom {
                let (first, end) = columns[(y - area.top) as usize];
                let (first, end) = (first.max(part.left), end.min(part.right));
                if first >= end {
                    continue;
                }
                let start = place(first, y);
                let run = start..start + (end - first) as usize;
                changed.clear();
                changed.extend_from_slice(&self.tiles[index][run.clone()]);
                change(first, y, &mut changed);
                if changed != self.tiles[index][run.clone()] {
                    Arc::make_mut(&mut self.tiles[index])[run].copy_from_slice(&changed);
                }
            }
        }
        area
    }

    /// Calls `read(x, y, pixels)` for runs of pixels in a row that cover `area` inside the image.
    pub fn for_each_run(&self, area: PixelRectangle, mut read: impl FnMut(u32, u32, &[P])) {
        let area = area.intersection(self.bounds());
        for index in self.tiles_in(area) {
            let part = self.tile_bounds(index).intersection(area);
            for y in part.top..part.bottom {
                let start = place(part.left, y);
                read(part.left, y, &self.tiles[index][start..start + part.width() as usize]);
            }
        }
    }

    /// All pixels, row by row.
    pub fn to_vec(&self, filler: P) -> Vec<P> {
        let mut pixels = vec![filler; self.width as usize * self.height as usize];
        self.for_each_run(self.bounds(), |x, y, run| {
            let start = y as usize * self.width as usize + x as usize;
            pixels[start..start + run.len()].copy_from_slice(run);
        });
        pixels
    }

    /// Whether every pixel is `colour`.
    pub fn is_all(&self, colour: P) -> bool {
        self.distinct_tiles().into_iter().all(|index| {
            let part = self.tile_bounds(index);
            part.pixels().all(|(x, y)| self.tiles[index][place(x, y)] == colour)
        })
    }

    /// The smallest rectangle around all pixels that `is_part` accepts.
    pub fn extent(&self, is_part: impl Fn(P) -> bool) -> Option<PixelRectangle> {
        let mut extent: Option<PixelRectangle> = None;
        self.for_each_run(self.bounds(), |x, y, run| {
            let first = run.iter().position(|&pixel| is_part(pixel));
            let last = run.iter().rposition(|&pixel| is_part(pixel));
            if let (Some(first), Some(last)) = (first, last) {
                let found = PixelRectangle {
                    left: x + first as u32,
                    top: y,
                    right: x + last as u32 + 1,
                    bottom: y + 1,
                };
                extent = Some(extent.map_or(found, |extent| extent.union(found)));
            }
        });
        extent
    }

    /// Number of tiles.
    pub fn tile_count(&self) -> usize {
        self.tiles.len()
    }

    /// The pixels of the image that tile `index` holds.
    pub fn tile_bounds(&self, index: usize) -> PixelRectangle {
        let (column, row) = (index as u32 % self.columns, index as u32 / self.columns);
        let (left, top) = (column * TILE_SIDE, row * TILE_SIDE);
        PixelRectangle { left, top, right: left + TILE_SIDE, bottom: top + TILE_SIDE }
            .intersection(self.bounds())
    }

    /// Tile `index`: [`TILE_SIDE`]² pixels row by row, of which those beyond the image mean nothing.
    pub fn tile(&self, index: usize) -> Option<&Arc<[P]>> {
        self.tiles.get(index)
    }

    /// Puts a tile back that [`TiledImage::tile`] gave. Nothing happens where the image has no
    /// such tile or its length is another.
    pub fn set_tile(&mut self, index: usize, pixels: Arc<[P]>) {
        if let Some(tile) = self.tiles.get_mut(index).filter(|_| pixels.len() == TILE_PIXELS) {
            *tile = pixels;
        }
    }

    /// The tiles that are not the very same in `other`; all of them where the size differs.
    pub fn changed_tiles(&self, other: &Self) -> Vec<usize> {
        let same_size = self.size() == other.size();
        let pairs = self.tiles.iter().zip(&other.tiles).enumerate();
        match same_size {
            true => {
                pairs.filter(|(_, (a, b))| !Arc::ptr_eq(a, b)).map(|(index, _)| index).collect()
            }
            false => (0..self.tiles.len()).collect(),
        }
    }

    /// The rectangles in which this image is not `other`, which has its size: at most one in a tile.
    pub fn differences(&self, other: &Self) -> Vec<PixelRectangle> {
        let tiles = self.changed_tiles(other).into_iter();
        tiles.filter_map(|index| self.difference(other, index)).collect()
    }

    fn difference(&self, other: &Self, index: usize) -> Option<PixelRectangle> {
        let bounds = self.tile_bounds(index);
        let other = other.tiles.get(index)?;
        let mut difference: Option<PixelRectangle> = None;
        for y in bounds.top..bounds.bottom {
            let start = place(bounds.left, y);
            let run = start..start + bounds.width() as usize;
            let (own, other) = (&self.tiles[index][run.clone()], &other[run]);
            if own == other {
                continue;
            }
            let differs = |(own, other): (&P, &P)| own != other;
            let first = own.iter().zip(other).position(differs)?;
            let last = own.iter().zip(other).rposition(differs)?;
            let row = PixelRectangle {
                left: bounds.left + first as u32,
                top: y,
                right: bounds.left + last as u32 + 1,
                bottom: y + 1,
            };
            difference = Some(difference.map_or(row, |difference| difference.union(row)));
        }
        difference
    }

    /// The image on a canvas of another size, moved by `left`, `top`, with `filler` around it.
    pub fn placed(&self, width: u32, height: u32, left: u32, top: u32, filler: P) -> Self {
        let mut placed = Self::new(width, height, filler);
        let area = PixelRectangle {
            left,
            top,
            right: left.saturating_add(self.width),
            bottom: top.saturating_add(self.height),
        };
        placed.update(area, |x, y, _| self.get(x - left, y - top).unwrap_or(filler));
        placed
    }

    /// The memory that this image takes and `other` does not, in bytes.
    pub fn unshared_bytes(&self, other: &Self) -> usize {
        let others: std::collections::HashSet<_> = other.tiles.iter().map(address).collect();
        let own: std::collections::HashSet<_> =
            self.tiles.iter().map(address).filter(|tile| !others.contains(tile)).collect();
        own.len() * TILE_PIXELS * size_of::<P>()
    }

    /// One tile of each group of tiles that are the same in memory, but no tile twice. Tiles at
    /// the right and bottom are always among them.
    fn distinct_tiles(&self) -> Vec<usize> {
        let mut seen = std::collections::HashSet::new();
        (0..self.tiles.len())
            .filter(|&index| {
                let bounds = self.tile_bounds(index);
                let is_whole = bounds.width() == TILE_SIDE && bounds.height() == TILE_SIDE;
                seen.insert(address(&self.tiles[index])) || !is_whole
            })
            .collect()
    }

    fn tiles_in(&self, area: PixelRectangle) -> Vec<usize> {
        if area.is_empty() {
            return Vec::new();
        }
        let columns = area.left / TILE_SIDE..area.right.div_ceil(TILE_SIDE);
        let rows = area.top / TILE_SIDE..area.bottom.div_ceil(TILE_SIDE);
        rows.flat_map(|row| {
            columns.clone().map(move |column| (row * self.columns + column) as usize)
        })
        .collect()
    }
}

fn address<P>(tile: &Arc<[P]>) -> *const u8 {
    Arc::as_ptr(tile).cast()
}

fn place(x: u32, y: u32) -> usize {
    (y % TILE_SIDE * TILE_SIDE + x % TILE_SIDE) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn updates_reach_exactly_their_area_across_tiles() {
        let mut image = TiledImage::new(300, 200, 0_u8);
        let area = PixelRectangle { left: 100, top: 120, right: 290, bottom: 400 };
        let touched = image.update(area, |_, _, before| before + 1);
        assert_eq!(touched, PixelRectangle { bottom: 200, ..area });
        for (x, y) in image.bounds().pixels() {
            assert_eq!(image.get(x, y), Some(u8::from(touched.contains(x, y))), "{x} {y}");
        }
        assert_eq!(image.get(300, 0), None);
        assert_eq!(image.extent(|pixel| pixel == 1), Some(touched));
        let flat = image.to_vec(9);
        assert_eq!(flat.iter().filter(|&&pixel| pixel == 1).count(), 190 * 80);
    }

    #[test]
    fn only_changed_tiles_are_copied() {
        let before = TiledImage::new(1000, 1000, 7_u8);
        let mut after = before.clone();
        let area = PixelRectangle { left: 130, top: 5, right: 140, bottom: 9 };
        after.update(area, |_, _, pixel| pixel);
        assert_eq!(after.changed_tiles(&before), Vec::<usize>::new());
        after.update(area, |_, _, _| 8);
        assert_eq!(after.changed_tiles(&before), vec![1]);
        assert_eq!(before.get(135, 6), Some(7));
        assert!(before.is_all(7) && !after.is_all(7));
    }

    #[test]
    fn runs_are_updated_where_columns_say() {
        let before = TiledImage::new(300, 200, 0_u8);
        let mut after = before.clone();
        let area = PixelRectangle { left: 100, top: 50, right: 290, bottom: 150 };
        let columns = |y: u32| (y * 2, y * 2 + 10);
        after.update_runs(area, columns, |_, _, run| run.fill(1));
        for (x, y) in after.bounds().pixels() {
            let inside = area.contains(x, y) && (y * 2..y * 2 + 10).contains(&x);
            assert_eq!(after.get(x, y), Some(u8::from(inside)), "{x} {y}");
        }
        after.update_runs(area, columns, |_, _, run| run.fill(0));
        assert_eq!(after.differences(&before), Vec::new());
    }

    #[test]
    fn differences_are_as_small_as_they_can_be() {
        let before = TiledImage::new(300, 300, [0_u8; 4]);
        let mut after = before.clone();
        let area = PixelRectangle { left: 100, top: 130, right: 140, bottom: 133 };
        after.update(area, |_, _, _| [1; 4]);
        let left = PixelRectangle { right: 128, ..area };
        let right = PixelRectangle { left: 128, ..area };
        assert_eq!(after.differences(&before), vec![left, right]);
    }

    #[test]
    fn tiles_can_be_put_back() {
        let before = TiledImage::new(200, 100, 0_u16);
        let mut after = before.clone();
        after.update(after.bounds(), |x, y, _| (x * y) as u16);
        for index in after.changed_tiles(&before) {
            after.set_tile(index, before.tile(index).unwrap().clone());
        }
        assert!(after.is_all(0));
    }

    #[test]
    fn an_image_is_placed_on_a_larger_one() {
        let mut image = TiledImage::new(150, 20, 1_u8);
        image.update(image.bounds(), |x, y, _| (x + y) as u8);
        let placed = image.placed(400, 100, 130, 60, 255);
        for (x, y) in placed.bounds().pixels() {
            let expected = match (x.checked_sub(130), y.checked_sub(60)) {
                (Some(x), Some(y)) => image.get(x, y).unwrap_or(255),
                _ => 255,
            };
            assert_eq!(placed.get(x, y), Some(expected), "{x} {y}");
        }
    }

    #[test]
    fn memory_is_counted_once() {
        let before = TiledImage::new(1024, 1024, [0_u8; 4]);
        let mut after = before.clone();
        assert_eq!(after.unshared_bytes(&before), 0);
        let area = PixelRectangle { left: 100, top: 10, right: 300, bottom: 20 };
        after.update(area, |_, _, _| [1; 4]);
        assert_eq!(after.unshared_bytes(&before), 3 * 128 * 128 * 4);
        assert_eq!(before.unshared_bytes(&after), 0, "its one tile is in use elsewhere");
    }
}
