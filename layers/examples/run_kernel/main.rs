//! `run_kernel KERNEL` runs one of the CPU's kernels on one thread, for what counts instructions
//! (`cargo xtask count-instructions`); `run_kernel list` names them.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use emberbrush_layers::{
    activation::Activation,
    attention::{Visibility, multi_head_attention},
    conv::{Conv2d, Kernel},
    feed_forward::geglu,
    linear::Linear,
    norm::{GroupNorm, LayerNorm},
    weights::{WeightError, Weights},
};
use random_weights::{RandomWeights, random};

mod random_weights;

/// A kernel with what it works on.
type Run = Box<dyn Fn()>;

/// Makes a kernel ready.
type Prepare = fn() -> Result<Run, WeightError>;

/// Small parts of what a network computes, of a few million instructions each.
const KERNELS: [(&str, Prepare); 13] = [
    ("activation-silu", || {
        let x = random([1, 320, 32, 32]);
        Ok(run(move || Activation::Silu.forward(x.clone())))
    }),
    ("attention", || {
        let [query, key, value] = [256, 256, 256].map(|tokens| random([1, tokens, 320]));
        Ok(run(move || {
            let (query, key, value) = (query.clone(), key.clone(), value.clone());
            multi_head_attention(query, key, value, 8, Visibility::All)
        }))
    }),
    ("attention-to-a-prompt", || {
        let [query, key, value] = [256, 77, 77].map(|tokens| random([1, tokens, 320]));
        Ok(run(move || {
            let (query, key, value) = (query.clone(), key.clone(), value.clone());
            multi_head_attention(query, key, value, 8, Visibility::All)
        }))
    }),
    ("convolution-1x1", || convolution(FloatDType::F32, Kernel::ONE, 16)),
    ("convolution-1x1-bf16", || convolution(FloatDType::BF16, Kernel::ONE, 16)),
    ("convolution-3x3-few-pixels", || convolution(FloatDType::F32, Kernel::THREE, 8)),
    ("convolution-3x3-many-pixels", || convolution(FloatDType::F32, Kernel::THREE, 32)),
    ("convolution-3x3-that-halves", || convolution(FloatDType::F32, Kernel::HALVE, 16)),
    ("geglu", || {
        let x = random([1, 64, 2560]);
        Ok(run(move || geglu(x.clone())))
    }),
    ("group-norm-silu", || {
        let weights = RandomWeights::new(&[320], DType::F32);
        let norm = GroupNorm::new(&cpu(&weights, FloatDType::F32), 32, 320, 1e-5)?;
        let x = random([1, 320, 32, 32]);
        Ok(run(move || norm.forward_activated(x.clone(), Activation::Silu)))
    }),
    ("layer-norm", || {
        let weights = RandomWeights::new(&[320], DType::F32);
        let norm = LayerNorm::new(&cpu(&weights, FloatDType::F32), 320, 1e-5)?;
        let x = random([1, 1024, 320]);
        Ok(run(move || norm.forward(x.clone())))
    }),
    ("linear", || linear(FloatDType::F32, 256)),
    // Few rows: most of it is weights that are widened.
    ("linear-of-a-few-rows", || linear(FloatDType::F32, 2)),
];

/// The side of a matrix, or channels.
const CHANNELS: usize = 320;

fn cpu(weights: &RandomWeights, dtype: FloatDType) -> Weights<'_> {
    Weights::new(weights, &Device::flex(), dtype)
}

fn convolution(dtype: FloatDType, kernel: Kernel, side: usize) -> Result<Run, WeightError> {
    let channels = if kernel == Kernel::ONE { CHANNELS } else { 64 };
    let shape = [channels, channels, kernel.size, kernel.size];
    let weights = RandomWeights::new(&shape, DType::F16);
    let layer = Conv2d::new(&cpu(&weights, dtype), channels, channels, kernel)?;
    let x = random([1, channels, side, side]);
    Ok(run(move || layer.forward(x.clone())))
}

fn linear(dtype: FloatDType, rows: usize) -> Result<Run, WeightError> {
    let weights = RandomWeights::new(&[CHANNELS, CHANNELS], DType::F16);
    let layer = Linear::new(&cpu(&weights, dtype), CHANNELS, CHANNELS)?;
    let x = random([rows, CHANNELS]);
    Ok(run(move || layer.forward(x.clone())))
}

fn run<const D: usize>(kernel: impl Fn() -> Tensor<D> + 'static) -> Run {
    Box::new(move || drop(kernel()))
}

/// What is counted, by this name.
#[inline(never)]
fn counted_once(run: &dyn Fn()) {
    run();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == "list" {
        KERNELS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    let (_, prepare) = KERNELS
        .iter()
        .find(|(kernel, _)| *kernel == name)
        .ok_or("usage: run_kernel KERNEL, or run_kernel list")?;
    // This thread alone: what several do while they wait is never the same twice.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    let run = prepare()?;
    // What is done once, such as to ask what the processor can do.
    run();
    counted_once(&run);
    Ok(())
}
