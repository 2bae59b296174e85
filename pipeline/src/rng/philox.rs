//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) as
//! torch draws from it on GPUs of NVIDIA and A1111's web UI imitates (`modules/rng_philox.py`).

/// The multipliers of a round.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];

/// What the key grows by between rounds.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The number of rounds.
const ROUNDS: usize = 10;

/// 2⁻³² as CUDA spells it in f32.
const INVERSE: f32 = 2.328_306_4e-10;

/// 2π · 2⁻³² as CUDA spells it in f32.
const INVERSE_TAU: f32 = (2.328_306_4e-10_f64 * 6.283_185_5_f64) as f32;

/// The stream of one seed.
#[derive(Debug, Clone)]
pub struct PhiloxGenerator {
    key: [u32; 2],
    /// Draws made so far.
    offset: u32,
}

impl PhiloxGenerator {
    /// Starts the stream of a seed, which is the key.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], offset: 0 }
    }

    /// The next draw of standard normal numbers.
    ///
    /// Each number has its own counter, so the first numbers of a draw do not depend on how many
    /// there are.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        let offset = self.offset;
        self.offset = offset.wrapping_add(1);
        (0..count)
            .map(|index| {
                let bits = philox4x32([offset, 0, index as u32, 0], self.key);
                box_muller(bits[0], bits[1])
            })
            .collect()
    }
}

/// Ten rounds of Philox: four random words for a counter and a key.
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key[0] = key[0].wrapping_add(KEY_STEPS[0]);
            key[1] = key[1].wrapping_add(KEY_STEPS[1]);
        }
        let first = u64::from(counter[0]) * u64::from(MULTIPLIERS[0]);
        let second = u64::from(counter[2]) * u64::from(MULTIPLIERS[1]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// One normal number of the pair that two words give.
fn box_muller(x: u32, y: u32) -> f32 {
    let scaled = |word: u32, unit: f32| f64::from(word) * f64::from(unit) + f64::from(unit / 2.0);
    let radius = (-2.0 * scaled(x, INVERSE).ln()).sqrt();
    (radius * scaled(y, INVERSE_TAU).sin()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the file `kat_vectors` of Random123, which the authors of Philox publish.
    #[test]
    fn known_answers() {
        let answers = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in answers {
            assert_eq!(philox4x32(counter, key), words);
        }
    }

    #[test]
    fn the_largest_word_gives_a_number() {
        assert!(box_muller(u32::MAX, u32::MAX).is_finite());
        assert!(box_muller(0, 0).is_finite());
    }
}
