//! What ControlNets are shown.

use image::{GenericImageView, Rgb32FImage, RgbImage};

use super::{Sources, eight_bit_value};
use crate::{
    picture::{self, PictureError, Rectangle},
    request::{ControlPreprocess, GenerationRequest, ResizeMode},
};

/// The pictures that the ControlNets of a request are shown, or their maps: at the size of the
/// picture that the request starts from, else at their own.
#[derive(Debug, Clone, Default)]
pub(super) struct ControlPictures(Vec<ControlPicture>);

#[derive(Debug, Clone)]
struct ControlPicture {
    /// Values from 0 to 1.
    pixels: Rgb32FImage,
    preprocess: ControlPreprocess,
}

impl ControlPictures {
    /// Reads the files that the request names. Of other proportions than the picture to start from,
    /// the middle is taken.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read.
    pub(super) fn read(
        request: &GenerationRequest,
        sources: Option<&Sources>,
    ) -> Result<Self, PictureError> {
        let units = request.control.0.iter().map(|unit| {
            let pixels = match (&unit.image, sources) {
                (Some(path), _) => values(&picture::read(path)?, unit.preprocess),
                (None, Some(sources)) => values(&sources.init, unit.preprocess),
                (None, None) => Rgb32FImage::new(request.width, request.height),
            };
            let pixels = match sources {
                Some(sources) => in_middle(&pixels, sources.init.pixels.dimensions()),
                None => pixels,
            };
            Ok(ControlPicture { pixels, preprocess: unit.preprocess })
        });
        units.collect::<Result<_, _>>().map(Self)
    }

    /// The maps of what `rectangle` shows of each picture, of the size `width` × `height`.
    pub(super) fn maps(
        &self,
        rectangle: Rectangle,
        (width, height): (u32, u32),
    ) -> Vec<Rgb32FImage> {
        let map = |picture: &ControlPicture| {
            let seen = picture::view(&picture.pixels, rectangle, width, height);
            preprocessed(seen, picture.preprocess)
        };
        self.0.iter().map(map).collect()
    }

    /// The maps of the whole pictures, or of their middle where `size` has other proportions.
    pub(super) fn whole(&self, size: (u32, u32)) -> Vec<Rgb32FImage> {
        let map = |picture: &ControlPicture| {
            preprocessed(in_middle(&picture.pixels, size), picture.preprocess)
        };
        self.0.iter().map(map).collect()
    }

    /// The same pictures without what lies outside of a rectangle in them.
    pub(super) fn cropped(&self, rectangle: Rectangle) -> Self {
        let crop = |picture: &ControlPicture| ControlPicture {
            pixels: picture::view(&picture.pixels, rectangle, rectangle.width, rectangle.height),
            preprocess: picture.preprocess,
        };
        Self(self.0.iter().map(crop).collect())
    }
}

/// A picture's values as they are shown: those of a map say no colours, so they stay as they are.
fn values(picture: &picture::Picture, preprocess: ControlPreprocess) -> Rgb32FImage {
    match preprocess {
        ControlPreprocess::None => picture.to_raw(),
        ControlPreprocess::Canny { .. } => picture.to_srgb(),
    }
}

fn in_middle(pixels: &Rgb32FImage, size: (u32, u32)) -> Rgb32FImage {
    let rectangle = Rectangle::for_mode(pixels.dimensions(), size, ResizeMode::Crop);
    picture::view(pixels, rectangle, size.0, size.1)
}

fn preprocessed(pixels: Rgb32FImage, preprocess: ControlPreprocess) -> Rgb32FImage {
    let ControlPreprocess::Canny { low, high } = preprocess else { return pixels };
    let bytes = RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        image::Rgb(pixels.get_pixel(x, y).0.map(eight_bit_value))
    });
    let edges = picture::canny(&bytes, low, high);
    Rgb32FImage::from_fn(edges.width(), edges.height(), |x, y| {
        image::Rgb(edges.get_pixel(x, y).0.map(|value| f32::from(value) / 255.0))
    })
}
