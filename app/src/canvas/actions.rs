//! Everything that a key or the command palette can do on the canvas.

use egui::{Key, Modifiers};
use serde::{Deserialize, Serialize};

use super::tools::Tool;

/// A command of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanvasAction {
    /// Saves the document to its file.
    SaveDocument,
    /// Saves it to another file.
    SaveDocumentAs,
    /// Exports what is seen.
    ExportPicture,
    /// Takes the brush in hand.
    ToolBrush,
    /// Takes the eraser in hand.
    ToolEraser,
    /// Takes the rectangle in hand.
    ToolRectangle,
    /// Takes the lasso in hand.
    ToolLasso,
    /// Takes the magic wand in hand.
    ToolWand,
    /// Takes the bucket in hand.
    ToolBucket,
    /// Takes the gradient in hand.
    ToolGradient,
    /// Takes the colour brush in hand.
    ToolColourBrush,
    /// Takes the eyedropper in hand.
    ToolEyedropper,
    /// Takes the hand.
    ToolHand,
    /// Swaps marking and taking away.
    ToolSwap,
    /// Sets the tools as they are at first.
    ToolReset,
    /// Makes the brush larger.
    BrushLarger,
    /// Makes the brush smaller.
    BrushSmaller,
    /// Makes the brush harder.
    BrushHarder,
    /// Makes the brush softer.
    BrushSofter,
    /// Shows the whole picture.
    LookFit,
    /// Shows a pixel of the picture as one of the screen.
    LookActualSize,
    /// Marks everything.
    MaskAll,
    /// Swaps what is marked and what is not.
    MaskInvert,
    /// Marks nothing.
    MaskClear,
    /// Moves the edge of the mask outwards.
    MaskGrow,
    /// Moves it inwards.
    MaskShrink,
    /// Lets it fade out.
    MaskFeather,
    /// Opens a mask.
    MaskOpen,
    /// Saves the mask.
    MaskSave,
    /// Removes the sketch.
    SketchClear,
    /// Shows the next variation.
    VariationNext,
    /// Shows the variation before.
    VariationPrevious,
    /// Accepts the variation in view as a layer.
    VariationAccept,
    /// Leaves all variations.
    VariationsDiscard,
}

impl CanvasAction {
    /// Every command, in the order of the palette.
    pub const ALL: [Self; 34] = [
        Self::SaveDocument,
        Self::SaveDocumentAs,
        Self::ExportPicture,
        Self::ToolBrush,
        Self::ToolEraser,
        Self::ToolRectangle,
        Self::ToolLasso,
        Self::ToolWand,
        Self::ToolBucket,
        Self::ToolGradient,
        Self::ToolColourBrush,
        Self::ToolEyedropper,
        Self::ToolHand,
        Self::ToolSwap,
        Self::ToolReset,
        Self::BrushLarger,
        Self::BrushSmaller,
        Self::BrushHarder,
        Self::BrushSofter,
        Self::LookFit,
        Self::LookActualSize,
        Self::MaskAll,
        Self::MaskInvert,
        Self::MaskClear,
        Self::MaskGrow,
        Self::MaskShrink,
        Self::MaskFeather,
        Self::MaskOpen,
        Self::MaskSave,
        Self::SketchClear,
        Self::VariationNext,
        Self::VariationPrevious,
        Self::VariationAccept,
        Self::VariationsDiscard,
    ];

    /// What takes a tool in hand.
    pub fn of_tool(tool: Tool) -> Self {
        match tool {
            Tool::Brush => Self::ToolBrush,
            Tool::Eraser => Self::ToolEraser,
            Tool::Rectangle => Self::ToolRectangle,
            Tool::Lasso => Self::ToolLasso,
            Tool::Wand => Self::ToolWand,
            Tool::Bucket => Self::ToolBucket,
            Tool::Gradient => Self::ToolGradient,
            Tool::ColourBrush => Self::ToolColourBrush,
            Tool::Eyedropper => Self::ToolEyedropper,
            Tool::Hand => Self::ToolHand,
        }
    }

    /// The tool that it takes in hand.
    pub fn tool(self) -> Option<Tool> {
        Tool::ALL.into_iter().find(|&tool| Self::of_tool(tool) == self)
    }

    /// Whether it has to do with variations that wait to be accepted.
    pub fn is_of_variations(self) -> bool {
        matches!(
            self,
            Self::VariationNext
                | Self::VariationPrevious
                | Self::VariationAccept
                | Self::VariationsDiscard
        )
    }

    /// The name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Self::SaveDocument => "canvas-save",
            Self::SaveDocumentAs => "canvas-save-as",
            Self::ExportPicture => "canvas-export",
            Self::ToolBrush => "tool-brush",
            Self::ToolEraser => "tool-eraser",
            Self::ToolRectangle => "tool-rectangle",
            Self::ToolLasso => "tool-lasso",
            Self::ToolWand => "tool-wand",
            Self::ToolBucket => "tool-bucket",
            Self::ToolGradient => "tool-gradient",
            Self::ToolColourBrush => "tool-colour-brush",
            Self::ToolEyedropper => "tool-eyedropper",
            Self::ToolHand => "tool-hand",
            Self::ToolSwap => "tool-swap",
            Self::ToolReset => "tool-reset",
            Self::BrushLarger => "brush-larger",
            Self::BrushSmaller => "brush-smaller",
            Self::BrushHarder => "brush-harder",
            Self::BrushSofter => "brush-softer",
            Self::LookFit => "canvas-fit",
            Self::LookActualSize => "canvas-actual-size",
            Self::MaskAll => "mask-all",
            Self::MaskInvert => "mask-invert",
            Self::MaskClear => "mask-clear",
            Self::MaskGrow => "action-mask-grow",
            Self::MaskShrink => "action-mask-shrink",
            Self::MaskFeather => "action-mask-feather",
            Self::MaskOpen => "mask-open",
            Self::MaskSave => "mask-save",
            Self::SketchClear => "sketch-clear",
            Self::VariationNext => "action-variation-next",
            Self::VariationPrevious => "action-variation-previous",
            Self::VariationAccept => "action-variation-accept",
            Self::VariationsDiscard => "action-variations-discard",
        }
    }

    /// Its usual key.
    pub fn default_key(self) -> Option<(Modifiers, Key)> {
        let plain = |key| Some((Modifiers::NONE, key));
        match self {
            Self::SaveDocument => Some((Modifiers::COMMAND, Key::S)),
            Self::SaveDocumentAs => Some((Modifiers::COMMAND | Modifiers::SHIFT, Key::S)),
            Self::ToolBrush => plain(Key::B),
            Self::ToolEraser => plain(Key::E),
            Self::ToolRectangle => plain(Key::R),
            Self::ToolLasso => plain(Key::L),
            Self::ToolWand => plain(Key::W),
            Self::ToolBucket => plain(Key::F),
            Self::ToolGradient => plain(Key::G),
            Self::ToolColourBrush => plain(Key::C),
            Self::ToolEyedropper => plain(Key::I),
            Self::ToolHand => plain(Key::H),
            Self::ToolSwap => plain(Key::X),
            Self::ToolReset => plain(Key::D),
            Self::BrushLarger => plain(Key::CloseBracket),
            Self::BrushSmaller => plain(Key::OpenBracket),
            Self::BrushHarder => Some((Modifiers::SHIFT, Key::CloseBracket)),
            Self::BrushSofter => Some((Modifiers::SHIFT, Key::OpenBracket)),
            Self::LookFit => plain(Key::Num0),
            Self::LookActualSize => plain(Key::Num1),
            Self::VariationNext => plain(Key::ArrowRight),
            Self::VariationPrevious => plain(Key::ArrowLeft),
            Self::VariationAccept => plain(Key::Enter),
            Self::ExportPicture
            | Self::MaskAll
            | Self::MaskInvert
            | Self::MaskClear
            | Self::MaskGrow
            | Self::MaskShrink
            | Self::MaskFeather
            | Self::MaskOpen
            | Self::MaskSave
            | Self::SketchClear
            | Self::VariationsDiscard => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once_and_every_tool_has_one() {
        let mut all = CanvasAction::ALL.to_vec();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), CanvasAction::ALL.len());
        for tool in Tool::ALL {
            assert_eq!(CanvasAction::of_tool(tool).tool(), Some(tool));
        }
        assert_eq!(CanvasAction::MaskAll.tool(), None);
    }
}
