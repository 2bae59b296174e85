//! What forward passes allocate, from shapes alone.
//!
//! A [`Traced`] stands for a tensor: its bytes count from when it is made until its last clone is
//! dropped, as the buffer of a tensor does. The functions of [`Trace`] are the layers of this
//! crate with such stand-ins, so that a network's `trace` reads as its `forward` does; which
//! temporary buffers an operation makes is what the kernels of this crate say for the CPU, and was
//! read in burn-cubecl 0.22.1 for GPUs.

use std::{cell::Cell, rc::Rc};

use crate::{attention::AttentionSlicing, conv::Kernel};

/// Output positions that a GPU's convolution is assumed to multiply at once.
const CONVOLUTION_TILE: u64 = 512;

/// Bytes of transformed inputs that a convolution of the CPU holds (`kernels::winograd`).
const TRANSFORMED_BYTES: u64 = 12 << 20;

/// Bytes that each thread of the CPU holds in a convolution or an attention, about.
const THREAD_BYTES: u64 = 4 << 20;

/// Columns to which the CPU's kernels fill up a matrix (`kernels::gemm`).
const PANEL: usize = 32;

/// Where a network runs, which decides what operations allocate beside their results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The CPU backend with so many threads: buffers are reused in place where nothing else holds
    /// them, and each thread holds a few of attention's scores.
    Cpu {
        /// Number of threads, from 1.
        threads: usize,
    },
    /// A GPU backend, of which the worst is assumed: attention may hold all scores twice.
    Gpu,
}

/// The bytes that are held now, and the most there were at once.
#[derive(Debug, Default)]
struct Ledger {
    live: Cell<u64>,
    peak: Cell<u64>,
}

impl Ledger {
    fn take(&self, bytes: u64) {
        let live = self.live.get().saturating_add(bytes);
        self.live.set(live);
        self.peak.set(self.peak.get().max(live));
    }

    fn give_back(&self, bytes: u64) {
        self.live.set(self.live.get().saturating_sub(bytes));
    }
}

/// A buffer that is held.
#[derive(Debug)]
struct Held {
    ledger: Rc<Ledger>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

/// A stand-in for a tensor: its shape, and its buffer's bytes. A clone shares the buffer.
#[derive(Debug, Clone)]
pub struct Traced {
    /// `[batch, channels, height, width]`; of tokens `[batch, channels, tokens, 1]`, in whatever
    /// order the tensor has them.
    pub dims: [usize; 4],
    held: Rc<Held>,
}

impl Traced {
    fn is_unique(&self) -> bool {
        Rc::strong_count(&self.held) == 1
    }
}

/// Follows the allocations of forward passes.
#[derive(Debug, Clone)]
pub struct Trace {
    ledger: Rc<Ledger>,
    kernels: Kernels,
    element_bytes: u64,
    slicing: AttentionSlicing,
}

impl Trace {
    /// Begins with nothing held. `element_bytes` is the size of an activation on a GPU: 4 for f32.
    /// On a CPU activations are f32, whatever weights are.
    pub fn new(kernels: Kernels, element_bytes: u64, slicing: AttentionSlicing) -> Self {
        let element_bytes = if kernels == Kernels::Gpu { element_bytes } else { 4 };
        Self { ledger: Rc::default(), kernels, element_bytes, slicing }
    }

    /// The most bytes that were held at once.
    pub fn peak(&self) -> u64 {
        self.ledger.peak.get()
    }

    /// A new tensor.
    pub fn tensor(&self, dims: [usize; 4]) -> Traced {
        let elements = product(&dims);
        Traced { dims, held: Rc::new(self.hold(elements.saturating_mul(self.element_bytes))) }
    }

    /// A tensor of `x`'s shape.
    pub fn like(&self, x: &Traced) -> Traced {
        self.tensor(x.dims)
    }

    fn hold(&self, bytes: u64) -> Held {
        self.ledger.take(bytes);
        Held { ledger: Rc::clone(&self.ledger), bytes }
    }

    /// A buffer that is there for the moment only.
    fn scratch(&self, bytes: u64) {
        drop(self.hold(bytes));
    }

    fn threads(&self) -> u64 {
        match self.kernels {
            Kernels::Cpu { threads } => threads.max(1) as u64,
            Kernels::Gpu => 1,
        }
    }

    /// An operation on each element: in place where nothing else holds `x`.
    pub fn elementwise(&self, x: Traced) -> Traced {
        if x.is_unique() { x } else { self.like(&x) }
    }

    /// A sum with another tensor that is given up.
    pub fn add(&self, x: Traced, other: Traced) -> Traced {
        if x.is_unique() || !other.is_unique() { self.elementwise(x) } else { other }
    }

    /// `x · sigmoid(x)` and its like, whose gate is a tensor of its own.
    pub fn activation(&self, x: Traced) -> Traced {
        if self.kernels != Kernels::Gpu {
            return self.elementwise(x);
        }
        let gate = self.like(&x);
        if x.is_unique() { x } else { gate }
    }

    /// [`crate::norm::GroupNorm::forward`].
    pub fn group_norm(&self, x: Traced) -> Traced {
        let normalised = self.elementwise(x);
        if self.kernels == Kernels::Gpu {
            drop(self.like(&normalised));
        }
        normalised
    }

    /// [`crate::norm::GroupNorm::forward_activated`].
    pub fn group_norm_activated(&self, x: Traced) -> Traced {
        let x = self.group_norm(x);
        self.activation(x)
    }

    /// [`crate::norm::LayerNorm::forward`].
    pub fn layer_norm(&self, x: Traced) -> Traced {
        self.like(&x)
    }

    /// [`crate::conv::Conv2d::forward`]: on the CPU transformed or gathered inputs, on a GPU the
    /// weight and the input in another order, the columns of a tile and its result.
    pub fn conv2d(&self, x: Traced, outputs: usize, kernel: Kernel) -> Traced {
        let [batch, inputs, height, width] = x.dims;
        let output = |side: usize| {
            (side + kernel.padding.0 + kernel.padding.1).saturating_sub(kernel.size)
                / kernel.stride.max(1)
                + 1
        };
        let result = [batch, outputs, output(height), output(width)];
        if kernel == Kernel::ONE {
            return self.tensor(result);
        }
        if self.kernels != Kernels::Gpu {
            let transformed = product(&[batch, inputs, height, width]) * 4 * self.element_bytes;
            // By the Winograd method, or else with the weight in f32.
            let is_fast = kernel == Kernel::THREE && inputs % 16 == 0 && outputs >= PANEL / 2;
            let taps = inputs * kernel.size * kernel.size;
            let weight = if is_fast { 0 } else { product(&[taps, filled(outputs)]) * 4 };
            let threads = self.threads() * THREAD_BYTES;
            self.scratch(TRANSFORMED_BYTES.min(transformed) + weight + threads);
            return self.tensor(result);
        }
        let x = if kernel.padding.0 == kernel.padding.1 {
            x
        } else {
            let padding = kernel.padding.0 + kernel.padding.1;
            let padded = self.tensor([batch, inputs, height + padding, width + padding]);
            drop(x);
            padded
        };
        let columns = (inputs * kernel.size * kernel.size) as u64;
        let bytes = self.element_bytes;
        let _weight = self.hold(columns * outputs as u64 * bytes);
        let _reordered = self.like(&x);
        let result = self.tensor(result);
        let tile = CONVOLUTION_TILE.min(product(&result.dims[2..]));
        self.scratch(tile * (columns + outputs as u64) * bytes);
        result
    }

    /// [`crate::linear::Linear::forward`] over the channels of `x`.
    pub fn linear(&self, x: Traced, outputs: usize) -> Traced {
        let [batch, _, height, width] = x.dims;
        self.tensor([batch, outputs, height, width])
    }

    /// [`crate::attention::Attention::forward`]; `context` are the keys' tokens, `x` itself for
    /// self-attention.
    pub fn attention(&self, x: Traced, context: Traced, channels: usize, heads: usize) -> Traced {
        let query = self.linear(x, channels);
        let key = self.linear(context.clone(), channels);
        let value = self.linear(context, channels);
        let queries = query.dims[2] as u64;
        let keys = key.dims[2] as u64;
        let batch = query.dims[0] as u64;
        match self.kernels {
            Kernels::Cpu { .. } => {
                let width = channels / heads.max(1);
                let packed =
                    |kept: usize, other: usize| batch * product(&[heads, kept, filled(other)]);
                let keys = key.dims[2];
                let elements = packed(width, keys) + packed(keys, width);
                let attended = self.like(&query);
                self.scratch(elements * self.element_bytes + self.threads() * THREAD_BYTES);
                drop((query, key, value));
                self.linear(attended, channels)
            }
            Kernels::Gpu => {
                // Tokens of several heads lie apart, and are brought together.
                let split =
                    (heads > 1).then(|| [self.like(&query), self.like(&key), self.like(&value)]);
                let attended = self.like(&query);
                let rows = batch as usize * heads;
                let slice = self.slicing.queries(queries as usize, rows * keys as usize);
                self.scratch(2 * (rows * slice) as u64 * keys * self.element_bytes);
                drop((query, key, value, split));
                let merged = if heads > 1 { self.like(&attended) } else { attended };
                self.linear(merged, channels)
            }
        }
    }

    /// [`crate::feed_forward::FeedForward::forward`].
    pub fn feed_forward(&self, x: Traced, channels: usize) -> Traced {
        let expanded = self.linear(x, 8 * channels);
        let gated = self.linear(expanded.clone(), 4 * channels);
        drop(expanded);
        self.linear(gated, channels)
    }

    /// [`crate::resnet::ResnetBlock2D::forward`].
    pub fn resnet(&self, x: Traced, outputs: usize) -> Traced {
        let hidden = self.group_norm_activated(x.clone());
        let hidden = self.conv2d(hidden, outputs, Kernel::THREE);
        let hidden = self.group_norm_activated(hidden);
        let shortcut = if x.dims[1] == outputs { x } else { self.conv2d(x, outputs, Kernel::ONE) };
        let hidden = self.conv2d(hidden, outputs, Kernel::THREE);
        self.add(hidden, shortcut)
    }

    /// [`crate::resample::Upsample2D::forward`] to `size`, `[height, width]`.
    pub fn upsample(&self, x: Traced, size: [usize; 2]) -> Traced {
        let channels = x.dims[1];
        let enlarged = self.nearest(x, size);
        self.conv2d(enlarged, channels, Kernel::THREE)
    }

    /// [`crate::resample::nearest`] to `size`, `[height, width]`.
    pub fn nearest(&self, x: Traced, size: [usize; 2]) -> Traced {
        let [batch, channels, _, _] = x.dims;
        self.tensor([batch, channels, size[0], size[1]])
    }

    /// A concatenation along the channels.
    pub fn cat(&self, x: Traced, other: Traced) -> Traced {
        let [batch, channels, height, width] = x.dims;
        self.tensor([batch, channels + other.dims[1], height, width])
    }

    /// A copy in another order of dimensions.
    pub fn reordered(&self, x: Traced) -> Traced {
        self.like(&x)
    }
}

/// Columns of whole panels.
fn filled(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

fn product(sides: &[usize]) -> u64 {
    sides.iter().fold(1, |product: u64, &side| product.saturating_mul(side as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: [usize; 4] = [1, 8, 16, 16];
    /// Bytes of a tensor of that shape.
    const UNIT: u64 = 8 * 16 * 16 * 4;

    fn trace(threads: usize) -> Trace {
        Trace::new(Kernels::Cpu { threads }, 4, AttentionSlicing::Off)
    }

    #[test]
    fn buffers_count_until_their_last_clone_is_dropped() {
        let trace = trace(1);
        let x = trace.tensor(SQUARE);
        let clone = x.clone();
        drop(x);
        assert_eq!(trace.ledger.live.get(), UNIT);
        let reused = trace.elementwise(clone);
        assert_eq!((trace.ledger.live.get(), trace.peak()), (UNIT, UNIT));
        let other = trace.elementwise(reused.clone());
        drop((reused, other));
        assert_eq!((trace.ledger.live.get(), trace.peak()), (0, 2 * UNIT));
    }

    #[test]
    fn a_convolution_holds_transformed_inputs_before_its_result() {
        let trace = trace(2);
        let x = trace.tensor(SQUARE);
        let result = trace.conv2d(x, 4, Kernel::THREE);
        assert_eq!(result.dims, [1, 4, 16, 16]);
        // Eight channels are too few for the Winograd method.
        let weight = 8 * 9 * PANEL as u64 * 4;
        assert_eq!(trace.peak(), UNIT + 4 * UNIT + weight + 2 * THREAD_BYTES);
        assert_eq!(trace.ledger.live.get(), UNIT / 2);
        let halved = trace.conv2d(result, 4, Kernel::HALVE_BOTTOM_RIGHT);
        assert_eq!(halved.dims, [1, 4, 8, 8]);
    }

    #[test]
    fn a_gpu_s_convolution_holds_input_and_weight_beside_its_result() {
        let trace = Trace::new(Kernels::Gpu, 4, AttentionSlicing::Off);
        let x = trace.tensor(SQUARE);
        trace.conv2d(x, 4, Kernel::THREE);
        let weight = 8 * 9 * 4 * 4;
        let tile = 256 * (8 * 9 + 4) * 4;
        assert_eq!(trace.peak(), 2 * UNIT + UNIT / 2 + weight + tile);
    }

    #[test]
    fn slices_bound_the_scores_of_a_gpu() {
        let peak = |slicing| {
            let trace = Trace::new(Kernels::Gpu, 4, slicing);
            let x = trace.tensor([2, 64, 4096, 1]);
            trace.attention(x.clone(), x, 64, 8);
            trace.peak()
        };
        let all_scores = 2 * 2 * 8 * 4096 * 4096 * 4;
        let whole = peak(AttentionSlicing::Off);
        assert!(whole > all_scores && whole < all_scores + all_scores / 10, "{whole}");
        let sliced = peak(AttentionSlicing::Scores(1 << 24));
        assert!(sliced < (2 << 24) * 4 + all_scores / 10, "{sliced}");
    }
}
