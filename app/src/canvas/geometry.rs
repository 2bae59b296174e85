//! Points and rectangles of a picture, in its pixels.

/// A place in a picture: pixel `x`, `y` covers the square from there to `x + 1`, `y + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

impl Point {
    /// The place `x`, `y`.
    pub fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// How far `other` is.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The pixel that covers this place; `None` outside a picture of `size`.
    pub fn pixel(self, size: (u32, u32)) -> Option<(u32, u32)> {
        let inside =
            self.x >= 0.0 && self.y >= 0.0 && self.x < size.0 as f32 && self.y < size.1 as f32;
        inside.then_some((self.x as u32, self.y as u32))
    }
}

/// Whole pixels from `left`, `top` to before `right`, `bottom`. Empty where those are not larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PixelRectangle {
    /// The first column.
    pub left: u32,
    /// The first row.
    pub top: u32,
    /// The column after the last.
    pub right: u32,
    /// The row after the last.
    pub bottom: u32,
}

impl PixelRectangle {
    /// The pixels that touch the rectangle between two corners in any order; what is left of or
    /// above the picture is cut off.
    pub fn around(a: Point, b: Point) -> Self {
        let floor = |value: f32| value.floor().max(0.0) as u32;
        let ceil = |value: f32| value.ceil().max(0.0) as u32;
        Self {
            left: floor(a.x.min(b.x)),
            top: floor(a.y.min(b.y)),
            right: ceil(a.x.max(b.x)),
            bottom: ceil(a.y.max(b.y)),
        }
    }

    /// Number of columns.
    pub fn width(self) -> u32 {
        self.right.saturating_sub(self.left)
    }

    /// Number of rows.
    pub fn height(self) -> u32 {
        self.bottom.saturating_sub(self.top)
    }

    /// Whether there is no pixel in it.
    pub fn is_empty(self) -> bool {
        self.width() == 0 || self.height() == 0
    }

    /// Whether pixel `x`, `y` is in it.
    pub fn contains(self, x: u32, y: u32) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }

    /// What both have in common; a rectangle of no size at the origin where that is nothing.
    pub fn intersection(self, other: Self) -> Self {
        let common = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        if common.is_empty() { Self::default() } else { common }
    }

    /// The smallest rectangle that holds both.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Every pixel, row by row.
    pub fn pixels(self) -> impl Iterator<Item = (u32, u32)> {
        (self.top..self.bottom).flat_map(move |y| (self.left..self.right).map(move |x| (x, y)))
    }
}
