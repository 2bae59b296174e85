//! Memory of a full-size Stable Diffusion 1.5, predicted and measured.
//!
//! Run by hand on Linux: `docs/memory.md` says how.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use burn::tensor::{DType, Tensor, TensorData};
use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::{
    adapters::LoraSelection,
    checkpoint::{component::ComponentWeights, files::CheckpointFiles, folder},
    device::{self, ComputeDtype, DeviceChoice, OpenDevice},
    diffusion::{DiffusionPipeline, VaeTiling},
    memory::{MemoryAllowance, MemoryPlanner, peak_resident_bytes, resident_bytes},
    progress::ProgressEvent,
    prompt::PromptSyntax,
    request::GenerationRequest,
    schedulers::Sampler,
};
use safetensors::{Dtype, tensor::TensorView};

const GIB: f64 = (1_u64 << 30) as f64;

/// Above the weights, for pictures of 2048².
const MOST_WORKING_BYTES: u64 = 2_000_000_000;

fn checkpoint() -> CheckpointFiles {
    let folder = std::env::var_os("EMBERBRUSH_FULL_SIZE").expect("EMBERBRUSH_FULL_SIZE");
    folder::locate(&PathBuf::from(folder).join("checkpoint")).unwrap()
}

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).unwrap()
}

/// Makes the system count the peak from now on (`proc(5)`, `clear_refs`).
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn load() -> DiffusionPipeline {
    let files = checkpoint();
    let planner =
        MemoryPlanner::new(&files, None, &cpu(), ComputeDtype::F32, MemoryAllowance::default())
            .unwrap();
    DiffusionPipeline::load_planned(&files, None, cpu(), ComputeDtype::F32, planner).unwrap().0
}

/// One step with guidance.
fn request(side: u32) -> GenerationRequest {
    GenerationRequest {
        width: side,
        height: side,
        steps: 1,
        guidance_scale: 7.5,
        sampler: Sampler::Ddim,
        ..GenerationRequest::new("a photo of a cat")
    }
}

fn prediction_is_within_a_fifth(what: &str, request: &GenerationRequest) {
    forget_peak();
    let mut pipeline = load();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    let plan = pipeline.plan_memory(request, None, 1).unwrap().unwrap();
    let mut go_on = |_: ProgressEvent| ControlFlow::Continue(());
    pipeline.generate(request, 0, &mut go_on).unwrap();
    let measured = peak_resident_bytes().unwrap() as f64;
    let predicted = plan.peak_bytes() as f64;
    let ratio = predicted / measured;
    eprintln!(
        "{what}: predicted {:.2} GiB, measured {:.2} GiB, ratio {ratio:.3}",
        predicted / GIB,
        measured / GIB
    );
    assert!((0.8..1.2).contains(&ratio), "{what}: {ratio:.3}");
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn prediction_256() {
    prediction_is_within_a_fifth("256²", &request(256));
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn prediction_512() {
    prediction_is_within_a_fifth("512²", &request(512));
}

/// A LoRA of rank 32 in every layer of attention and feed-forward.
fn write_lora(path: &Path) {
    const RANK: usize = 32;
    let mut tensors = Vec::new();
    for (network, prefix) in [("unet", "lora_unet"), ("text_encoder", "lora_te")] {
        let source = ComponentWeights::open(&checkpoint(), network).unwrap();
        for header in source.headers() {
            let shape = source.shape(header.key).unwrap();
            let Some(layer) = header.key.strip_suffix(".weight") else { continue };
            let is_meant = [".attn", "_attn", ".ff.", ".mlp.", ".proj_"];
            if !is_meant.iter().any(|part| layer.contains(part)) || shape.len() < 2 {
                continue;
            }
            let name = format!("{prefix}_{}", layer.replace('.', "_"));
            let inner = &shape[2..];
            let down = [&[RANK, shape[1]], inner].concat();
            let up = [[shape[0], RANK].as_slice(), &vec![1; inner.len()]].concat();
            for (part, shape) in [("lora_down", down), ("lora_up", up)] {
                let values = vec![half::f16::from_f32(1e-3); shape.iter().product()];
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.push((format!("{name}.{part}.weight"), shape, bytes));
            }
        }
    }
    let views = tensors.iter().map(|(key, shape, bytes): &(String, Vec<usize>, Vec<u8>)| {
        (key, TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn prediction_with_an_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lora.safetensors");
    write_lora(&file);
    let mut request = request(256);
    request.adapters.lora = vec![LoraSelection { file, unet: 1.0, text: 1.0 }];
    prediction_is_within_a_fifth("256² with a LoRA", &request);
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn prediction_of_long_and_joined_prompts() {
    let long = "a photo of a cat beside a dog, ".repeat(100);
    let request = GenerationRequest {
        prompt: format!("{long} AND an apple AND a pear"),
        guidance_scale: 1.0,
        ..request(256)
    };
    prediction_is_within_a_fifth("256² with long prompts", &request);
}

/// The most that loading may hold: weights stay in the mapped file until they are needed.
const MOST_LOADING_BYTES: u64 = 100_000_000;

#[test]
#[ignore = "needs a full-size checkpoint"]
fn loading_reads_no_weights() {
    let files = checkpoint();
    let working = working_bytes("loading", || {
        let (pipeline, report) = DiffusionPipeline::load(&files, cpu(), ComputeDtype::F32).unwrap();
        assert_eq!(report.unused_keys, [""; 0]);
        drop(pipeline);
    });
    assert!(working <= MOST_LOADING_BYTES, "{working}");
}

/// Values between -1 and 1 of a smooth pattern.
fn pattern(shape: [usize; 4]) -> Tensor<4> {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|index: usize| (index as f32 * 0.013).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&cpu().device, DType::F32))
}

/// The most that `run` holds beside what is held before it.
fn working_bytes(what: &str, run: impl FnOnce()) -> u64 {
    forget_peak();
    let before = resident_bytes().unwrap();
    let started = Instant::now();
    run();
    let working = peak_resident_bytes().unwrap() - before;
    let seconds = started.elapsed().as_secs();
    eprintln!("{what}: {:.2} GB above what was held before, {seconds} s", working as f64 / 1e9);
    working
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn decoding_2048_in_tiles() {
    let mut pipeline = load();
    pipeline.set_vae_tiling(VaeTiling::Automatic);
    let working = working_bytes("decoding 2048²", || {
        let latents = pattern([1, 4, 256, 256]);
        let pixels = pipeline.decode_to_tensor(latents, &mut || ControlFlow::Continue(()));
        assert_eq!(pixels.unwrap().dims(), [1, 3, 2048, 2048]);
    });
    assert!(working <= MOST_WORKING_BYTES, "{working}");
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn encoding_2048_in_tiles() {
    let mut pipeline = load();
    pipeline.set_vae_tiling(VaeTiling::Automatic);
    let posterior = Tensor::zeros([1, 4, 256, 256], (&cpu().device, DType::F32));
    // So that the encoder's weights are held before.
    let small = Tensor::zeros([1, 4, 8, 8], (&cpu().device, DType::F32));
    pipeline
        .encode_image(pattern([1, 3, 64, 64]), Some(small), &mut || ControlFlow::Continue(()))
        .unwrap();
    let working = working_bytes("encoding 2048²", || {
        let image = pattern([1, 3, 2048, 2048]);
        let latents =
            pipeline.encode_image(image, Some(posterior), &mut || ControlFlow::Continue(()));
        assert_eq!(latents.unwrap().dims(), [1, 4, 256, 256]);
    });
    assert!(working <= MOST_WORKING_BYTES, "{working}");
}
