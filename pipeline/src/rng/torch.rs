//! torch's CPU generator: the Mersenne Twister with torch's way from bits to normal numbers
//! (`aten/src/ATen/native/cpu/DistributionTemplates.h`, `aten/src/ATen/core/DistributionsHelper.h`).

use std::f64::consts::TAU;

use rand_mt::Mt;

/// From this many numbers on, torch fills the memory first and transforms it in blocks.
const BLOCK: usize = 16;

/// `torch.Generator().manual_seed(seed)`.
#[derive(Debug, Clone)]
pub struct TorchGenerator {
    engine: Mt,
    /// The second normal number of a pair that a draw of few numbers made and did not need.
    spare: Option<f64>,
}

impl TorchGenerator {
    /// Starts the stream of a seed, of which torch uses the low 32 bits.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt::new(seed as u32), spare: None }
    }

    /// `torch.rand(count)` in f32: numbers from 0 up to but without 1.
    pub fn uniform(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.uniform_f32()).collect()
    }

    /// `torch.randn(count)` in f32: standard normal numbers.
    ///
    /// Logarithm and cosine are taken in f64 and rounded. torch's vector instructions are up to
    /// two units in the last place off that, so values agree to about 1e-6 and are the same on
    /// every machine of ours, which they are not in torch.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.next_normal() as f32).collect();
        }
        let mut values = self.uniform(count);
        let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
        for block in blocks {
            transform(block);
        }
        if !rest.is_empty() {
            // torch draws the last whole block anew, over numbers that are already done.
            let mut block = std::array::from_fn(|_| self.uniform_f32());
            transform(&mut block);
            values[count - BLOCK..].copy_from_slice(&block);
        }
        values
    }

    fn uniform_f32(&mut self) -> f32 {
        const BITS: u32 = 24;
        (self.engine.next_u32() & ((1 << BITS) - 1)) as f32 / (1_u32 << BITS) as f32
    }

    fn uniform_f64(&mut self) -> f64 {
        const BITS: u32 = 53;
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        let bits = (high << 32 | low) & ((1 << BITS) - 1);
        bits as f64 / (1_u64 << BITS) as f64
    }

    /// One number of a small draw, by the Box-Muller transform in f64.
    fn next_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = TAU * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// The Box-Muller transform of eight pairs: the first half is the radii, the second the angles.
fn transform(block: &mut [f32; BLOCK]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * f64::from(1.0 - *first).ln()).sqrt();
        // The angle is rounded to f32 as in torch: that rounding can be seen in the result.
        let angle = f64::from(std::f32::consts::TAU * *second);
        *first = (radius * angle.cos()) as f32;
        *second = (radius * angle.sin()) as f32;
    }
}
