//! Tiled images as textures, at the size at which they are looked at. Only what changed since the
//! last frame is worked out and given to the graphics card.

use egui::{
    Color32, ColorImage, Painter, Rect, TextureFilter, TextureHandle, TextureOptions,
    TextureWrapMode, pos2,
};

use super::{
    colouring::Colouring,
    geometry::{PixelRectangle, Point},
    tiles::TiledImage,
    view::View,
};

/// Texels on a side of a texture. Graphics cards refuse textures as large as pictures may be.
const BLOCK: u32 = 1024;

/// Halvings of an image that is looked at from afar. Less than tiles can be halved, so that no
/// texel is in two tiles.
pub(super) const MAX_LEVEL: u32 = 5;

/// Sharp pixels when enlarged, smooth when reduced.
pub(super) const PIXELS: TextureOptions = TextureOptions {
    magnification: TextureFilter::Nearest,
    minification: TextureFilter::Linear,
    wrap_mode: TextureWrapMode::ClampToEdge,
    mipmap_mode: None,
};

/// How often an image that is looked at so is halved: as often as no texel is larger than a pixel of
/// the screen.
pub(super) fn level(painter: &Painter, view: View) -> u32 {
    let pixels = 1.0 / (view.scale() * painter.ctx().pixels_per_point());
    (pixels.log2().floor().max(0.0) as u32).min(MAX_LEVEL)
}

/// The texels of 2^`level` pixels a side that hold `pixels`.
pub(super) fn texels(pixels: PixelRectangle, level: u32) -> PixelRectangle {
    let end = |pixels: u32| pixels.div_ceil(1 << level);
    PixelRectangle {
        left: pixels.left >> level,
        top: pixels.top >> level,
        right: end(pixels.right),
        bottom: end(pixels.bottom),
    }
}

/// The pixels of `texels` inside `bounds`.
pub(super) fn pixels(texels: PixelRectangle, level: u32, bounds: PixelRectangle) -> PixelRectangle {
    PixelRectangle {
        left: texels.left << level,
        top: texels.top << level,
        right: texels.right << level,
        bottom: texels.bottom << level,
    }
    .intersection(bounds)
}

pub(super) fn grown(area: PixelRectangle, by: u32, bounds: PixelRectangle) -> PixelRectangle {
    PixelRectangle {
        left: area.left.saturating_sub(by),
        top: area.top.saturating_sub(by),
        right: area.right.saturating_add(by),
        bottom: area.bottom.saturating_add(by),
    }
    .intersection(bounds)
}

/// Where pixels of a picture are on the screen.
pub(super) fn place(area: PixelRectangle, view: View) -> Rect {
    let place = |x: u32, y: u32| {
        let at = view.to_screen(Point::new(x as f32, y as f32));
        pos2(at.x, at.y)
    };
    Rect::from_min_max(place(area.left, area.top), place(area.right, area.bottom))
}

/// A part of an image that is a texture.
struct Block {
    /// Its texels.
    area: PixelRectangle,
    content: Content,
}

enum Content {
    /// It has not been in view since it was last changed.
    Unknown,
    /// There is nothing to see.
    Nothing,
    Texture(TextureHandle),
}

/// A tiled image as textures.
pub(super) struct Overlay<C: Colouring> {
    drawn: Option<Drawn<C>>,
}

struct Drawn<C: Colouring> {
    image: TiledImage<C::Pixel>,
    nothing: TiledImage<C::Pixel>,
    colouring: C,
    level: u32,
    blocks: Vec<Block>,
}

impl<C: Colouring> Default for Overlay<C> {
    fn default() -> Self {
        Self { drawn: None }
    }
}

impl<C: Colouring> std::fmt::Debug for Overlay<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blocks = self.drawn.as_ref().map_or(0, |drawn| drawn.blocks.len());
        formatter.debug_struct("Overlay").field("blocks", &blocks).finish()
    }
}

impl<C: Colouring> Overlay<C> {
    /// Brings textures up to date and draws them.
    pub(super) fn draw(
        &mut self,
        painter: &Painter,
        image: &TiledImage<C::Pixel>,
        colouring: C,
        view: View,
    ) {
        let level = level(painter, view);
        let mut drawn = self.drawn.take().filter(|drawn| drawn.fits(image, colouring, level));
        drawn.get_or_insert_with(|| Drawn::new(image, colouring, level)).draw(painter, image, view);
        self.drawn = drawn;
    }
}

impl<C: Colouring> Drawn<C> {
    fn new(image: &TiledImage<C::Pixel>, colouring: C, level: u32) -> Self {
        let (width, height) = image.size();
        let all = texels(image.bounds(), level);
        let starts = |length: u32| (0..length).step_by(BLOCK as usize);
        let blocks = starts(all.height())
            .flat_map(|top| starts(all.width()).map(move |left| (left, top)))
            .map(|(left, top)| Block {
                area: PixelRectangle { left, top, right: left + BLOCK, bottom: top + BLOCK }
                    .intersection(all),
                content: Content::Unknown,
            })
            .collect();
        let nothing = TiledImage::new(width, height, C::NOTHING);
        Self { image: image.clone(), nothing, colouring, level, blocks }
    }

    fn fits(&self, image: &TiledImage<C::Pixel>, colouring: C, level: u32) -> bool {
        self.image.size() == image.size() && self.colouring == colouring && self.level == level
    }

    fn draw(&mut self, painter: &Painter, image: &TiledImage<C::Pixel>, view: View) {
        let changed = self.texels_to_draw(&image.differences(&self.image));
        for tile in image.changed_tiles(&self.image) {
            if let Some(pixels) = image.tile(tile) {
                self.image.set_tile(tile, pixels.clone());
            }
        }
        for at in 0..self.blocks.len() {
            let area = self.blocks[at].area;
            let covered = pixels(area, self.level, image.bounds());
            let place = place(covered, view);
            if painter.clip_rect().intersects(place) {
                self.bring_up_to_date(painter, at, &changed);
            } else if changed.iter().any(|part| !part.intersection(area).is_empty()) {
                self.blocks[at].content = Content::Unknown;
            }
            if let Content::Texture(texture) = &self.blocks[at].content {
                // Texels at the right and at the bottom may reach beyond the image.
                let share = |pixels: u32, texels: u32| {
                    pixels as f32 / f32::from(1_u16 << self.level) / texels as f32
                };
                let end = pos2(
                    share(covered.width(), area.width()),
                    share(covered.height(), area.height()),
                );
                let uv = Rect::from_min_max(pos2(0.0, 0.0), end);
                painter.image(texture.id(), place, uv, Color32::WHITE);
            }
        }
    }

    /// The texels that have another colour where pixels changed.
    fn texels_to_draw(&self, changed: &[PixelRectangle]) -> Vec<PixelRectangle> {
        let all = texels(self.image.bounds(), self.level);
        changed.iter().map(|part| grown(texels(*part, self.level), C::REACH, all)).collect()
    }

    fn bring_up_to_date(&mut self, painter: &Painter, at: usize, changed: &[PixelRectangle]) {
        let Block { area, content } = &self.blocks[at];
        let area = *area;
        let inside = |parts: &[PixelRectangle]| -> Vec<PixelRectangle> {
            parts
                .iter()
                .map(|part| part.intersection(area))
                .filter(|part| !part.is_empty())
                .collect()
        };
        let (mut texture, parts) = match content {
            Content::Texture(texture) => (texture.clone(), inside(changed)),
            Content::Nothing if inside(changed).is_empty() => return,
            Content::Nothing | Content::Unknown => {
                let seen = self.image.differences(&self.nothing);
                let parts = inside(&self.texels_to_draw(&seen));
                if parts.is_empty() {
                    self.blocks[at].content = Content::Nothing;
                    return;
                }
                let size = [area.width() as usize, area.height() as usize];
                let blank = ColorImage::filled(size, Color32::TRANSPARENT);
                let texture = painter.ctx().load_texture("overlay", blank, PIXELS);
                self.blocks[at].content = Content::Texture(texture.clone());
                (texture, parts)
            }
        };
        for part in parts {
            let colours = self.colouring.colours(&self.image, part, self.level);
            let size = [part.width() as usize, part.height() as usize];
            let at = [(part.left - area.left) as usize, (part.top - area.top) as usize];
            texture.set_partial(at, ColorImage::new(size, colours), PIXELS);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use egui::{Context, RawInput, vec2};

    use super::*;
    use crate::canvas::{
        brush::{Brush, Ink, Stroke, StrokePoint},
        colouring::MaskColouring,
        mask::MaskTiles,
        view::Viewport,
    };

    const COLOURS: MaskColouring = MaskColouring {
        tint: Color32::from_rgb(100, 50, 20),
        edge: Color32::from_rgb(250, 140, 60),
    };

    const SCREEN: Viewport =
        Viewport { least: Point { x: 0.0, y: 0.0 }, most: Point { x: 1000.0, y: 600.0 } };

    /// Draws a frame, and gives the number of texels that the graphics card is given.
    fn draw<C: Colouring>(
        ctx: &Context,
        overlay: &mut Overlay<C>,
        image: &TiledImage<C::Pixel>,
        colouring: C,
        view: View,
    ) -> usize {
        let most = vec2(SCREEN.most.x, SCREEN.most.y);
        let screen_rect = Some(Rect::from_min_size(pos2(0.0, 0.0), most));
        let input = RawInput { screen_rect, ..RawInput::default() };
        let mut output = ctx.run_ui(input, |ui| overlay.draw(ui.painter(), image, colouring, view));
        let fonts = egui::TextureId::default();
        let given = output.textures_delta.set.iter().filter(|(texture, _)| **texture != fonts);
        let deltas = given.flat_map(|(_, deltas)| deltas);
        let texels = deltas.map(|delta| delta.image.width() * delta.image.height()).sum();
        output.textures_delta.clear();
        texels
    }

    fn stroke(mask: &mut MaskTiles, points: &[(f32, f32)]) -> PixelRectangle {
        let mut sketch = TiledImage::new(mask.size().0, mask.size().1, [0; 4]);
        let brush = Brush { size: 400.0, hardness: 0.8 };
        let mut stroke = Stroke::new(brush, Ink::MaskPaint, &sketch);
        let mut touched = PixelRectangle::default();
        for &(x, y) in points {
            touched = stroke.extend(StrokePoint::new(x, y), mask, &mut sketch);
        }
        touched
    }

    #[test]
    fn a_stroke_gives_the_graphics_card_no_more_than_what_it_changed() {
        let ctx = Context::default();
        let mut mask = MaskTiles::new(4096, 4096, 0);
        stroke(&mut mask, &[(2000.0, 2000.0)]);
        for (view, level) in [
            (View::fit((4096, 4096), SCREEN, 1.0), 2),
            (View::actual_size((4096, 4096), SCREEN, 1.0), 0),
        ] {
            let mut overlay = Overlay::default();
            draw(&ctx, &mut overlay, &mask, COLOURS, view);
            assert_eq!(draw(&ctx, &mut overlay, &mask, COLOURS, view), 0, "nothing changed");
            let before = mask.clone();
            let touched = stroke(&mut mask, &[(2000.0, 2000.0), (2040.0, 2010.0)]);
            let changed: u64 = mask
                .differences(&before)
                .iter()
                .map(|part| u64::from(part.width()) * u64::from(part.height()))
                .sum();
            assert!(changed < u64::from(touched.width() * touched.height()));
            let given = draw(&ctx, &mut overlay, &mask, COLOURS, view) as u64;
            let texels = changed >> (2 * level);
            // The border of what changed is looked at, too.
            assert!(given >= texels && given < texels * 5 / 4 + 2000, "{given} of {texels}");
        }
    }

    #[test]
    fn what_is_out_of_view_waits_until_it_is_looked_at() {
        let ctx = Context::default();
        let mut mask = MaskTiles::new(4096, 4096, 0);
        let mut overlay = Overlay::default();
        let view = View::actual_size((4096, 4096), SCREEN, 1.0);
        draw(&ctx, &mut overlay, &mask, COLOURS, view);
        stroke(&mut mask, &[(300.0, 300.0)]);
        assert_eq!(draw(&ctx, &mut overlay, &mask, COLOURS, view), 0);
        let there = view.panned(Point::new(9000.0, 9000.0), (4096, 4096), SCREEN);
        assert!(draw(&ctx, &mut overlay, &mask, COLOURS, there) > 0);
    }
}
