//! What is drawn: a curve for each policy, over the logarithm of the cache's size.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement};
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DashedLineSeries, DrawingBackend, LineSeries, RGBColor, ShapeStyle,
    TextStyle, WHITE,
};
use plotters::style::IntoTextStyle;
use plotters_backend::text_anchor::{HPos, Pos, VPos};

use crate::replay::report::{Report, size_in_words};
use crate::replay::text::share;

/// Of the picture, in pixels.
pub(super) const WIDTH: u32 = 1100;
pub(super) const HEIGHT: u32 = 680;
/// Of the names beside the curves.
const LEGEND_WIDTH: u32 = 130;

/// Labels along an axis, at most.
const LABELS_MAX: u32 = 9;

/// What can go wrong with a drawing.
pub(super) type Error<E> = DrawingAreaErrorKind<E>;

/// Ours, and the bound that nobody can beat.
const OURS: (&str, RGBColor) = ("vidmm", RGBColor(200, 16, 46));
const BOUND: (&str, RGBColor) = ("belady", RGBColor(110, 110, 110));

/// The others, in the order in which they come.
const COLOURS: [RGBColor; 14] = [
    RGBColor(31, 110, 180),
    RGBColor(240, 140, 30),
    RGBColor(60, 150, 60),
    RGBColor(140, 100, 190),
    RGBColor(140, 85, 75),
    RGBColor(225, 120, 195),
    RGBColor(20, 20, 20),
    RGBColor(190, 190, 40),
    RGBColor(30, 190, 205),
    RGBColor(20, 60, 120),
    RGBColor(240, 180, 130),
    RGBColor(120, 210, 120),
    RGBColor(190, 170, 220),
    RGBColor(0, 110, 100),
];

/// A picture, whoever draws it.
#[derive(Debug)]
pub(super) struct Chart {
    title: String,
    y_title: String,
    x_title: &'static str,
    footprint_bytes: u64,
    all_of_one_byte: bool,
    curves: Vec<Curve>,
}

/// A policy's.
#[derive(Debug)]
struct Curve {
    name: &'static str,
    colour: RGBColor,
    /// Size and what is missed, the smallest size first.
    points: Vec<(f64, f64)>,
}

/// An axis of logarithms: where it begins and ends, and what is written where.
#[derive(Debug, Clone)]
struct Axis {
    from: f64,
    to: f64,
    labels: Vec<(f64, String)>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "pixels of a picture")]
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.labels.iter().map(|label| label.0).collect(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let label = self.labels.iter().find(|label| label.0 == *value);
        label.map_or_else(String::new, |label| label.1.clone())
    }
}

impl Chart {
    pub(super) fn of(report: &Report) -> Self {
        let mut curves: Vec<Curve> = Vec::new();
        for row in &report.rows {
            let point = ((row.size_bytes as f64).log2(), row.missed.main());
            match curves.iter_mut().find(|curve| curve.name == row.policy) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve {
                    name: row.policy,
                    colour: BLACK,
                    points: vec![point],
                }),
            }
        }
        let mut colours = COLOURS.iter().cycle();
        for curve in &mut curves {
            curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
            // a size that was asked for twice
            curve.points.dedup_by_key(|point| point.0);
            curve.colour = match curve.name {
                name if name == OURS.0 => OURS.1,
                name if name == BOUND.0 => BOUND.1,
                _ => *colours.next().unwrap_or(&BLACK),
            };
        }
        let sample = report.sample.as_ref();
        let sample = sample.map(|sample| format!(" (a sample of {})", share(sample.rate)));
        Chart {
            title: format!(
                "{}: what is missed, by policy and size{}",
                shortened(&report.trace),
                sample.unwrap_or_default()
            ),
            y_title: format!("missed {}, as a part of all", report.measured()),
            x_title: match report.all_of_one_byte {
                true => "size of the cache, in objects",
                false => "size of the cache",
            },
            footprint_bytes: report.footprint_bytes,
            all_of_one_byte: report.all_of_one_byte,
            curves,
        }
    }

    /// Draws it; `scale` pixels of the backend are one of the picture.
    pub(super) fn draw<DB: DrawingBackend>(
        &self,
        backend: DB,
        scale: u32,
    ) -> Result<(), Error<DB::ErrorType>> {
        let root = backend.into_drawing_area();
        root.fill(&WHITE)?;
        let root = root.titled(&self.title, text(22, scale))?;
        let (width, _) = root.dim_in_pixel();
        let (left, right) = root.split_horizontally(width - LEGEND_WIDTH * scale);
        self.draw_curves(&left, scale)?;
        self.draw_legend(&right, scale)?;
        root.present()
    }

    fn draw_curves<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        scale: u32,
    ) -> Result<(), Error<DB::ErrorType>> {
        let (sizes, shares) = self.x_axes();
        let most = self.points().map(|point| point.1).fold(0.0, f64::max);
        let top = ((most * 10.0).ceil() / 10.0).clamp(0.1, 1.0);
        let mut chart = ChartBuilder::on(area)
            .margin(8 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(64 * scale)
            .top_x_label_area_size(44 * scale)
            .build_cartesian_2d(sizes, 0.0..top)?
            .set_secondary_coord(shares, 0.0..top);
        let label = text(16, scale);
        chart
            .configure_mesh()
            .x_desc(self.x_title)
            .y_desc(&self.y_title)
            .label_style(label.clone())
            .axis_desc_style(label.clone())
            .y_label_formatter(&|ratio| format!("{ratio:.2}"))
            .y_labels(11)
            .light_line_style(WHITE.mix(0.0))
            .set_all_tick_mark_size(4 * scale)
            .draw()?;
        chart
            .configure_secondary_axes()
            .x_desc("share of the footprint")
            .label_style(label.clone())
            .axis_desc_style(label)
            .set_all_tick_mark_size(4 * scale)
            .draw()?;
        // Ours last: nothing lies on it.
        let (ours, others): (Vec<&Curve>, Vec<&Curve>) =
            self.curves.iter().partition(|curve| curve.name == OURS.0);
        for curve in others.into_iter().chain(ours) {
            let style = curve.style(scale);
            let points = curve.points.iter().copied();
            if curve.name == BOUND.0 {
                let dashes = DashedLineSeries::new(points.clone(), 8 * scale, 5 * scale, style);
                chart.draw_series(dashes)?;
            } else {
                chart.draw_series(LineSeries::new(points.clone(), style))?;
            }
            let radius = style.stroke_width + scale / 2;
            chart.draw_series(
                points.map(|point| Circle::new(point, radius, curve.colour.filled())),
            )?;
        }
        Ok(())
    }

    fn draw_legend<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        scale: u32,
    ) -> Result<(), Error<DB::ErrorType>> {
        let scaled = |pixels: u32| (pixels * scale).cast_signed();
        let mut y = scaled(60);
        for curve in &self.curves {
            let line = vec![(scaled(4), y), (scaled(34), y)];
            match curve.name == BOUND.0 {
                false => area.draw(&PathElement::new(line, curve.style(scale)))?,
                true => {
                    for dash in [4, 15, 26] {
                        let line = vec![(scaled(dash), y), (scaled(dash + 8), y)];
                        area.draw(&PathElement::new(line, curve.style(scale)))?;
                    }
                }
            }
            let style = text(16, scale).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(curve.name, &style, (scaled(42), y))?;
            y += scaled(22);
        }
        Ok(())
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.curves
            .iter()
            .flat_map(|curve| curve.points.iter().copied())
    }

    /// The same range twice: with sizes, and with shares of the footprint.
    fn x_axes(&self) -> (Axis, Axis) {
        let least = self
            .points()
            .map(|point| point.0)
            .fold(f64::INFINITY, f64::min);
        let most = self.points().map(|point| point.0).fold(0.0, f64::max);
        // A little more than the curves take; a single size lies in the middle.
        let rim = ((most - least) / 50.0).max(0.05);
        let (from, to) = (least.min(most) - rim, most + rim);
        let sizes = round_sizes(from, to);
        let shares = round_shares(from, to, self.footprint_bytes);
        // In a range too narrow for round figures there are the sizes themselves.
        let axis = |logs: Vec<f64>, label: &dyn Fn(f64) -> String| {
            let logs = match logs.len() {
                0 | 1 => vec![least, most],
                _ => logs,
            };
            let labels = logs.into_iter().map(|log| (log, label(log))).collect();
            Axis { from, to, labels }
        };
        let size = |log| size_in_words(bytes(log), self.all_of_one_byte);
        let part = |log: f64| share(log.exp2() / self.footprint_bytes as f64);
        (axis(sizes, &size), axis(shares, &part))
    }
}

impl Curve {
    fn style(&self, scale: u32) -> ShapeStyle {
        let width = if self.name == OURS.0 { 4 } else { 2 };
        self.colour.stroke_width(width * scale)
    }
}

fn text(size: u32, scale: u32) -> TextStyle<'static> {
    ("sans-serif", size * scale).into_text_style(&(WIDTH * scale, HEIGHT * scale))
}

/// Powers of two between two logarithms to base 2, few enough for an axis.
fn round_sizes(from: f64, to: f64) -> Vec<f64> {
    let mut step = 1.0;
    while (to - from) / step > f64::from(LABELS_MAX) {
        step += 1.0;
    }
    let first = (from / step).ceil();
    let places = (0..=LABELS_MAX).map(|place| (first + f64::from(place)) * step);
    // 1 is the least that there is
    places.filter(|&log| log <= to && log >= 0.0).collect()
}

/// 1, 2 and 5 % and so on, or, where these are too many, only the powers of ten.
fn round_shares(from: f64, to: f64, footprint_bytes: u64) -> Vec<f64> {
    let of = |digits: &[f64]| -> Vec<f64> {
        let powers = -9..=3;
        let shares =
            powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
        shares
            .map(|share| (share * footprint_bytes as f64).log2())
            .filter(|log| (from..=to).contains(log))
            .collect()
    };
    let all = of(&[1.0, 2.0, 5.0]);
    match all.len() <= LABELS_MAX as usize {
        true => all,
        false => of(&[1.0]),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size that was a whole number; where not, it saturates"
)]
fn bytes(log: f64) -> u64 {
    log.exp2().round() as u64
}

/// A title has one line.
fn shortened(name: &str) -> String {
    const LETTERS_MAX: usize = 60;
    match name.chars().count() > LETTERS_MAX {
        false => name.to_owned(),
        true => name
            .chars()
            .take(LETTERS_MAX)
            .chain("...".chars())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_few() {
        let sizes = |from: u64, to: u64| {
            let logs = round_sizes((from as f64).log2(), (to as f64).log2());
            logs.into_iter().map(bytes).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1000, 10_000), [1024, 2048, 4096, 8192]);
        assert!((2..=9).contains(&sizes(1, u64::MAX).len()));
        assert_eq!(sizes(1, 4), [1, 2, 4]);
        let shares = |from: f64, to: f64| {
            let logs = round_shares((from * 1e6).log2(), (to * 1e6).log2(), 1_000_000);
            logs.into_iter().map(bytes).collect::<Vec<_>>()
        };
        assert_eq!(shares(0.009, 0.11), [10_000, 20_000, 50_000, 100_000]);
        assert_eq!(
            shares(0.000_009, 1.1),
            [10, 100, 1_000, 10_000, 100_000, 1_000_000]
        );
    }
}
