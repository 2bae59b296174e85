//! Between a picture's colours and the sRGB values that models know.

use std::sync::Arc;

use image::Rgb32FImage;
use moxcms::{
    CmsError, ColorProfile, DataColorSpace, Layout, Transform16BitExecutor, TransformOptions,
};
use thiserror::Error;

use super::Picture;

/// Which way colours are taken.
#[derive(Debug, Clone, Copy)]
enum Direction {
    ToSrgb,
    FromSrgb,
}

/// Why a colour profile is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileProblem {
    /// It cannot be read.
    #[error("the colour profile is damaged ({0}); sRGB is assumed")]
    Broken(String),
    /// It is one for other colours than the pixels have.
    #[error("the colour profile is for {0} colours and not for RGB; sRGB is assumed")]
    NotRgb(String),
}

impl Picture {
    /// The picture in sRGB, with values from 0 to 1; transparent parts lie on white.
    pub fn to_srgb(&self) -> Rgb32FImage {
        let mut colours = self.pixels.to_rgb32f();
        self.convert(&mut colours, Direction::ToSrgb);
        if self.pixels.color().has_alpha() {
            let alpha = self.pixels.to_luma_alpha32f();
            for (pixel, alpha) in colours.pixels_mut().zip(alpha.pixels()) {
                let alpha = alpha.0[1];
                pixel.0 = pixel.0.map(|value| value * alpha + (1.0 - alpha));
            }
        }
        colours
    }

    /// The values of the file as they are, from 0 to 1, without its profile and alpha.
    pub fn to_raw(&self) -> Rgb32FImage {
        self.pixels.to_rgb32f()
    }

    /// sRGB values as this picture's profile expresses them.
    pub fn from_srgb(&self, mut colours: Rgb32FImage) -> Rgb32FImage {
        self.convert(&mut colours, Direction::FromSrgb);
        colours
    }

    /// Why the picture's colour profile is not used and sRGB is assumed; `None` where it is used, or
    /// there is none.
    pub fn profile_problem(&self) -> Option<ProfileProblem> {
        self.transform(Direction::ToSrgb).err()
    }

    fn convert(&self, colours: &mut Rgb32FImage, direction: Direction) {
        let Ok(Some(transform)) = self.transform(direction) else { return };
        let most = f32::from(u16::MAX);
        let values: Vec<u16> =
            colours.iter().map(|value| (value.clamp(0.0, 1.0) * most).round() as u16).collect();
        let mut converted = vec![0; values.len()];
        if transform.transform(&values, &mut converted).is_ok() {
            for (value, converted) in colours.iter_mut().zip(converted) {
                *value = f32::from(converted) / most;
            }
        }
    }

    /// Grey profiles, and CMYK profiles of pictures that were decoded to RGB, mean nothing for RGB
    /// values.
    fn transform(
        &self,
        direction: Direction,
    ) -> Result<Option<Arc<Transform16BitExecutor>>, ProfileProblem> {
        let Some(profile) = self.icc_profile.as_deref() else { return Ok(None) };
        let broken = |error: CmsError| ProfileProblem::Broken(error.to_string());
        let profile = ColorProfile::new_from_slice(profile).map_err(broken)?;
        if profile.color_space != DataColorSpace::Rgb {
            return Err(ProfileProblem::NotRgb(format!("{:?}", profile.color_space)));
        }
        let srgb = ColorProfile::new_srgb();
        let (from, to) = match direction {
            Direction::ToSrgb => (&profile, &srgb),
            Direction::FromSrgb => (&srgb, &profile),
        };
        let options = TransformOptions::default();
        from.create_transform_16bit(Layout::Rgb, to, Layout::Rgb, options).map(Some).map_err(broken)
    }
}
