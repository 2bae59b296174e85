//! The screened Poisson equation on a grid of pixels, solved by multigrid (Briggs, Henson and
//! McCormick, "A Multigrid Tutorial", 2000).

/// Three channels of a pixel.
pub(super) type Channels = [f32; 3];

/// Sweeps before and after each visit to a coarser grid.
const SWEEPS: usize = 2;

/// Sweeps on the coarsest grid.
const COARSEST_SWEEPS: usize = 24;

/// The longest side of the coarsest grid.
const COARSEST_SIDE: usize = 3;

/// Visits to all grids at most. Each divides the error by about five.
const MOST_CYCLES: usize = 16;

/// Where a cycle changes no value by more, the solution is found: a twentieth of a grey level.
const SETTLED: f32 = 0.0002;

/// For each pixel `Σ (f − f′) + pull · f = source`, with the sum over the up to four neighbours:
/// nothing flows over the edges of the grid.
#[derive(Debug)]
pub(super) struct Membrane {
    /// The grid, and those with half the pixels on a side, down to a few pixels.
    grids: Vec<Grid>,
    source: Vec<Channels>,
}

#[derive(Debug)]
struct Grid {
    width: usize,
    height: usize,
    pull: Vec<f32>,
}

impl Membrane {
    /// `pull`, 0 or more, and `source` have a value for each of `width` × `height` pixels.
    pub(super) fn new(width: usize, height: usize, pull: Vec<f32>, source: Vec<Channels>) -> Self {
        let mut grids = vec![Grid { width, height, pull }];
        while let Some(coarse) = grids.last().and_then(Grid::coarser) {
            grids.push(coarse);
        }
        Self { grids, source }
    }

    /// The solution, from `values`, which should be near it. Where nothing pulls at all, it is
    /// known up to a constant only, and `values` decide.
    pub(super) fn solve(&self, values: &mut [Channels]) {
        for _ in 0..MOST_CYCLES {
            let before = values.to_vec();
            cycle(&self.grids, &self.source, values);
            let changes = before.iter().flatten().zip(values.iter().flatten());
            let largest =
                changes.fold(0.0_f32, |largest, (one, two)| largest.max((one - two).abs()));
            if largest < SETTLED {
                break;
            }
        }
    }
}

/// One V-cycle over `grids`, the finest first.
fn cycle(grids: &[Grid], source: &[Channels], values: &mut [Channels]) {
    let [grid, coarser @ ..] = grids else { return };
    let Some(coarse) = coarser.first() else {
        for _ in 0..COARSEST_SWEEPS {
            grid.sweep(source, values);
        }
        return;
    };
    for _ in 0..SWEEPS {
        grid.sweep(source, values);
    }
    // A coarse cell has the sum of its four pixels' errors and pulls.
    let mut coarse_source = vec![[0.0; 3]; coarse.pull.len()];
    for y in 0..grid.height {
        for x in 0..grid.width {
            let residual = grid.residual(x, y, source, values);
            let sum = &mut coarse_source[y / 2 * coarse.width + x / 2];
            for (sum, residual) in sum.iter_mut().zip(residual) {
                *sum += residual;
            }
        }
    }
    let mut correction = vec![[0.0; 3]; coarse.pull.len()];
    cycle(coarser, &coarse_source, &mut correction);
    for y in 0..grid.height {
        for x in 0..grid.width {
            let corrected = coarse.between(&correction, x, y);
            for (value, correction) in values[y * grid.width + x].iter_mut().zip(corrected) {
                *value += correction;
            }
        }
    }
    for _ in 0..SWEEPS {
        grid.sweep(source, values);
    }
}

impl Grid {
    fn coarser(&self) -> Option<Self> {
        if self.width.max(self.height) <= COARSEST_SIDE {
            return None;
        }
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut pull = vec![0.0; width * height];
        for (place, value) in self.pull.iter().enumerate() {
            pull[place / self.width / 2 * width + place % self.width / 2] += value;
        }
        Some(Self { width, height, pull })
    }

    /// The sum of the neighbours' values and their number.
    fn neighbours(&self, x: usize, y: usize, values: &[Channels]) -> (Channels, f32) {
        let place = y * self.width + x;
        let mut sum = [0.0; 3];
        let mut count = 0.0;
        let mut add = |value: &Channels| {
            for (sum, value) in sum.iter_mut().zip(value) {
                *sum += value;
            }
            count += 1.0;
        };
        if x > 0 {
            add(&values[place - 1]);
        }
        if x + 1 < self.width {
            add(&values[place + 1]);
        }
        if y > 0 {
            add(&values[place - self.width]);
        }
        if y + 1 < self.height {
            add(&values[place + self.width]);
        }
        (sum, count)
    }

    /// Solves each pixel's equation for its own value, first the black squares of a chessboard
    /// and then the white ones.
    fn sweep(&self, source: &[Channels], values: &mut [Channels]) {
        for colour in 0..2 {
            for y in 0..self.height {
                for x in ((y + colour) % 2..self.width).step_by(2) {
                    let place = y * self.width + x;
                    let (sum, count) = self.neighbours(x, y, values);
                    let weight = count + self.pull[place];
                    if weight > 0.0 {
                        for channel in 0..3 {
                            values[place][channel] =
                                (sum[channel] + source[place][channel]) / weight;
                        }
                    }
                }
            }
        }
    }

    /// What is left of the source at a pixel.
    fn residual(&self, x: usize, y: usize, source: &[Channels], values: &[Channels]) -> Channels {
        let place = y * self.width + x;
        let (sum, count) = self.neighbours(x, y, values);
        let weight = count + self.pull[place];
        let mut residual = source[place];
        for channel in 0..3 {
            residual[channel] += sum[channel] - weight * values[place][channel];
        }
        residual
    }

    /// The bilinear value of this grid's `values` at a pixel of the next finer one.
    fn between(&self, values: &[Channels], x: usize, y: usize) -> Channels {
        // Centres of fine pixels lie a quarter of a coarse pixel left or right of its centre.
        let near = |at: usize, side: usize| {
            let other = if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { at / 2 + 1 };
            [(at / 2, 0.75), (other.min(side - 1), 0.25)]
        };
        let mut value = [0.0; 3];
        for (y, vertical) in near(y, self.height) {
            for (x, horizontal) in near(x, self.width) {
                for (value, part) in value.iter_mut().zip(values[y * self.width + x]) {
                    *value += part * vertical * horizontal;
                }
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_borders_of_a_plane_give_the_plane() {
        let (width, height) = (53, 37);
        let plane = |x: usize, y: usize| [x as f32 / 53.0, y as f32 / 37.0, 0.25];
        let border = |x, y| x == 0 || y == 0 || x == width - 1 || y == height - 1;
        let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pull: Vec<f32> = places().map(|(x, y)| if border(x, y) { 1e4 } else { 0.0 }).collect();
        let source = places()
            .zip(&pull)
            .map(|((x, y), &pull)| plane(x, y).map(|value| value * pull))
            .collect();
        let membrane = Membrane::new(width, height, pull, source);
        let mut values = vec![[0.0; 3]; width * height];
        membrane.solve(&mut values);
        for ((x, y), value) in places().zip(values) {
            for (value, expected) in value.iter().zip(plane(x, y)) {
                assert!((value - expected).abs() < 0.002, "{x} {y}: {value} for {expected}");
            }
        }
    }

    #[test]
    fn without_a_pull_the_values_stay() {
        let membrane = Membrane::new(9, 5, vec![0.0; 45], vec![[0.0; 3]; 45]);
        let mut values = vec![[0.5, 0.25, 1.0]; 45];
        membrane.solve(&mut values);
        for value in values {
            assert!((value[0] - 0.5).abs() < 1e-5 && (value[2] - 1.0).abs() < 1e-5, "{value:?}");
        }
    }
}
