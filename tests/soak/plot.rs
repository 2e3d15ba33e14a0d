//! Draws what was seen: panels one below the other, over the same time.

use std::path::Path;

use plotters::prelude::*;

const WIDTH: u32 = 900;
const HEADER: u32 = 44;
const PANEL: u32 = 200;
const COLORS: [RGBColor; 4] =
    [RGBColor(28, 100, 180), RGBColor(208, 88, 32), RGBColor(40, 140, 80), RGBColor(120, 70, 160)];
const LIMIT: RGBColor = RGBColor(190, 30, 30);

/// A line: its name, and its points.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    /// What it shows, with the unit.
    pub title: String,
    pub lines: Vec<Line>,
    /// What it must stay below, and what that is called.
    pub limit: Option<(f64, String)>,
}

/// Writes the picture. `x` says what goes from left to right.
pub fn draw(file: &Path, title: &str, x: &str, panels: &[Panel]) -> Result<(), Box<dyn std::error::Error>> {
    let size = (WIDTH, HEADER + PANEL * panels.len() as u32);
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (header, body) = area.split_vertically(HEADER);
    header.draw(&Text::new(title.to_owned(), (12, 12), ("sans-serif", 24).into_font()))?;
    let rows = body.split_evenly((panels.len(), 1));
    for (number, (panel, row)) in panels.iter().zip(&rows).enumerate() {
        let is_last = number + 1 == panels.len();
        draw_panel(panel, row, if is_last { x } else { "" })?;
    }
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_panel(panel: &Panel, area: &Area<'_>, x: &str) -> Result<(), Box<dyn std::error::Error>> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1e-9, f64::max);
    let top = points().map(|point| point.1).chain(panel.limit.as_ref().map(|limit| limit.0)).fold(0.0, f64::max);
    // Where all is zero, a scale that shows it as such.
    let top = if top > 0.0 { top } else { 10.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 20))
        .margin_right(16)
        .x_label_area_size(if x.is_empty() { 22 } else { 42 })
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right, 0.0..top * 1.08)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(BLACK.mix(0.08))
        .label_style(("sans-serif", 16))
        .x_label_formatter(&|value| value.to_string())
        .y_label_formatter(&|value| format!("{value:.*}", if top < 2.0 { 2 } else { 0 }))
        .x_desc(x)
        .y_labels(5)
        .draw()?;
    for (line, color) in panel.lines.iter().zip(COLORS) {
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    if let Some((limit, name)) = &panel.limit {
        chart
            .draw_series(LineSeries::new([(0.0, *limit), (right, *limit)], LIMIT))?
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], LIMIT));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 16))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_its_titles_lines_and_limits() {
        let file = std::env::temp_dir().join(format!("rowcast-plot-{}.svg", std::process::id()));
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0), (1.0, 3.0)] };
        let panels = [
            Panel {
                title: "Log, MiB".into(),
                lines: vec![line("table"), line("index")],
                limit: Some((4.0, "limit".into())),
            },
            Panel { title: "Nothing".into(), lines: vec![], limit: None },
        ];
        draw(&file, "All of it", "minutes", &panels).expect("drawn");
        let svg = std::fs::read_to_string(&file).expect("written");
        std::fs::remove_file(&file).expect("removed");
        for text in ["All of it", "Log, MiB", "table", "index", "limit", "Nothing", "minutes"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(svg.matches("<polyline").count() >= 3);
    }
}
