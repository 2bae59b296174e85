//! The tools of the canvas and how they are set.

use super::{
    brush::{BRUSH_SIZES, Brush, Ink},
    mask::Combine,
};

/// What the pointer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tool {
    /// Marks what is repainted.
    #[default]
    Brush,
    /// Takes marks away.
    Eraser,
    /// Marks a rectangle.
    Rectangle,
    /// Marks what a line goes around.
    Lasso,
    /// Marks what has one colour and hangs together.
    Wand,
    /// Marks a region that is closed by marks.
    Bucket,
    /// Marks more and more along a line.
    Gradient,
    /// Draws colours that a fill starts from.
    ColourBrush,
    /// Takes the colour of the picture.
    Eyedropper,
    /// Moves the view.
    Hand,
}

impl Tool {
    /// Every tool, in the order of the strip.
    pub const ALL: [Self; 10] = [
        Self::Brush,
        Self::Eraser,
        Self::Rectangle,
        Self::Lasso,
        Self::Wand,
        Self::Bucket,
        Self::Gradient,
        Self::ColourBrush,
        Self::Eyedropper,
        Self::Hand,
    ];

    /// Whether it draws with the round brush.
    pub fn is_brush(self) -> bool {
        matches!(self, Self::Brush | Self::Eraser | Self::ColourBrush)
    }
}

/// The tool in hand and how all of them are set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tools {
    /// The tool in hand.
    pub tool: Tool,
    /// Whether tools mark or take away.
    pub combine: Combine,
    /// The brush of all tools that draw with one.
    pub brush: Brush,
    /// How far the wand's colours may differ, from 0 to 255.
    pub tolerance: u8,
    /// The colour brush's red, green and blue.
    pub colour: [u8; 3],
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            tool: Tool::default(),
            combine: Combine::Add,
            brush: Brush::default(),
            tolerance: 24,
            colour: [255, 138, 61],
        }
    }
}

impl Tools {
    /// What the brush leaves behind; `None` for tools that are no brushes.
    pub fn ink(&self) -> Option<Ink> {
        match (self.tool, self.combine) {
            (Tool::Brush, Combine::Add) | (Tool::Eraser, Combine::Subtract) => Some(Ink::MaskPaint),
            (Tool::Brush, Combine::Subtract) | (Tool::Eraser, Combine::Add) => Some(Ink::MaskErase),
            (Tool::ColourBrush, Combine::Add) => Some(Ink::SketchPaint(self.colour)),
            (Tool::ColourBrush, Combine::Subtract) => Some(Ink::SketchErase),
            _ => None,
        }
    }

    /// Swaps marking and taking away.
    pub fn swap(&mut self) {
        self.combine = match self.combine {
            Combine::Add => Combine::Subtract,
            Combine::Subtract => Combine::Add,
        };
    }

    /// The brush, marking and tolerance as they are at first. The tool stays.
    pub fn reset(&mut self) {
        *self = Self { tool: self.tool, colour: self.colour, ..Self::default() };
    }

    /// Makes the brush larger or smaller by a sixth, and by a pixel at least.
    pub fn resize_brush(&mut self, larger: bool) {
        let size = self.brush.size;
        let step = (size / 6.0).max(1.0);
        let size = if larger { size + step } else { size - step };
        self.brush.size = size.clamp(*BRUSH_SIZES.start(), *BRUSH_SIZES.end()).round();
    }

    /// Makes the brush harder or softer by a tenth.
    pub fn harden_brush(&mut self, harder: bool) {
        let hardness = self.brush.hardness + if harder { 0.1 } else { -0.1 };
        self.brush.hardness = (hardness.clamp(0.0, 1.0) * 10.0).round() / 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_turns_each_brush_around_and_back() {
        for tool in [Tool::Brush, Tool::Eraser, Tool::ColourBrush] {
            let mut tools = Tools { tool, ..Tools::default() };
            let before = tools.ink();
            tools.swap();
            assert_ne!(tools.ink(), before);
            tools.swap();
            assert_eq!(tools.ink(), before);
        }
        assert_eq!(Tools { tool: Tool::Wand, ..Tools::default() }.ink(), None);
    }

    #[test]
    fn brushes_stay_within_their_limits() {
        let mut tools = Tools::default();
        for _ in 0..100 {
            tools.resize_brush(true);
            tools.harden_brush(true);
        }
        assert_eq!((tools.brush.size, tools.brush.hardness), (1024.0, 1.0));
        for _ in 0..100 {
            tools.resize_brush(false);
            tools.harden_brush(false);
        }
        assert_eq!((tools.brush.size, tools.brush.hardness), (1.0, 0.0));
        tools.tool = Tool::Lasso;
        tools.reset();
        assert_eq!(tools, Tools { tool: Tool::Lasso, ..Tools::default() });
    }
}
