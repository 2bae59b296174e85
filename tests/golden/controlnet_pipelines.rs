//! Whole runs with ControlNets against those of diffusers: the last latents, and the picture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::PathBuf};

use burn::tensor::Tensor;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{
        DiffusionPipeline, GroupMember, ImageInput, LatentBlending, LatentContent, MaskInput,
        StartingImage,
    },
    editing::{self, Sources},
    picture::{self, Mask, MaskSource, Picture},
    progress::ProgressEvent,
    request::{
        Control, GenerationRequest, InitImage, Inpaint, MaskArea, MaskMode, MaskedContent, Mode,
        ResizeMode,
    },
    rng::{NoiseGenerator, RngSource},
    schedulers::{Sampler, Schedule},
};
use emberbrush_tests::{
    CheckpointFolder, Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, controlnet, fixtures,
    relative_difference,
};
use image::{DynamicImage, GrayImage, Rgb32FImage, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn cases() -> Vec<Value> {
    let text = std::fs::read(fixtures().join("goldens/controlnet.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    index["cases"].as_array().unwrap().clone()
}

fn bytes(golden: &Golden, key: &str) -> Vec<u8> {
    golden.data(key).convert::<u8>().try_to_vec().unwrap()
}

fn colours(golden: &Golden, key: &str) -> RgbImage {
    RgbImage::from_raw(64, 64, bytes(golden, key)).unwrap()
}

fn mask(golden: &Golden) -> Picture {
    let pixels = GrayImage::from_raw(64, 64, bytes(golden, "mask_u8")).unwrap();
    Picture::new(DynamicImage::ImageLuma8(pixels))
}

/// A case with its files laid out.
struct Bench {
    case: Value,
    nets: Vec<CheckpointFolder>,
    maps: TempDir,
    checkpoint: CheckpointFolder,
    golden: Golden,
}

impl Bench {
    fn new(case: Value) -> Self {
        let golden = Golden::open("controlnet", &burn::tensor::Device::flex());
        let nets = case["nets"].as_array().unwrap().iter().map(|net| {
            let changes = net["config"].as_object().unwrap();
            controlnet(net["controlnet"].as_str().unwrap(), changes)
        });
        let nets = nets.collect();
        let maps = TempDir::new().unwrap();
        for name in ["lines", "colours"] {
            let map = colours(&golden, &format!("{name}_u8"));
            map.save(maps.path().join(format!("{name}.png"))).unwrap();
        }
        let checkpoint = checkpoint(case["checkpoint"].as_str().unwrap());
        Self { case, nets, maps, checkpoint, golden }
    }

    fn of(name: &str) -> Self {
        Self::new(cases().into_iter().find(|case| case["name"] == name).unwrap())
    }

    fn name(&self) -> &str {
        self.case["name"].as_str().unwrap()
    }

    fn pipeline(&self) -> DiffusionPipeline {
        let device = device::open(DeviceChoice::Cpu).unwrap();
        let files = folder::locate(&self.checkpoint).unwrap();
        DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap().0
    }

    fn control(&self) -> Control {
        let or = |key: &str, default: Value| match &self.case[key] {
            Value::Null => default,
            value => value.clone(),
        };
        let maps = self.case["maps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| self.maps.path().join(format!("{}.png", name.as_str().unwrap())));
        serde_json::from_value(json!({
            "control": self.nets.iter().map(|net| net.to_path_buf()).collect::<Vec<_>>(),
            "control-image": maps.collect::<Vec<_>>(),
            "control-weight": or("controlnet_conditioning_scale", json!(1.0)),
            "control-start": or("control_guidance_start", json!(0.0)),
            "control-end": or("control_guidance_end", json!(1.0)),
            "control-guess": or("guess_mode", json!(false)),
        }))
        .unwrap()
    }

    fn mode(&self) -> Mode {
        let pipeline = self.case["pipeline"].as_str().unwrap();
        let init = || InitImage {
            init: PathBuf::from("image.png"),
            strength: self.case["strength"].as_f64().unwrap(),
            resize: ResizeMode::Stretch,
            raw: true,
        };
        if pipeline.contains("Img2Img") {
            return Mode::ImageToImage(init());
        }
        if !pipeline.contains("Inpaint") {
            return Mode::TextToImage;
        }
        Mode::Inpaint(Inpaint {
            image: init(),
            mask: PathBuf::from("mask.png"),
            invert_mask: false,
            mask_mode: MaskMode::Hard,
            mask_grow: 0,
            feather: 0,
            mask_blur: 0.0,
            masked_content: MaskedContent::Original,
            mask_area: MaskArea::Whole,
            mask_padding: 0,
            match_colours: false,
        })
    }

    fn request(&self) -> GenerationRequest {
        let case = &self.case;
        GenerationRequest {
            mode: self.mode(),
            prompt: case["prompt"].as_str().unwrap().to_owned(),
            negative_prompt: case["negative_prompt"].as_str().unwrap().to_owned(),
            width: 64,
            height: 64,
            steps: case["num_inference_steps"].as_u64().unwrap() as u32,
            guidance_scale: case["guidance_scale"].as_f64().unwrap(),
            sampler: Sampler::from_class_name(case["scheduler"].as_str().unwrap()).unwrap(),
            schedule: Schedule::Automatic,
            seed: case["seed"].as_u64().unwrap(),
            rng: RngSource::Torch,
            count: 1,
            adapters: Default::default(),
            compat: Default::default(),
            conditioning: Default::default(),
            fewer_operations: Default::default(),
            control: self.control(),
        }
    }

    fn sources(&self, request: &GenerationRequest) -> Option<Sources> {
        request.mode.init()?;
        let image = Picture::new(DynamicImage::ImageRgb8(colours(&self.golden, "image_u8")));
        Some(Sources::new(&request.mode, image, Some(&mask(&self.golden))).unwrap())
    }

    fn input(&self, request: &GenerationRequest) -> Option<ImageInput> {
        let init = request.mode.init()?;
        let mask = matches!(request.mode, Mode::Inpaint(_)).then(|| {
            let mask: Mask =
                picture::mask_from(&mask(&self.golden), (64, 64), false, MaskSource::Grey).unwrap();
            MaskInput { mask, content: LatentContent::Image, blending: LatentBlending::Nearest }
        });
        let image = DynamicImage::ImageRgb8(colours(&self.golden, "image_u8")).to_rgb32f();
        Some(ImageInput {
            image: StartingImage::Pixels(image),
            strength: init.strength,
            mask,
            first_pass: None,
        })
    }

    fn maps(&self) -> Vec<Rgb32FImage> {
        let maps = self.case["maps"].as_array().unwrap().iter();
        maps.map(|name| colours(&self.golden, &format!("{}_u8", name.as_str().unwrap())))
            .map(|map| DynamicImage::ImageRgb8(map).to_rgb32f())
            .collect()
    }

    fn latents(&self, pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Tensor<4> {
        let device = pipeline.device().device.clone();
        let mut generator = NoiseGenerator::new(RngSource::Torch, request.seed);
        let noise = &mut |shape: [usize; 4]| generator.normal(shape, &device);
        let (input, maps) = (self.input(request), self.maps());
        let control_maps = if request.control.0.is_empty() { &[][..] } else { &maps };
        let member = GroupMember { request, input: input.as_ref(), control_maps, noise };
        pipeline.generate_latents(&mut [member], &mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn edited(&self, pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Vec<u8> {
        let sources = self.sources(request);
        let go_on = &mut |_: ProgressEvent| ControlFlow::Continue(());
        let edited = editing::edit(pipeline, request, sources.as_ref(), 0, go_on).unwrap();
        edited.picture.pixels.into_rgb8().into_raw()
    }
}

fn furthest(one: &[u8], other: &[u8]) -> u8 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| one.abs_diff(*other)).max().unwrap()
}

#[test]
fn runs_equal_those_of_diffusers() {
    let cases = cases();
    assert_eq!(cases.len(), 15, "cases");
    for case in cases {
        let bench = Bench::new(case);
        let (name, request, mut pipeline) = (bench.name(), bench.request(), bench.pipeline());
        let latents = bench.latents(&mut pipeline, &request);
        let expected = bench.golden.tensor(&format!("{name}.latents"));
        assert_close(name, &latents, &expected, PIPELINE_TOLERANCE);
        let uncontrolled = GenerationRequest { control: Control::default(), ..request.clone() };
        let without = bench.latents(&mut pipeline, &uncontrolled);
        assert!(relative_difference(&without, &expected) > 0.05, "{name}: nothing is steered");
        let image = bench.edited(&mut pipeline, &request);
        let furthest = furthest(&image, &bytes(&bench.golden, &format!("{name}.image_u8")));
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
}

/// Pictures of a group with maps of their own are those that are made alone.
#[test]
fn groups_are_steered_as_single_pictures() {
    for name in ["two", "guess", "sdxl"] {
        let bench = Bench::of(name);
        let first = bench.request();
        let mut second = GenerationRequest { seed: 3, ..first.clone() };
        for unit in &mut second.control.0 {
            unit.image = Some(bench.maps.path().join("colours.png"));
        }
        let mut pipeline = bench.pipeline();
        let shape = pipeline.group_shape(&first);
        assert!(shape.is_some() && shape == pipeline.group_shape(&second), "{name}");
        let alone = [&first, &second].map(|request| bench.edited(&mut pipeline, request));
        let mut together = Vec::new();
        editing::edit_group(
            &mut pipeline,
            &[(&first, None), (&second, None)],
            &mut |_| ControlFlow::Continue(()),
            &mut |picture| together.push((picture.batch, picture.edited.unwrap().picture)),
        )
        .unwrap();
        for ((batch, picture), alone) in together.into_iter().zip(&alone) {
            assert_eq!(batch.size, 2, "{name}");
            assert!(furthest(&picture.pixels.into_rgb8().into_raw(), alone) <= 1, "{name}");
        }
        assert!(furthest(&alone[0], &alone[1]) > 20, "{name}");
        for unit in &mut second.control.0 {
            unit.weight += 0.1;
        }
        assert!(shape != pipeline.group_shape(&second), "{name}: weights are those of a group");
    }
}
