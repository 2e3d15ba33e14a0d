//! Whether something grows: a straight line through what was seen, by least squares.

/// By how much the line through the points rises from the first to the last of them.
pub fn rise(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    if spread == 0.0 {
        return 0.0;
    }
    let together: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    together / spread * (last.0 - first.0)
}

pub fn mean(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, y)| y).sum::<f64>() / points.len().max(1) as f64
}

pub fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, y)| *y).fold(f64::MIN, f64::max)
}

/// What counts as flat: the line through the second half of the points rises by no more than a share of their mean and an
/// amount that is nothing.
#[derive(Debug, Clone, Copy)]
pub struct Flat {
    pub share: f64,
    pub amount: f64,
}

/// What became of one series.
#[derive(Debug)]
pub struct Verdict {
    pub is_flat: bool,
    pub words: String,
}

impl Flat {
    pub fn judge(self, name: &str, unit: &str, points: &[(f64, f64)]) -> Verdict {
        let half = &points[points.len() / 2..];
        let (rise, mean) = (rise(half), mean(half));
        let allowed = mean.abs() * self.share + self.amount;
        let words = format!(
            "{name}: {mean:.1} {unit} on average in the second half, at most {:.1}; the line through it rises by {rise:+.2}, {} {allowed:.2}",
            highest(half),
            if rise <= allowed { "no more than" } else { "MORE THAN" }
        );
        Verdict { is_flat: rise <= allowed, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: u32, y: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..count).map(|x| (f64::from(x), y(f64::from(x)))).collect()
    }

    #[test]
    fn a_line_rises_by_what_it_rises() {
        assert!((rise(&points(101, |x| 5.0 + 0.25 * x)) - 25.0).abs() < 1e-9);
        assert!((rise(&points(101, |x| 5.0 - 0.25 * x)) + 25.0).abs() < 1e-9);
        assert_eq!(rise(&points(1, |_| 5.0)), 0.0);
        assert_eq!(rise(&[]), 0.0);
    }

    #[test]
    fn what_goes_up_and_down_is_flat_and_what_creeps_up_is_not() {
        let flat = Flat { share: 0.05, amount: 0.0 };
        let sawtooth = |x: f64| 100.0 + (x % 10.0) * 5.0;
        assert!(flat.judge("log", "MiB", &points(400, sawtooth)).is_flat);
        let creeps = flat.judge("log", "MiB", &points(400, |x| sawtooth(x) + x * 0.1));
        assert!(!creeps.is_flat && creeps.words.contains("MORE THAN"), "{}", creeps.words);
        // What fills at the beginning is not held against it.
        assert!(flat.judge("memory", "MiB", &points(400, |x| x.min(150.0))).is_flat);
    }
}
