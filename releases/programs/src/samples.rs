//! Many values of one quantity: medians beside their spread.
//!
//! It must never throw a value away: a slow round shows in the spread, and what never came is a value without end.

/// All samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().copied()
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Their mean; zero if there are none.
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() {
            0.0
        } else {
            self.sum() / self.0.len() as f64
        }
    }

    /// The value below which the share `q` (0 to 1) of all samples lies, interpolated; zero if there are none. Without
    /// end as soon as a sample without end has a part in it.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return 0.0;
        };
        let at = q.clamp(0.0, 1.0) * last as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        if low == high || sorted[low] == sorted[high] {
            // Nothing lies between the two; between two without end there is not even a number.
            return sorted[low];
        }
        sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
    }

    /// Half of them lie below it.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_survive_nothing() {
        assert_eq!(Samples::default().median(), 0.0);
        let samples: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(samples.median(), 2.5);
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 4.0));
        assert_eq!((samples.mean(), samples.count()), (2.5, 4));
    }

    #[test]
    fn what_never_came_makes_the_quantiles_above_it_endless() {
        let mut samples: Samples = (0..=90).map(f64::from).collect();
        for _ in 0..10 {
            samples.push(f64::INFINITY);
        }
        assert_eq!(samples.quantile(0.5), 50.0);
        assert_eq!(samples.quantile(0.9), 90.0);
        for q in [0.901, 0.95, 1.0] {
            assert_eq!(samples.quantile(q), f64::INFINITY, "{q}");
        }
    }

    #[test]
    fn the_slowest_twentieth_begins_at_the_95th_percentile() {
        let samples: Samples = (0..=100).rev().map(f64::from).collect();
        assert_eq!(samples.quantile(0.95), 95.0);
        assert_eq!(samples.quantile(0.5), 50.0);
        let one: Samples = [7.0].into_iter().collect();
        assert_eq!((one.quantile(0.95), one.median()), (7.0, 7.0));
    }
}
