//! The autoencoder in tiles against the whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::Path};

use burn::tensor::{DType, Tensor, TensorData};
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{DiffusionPipeline, VaeTiling},
    picture,
};
use emberbrush_tests::fixtures;
use image::RgbImage;

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Mean and maximum of the differences in grey levels.
fn differences(one: &RgbImage, other: &RgbImage) -> (f64, u8) {
    assert_eq!(one.dimensions(), other.dimensions());
    let all = one.as_raw().iter().zip(other.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = all.clone().map(f64::from).sum();
    (sum / one.as_raw().len() as f64, all.max().unwrap())
}

/// Encodes and decodes a photograph, each in tiles or not.
struct Setup {
    pipeline: DiffusionPipeline,
    photo: Tensor<4>,
}

impl Setup {
    fn new(photo: &str, (width, height): (u32, u32)) -> Self {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/default-model");
        let device = device::open(DeviceChoice::Cpu).unwrap();
        let place = (&device.device.clone(), DType::F32);
        let files = folder::locate(&model).unwrap();
        let (pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
        let photo = picture::read(&fixtures().join("photos").join(photo)).unwrap();
        let photo = picture::resized(&photo.to_srgb(), width, height);
        let data = TensorData::new(photo.into_raw(), [1, height as usize, width as usize, 3]);
        let photo = Tensor::<4>::from_data(data, place).permute([0, 3, 1, 2]) * 2.0 - 1.0;
        Self { pipeline, photo }
    }

    fn encode(&mut self, tiling: VaeTiling) -> Tensor<4> {
        self.pipeline.set_vae_tiling(tiling);
        let [_, _, height, width] = self.photo.dims();
        let latents = [1, 4, height / 8, width / 8];
        let posterior = Tensor::zeros(latents, (&self.photo.device(), DType::F32));
        self.pipeline.encode_image(self.photo.clone(), Some(posterior), &mut go_on).unwrap()
    }

    fn decode(&mut self, latents: &Tensor<4>, tiling: VaeTiling) -> RgbImage {
        self.pipeline.set_vae_tiling(tiling);
        self.pipeline.decode(latents.clone(), &mut go_on).unwrap()
    }
}

#[track_caller]
fn assert_nearly_the_same(size: (u32, u32)) {
    let mut setup = Setup::new("coffee.jpg", size);
    let latents = setup.encode(VaeTiling::Off);
    let whole = setup.decode(&latents, VaeTiling::Off);
    let (mean, most) = differences(&setup.decode(&latents, VaeTiling::Tiles(256)), &whole);
    eprintln!("decoded: mean {mean:.2}, at most {most}");
    assert!(mean <= 1.0 && most <= 8, "decoded: mean {mean:.2}, at most {most}");
    let latents = setup.encode(VaeTiling::Tiles(256));
    let (mean, most) = differences(&setup.decode(&latents, VaeTiling::Off), &whole);
    assert!(mean <= 1.0 && most <= 8, "encoded: mean {mean:.2}, at most {most}");
    eprintln!("encoded: mean {mean:.2}, at most {most}");
}

#[test]
fn tiles_give_nearly_the_same_picture() {
    assert_nearly_the_same((512, 512));
}

/// Tiles that do not divide the picture have no part of it count twice.
#[test]
fn so_do_tiles_that_do_not_divide_it() {
    assert_nearly_the_same((384, 328));
}
