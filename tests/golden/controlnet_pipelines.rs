//! Whole runs with ControlNets against those of diffusers: the last latents, and the picture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{DiffusionPipeline, GroupMember, ImageInput, StartingImage},
    editing::{self, Sources},
    progress::ProgressEvent,
    request::{Control, GenerationRequest, Mode},
    rng::{NoiseGenerator, RngSource},
    schedulers::Sampler,
};
use emberbrush_tests::{
    CheckpointFolder, Golden, PIPELINE_TOLERANCE, assert_close, checkpoint, controlnet,
    relative_difference,
    runs::{self, furthest},
};
use image::{DynamicImage, Rgb32FImage};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The picture that cases start from, and its mask.
const IMAGE: &str = "image_u8";
const MASK: &str = "mask_u8";

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
            let map = golden.colours(&format!("{name}_u8"));
            map.save(maps.path().join(format!("{name}.png"))).unwrap();
        }
        let checkpoint = checkpoint(case["checkpoint"].as_str().unwrap());
        Self { case, nets, maps, checkpoint, golden }
    }

    fn of(name: &str) -> Self {
        Self::new(runs::case("controlnet", name))
    }

    fn name(&self) -> &str {
        runs::name(&self.case)
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

    fn request(&self) -> GenerationRequest {
        let seed = self.case["seed"].as_u64().unwrap();
        GenerationRequest { seed, control: self.control(), ..runs::request(&self.case, 0) }
    }

    fn sources(&self, request: &GenerationRequest) -> Option<Sources> {
        request.mode.init()?;
        let (image, mask) = (self.golden.picture(IMAGE), self.golden.mask(MASK));
        Some(Sources::new(&request.mode, image, Some(&mask)).unwrap())
    }

    fn input(&self, request: &GenerationRequest) -> Option<ImageInput> {
        let is_inpainting = matches!(request.mode, Mode::Inpaint(_));
        Some(ImageInput {
            image: StartingImage::Pixels(self.golden.picture(IMAGE).to_raw()),
            strength: request.mode.init()?.strength,
            mask: is_inpainting.then(|| runs::mask_input(&self.golden.mask(MASK))),
            first_pass: None,
        })
    }

    fn maps(&self) -> Vec<Rgb32FImage> {
        let maps = self.case["maps"].as_array().unwrap().iter();
        maps.map(|name| self.golden.colours(&format!("{}_u8", name.as_str().unwrap())))
            .map(|map| DynamicImage::ImageRgb8(map).to_rgb32f())
            .collect()
    }

    fn latents(&self, pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Tensor<4> {
        self.latents_telling(pipeline, request, &mut |_| {})
    }

    fn latents_telling(
        &self,
        pipeline: &mut DiffusionPipeline,
        request: &GenerationRequest,
        tell: &mut dyn FnMut(ProgressEvent),
    ) -> Tensor<4> {
        let device = pipeline.device().device.clone();
        let mut generator = NoiseGenerator::new(RngSource::Torch, request.seed);
        let noise = &mut |shape: [usize; 4]| generator.normal(shape, &device);
        let (input, maps) = (self.input(request), self.maps());
        let control_maps = if request.control.0.is_empty() { &[][..] } else { &maps };
        let member = GroupMember { request, input: input.as_ref(), control_maps, noise };
        let on_event = &mut |event| {
            tell(event);
            ControlFlow::Continue(())
        };
        pipeline.generate_latents(&mut [member], on_event).unwrap()
    }

    fn edited(&self, pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Vec<u8> {
        let sources = self.sources(request);
        let go_on = &mut |_: ProgressEvent| ControlFlow::Continue(());
        let edited = editing::edit(pipeline, request, sources.as_ref(), 0, go_on).unwrap();
        edited.picture.pixels.into_rgb8().into_raw()
    }
}

#[test]
fn runs_equal_those_of_diffusers() {
    let cases = runs::cases("controlnet");
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
        let furthest = furthest(&image, &bench.golden.bytes(&format!("{name}.image_u8")));
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
}

/// What ControlNets add is kept with the rest of the UNet's deep part.
#[test]
fn controlnets_are_run_with_the_deep_part() {
    let bench = Bench::of("two");
    let mut pipeline = bench.pipeline();
    let mut request = GenerationRequest { sampler: Sampler::Ddim, ..bench.request() };
    let mut blocks = |request: &GenerationRequest| {
        let (mut of_steps, mut now) = (Vec::new(), 0);
        bench.latents_telling(&mut pipeline, request, &mut |event| match event {
            ProgressEvent::Checkpoint => now += 1,
            ProgressEvent::Step { .. } => of_steps.push(std::mem::take(&mut now)),
            // What comes before the steps asks too.
            _ => now = 0,
        });
        of_steps
    };
    let whole = blocks(&request);
    request.fewer_operations.deep_cache = 2;
    let halved = blocks(&request);
    assert!(whole.len() > 2 && halved.len() == whole.len(), "{whole:?}");
    for (step, (halved, whole)) in halved.iter().zip(&whole).enumerate() {
        match step % 2 {
            0 => assert_eq!(halved, whole, "step {step}"),
            // The beginning, a residual block, a transformer and the end.
            _ => assert_eq!(*halved, 4, "step {step}"),
        }
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
