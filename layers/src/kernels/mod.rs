//! Kernels for the CPU, in the place of chains of tensor operations.
//!
//! Each function takes tensors that are f32 on burn's CPU backend, and gives them back where they
//! are something else, for the plain version to be taken: on a GPU that is what burn fuses. `flex`
//! reaches the tensors' buffers; all else works on slices.
//!
//! This is the one module with unsafe code: instruction sets that are chosen when the program runs
//! (`simd`), several threads that write parts of one buffer that do not overlap (`buffer`), and
//! files of weights that kernels read as memory (`mapped_file`).

#![allow(unsafe_code)]
// A tensor that is given back is no failure, and moving it costs less than a box.
#![allow(clippy::result_large_err)]

#[cfg(feature = "cpu")]
mod attention;
#[cfg(feature = "cpu")]
mod buffer;
#[cfg(feature = "cpu")]
mod convolution;
#[cfg(feature = "cpu")]
mod elementwise;
#[cfg(feature = "cpu")]
mod flex;
#[cfg(feature = "cpu")]
mod gemm;
mod mapped_file;
#[cfg(feature = "cpu")]
mod math;
#[cfg(feature = "cpu")]
mod minimal_filtering;
#[cfg(feature = "cpu")]
mod norm;
#[cfg(feature = "cpu")]
mod simd;
#[cfg(feature = "cpu")]
mod stored;
#[cfg(feature = "cpu")]
mod winograd;

#[cfg(not(feature = "cpu"))]
#[path = "absent.rs"]
mod tensors;
#[cfg(feature = "cpu")]
mod tensors;

#[cfg(all(test, feature = "cpu"))]
mod definitions;
#[cfg(all(test, feature = "cpu"))]
mod tests;

pub use mapped_file::file_contents;
pub(crate) use tensors::{
    Affine, StoredConvolution, StoredLinear, activate, add, attend, cat_channels, feature_map,
    geglu, nearest, run_on, tokens,
};

/// A function that follows another operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// None.
    Keep,
    /// SiLU.
    Silu,
    /// The exact GELU.
    Gelu,
    /// `x · sigmoid(1.702 x)`
    QuickGelu,
    /// `max(x, 0)`
    Relu,
}

/// What is multiplied; sums are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    /// Twice the products where the processor multiplies bf16.
    Bf16,
}
