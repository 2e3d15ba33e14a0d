//! How cost grows: points, the straight line through them, and an SVG of both.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 420);

/// One plot.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The file's name without its ending.
    pub name: &'static str,
    /// What grows with what.
    pub title: &'static str,
    /// The axis of the cause.
    pub x: &'static str,
    /// The axis of the cost.
    pub y: &'static str,
    /// The unit of the cost.
    pub unit: &'static str,
    /// Causes and costs.
    pub points: Vec<(f64, f64)>,
    /// The slope's unit, and how many of it one unit of cost for each one of the cause is.
    pub slope_unit: (&'static str, f64),
}

/// A straight line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The cost of none.
    pub base: f64,
    /// The cost of one more.
    pub slope: f64,
}

impl Chart {
    /// The straight line with the least squares.
    pub fn line(&self) -> Line {
        let count = self.points.len() as f64;
        let (mean_x, mean_y) = (
            self.points.iter().map(|point| point.0).sum::<f64>() / count,
            self.points.iter().map(|point| point.1).sum::<f64>() / count,
        );
        let covariance: f64 = self.points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let variance: f64 = self.points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let slope = if variance == 0.0 { 0.0 } else { covariance / variance };
        Line { base: mean_y - slope * mean_x, slope }
    }

    /// The slope, in words.
    pub fn slope(&self) -> String {
        let line = self.line();
        let (slope_unit, factor) = self.slope_unit;
        format!("{} {slope_unit}, beside {} {}", number(line.slope * factor), number(line.base), self.unit)
    }

    /// Writes the plot to `directory`.
    pub fn draw(&self, directory: &Path) -> Result<()> {
        let file = directory.join(format!("{}.svg", self.name));
        self.draw_to(&file).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
    }

    fn draw_to(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let greatest =
            |values: fn(&(f64, f64)) -> f64| self.points.iter().map(values).fold(f64::MIN_POSITIVE, f64::max);
        let (right, top) = (greatest(|point| point.0) * 1.05, greatest(|point| point.1) * 1.15);
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{}: {}", self.title, self.slope()), ("sans-serif", 15))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        let line = self.line();
        let ends = [0.0, right].map(|x| (x, line.base + line.slope * x));
        chart.draw_series(LineSeries::new(ends, RGBColor(120, 120, 120)))?;
        chart.draw_series(self.points.iter().map(|point| Circle::new(*point, 4, RGBColor(20, 90, 160).filled())))?;
        area.present()?;
        Ok(())
    }
}

/// Three figures that count, and commas between thousands.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    let text = match magnitude {
        _ if magnitude >= 99.5 => format!("{magnitude:.0}"),
        _ if magnitude >= 9.95 => format!("{magnitude:.1}").trim_end_matches(".0").to_owned(),
        _ if magnitude >= 0.0995 => trimmed(format!("{magnitude:.2}")),
        _ if magnitude < 0.000_05 => "0".to_owned(),
        _ => trimmed(format!("{magnitude:.4}")),
    };
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 && text != "0" { "-" } else { "" };
    rest.map_or_else(|| format!("{sign}{grouped}"), |rest| format!("{sign}{grouped}.{rest}"))
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_that_count() {
        let texts = [0.0, 0.0123, 0.5, 1.236, 24.04, 151.6, 190_345.0, -3.5].map(number);
        assert_eq!(texts, ["0", "0.0123", "0.5", "1.24", "24", "152", "190,345", "-3.5"]);
    }

    #[test]
    fn the_slope_of_a_straight_line_is_its_own() {
        let chart = Chart {
            name: "test",
            title: "",
            x: "",
            y: "",
            unit: "ms",
            points: vec![(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)],
            slope_unit: ("µs for each", 1e3),
        };
        assert_eq!(chart.slope(), "2,000 µs for each, beside 5 ms");
    }
}
