//! What a document consists of, as JSON that names its pictures. `.ember` files and the journal
//! share it; `docs/ember-file.md` describes it.

use std::{collections::HashMap, sync::Arc};

use emberbrush_pipeline::{
    picture::{self, Effort, FileFormat, Picture, PictureError, PngCompression},
    request::GenerationRequest,
};
use image::{DynamicImage, GenericImageView, GrayImage, RgbaImage};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    document::{Document, SketchTiles},
    layer::{FillLayer, LayerError, LayerId, Patch, Variation, Weights},
    mask::MaskTiles,
};

/// Gives the picture of a part of a size.
pub(super) type ReadPart<'a> = dyn FnMut(&str, (u32, u32)) -> Result<Picture, ContentError> + 'a;

/// What every manifest says that it is.
pub(super) const FORMAT: &str = "emberbrush-document";

/// The version that is written. All up to it are read.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) picture: String,
    #[serde(default)]
    pub(super) mask: Option<String>,
    #[serde(default)]
    pub(super) sketch: Option<String>,
    #[serde(default)]
    pub(super) layers: Vec<LayerManifest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LayerManifest {
    id: u64,
    name: String,
    visible: bool,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    mask: String,
    weights: String,
    request: GenerationRequest,
    chosen: usize,
    variations: Vec<VariationManifest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VariationManifest {
    seed: u64,
    picture: String,
    below: String,
}

/// What is wrong with the content of a document.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The JSON is not that of a document.
    #[error("document.json cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Another program's file.
    #[error("it is not an Emberbrush document")]
    Format,
    /// Made by a later version of this program.
    #[error("it has format version {found}, and this Emberbrush reads up to {VERSION}; update it")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// A picture that the manifest names is not there.
    #[error("the part `{part}` is missing")]
    Missing {
        /// Its name.
        part: String,
    },
    /// A picture cannot be read.
    #[error("the part `{part}` is damaged: {reason}")]
    Damaged {
        /// Its name.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A picture has another size than the manifest says.
    #[error(
        "the part `{part}` is {found_width}×{found_height} pixels and should be {width}×{height}"
    )]
    Size {
        /// Its name.
        part: String,
        /// Its width.
        found_width: u32,
        /// Its height.
        found_height: u32,
        /// The width that the manifest says.
        width: u32,
        /// The height that the manifest says.
        height: u32,
    },
    /// More than is read.
    #[error("its pictures take more than {most_megabytes} megabytes, which are not read")]
    TooLarge {
        /// The most that is read.
        most_megabytes: u64,
    },
    /// A layer does not fit the document.
    #[error("layer {id}: {source}")]
    Layer {
        /// The layer's number.
        id: u64,
        /// What does not fit.
        source: LayerError,
    },
    /// A picture could not be encoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// A picture that belongs to a document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Picture(&'a Arc<Picture>),
    Mask(&'a Arc<MaskTiles>),
    Weights(&'a Arc<Weights>),
}

impl Part<'_> {
    /// What tells it apart from all parts that live at the same time.
    pub(super) fn address(self) -> usize {
        match self {
            Self::Picture(picture) => Arc::as_ptr(picture) as usize,
            Self::Mask(mask) => Arc::as_ptr(mask) as usize,
            Self::Weights(weights) => Arc::as_ptr(weights) as usize,
        }
    }

    /// Its PNG.
    pub(super) fn encode(self, compression: PngCompression) -> Result<Vec<u8>, PictureError> {
        match self {
            Self::Picture(picture) => png(picture, compression),
            Self::Mask(mask) => encode_mask(mask, compression),
            Self::Weights(weights) => {
                let pixels = DynamicImage::ImageLuma16(Weights::clone(weights));
                png(&Picture::new(pixels), compression)
            }
        }
    }
}

fn png(picture: &Picture, png_compression: PngCompression) -> Result<Vec<u8>, PictureError> {
    let effort = Effort { png_compression, ..Effort::default() };
    picture::encode_with(picture, FileFormat::Png, &[], effort)
}

/// A mask's PNG.
pub(super) fn encode_mask(
    mask: &MaskTiles,
    compression: PngCompression,
) -> Result<Vec<u8>, PictureError> {
    png(&super::mask::to_picture(mask), compression)
}

/// A sketch's PNG.
pub(super) fn encode_sketch(
    sketch: &SketchTiles,
    compression: PngCompression,
) -> Result<Vec<u8>, PictureError> {
    let (width, height) = sketch.size();
    let pixels = RgbaImage::from_raw(width, height, sketch.to_vec([0; 4]).into_flattened());
    png(&Picture::new(DynamicImage::ImageRgba8(pixels.unwrap_or_default())), compression)
}

/// The manifest of all but mask and sketch. `name` gives each part the name that it proposes or
/// another.
pub(super) fn describe<'a>(
    document: &'a Document,
    name: &mut dyn FnMut(Part<'a>, String) -> String,
) -> Manifest {
    let (width, height) = document.size();
    let picture = name(Part::Picture(document.picture()), "picture.png".to_owned());
    let layers = document.layers().iter().map(|layer| describe_layer(layer, name)).collect();
    Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        width,
        height,
        picture,
        mask: None,
        sketch: None,
        layers,
    }
}

fn describe_layer<'a>(
    layer: &'a FillLayer,
    name: &mut dyn FnMut(Part<'a>, String) -> String,
) -> LayerManifest {
    let id = layer.id().0;
    let area = layer.patch().area();
    let variations = layer
        .variations()
        .iter()
        .enumerate()
        .map(|(index, variation)| VariationManifest {
            seed: variation.seed(),
            picture: name(
                Part::Picture(variation.painted()),
                format!("layers/{id}/variation-{index}.png"),
            ),
            below: name(Part::Picture(variation.below()), format!("layers/{id}/below-{index}.png")),
        })
        .collect();
    LayerManifest {
        id,
        name: layer.name().to_owned(),
        visible: layer.is_visible(),
        left: area.left,
        top: area.top,
        width: area.width(),
        height: area.height(),
        mask: name(Part::Mask(layer.mask()), format!("layers/{id}/mask.png")),
        weights: name(Part::Weights(layer.patch().weights()), format!("layers/{id}/weights.png")),
        request: layer.request().clone(),
        chosen: layer.chosen(),
        variations,
    }
}

impl Manifest {
    /// Reads JSON.
    pub(super) fn parse(json: &[u8]) -> Result<Self, ContentError> {
        // The version is looked at first: what follows may mean something else in a later one.
        #[derive(Deserialize)]
        struct Header {
            format: String,
            version: u32,
        }
        let header: Header = serde_json::from_slice(json)?;
        if header.format != FORMAT {
            return Err(ContentError::Format);
        }
        if header.version == 0 || header.version > VERSION {
            return Err(ContentError::Version { found: header.version });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The document. `read` gives the picture of a part, whose size must be the one asked for.
    pub(super) fn assemble(
        self,
        name: &str,
        read: &mut ReadPart<'_>,
    ) -> Result<Document, ContentError> {
        let size = (self.width, self.height);
        let mut document = Document::new(name, read(&self.picture, size)?);
        if let Some(mask) = &self.mask {
            document.set_mask(read_mask(&read(mask, size)?, size));
        }
        if let Some(sketch) = &self.sketch {
            let pixels = read(sketch, size)?.pixels.into_rgba8();
            document.surfaces_mut().1.update(
                super::geometry::PixelRectangle { left: 0, top: 0, right: size.0, bottom: size.1 },
                |x, y, _| pixels.get_pixel(x, y).0,
            );
        }
        for layer in self.layers {
            let id = layer.id;
            let of_layer = |source| ContentError::Layer { id, source };
            let part = (layer.width, layer.height);
            let fits = |start: u32, length: u32, side: u32| {
                start.checked_add(length).is_some_and(|end| end <= side)
            };
            if !fits(layer.left, part.0, size.0) || !fits(layer.top, part.1, size.1) {
                return Err(of_layer(LayerError::Outside));
            }
            let mask = Arc::new(read_mask(&read(&layer.mask, size)?, size));
            let weights = read(&layer.weights, part)?.pixels.into_luma16();
            let patch = Patch::new(layer.left, layer.top, weights).map_err(of_layer)?;
            let mut pictures: HashMap<String, Arc<Picture>> = HashMap::new();
            let mut shared = |name: &str| match pictures.get(name) {
                Some(picture) => Ok(Arc::clone(picture)),
                None => {
                    let picture = Arc::new(read(name, part)?);
                    pictures.insert(name.to_owned(), Arc::clone(&picture));
                    Ok::<_, ContentError>(picture)
                }
            };
            let mut variations = Vec::new();
            for VariationManifest { seed, picture, below } in &layer.variations {
                let (picture, below) = (shared(picture)?, shared(below)?);
                variations.push(Variation::new(*seed, picture, below).map_err(of_layer)?);
            }
            let mut fill = FillLayer::new(LayerId(id), layer.request, mask, patch, variations)
                .map_err(of_layer)?;
            fill.choose(layer.chosen).map_err(of_layer)?;
            let id = document.add_layer(fill).map_err(of_layer)?;
            document.rename_layer(id, &layer.name);
            document.set_visible(id, layer.visible);
        }
        Ok(document)
    }
}

fn read_mask(picture: &Picture, (width, height): (u32, u32)) -> MaskTiles {
    let pixels: GrayImage = picture.pixels.to_luma8();
    let mut mask = MaskTiles::new(width, height, 0);
    mask.update(mask.bounds(), |x, y, _| pixels.get_pixel(x, y).0[0]);
    mask
}

/// Decodes a part, whose size is looked at before its pixels.
pub(super) fn decode(bytes: &[u8], part: &str, size: (u32, u32)) -> Result<Picture, ContentError> {
    let damaged =
        |reason: &str| ContentError::Damaged { part: part.to_owned(), reason: reason.to_owned() };
    // The header of a PNG file (ISO/IEC 15948, 5.2 and 11.2.2).
    let number = |at: usize| {
        let four: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_be_bytes)
    };
    let (Some(b"\x89PNG\r\n\x1a\n"), Some(width), Some(height)) =
        (bytes.get(..8), number(16), number(20))
    else {
        return Err(damaged("it is not a PNG file"));
    };
    if (width, height) != size {
        return Err(ContentError::Size {
            part: part.to_owned(),
            found_width: width,
            found_height: height,
            width: size.0,
            height: size.1,
        });
    }
    let picture = picture::read_bytes(bytes, part).map_err(|error| damaged(&error.to_string()))?;
    if picture.pixels.dimensions() != size {
        // Only metadata that turns the picture can do this.
        return Err(damaged("it is turned"));
    }
    Ok(picture)
}
