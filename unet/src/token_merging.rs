//! Self-attention over fewer tokens: those that are most like others are merged into them before,
//! and get what comes of them after (Bolya and Hoffman, arXiv:2303.17604).

use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

/// The side of the squares of which each keeps a token that others are merged into.
const STRIDE: usize = 2;

/// Cosines that are held at once, 16 MiB in f32.
const MOST_COSINES: usize = 1 << 22;

/// Which tokens of a batch are merged into which. Rows are those of all samples, one after the
/// other.
#[derive(Debug)]
pub(crate) struct TokenMerge {
    batch: usize,
    tokens: usize,
    /// Tokens of each sample that remain.
    remaining: usize,
    /// The row of each token that remains.
    kept: Tensor<1, Int>,
    /// The rows that are merged.
    merged: Tensor<1, Int>,
    /// For each of them, the place of its destination among those that remain.
    destinations: Tensor<1, Int>,
    /// For each that remains, one over the number of tokens that it stands for, `[rows, 1]`.
    shares: Tensor<2>,
    /// For each token, the place among those that remain of the one that stands for it.
    places: Tensor<1, Int>,
}

impl TokenMerge {
    /// Chooses the share `ratio` of the tokens, those that are most like one of the destinations by
    /// the cosine between them; destinations are the upper left token of each square of four, so a
    /// picture comes out again as it was. `None` where there is nothing to merge.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, height · width, channels]`, the tokens by which they are compared
    pub(crate) fn new(x: &Tensor<3>, size: [usize; 2], ratio: f64) -> Option<Self> {
        let [batch, tokens, _] = x.dims();
        let merges = (tokens as f64 * ratio) as usize;
        if merges == 0 {
            return None;
        }
        let (destinations, sources) = partition(size);
        let merges = merges.min(sources.len());
        if destinations.is_empty() {
            return None;
        }
        let (similarities, nearest) = nearest(x, &sources, &destinations)?;
        let remaining = tokens - merges;
        let mut rows = Rows::default();
        for sample in 0..batch {
            let of_sample = sample * sources.len()..(sample + 1) * sources.len();
            let similarities = &similarities[of_sample.clone()];
            let mut order: Vec<usize> = (0..sources.len()).collect();
            // Of two that are equally alike the first goes first.
            order.sort_by(|&one, &other| similarities[other].total_cmp(&similarities[one]));
            let mut into = vec![None; tokens];
            for &source in &order[..merges] {
                let destination = nearest[of_sample.start + source];
                into[sources[source]] = Some(destinations[destination]);
            }
            rows.add_sample(&into, sample * tokens, sample * remaining);
        }
        let device = x.device();
        let shares: Vec<f64> = rows.counts.iter().map(|&count| 1.0 / count as f64).collect();
        let shares = TensorData::new(shares, [batch * remaining, 1]);
        Some(Self {
            batch,
            tokens,
            remaining,
            kept: integers(rows.kept, &device),
            merged: integers(rows.merged, &device),
            destinations: integers(rows.destinations, &device),
            shares: Tensor::from_data(shares, (&device, x.dtype())),
            places: integers(rows.places, &device),
        })
    }

    /// The tokens that remain, each the mean of those that it stands for.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, tokens, channels]`
    /// - output: `[batch, remaining, channels]`
    pub(crate) fn merge(&self, x: Tensor<3>) -> Tensor<3> {
        let channels = x.dims()[2];
        let rows: Tensor<2> = x.reshape([self.batch * self.tokens, channels]);
        let merged = rows.clone().select(0, self.merged.clone());
        let kept = rows.select(0, self.kept.clone());
        let sums = kept.select_assign(0, self.destinations.clone(), merged, IndexingUpdateOp::Add);
        (sums * self.shares.clone()).reshape([self.batch, self.remaining, channels])
    }

    /// All tokens, each that was merged with the value of the one that stands for it.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, remaining, channels]`
    /// - output: `[batch, tokens, channels]`
    pub(crate) fn unmerge(&self, x: Tensor<3>) -> Tensor<3> {
        let channels = x.dims()[2];
        let rows: Tensor<2> = x.reshape([self.batch * self.remaining, channels]);
        rows.select(0, self.places.clone()).reshape([self.batch, self.tokens, channels])
    }
}

/// The tokens that others may be merged into, and those that may be merged: at the right and lower
/// edge of an odd size all of them.
fn partition([height, width]: [usize; 2]) -> (Vec<usize>, Vec<usize>) {
    let is_corner = |at: usize, side: usize| at.is_multiple_of(STRIDE) && at + STRIDE <= side;
    (0..height * width)
        .partition(|token| is_corner(token / width, height) && is_corner(token % width, width))
}

/// For each source of each sample the largest cosine between it and a destination, and the place of
/// that destination.
fn nearest(
    x: &Tensor<3>,
    sources: &[usize],
    destinations: &[usize],
) -> Option<(Vec<f32>, Vec<usize>)> {
    // Squares of activations may be too large for f16.
    let x = if matches!(x.dtype(), DType::F16) { x.clone().cast(DType::F32) } else { x.clone() };
    let lengths = x.clone().square().sum_dim(2).sqrt();
    let batch = x.dims()[0];
    let directions = x / lengths.clamp_min(f32::MIN_POSITIVE);
    let device = directions.device();
    let of = |tokens: &[usize]| directions.clone().select(1, integers(tokens.to_vec(), &device));
    let keys = of(destinations).swap_dims(1, 2);
    let slice = (MOST_COSINES / (batch * destinations.len()).max(1)).max(1);
    let slices = sources
        .chunks(slice)
        .map(|sources| of(sources).matmul(keys.clone()).max_dim_with_indices(2));
    let (largest, places): (Vec<_>, Vec<_>) = slices.unzip();
    let (largest, places) = (Tensor::cat(largest, 1), Tensor::cat(places, 1));
    let largest = largest.into_data().convert::<f32>().try_to_vec::<f32>().ok()?;
    let places = places.into_data().convert::<i64>().try_to_vec::<i64>().ok()?;
    Some((largest, places.into_iter().map(|place| place as usize).collect()))
}

/// The fields of a [`TokenMerge`] while they are gathered.
#[derive(Debug, Default)]
struct Rows {
    kept: Vec<usize>,
    counts: Vec<usize>,
    merged: Vec<usize>,
    destinations: Vec<usize>,
    places: Vec<usize>,
}

impl Rows {
    /// Adds a sample whose tokens are merged into others or remain. Its rows begin at `first`, those
    /// that remain at `first_kept`.
    fn add_sample(&mut self, into: &[Option<usize>], first: usize, first_kept: usize) {
        let mut place_of = vec![0; into.len()];
        let remaining = (0..into.len()).filter(|&token| into[token].is_none());
        for (place, token) in (first_kept..).zip(remaining) {
            place_of[token] = place;
            self.kept.push(first + token);
            self.counts.push(1);
        }
        for (token, destination) in into.iter().enumerate() {
            let place = place_of[destination.unwrap_or(token)];
            self.places.push(place);
            if destination.is_some() {
                self.merged.push(first + token);
                self.destinations.push(place);
                self.counts[place] += 1;
            }
        }
    }
}

fn integers(values: Vec<usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), (device, DType::I32))
}
