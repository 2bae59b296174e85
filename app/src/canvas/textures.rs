//! What the canvas draws with: pictures, masks and sketches as textures that are brought up to
//! date where something changed.

use std::sync::Arc;

use egui::{
    Color32, ColorImage, Context, Mesh, Painter, Rect, Shape, TextureFilter, TextureHandle,
    TextureOptions, TextureWrapMode, pos2, vec2,
};
use emberbrush_pipeline::picture::Picture;
use image::{GenericImageView, RgbaImage};

use super::{
    document::{SketchTiles, for_screen},
    geometry::{PixelRectangle, Point},
    mask::MaskTiles,
    tiles::TiledImage,
    view::View,
};

/// Pixels on a side of a texture. Graphics cards refuse textures as large as pictures may be.
const BLOCK: u32 = 1024;

/// Pictures that are kept as textures: the ones that are compared.
const KEPT_PICTURES: usize = 5;

/// What these pictures may take, in bytes, where they are more than two.
const KEPT_BYTES: usize = 256 << 20;

/// Halvings of a picture that are kept for looking at it from afar.
const MAX_LEVEL: u32 = 5;

/// Side of a square of the checker behind transparent parts, in points.
const CHECKER: f32 = 8.0;

/// Sharp pixels when enlarged, smooth when reduced.
const PIXELS: TextureOptions = TextureOptions {
    magnification: TextureFilter::Nearest,
    minification: TextureFilter::Linear,
    wrap_mode: TextureWrapMode::ClampToEdge,
    mipmap_mode: None,
};

const UV: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

fn rect(area: PixelRectangle, pixel: f32, view: View) -> Rect {
    let place = |x: u32, y: u32| {
        let at = view.to_screen(Point::new(x as f32 * pixel, y as f32 * pixel));
        pos2(at.x, at.y)
    };
    Rect::from_min_max(place(area.left, area.top), place(area.right, area.bottom))
}

/// The parts of an image that are a texture each.
fn blocks((width, height): (u32, u32)) -> Vec<PixelRectangle> {
    let all = PixelRectangle { left: 0, top: 0, right: width, bottom: height };
    let starts = |length: u32| (0..length).step_by(BLOCK as usize);
    starts(height)
        .flat_map(|top| {
            starts(width).map(move |left| {
                PixelRectangle { left, top, right: left + BLOCK, bottom: top + BLOCK }
                    .intersection(all)
            })
        })
        .collect()
}

/// A picture as textures, halved as often as it is looked at from afar.
struct PictureTextures {
    picture: Arc<Picture>,
    levels: Vec<Level>,
}

struct Level {
    pixels: RgbaImage,
    /// Those that were in view.
    textures: Vec<(PixelRectangle, Option<TextureHandle>)>,
}

impl Level {
    fn new(pixels: RgbaImage) -> Self {
        let textures = blocks(pixels.dimensions()).into_iter().map(|area| (area, None)).collect();
        Self { pixels, textures }
    }

    fn halved(&self) -> RgbaImage {
        let (width, height) = self.pixels.dimensions();
        let half = |side: u32| side.div_ceil(2).max(1);
        image::imageops::thumbnail(&self.pixels, half(width), half(height))
    }

    fn draw(&mut self, painter: &Painter, pixel: f32, view: View) {
        for (area, texture) in &mut self.textures {
            let place = rect(*area, pixel, view);
            if !painter.clip_rect().intersects(place) {
                continue;
            }
            let texture = texture.get_or_insert_with(|| {
                painter.ctx().load_texture("picture", colours(&self.pixels, *area), PIXELS)
            });
            painter.image(texture.id(), place, UV, Color32::WHITE);
        }
    }
}

/// A part of an image.
fn colours(pixels: &RgbaImage, area: PixelRectangle) -> ColorImage {
    let part = image::imageops::crop_imm(pixels, area.left, area.top, area.width(), area.height());
    let colours = part
        .pixels()
        .map(|(_, _, pixel)| {
            let [red, green, blue, alpha] = pixel.0;
            Color32::from_rgba_unmultiplied(red, green, blue, alpha)
        })
        .collect();
    ColorImage::new([area.width() as usize, area.height() as usize], colours)
}

/// Pictures that were drawn lately.
#[derive(Default)]
pub(super) struct PictureCache {
    newest_last: Vec<PictureTextures>,
    checker: Option<TextureHandle>,
}

impl std::fmt::Debug for PictureCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PictureCache").field("pictures", &self.newest_last.len()).finish()
    }
}

impl PictureCache {
    /// Draws a picture, with a checker behind it where it has alpha.
    pub(super) fn draw(&mut self, painter: &Painter, picture: &Arc<Picture>, view: View) {
        let ctx = painter.ctx().clone();
        let whole =
            PixelRectangle { left: 0, top: 0, right: picture.width(), bottom: picture.height() };
        if picture.pixels.color().has_alpha() {
            self.draw_checker(painter, rect(whole, 1.0, view));
        }
        let known = self.newest_last.iter().position(|known| Arc::ptr_eq(&known.picture, picture));
        let mut textures = match known {
            Some(place) => self.newest_last.remove(place),
            None => {
                let first = Level::new(for_screen(picture));
                PictureTextures { picture: Arc::clone(picture), levels: vec![first] }
            }
        };
        let texels = 1.0 / (view.scale() * ctx.pixels_per_point());
        let wanted = (texels.log2().floor().max(0.0) as u32).min(MAX_LEVEL) as usize;
        while textures.levels.len() <= wanted {
            let Some(halved) = textures.levels.last().map(Level::halved) else { break };
            textures.levels.push(Level::new(halved));
        }
        if let Some(level) = textures.levels.get_mut(wanted) {
            // Sides that are no multiple are a bit longer in halved pixels.
            let pixel = picture.width() as f32 / level.pixels.width() as f32;
            level.draw(painter, pixel, view);
        }
        self.newest_last.push(textures);
        let bytes = whole.width() as usize * whole.height() as usize * 4;
        let most = (KEPT_BYTES / bytes.max(1)).clamp(2, KEPT_PICTURES);
        while self.newest_last.len() > most {
            self.newest_last.remove(0);
        }
    }

    /// Forgets all pictures.
    pub(super) fn clear(&mut self) {
        self.newest_last.clear();
    }

    fn draw_checker(&mut self, painter: &Painter, rect: Rect) {
        let texture = self.checker.get_or_insert_with(|| {
            let [light, dark] = [Color32::from_gray(118), Color32::from_gray(98)];
            let image = ColorImage::new([2, 2], vec![light, dark, dark, light]);
            let options = TextureOptions { wrap_mode: TextureWrapMode::Repeat, ..PIXELS };
            painter.ctx().load_texture("checker", image, options)
        });
        let mut mesh = Mesh::with_texture(texture.id());
        let uv = Rect::from_min_size(pos2(0.0, 0.0), rect.size() / (2.0 * CHECKER));
        mesh.add_rect_with_uv(rect, uv, Color32::WHITE);
        painter.add(Shape::mesh(mesh));
    }
}

/// A tiled image as textures, of which only tiles that changed are brought up to date.
pub(super) struct Overlay<P> {
    drawn: Option<TiledImage<P>>,
    textures: Vec<(PixelRectangle, Option<TextureHandle>)>,
    colours: Option<OverlayColours>,
}

impl<P> Default for Overlay<P> {
    fn default() -> Self {
        Self { drawn: None, textures: Vec::new(), colours: None }
    }
}

impl<P> std::fmt::Debug for Overlay<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Overlay").field("textures", &self.textures.len()).finish()
    }
}

/// How a mask is tinted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverlayColours {
    /// Over what is repainted wholly, premultiplied.
    pub(super) tint: Color32,
    /// Along the border of what is above half.
    pub(super) edge: Color32,
}

impl Overlay<u8> {
    /// Draws a mask.
    pub(super) fn draw_mask(
        &mut self,
        painter: &Painter,
        mask: &MaskTiles,
        view: View,
        colours: OverlayColours,
    ) {
        if self.colours != Some(colours) {
            *self = Self { colours: Some(colours), ..Self::default() };
        }
        let tints: Vec<Color32> =
            (0..=255).map(|value| colours.tint.gamma_multiply_u8(value)).collect();
        self.draw(painter, mask, view, 1, 0, |area, source| {
            let (values, bounds) = source;
            let stride = bounds.width() as usize;
            let at = |x: u32, y: u32| {
                values[(y - bounds.top) as usize * stride + (x - bounds.left) as usize]
            };
            area.pixels()
                .map(|(x, y)| {
                    let value = at(x, y);
                    let is_edge = value > 127
                        && [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)]
                            .into_iter()
                            .any(|(x, y)| bounds.contains(x, y) && at(x, y) <= 127);
                    if is_edge { colours.edge } else { tints[usize::from(value)] }
                })
                .collect()
        });
    }
}

impl Overlay<[u8; 4]> {
    /// Draws a sketch.
    pub(super) fn draw_sketch(&mut self, painter: &Painter, sketch: &SketchTiles, view: View) {
        self.draw(painter, sketch, view, 0, [0; 4], |area, (pixels, bounds)| {
            let stride = bounds.width() as usize;
            area.pixels()
                .map(|(x, y)| {
                    let at = (y - bounds.top) as usize * stride + (x - bounds.left) as usize;
                    let [red, green, blue, alpha] = pixels[at];
                    Color32::from_rgba_unmultiplied(red, green, blue, alpha)
                })
                .collect()
        });
    }
}

impl<P: Copy + PartialEq> Overlay<P> {
    /// Brings textures up to date and draws them. `colour` gives the colours of an area from the
    /// pixels of a larger one, by `reach` on each side where the image goes on.
    fn draw(
        &mut self,
        painter: &Painter,
        image: &TiledImage<P>,
        view: View,
        reach: u32,
        nothing: P,
        colour: impl Fn(PixelRectangle, (&[P], PixelRectangle)) -> Vec<Color32>,
    ) {
        let same_size = self.drawn.as_ref().is_some_and(|drawn| drawn.size() == image.size());
        let changed = match &self.drawn {
            Some(drawn) if same_size => image.changed_tiles(drawn),
            _ => {
                self.textures = blocks(image.size()).into_iter().map(|area| (area, None)).collect();
                (0..image.tile_count()).collect()
            }
        };
        for (area, texture) in &mut self.textures {
            let touched: Vec<PixelRectangle> = changed
                .iter()
                .map(|&tile| grown(image.tile_bounds(tile), reach, image.bounds()))
                .map(|tile| tile.intersection(*area))
                .filter(|tile| !tile.is_empty())
                .collect();
            if touched.is_empty() {
                continue;
            }
            let upload = |part: PixelRectangle| {
                let bounds = grown(part, reach, image.bounds());
                let mut pixels = vec![nothing; bounds.width() as usize * bounds.height() as usize];
                image.for_each_run(bounds, |x, y, run| {
                    let row = (y - bounds.top) as usize * bounds.width() as usize;
                    let start = row + (x - bounds.left) as usize;
                    pixels[start..start + run.len()].copy_from_slice(run);
                });
                let size = [part.width() as usize, part.height() as usize];
                ColorImage::new(size, colour(part, (&pixels, bounds)))
            };
            match texture {
                Some(texture)
                    if touched.len() * 2 < (BLOCK / super::tiles::TILE_SIDE).pow(2) as usize =>
                {
                    for part in touched {
                        let at = [(part.left - area.left) as usize, (part.top - area.top) as usize];
                        texture.set_partial(at, upload(part), PIXELS);
                    }
                }
                Some(texture) => texture.set(upload(*area), PIXELS),
                None => {
                    let is_empty = |part: &PixelRectangle| {
                        let mut is_empty = true;
                        image.for_each_run(*part, |_, _, run| {
                            is_empty &= run.iter().all(|&pixel| pixel == nothing);
                        });
                        is_empty
                    };
                    let drawn: Vec<_> =
                        touched.into_iter().filter(|part| !is_empty(part)).collect();
                    if drawn.is_empty() {
                        continue;
                    }
                    // All else in it is nothing, which needs no colours worked out.
                    let size = [area.width() as usize, area.height() as usize];
                    let blank = ColorImage::filled(size, Color32::TRANSPARENT);
                    let mut made = painter.ctx().load_texture("overlay", blank, PIXELS);
                    for part in drawn {
                        let at = [(part.left - area.left) as usize, (part.top - area.top) as usize];
                        made.set_partial(at, upload(part), PIXELS);
                    }
                    *texture = Some(made);
                }
            }
        }
        self.drawn = Some(image.clone());
        for (area, texture) in &self.textures {
            if let Some(texture) = texture {
                painter.image(texture.id(), rect(*area, 1.0, view), UV, Color32::WHITE);
            }
        }
    }
}

fn grown(area: PixelRectangle, by: u32, bounds: PixelRectangle) -> PixelRectangle {
    PixelRectangle {
        left: area.left.saturating_sub(by),
        top: area.top.saturating_sub(by),
        right: area.right.saturating_add(by),
        bottom: area.bottom.saturating_add(by),
    }
    .intersection(bounds)
}

/// A small picture as a texture, for lists: at most `side` pixels on a side.
pub(super) fn thumbnail(ctx: &Context, picture: &Picture, side: u32) -> TextureHandle {
    let small = for_screen(&Picture {
        pixels: picture.pixels.thumbnail(side, side),
        icc_profile: picture.icc_profile.clone(),
    });
    let size = [small.width() as usize, small.height() as usize];
    let image = ColorImage::from_rgba_unmultiplied(size, small.as_raw());
    ctx.load_texture("thumbnail", image, TextureOptions::LINEAR)
}

/// Draws a texture over a part of the picture.
pub(super) fn draw_part(painter: &Painter, texture: &TextureHandle, area: Rect, view: View) {
    let place = |x: f32, y: f32| {
        let at = view.to_screen(Point::new(x, y));
        pos2(at.x, at.y)
    };
    let rect = Rect::from_min_max(place(area.min.x, area.min.y), place(area.max.x, area.max.y));
    painter.image(texture.id(), rect, UV, Color32::WHITE);
}

/// A square that a texture of `size` is fitted into.
pub(super) fn fitted(area: Rect, size: egui::Vec2) -> Rect {
    let scale = (area.size() / size.max(vec2(1.0, 1.0))).min_elem();
    Rect::from_center_size(area.center(), size * scale)
}
