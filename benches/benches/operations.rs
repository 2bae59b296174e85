//! Times single operations of Stable Diffusion 1.5 at 512² with guidance, beside burn's own on the
//! same processor, and prints how many times faster ours are.

use std::{fs, hint::black_box, path::Path, time::Duration};

use burn::tensor::{
    DType, Device, FloatDType, Tensor, activation, module,
    ops::{AttentionModuleOptions, ConvOptions},
};
use criterion::Criterion;
use emberbrush_layers::{
    activation::Activation,
    attention::{Visibility, multi_head_attention},
    conv::{Conv2d, Kernel},
    feature_map,
    feed_forward::geglu,
    linear::Linear,
    norm::{GroupNorm, LayerNorm},
    weights::{WeightError, WeightSource, Weights},
};
use random_weights::{RandomWeights, random};

#[path = "../../layers/examples/run_kernel/random_weights.rs"]
mod random_weights;

/// The prompt and the negative prompt.
const BATCH: usize = 2;

/// Where `cargo bench` leaves files.
const RESULTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/operations");

/// Measures `ours` and `burn`, whose outputs are dropped.
fn compare<const D: usize, const E: usize>(
    criterion: &mut Criterion,
    operation: &str,
    ours: impl Fn() -> Tensor<D>,
    burn: impl Fn() -> Tensor<E>,
) {
    let mut group = criterion.benchmark_group(operation);
    group.bench_function("ours", |bencher| bencher.iter(|| drop(black_box(ours()))));
    group.bench_function("burn", |bencher| bencher.iter(|| drop(black_box(burn()))));
    group.finish();
}

fn cpu(weights: &RandomWeights, dtype: FloatDType) -> Weights<'_> {
    Weights::new(weights, &Device::flex(), dtype)
}

/// A tensor of a layer's weights as burn multiplies it.
fn plain<const D: usize>(weights: &RandomWeights, key: &str) -> Result<Tensor<D>, WeightError> {
    let data = weights.stored(key)?.to_data(FloatDType::F32);
    let data = data.ok_or_else(|| WeightError::Config(format!("{key}: not of numbers")))?;
    Ok(Tensor::from_data(data, &Device::flex()))
}

/// A feature map as our layers keep it.
fn channels_last(x: &Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    feature_map::from_tokens(feature_map::to_tokens(x.clone()), [height, width])
}

fn elementwise(criterion: &mut Criterion) -> Result<(), WeightError> {
    let x = random([BATCH, 320, 64, 64]);
    let (map, plain_map) = (channels_last(&x), x.clone());
    compare(
        criterion,
        "SiLU 320x64x64",
        || Activation::Silu.forward(map.clone()),
        || activation::silu(plain_map.clone()),
    );

    let weights = RandomWeights::new(&[320], DType::F32);
    let norm = GroupNorm::new(&cpu(&weights, FloatDType::F32), 32, 320, 1e-5)?;
    let weight = plain::<1>(&weights, "weight")?.reshape([1, 320, 1, 1]);
    let bias = plain::<1>(&weights, "bias")?.reshape([1, 320, 1, 1]);
    let plain_norm = |x: Tensor<4>| {
        let grouped = x.reshape([BATCH, 32, 10 * 64 * 64]);
        let centred = grouped.clone() - grouped.mean_dim(2);
        let scale = (centred.clone().square().mean_dim(2) + 1e-5).sqrt().recip();
        let normalised = (centred * scale).reshape([BATCH, 320, 64, 64]);
        activation::silu(normalised * weight.clone() + bias.clone())
    };
    compare(
        criterion,
        "GroupNorm and SiLU 320x64x64",
        || norm.forward_activated(map.clone(), Activation::Silu),
        || plain_norm(plain_map.clone()),
    );

    let norm = LayerNorm::new(&cpu(&weights, FloatDType::F32), 320, 1e-5)?;
    let [weight, bias] = [plain::<1>(&weights, "weight")?, plain::<1>(&weights, "bias")?];
    let tokens = random([BATCH, 4096, 320]);
    compare(
        criterion,
        "LayerNorm 4096x320",
        || norm.forward(tokens.clone()),
        || module::layer_norm(tokens.clone(), weight.clone(), Some(bias.clone()), 1e-5),
    );

    let tokens = random([BATCH, 4096, 2560]);
    compare(
        criterion,
        "GEGLU 4096x2560",
        || geglu(tokens.clone()),
        || {
            let hidden = tokens.clone().narrow(2, 0, 1280);
            hidden * activation::gelu(tokens.clone().narrow(2, 1280, 1280))
        },
    );
    Ok(())
}

fn attention(criterion: &mut Criterion) {
    for (operation, keys) in [("self-attention 8x4096x40", 4096), ("cross-attention 8x4096x40", 77)]
    {
        let [query, key, value] = [4096, keys, keys].map(|tokens| random([BATCH, tokens, 320]));
        let split = |x: &Tensor<3>| {
            let [batch, tokens, _] = x.dims();
            x.clone().reshape([batch, tokens, 8, 40]).swap_dims(1, 2)
        };
        let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: false };
        compare(
            criterion,
            operation,
            || {
                let (query, key, value) = (query.clone(), key.clone(), value.clone());
                multi_head_attention(query, key, value, 8, Visibility::All)
            },
            || {
                let (query, key, value) = (split(&query), split(&key), split(&value));
                module::attention(query, key, value, None, None, options)
            },
        );
    }
}

fn products(criterion: &mut Criterion) -> Result<(), WeightError> {
    for (dtype, name) in [(FloatDType::F32, "f32"), (FloatDType::BF16, "bf16")] {
        let weights = RandomWeights::new(&[2560, 320], DType::F16);
        let layer = Linear::new(&cpu(&weights, dtype), 320, 2560)?;
        let weight = plain::<2>(&weights, "weight")?.transpose();
        let bias = plain::<1>(&weights, "bias")?;
        let tokens = random([BATCH, 4096, 320]);
        compare(
            criterion,
            &format!("linear 4096x320 to 2560, {name}"),
            || layer.forward(tokens.clone()),
            || module::linear(tokens.clone(), weight.clone(), Some(bias.clone())),
        );
    }
    for (kernel, channels, side) in
        [(Kernel::ONE, 320, 64), (Kernel::THREE, 320, 64), (Kernel::THREE, 1280, 16)]
    {
        let shape = [channels, channels, kernel.size, kernel.size];
        let weights = RandomWeights::new(&shape, DType::F16);
        let layer = Conv2d::new(&cpu(&weights, FloatDType::F32), channels, channels, kernel)?;
        let weight = plain::<4>(&weights, "weight")?;
        let bias = plain::<1>(&weights, "bias")?;
        let mut options = ConvOptions::new([kernel.stride; 2], [0; 2], [1; 2], 1);
        options.padding = [kernel.padding; 2];
        let x = random([BATCH, channels, side, side]);
        let map = channels_last(&x);
        compare(
            criterion,
            &format!("convolution {0}x{0} of {channels}x{side}x{side}", kernel.size),
            || layer.forward(map.clone()),
            || {
                let (weight, bias) = (weight.clone(), Some(bias.clone()));
                module::conv2d(x.clone(), weight, bias, options.clone())
            },
        );
    }
    Ok(())
}

/// Prints what was measured last of each operation: medians in milliseconds, and their ratio.
fn print_table() {
    let median = |folder: &Path| -> Option<f64> {
        let text = fs::read_to_string(folder.join("new/estimates.json")).ok()?;
        let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(estimates["median"]["point_estimate"].as_f64()? / 1e6)
    };
    // Nothing is there where nothing is measured: as a test.
    let Ok(entries) = fs::read_dir(RESULTS) else { return };
    let mut operations: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    operations.sort();
    println!("\n| operation, batch {BATCH} | ours | burn | ratio |\n| --- | --- | --- | --- |");
    for operation in operations {
        let name = operation.file_name().unwrap_or_default().to_string_lossy();
        if let (Some(ours), Some(burn)) =
            (median(&operation.join("ours")), median(&operation.join("burn")))
        {
            println!("| {name} | {ours:.2} ms | {burn:.2} ms | {:.2} |", ours / burn);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .output_directory(Path::new(RESULTS))
        .configure_from_args();
    elementwise(&mut criterion)?;
    attention(&mut criterion);
    products(&mut criterion)?;
    criterion.final_summary();
    print_table();
    Ok(())
}
