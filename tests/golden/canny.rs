//! Edges against OpenCV's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use emberbrush_pipeline::picture::{self, canny};
use emberbrush_tests::fixtures;
use image::{GrayImage, RgbImage};

const PHOTOS: [&str; 4] = ["astronaut", "chelsea", "coffee", "rocket"];

fn expected(name: &str) -> GrayImage {
    let path = fixtures().join(format!("goldens/canny/{name}.png"));
    picture::read(&path).unwrap().pixels.to_luma8()
}

/// The number of pixels in which both differ.
fn differing(edges: &RgbImage, expected: &GrayImage) -> usize {
    assert_eq!(edges.dimensions(), expected.dimensions());
    edges.pixels().zip(expected.pixels()).filter(|(one, other)| one.0 != [other.0[0]; 3]).count()
}

#[test]
fn edges_are_those_of_opencv() {
    for name in PHOTOS {
        let path = fixtures().join(format!("goldens/canny/{name}.png"));
        let photo = picture::read(&path).unwrap().pixels.to_rgb8();
        for (low, high) in
            [("100", "200"), ("30.5", "80.9"), ("200", "100"), ("0", "0"), ("400", "700")]
        {
            let edges = canny(&photo, low.parse().unwrap(), high.parse().unwrap());
            let what = format!("{name}-{low}-{high}");
            assert_eq!(differing(&edges, &expected(&what)), 0, "{what}");
        }
    }
}

/// Pillow's decoder rounds JPEG in another way than the one here, so a few edges come out one pixel
/// further: 0.58 % of all pixels in the astronaut.
#[test]
fn edges_of_whole_photographs_are_those_of_opencv() {
    for name in PHOTOS {
        let photo = picture::read(&fixtures().join(format!("photos/{name}.jpg"))).unwrap();
        let photo = photo.pixels.to_rgb8();
        let edges = canny(&photo, 100.0, 200.0);
        let different = differing(&edges, &expected(&format!("whole-{name}-100-200")));
        let share = different as f64 / f64::from(photo.width() * photo.height());
        assert!(share <= 0.01, "{name}: {:.3} % of all pixels differ", share * 100.0);
    }
}
