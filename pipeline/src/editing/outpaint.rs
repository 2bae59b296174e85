//! Extending a picture over its edges.

use std::ops::ControlFlow;

use image::{GenericImageView, Luma};

use super::{ControlPictures, PreparedMask, Sources, edit_controlled};
use crate::{
    diffusion::{DiffusionPipeline, NoiseSource},
    error::PipelineError,
    picture::{Mask, Picture, Rectangle, place},
    progress::ProgressEvent,
    request::{Extension, GenerationRequest, Inpaint, Mode, Outpaint},
};

/// The least of the picture that the model sees beside what it adds, in pixels.
const LEAST_CONTEXT: u32 = 64;

/// The picture in the middle of a larger one, and what of that is to be painted.
pub(super) fn canvas(picture: &Picture, extend: Extension) -> (Picture, Mask) {
    let (width, height) = picture.pixels.dimensions();
    let mut canvas = image::DynamicImage::new(
        width + extend.left + extend.right,
        height + extend.top + extend.bottom,
        picture.pixels.color(),
    );
    place(&mut canvas, &picture.pixels, extend.left, extend.top);
    let is_known = |x: u32, y: u32| {
        (extend.left..extend.left + width).contains(&x)
            && (extend.top..extend.top + height).contains(&y)
    };
    let mask = Mask::from_fn(canvas.width(), canvas.height(), |x, y| {
        Luma([f32::from(u8::from(!is_known(x, y)))])
    });
    (Picture { pixels: canvas, icc_profile: picture.icc_profile.clone() }, mask)
}

/// A step: the part of the picture after it, and how much of that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    after: Rectangle,
    before: Rectangle,
}

/// Side by side, each step adding at most half of the picture's length across, so that the model
/// always sees as much as it adds.
fn steps(known: Rectangle, extend: Extension) -> Vec<Step> {
    let mut known = known;
    let mut steps = Vec::new();
    for (amount, horizontal, at_start) in [
        (extend.left, true, true),
        (extend.right, true, false),
        (extend.top, false, true),
        (extend.bottom, false, false),
    ] {
        let mut left = amount;
        while left > 0 {
            let across = if horizontal { known.height } else { known.width };
            let band = left.min((across / 2).max(LEAST_CONTEXT));
            let shift = if at_start { i64::from(band) } else { 0 };
            let before = known;
            if horizontal {
                known.left -= shift;
                known.width += band;
            } else {
                known.top -= shift;
                known.height += band;
            }
            steps.push(Step { after: known, before });
            left -= band;
        }
    }
    steps
}

/// Paints all of the canvas that is not the picture, in overlapping steps.
pub(super) fn outpaint(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    outpaint: &Outpaint,
    sources: &Sources,
    control: &ControlPictures,
    noise: &mut dyn NoiseSource,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Picture, PipelineError> {
    let extend = outpaint.extend;
    let mut canvas = sources.init.clone();
    let known = Rectangle {
        left: i64::from(extend.left),
        top: i64::from(extend.top),
        width: canvas.width() - extend.left - extend.right,
        height: canvas.height() - extend.top - extend.bottom,
    };
    for Step { after, before } in steps(known, extend) {
        let (left, top) = (after.left.max(0) as u32, after.top.max(0) as u32);
        let part = Picture {
            pixels: canvas.pixels.crop_imm(left, top, after.width, after.height),
            icc_profile: canvas.icc_profile.clone(),
        };
        let mask = Mask::from_fn(after.width, after.height, |x, y| {
            Luma([f32::from(u8::from(before.position(left + x, top + y).is_none()))])
        });
        let added = (after.width - before.width).max(after.height - before.height);
        let mode = Mode::Inpaint(Inpaint {
            mask_grow: 0,
            mask_blur: 0.0,
            mask_padding: added.max(LEAST_CONTEXT),
            ..Inpaint::new(outpaint.image.clone(), "")
        });
        let mask = PreparedMask { repaint: mask.clone(), composite: mask, raw: false };
        let part = Sources { init: part, mask: Some(mask) };
        let (width, height) = part.working_size(&mode, pipeline.native_side());
        let request = GenerationRequest { mode, width, height, ..request.clone() };
        let control = control.cropped(after);
        let part = Some(&part);
        let filled = edit_controlled(pipeline, &request, part, &control, noise, on_event)?;
        place(&mut canvas.pixels, &filled.picture.pixels, left, top);
    }
    Ok(canvas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_extensions_take_steps_that_end_at_the_canvas() {
        let known = Rectangle { left: 500, top: 0, width: 300, height: 200 };
        let steps = steps(known, Extension { left: 500, top: 0, right: 0, bottom: 30 });
        assert_eq!(steps.len(), 6);
        assert!(steps.windows(2).all(|pair| pair[0].after == pair[1].before));
        let last = steps[5].after;
        assert_eq!(last, Rectangle { left: 0, top: 0, width: 800, height: 230 });
    }
}
