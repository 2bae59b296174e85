//! What is drawn with textures beside the picture, its mask and its sketch: a checker, thumbnails and
//! previews.

use egui::{
    Color32, ColorImage, Context, Mesh, Painter, Rect, Shape, TextureHandle, TextureOptions,
    TextureWrapMode, pos2, vec2,
};
use emberbrush_pipeline::picture::Picture;

use super::{geometry::Point, overlay::PIXELS, screen_image::for_screen, view::View};

/// Side of a square of the checker, in points.
const CHECKER: f32 = 8.0;

const UV: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

/// The checker behind transparent parts of a picture.
#[derive(Default)]
pub(super) struct Checker(Option<TextureHandle>);

impl std::fmt::Debug for Checker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Checker").field(&self.0.is_some()).finish()
    }
}

impl Checker {
    /// Draws it.
    pub(super) fn draw(&mut self, painter: &Painter, rect: Rect) {
        let texture = self.0.get_or_insert_with(|| {
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
