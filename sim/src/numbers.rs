//! Chance that is the same on every machine: a seeded generator, and distributions that are
//! made of it with nothing but what IEEE 754 fixes to the last bit. The `ln` and `exp` of the
//! standard library come from the platform and differ between platforms.

use serde::{Deserialize, Serialize};

/// A source of numbers: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The source of a thing that is named by `key`. What is drawn for one thing does not
    /// depend on what was drawn for others, so that policies are compared under the same luck.
    pub(crate) fn keyed(seed: u64, key: &[u64]) -> Self {
        let fold = |state: u64, &word: &u64| mix(state.wrapping_add(GOLDEN) ^ mix(word));
        Self(key.iter().fold(mix(seed), fold))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -ln(1.0 - self.unit())
    }

    /// Normal with mean 0 and deviation 1, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * (-2.0 * ln(s) / s).sqrt();
            }
        }
    }

    /// The place of one of the weights, each as likely as it is heavy.
    pub(crate) fn pick(&mut self, weights: &[f64]) -> usize {
        let total: f64 = weights.iter().sum();
        let mut left = self.unit() * total;
        for (place, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return place;
            }
        }
        weights.len().saturating_sub(1)
    }
}

/// The natural logarithm of a positive number: `x = m · 2^e` with `m` near 1, and the series of
/// `2 artanh((m - 1) / (m + 1))`.
fn ln(x: f64) -> f64 {
    if x <= 0.0 {
        return f64::MIN;
    }
    let bits = x.to_bits();
    let biased = (bits >> 52) & 0x7ff;
    if biased == 0 {
        return ln(x * (1_u64 << 54) as f64) - 54.0 * std::f64::consts::LN_2;
    }
    let mut exponent = biased as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let (mut term, mut sum) = (t, 0.0);
    for odd in (1..=25).step_by(2) {
        sum += term / f64::from(odd);
        term *= square;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// `e^x`: `2^n` times the series of what is left.
fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let n = (x / std::f64::consts::LN_2).round();
    let rest = x - n * std::f64::consts::LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..=18 {
        term *= rest / f64::from(i);
        sum += term;
    }
    let power = f64::from_bits(((n as i64 + 1023) as u64) << 52);
    sum * power
}

/// How a span of time is distributed. All values are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[serde(expecting = "a distribution such as `{ kind = \"fixed\", seconds = 90 }`")]
pub enum Distribution {
    /// Always the same.
    Fixed {
        /// The value.
        seconds: f64,
    },
    /// Any value of a range, all as likely.
    Uniform {
        /// The least.
        from_s: f64,
        /// The most.
        to_s: f64,
    },
    /// Without memory.
    Exponential {
        /// The mean.
        mean_s: f64,
        /// Longer ones are cut to it.
        #[serde(default = "unbounded")]
        max_s: f64,
    },
    /// The logarithm is normal: most are short, some are very long.
    Lognormal {
        /// Half of all are shorter.
        median_s: f64,
        /// Deviation of the logarithm.
        sigma: f64,
        /// Longer ones are cut to it.
        #[serde(default = "unbounded")]
        max_s: f64,
    },
    /// A heavy tail: `P(X > x) = (min / x)^alpha`.
    Pareto {
        /// The least.
        min_s: f64,
        /// The smaller, the heavier the tail.
        alpha: f64,
        /// Longer ones are cut to it.
        #[serde(default = "unbounded")]
        max_s: f64,
    },
}

const fn unbounded() -> f64 {
    f64::MAX
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Fixed { seconds: 0.0 }
    }
}

impl Distribution {
    /// Reads one that is written as in the files: `{ kind = "exponential", mean_s = 600 }`.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn read(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line {
            it: Distribution,
        }
        let line: Line = toml::from_str(&format!("it = {text}")).map_err(|it| it.to_string())?;
        line.it.check()?;
        Ok(line.it)
    }

    /// Refuses parameters that make no sense.
    ///
    /// # Errors
    /// A sentence that says which, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            (value > 0.0)
                .then_some(())
                .ok_or_else(|| format!("`{name}` must be more than 0, not {value}"))
        };
        match *self {
            Self::Fixed { seconds } if seconds >= 0.0 => Ok(()),
            Self::Fixed { seconds } => Err(format!("`seconds` must be 0 or more, not {seconds}")),
            Self::Uniform { from_s, to_s } if 0.0 <= from_s && from_s <= to_s => Ok(()),
            Self::Uniform { from_s, to_s } => Err(format!(
                "`from_s` must be 0 or more and at most `to_s`, not {from_s} and {to_s}"
            )),
            Self::Exponential { mean_s, max_s } => {
                positive("mean_s", mean_s)?;
                positive("max_s", max_s)
            }
            Self::Lognormal {
                median_s,
                sigma,
                max_s,
            } => {
                positive("median_s", median_s)?;
                positive("max_s", max_s)?;
                (sigma >= 0.0)
                    .then_some(())
                    .ok_or_else(|| format!("`sigma` must be 0 or more, not {sigma}"))
            }
            Self::Pareto {
                min_s,
                alpha,
                max_s,
            } => {
                positive("min_s", min_s)?;
                positive("alpha", alpha)?;
                positive("max_s", max_s)
            }
        }
    }

    /// One value, in milliseconds.
    pub(crate) fn draw_ms(&self, rng: &mut Rng) -> u64 {
        let seconds = match *self {
            Self::Fixed { seconds } => seconds,
            Self::Uniform { from_s, to_s } => from_s + (to_s - from_s) * rng.unit(),
            Self::Exponential { mean_s, max_s } => (mean_s * rng.exponential()).min(max_s),
            Self::Lognormal {
                median_s,
                sigma,
                max_s,
            } => (median_s * exp(sigma * rng.normal())).min(max_s),
            Self::Pareto {
                min_s,
                alpha,
                max_s,
            } => (min_s * exp(rng.exponential() / alpha)).min(max_s),
        };
        // Saturates, and 10^11 s are longer than anything that is simulated.
        (seconds.min(1e11) * 1000.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_platform_to_the_last_digits() {
        for i in 1..2000 {
            let x = f64::from(i) * 0.37 / 7.0;
            assert!(
                (ln(x) - x.ln()).abs() < 1e-13 * x.ln().abs().max(1.0),
                "{x}"
            );
            let y = f64::from(i - 1000) * 0.05;
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-12, "{y}");
        }
        assert!((ln(1e-310) - 1e-310_f64.ln()).abs() < 1e-10);
    }

    fn mean_of(distribution: &Distribution) -> f64 {
        let mut rng = Rng::keyed(7, &[1]);
        let sum: u64 = (0..200_000).map(|_| distribution.draw_ms(&mut rng)).sum();
        sum as f64 / 200_000.0 / 1000.0
    }

    #[test]
    fn distributions_have_their_means() {
        let near = |distribution: Distribution, mean: f64| {
            let got = mean_of(&distribution);
            assert!((got / mean - 1.0).abs() < 0.02, "{distribution:?}: {got}");
        };
        let max_s = f64::MAX;
        near(Distribution::Fixed { seconds: 3.0 }, 3.0);
        let (from_s, to_s) = (10.0, 30.0);
        near(Distribution::Uniform { from_s, to_s }, 20.0);
        near(
            Distribution::Exponential {
                mean_s: 50.0,
                max_s,
            },
            50.0,
        );
        let (median_s, sigma) = (100.0, 0.5);
        let lognormal = Distribution::Lognormal {
            median_s,
            sigma,
            max_s,
        };
        near(lognormal, 100.0 * (0.125_f64).exp());
        let (min_s, alpha) = (10.0, 3.0);
        near(
            Distribution::Pareto {
                min_s,
                alpha,
                max_s,
            },
            15.0,
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        let mut rng = Rng::keyed(42, &[1, 2]);
        let words: Vec<u64> = (0..3).map(|_| rng.word()).collect();
        let mut again = Rng::keyed(42, &[1, 2]);
        assert_eq!(words, [again.word(), again.word(), again.word()]);
        assert_ne!(words[0], Rng::keyed(42, &[2, 1]).word());
        let lognormal = Distribution::Lognormal {
            median_s: 600.0,
            sigma: 1.5,
            max_s: f64::MAX,
        };
        let drawn: Vec<u64> = (0..3).map(|_| lognormal.draw_ms(&mut rng)).collect();
        insta::assert_compact_debug_snapshot!((words, drawn));
    }
}
