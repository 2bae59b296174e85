//! Quantiles of the beta distribution.

/// Lanczos' approximation of the gamma function, g = 7, 9 terms.
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// The `x` between 0 and 1 below which a share `probability` of the distribution lies.
///
/// `a` and `b` are the two shape parameters, above 0. Found by bisection, to the last bit of a
/// few thousand values a run this is fast enough.
pub(super) fn quantile(probability: f64, a: f64, b: f64) -> f64 {
    if probability <= 0.0 {
        return 0.0;
    }
    if probability >= 1.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if regularized_incomplete_beta(middle, a, b) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The share of the distribution below `x`.
fn regularized_incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    // The continued fraction converges fast only on this side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularized_incomplete_beta(1.0 - x, b, a);
    }
    let front =
        (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    front * continued_fraction(x, a, b) / a
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz' method.
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = result;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            result *= c * d;
        }
        if (result - before).abs() <= f64::EPSILON * result.abs() {
            break;
        }
    }
    result
}

/// The logarithm of the gamma function for `x` above 0.
fn log_gamma(x: f64) -> f64 {
    let x = x - 1.0;
    let base = x + 7.5;
    let series = LANCZOS[1..]
        .iter()
        .zip(1_u32..)
        .fold(LANCZOS[0], |sum, (term, index)| sum + term / (x + f64::from(index)));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_quantiles() {
        // The arcsine distribution has a closed form.
        for probability in [0.01, 0.25, 0.5, 0.9] {
            let expected = (std::f64::consts::FRAC_PI_2 * probability).sin().powi(2);
            assert!((quantile(probability, 0.5, 0.5) - expected).abs() < 1e-12);
        }
        assert!((quantile(0.3, 1.0, 1.0) - 0.3).abs() < 1e-12);
        assert!((quantile(0.5, 0.6, 0.6) - 0.5).abs() < 1e-12);
        assert_eq!(quantile(0.0, 0.6, 0.6), 0.0);
        assert_eq!(quantile(1.0, 0.6, 0.6), 1.0);
    }

    #[test]
    fn gamma_of_small_numbers() {
        assert!((log_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-13);
        assert!((log_gamma(5.0) - 24_f64.ln()).abs() < 1e-12);
    }
}
