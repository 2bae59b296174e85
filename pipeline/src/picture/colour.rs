//! Between a picture's colours and the sRGB values that models know.

use image::Rgb32FImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::Picture;

/// Which way colours are taken.
#[derive(Debug, Clone, Copy)]
enum Direction {
    ToSrgb,
    FromSrgb,
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

    /// Grey profiles, CMYK profiles of pictures that were decoded to RGB, and broken profiles mean
    /// nothing for RGB values: those are taken as sRGB.
    fn convert(&self, colours: &mut Rgb32FImage, direction: Direction) {
        let profile = self
            .icc_profile
            .as_deref()
            .and_then(|profile| ColorProfile::new_from_slice(profile).ok())
            .filter(|profile| profile.color_space == DataColorSpace::Rgb);
        let Some(profile) = profile else { return };
        let srgb = ColorProfile::new_srgb();
        let (from, to) = match direction {
            Direction::ToSrgb => (&profile, &srgb),
            Direction::FromSrgb => (&srgb, &profile),
        };
        let options = TransformOptions::default();
        let Ok(transform) = from.create_transform_16bit(Layout::Rgb, to, Layout::Rgb, options)
        else {
            return;
        };
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
}
