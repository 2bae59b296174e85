//! Undo and redo of a document, within a number of bytes.

use std::collections::VecDeque;

use super::document::Document;

/// Bytes that undo may take where nothing else is said.
pub const HISTORY_BYTES: usize = 512 * 1024 * 1024;

/// What a step did, for its name in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// A brush or an eraser on the mask.
    MaskStroke,
    /// A rectangle, a lasso, a wand, a gradient or a bucket on the mask.
    MaskSelection,
    /// The whole mask: inverted, cleared, grown, shrunk, feathered or opened.
    MaskChange,
    /// Colours on the sketch.
    SketchStroke,
    /// The sketch was cleared.
    SketchChange,
    /// A fill became a layer.
    Fill,
    /// A layer was shown, hidden, moved, named or deleted, or got or shows another variation.
    LayerChange,
}

#[derive(Debug, Clone)]
struct Step {
    edit: Edit,
    document: Document,
    bytes: usize,
}

/// Earlier and undone states. Each shares with its neighbours all that did not change.
#[derive(Debug, Clone)]
pub struct History {
    past: VecDeque<Step>,
    future: Vec<Step>,
    most_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(HISTORY_BYTES)
    }
}

impl History {
    /// No states yet. The oldest are forgotten beyond `most_bytes`, but never the last one.
    pub fn new(most_bytes: usize) -> Self {
        Self { past: VecDeque::new(), future: Vec::new(), most_bytes }
    }

    /// A step was made that led from `before` to `after`. What was undone can no longer be redone.
    pub fn record(&mut self, edit: Edit, before: Document, after: &Document) {
        self.future.clear();
        let bytes = before.unshared_bytes(after);
        self.past.push_back(Step { edit, document: before, bytes });
        while self.past.len() > 1 && self.bytes() > self.most_bytes {
            self.past.pop_front();
        }
    }

    /// Goes back a step from `document`, which becomes the state before it.
    pub fn undo(&mut self, document: &mut Document) -> Option<Edit> {
        let Step { edit, document: before, .. } = self.past.pop_back()?;
        let after = std::mem::replace(document, before);
        let bytes = after.unshared_bytes(document);
        self.future.push(Step { edit, document: after, bytes });
        Some(edit)
    }

    /// Makes a step again that was undone.
    pub fn redo(&mut self, document: &mut Document) -> Option<Edit> {
        let Step { edit, document: after, .. } = self.future.pop()?;
        let before = std::mem::replace(document, after);
        let bytes = before.unshared_bytes(document);
        self.past.push_back(Step { edit, document: before, bytes });
        Some(edit)
    }

    /// What [`History::undo`] would take back.
    pub fn next_undo(&self) -> Option<Edit> {
        self.past.back().map(|step| step.edit)
    }

    /// What [`History::redo`] would make again.
    pub fn next_redo(&self) -> Option<Edit> {
        self.future.last().map(|step| step.edit)
    }

    /// The memory that the states take, in bytes.
    pub fn bytes(&self) -> usize {
        self.past.iter().chain(&self.future).map(|step| step.bytes).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use emberbrush_pipeline::picture::Picture;
    use image::DynamicImage;
    use proptest::prelude::*;

    use super::*;
    use crate::canvas::{
        brush::{Brush, Ink, Stroke, StrokePoint},
        tiles::TILE_SIDE,
    };

    fn document() -> Document {
        Document::new("test", Picture::new(DynamicImage::new_rgb8(600, 400)))
    }

    fn stroke(document: &mut Document, history: &mut History, ink: Ink, x: f32, y: f32) {
        let before = document.clone();
        let mut stroke = Stroke::new(Brush { size: 30.0, hardness: 0.5 }, ink, document.sketch());
        let (mask, sketch) = document.surfaces_mut();
        stroke.extend(StrokePoint::new(x, y), mask, sketch);
        stroke.extend(StrokePoint::new(x + 40.0, y), mask, sketch);
        history.record(Edit::MaskStroke, before, document);
    }

    fn state(document: &Document) -> (Vec<u8>, Vec<[u8; 4]>) {
        (document.mask().to_vec(0), document.sketch().to_vec([0; 4]))
    }

    #[test]
    fn a_step_takes_only_the_tiles_that_it_changed() {
        let (mut document, mut history) = (document(), History::default());
        stroke(&mut document, &mut history, Ink::MaskPaint, 30.0, 30.0);
        // Before the first stroke all tiles are one, which the rest of the mask still uses.
        assert_eq!(history.bytes(), 0);
        stroke(&mut document, &mut history, Ink::MaskErase, 30.0, 30.0);
        assert_eq!(history.bytes(), (TILE_SIDE * TILE_SIDE) as usize);
    }

    #[test]
    fn the_oldest_steps_go_beyond_the_limit_and_the_last_one_stays() {
        let tile = (TILE_SIDE * TILE_SIDE) as usize;
        let (mut document, mut history) = (document(), History::new(3 * tile));
        for at in 0..10 {
            let ink = if at % 2 == 0 { Ink::MaskPaint } else { Ink::MaskErase };
            stroke(&mut document, &mut history, ink, 30.0 + at as f32, 30.0);
            assert!(history.bytes() <= 3 * tile);
        }
        let steps = std::iter::from_fn(|| history.undo(&mut document)).count();
        assert_eq!(steps, 3);
        let mut tiny = History::new(0);
        stroke(&mut document, &mut tiny, Ink::MaskPaint, 90.0, 30.0);
        stroke(&mut document, &mut tiny, Ink::MaskErase, 90.0, 30.0);
        assert!(tiny.undo(&mut document).is_some() && tiny.undo(&mut document).is_none());
    }

    #[test]
    fn a_new_step_forgets_what_was_undone() {
        let (mut document, mut history) = (document(), History::default());
        stroke(&mut document, &mut history, Ink::MaskPaint, 30.0, 30.0);
        history.undo(&mut document).unwrap();
        assert_eq!(history.next_redo(), Some(Edit::MaskStroke));
        stroke(&mut document, &mut history, Ink::MaskPaint, 300.0, 30.0);
        assert_eq!(history.redo(&mut document), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_walk_through_history_gives_the_states_that_were(
            steps in proptest::collection::vec((0_u8..6, 0.0_f32..600.0, 0.0_f32..400.0), 1..24),
        ) {
            let (mut document, mut history) = (document(), History::default());
            let mut states = vec![state(&document)];
            let mut at = 0_usize;
            for (what, x, y) in steps {
                match what {
                    0 => {
                        prop_assert_eq!(history.undo(&mut document).is_some(), at > 0);
                        at = at.saturating_sub(1);
                    }
                    1 => {
                        let can = at + 1 < states.len();
                        prop_assert_eq!(history.redo(&mut document).is_some(), can);
                        at += usize::from(can);
                    }
                    ink => {
                        let ink = match ink {
                            2 => Ink::MaskPaint,
                            3 => Ink::MaskErase,
                            4 => Ink::SketchPaint([200, 30, 9]),
                            _ => Ink::SketchErase,
                        };
                        stroke(&mut document, &mut history, ink, x, y);
                        states.truncate(at + 1);
                        states.push(state(&document));
                        at += 1;
                    }
                }
                prop_assert!(state(&document) == states[at]);
            }
        }
    }
}
