//! Plots as SVG paths. Coordinates are integers in tenths of a pixel.

use std::fmt::Write as _;

use crate::{
    format,
    stats::{histogram::Bar, series::Range},
    time::Millis,
};

/// The size of a plot, in tenths of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlotSize {
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
}

/// An axis that begins at 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// The largest value: a whole number of steps.
    pub end: f64,
    /// The distance between marks.
    pub step: f64,
}

impl Axis {
    /// An axis of two to five steps of 1, 2 or 5 (tens, tenths, …) that holds `most`.
    pub fn holding(most: f64) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let mut step = 10f64.powi((most / 5.0).log10().floor() as i32);
        for factor in [2.0, 2.5, 2.0] {
            if step * 5.0 >= most * 0.999 {
                break;
            }
            step *= factor;
        }
        Axis { end: (most / step * 0.999).ceil().max(2.0) * step, step }
    }

    /// An axis for bytes, whose marks are round numbers in the unit that [`format::size`] uses.
    pub fn holding_bytes(most: u64) -> Axis {
        let unit = format::size_unit(most) as f64;
        let Axis { end, step } = Axis::holding(most as f64 / unit);
        Axis { end: end * unit, step: step * unit }
    }

    /// The values at its marks, 0 first.
    pub fn marks(&self) -> impl Iterator<Item = f64> + use<> {
        let step = self.step;
        (0..=(self.end / self.step).round() as u32).map(move |mark| f64::from(mark) * step)
    }

    /// The y coordinate of a value.
    pub fn y(&self, value: f64, size: PlotSize) -> u32 {
        let share = (value / self.end).clamp(0.0, 1.0);
        size.height - (share * f64::from(size.height)).round() as u32
    }
}

/// Values over time: for each range a vertical stroke from the smallest to the largest value; round
/// line caps make a dot of a single value.
pub fn ranges(
    ranges: impl Iterator<Item = Range>,
    start: Millis,
    span: Millis,
    axis: Axis,
    size: PlotSize,
) -> String {
    let mut path = String::new();
    for Range { at, least, most } in ranges {
        let share = ((at - start) / span).clamp(0.0, 1.0);
        let x = (share * f64::from(size.width)).round() as u32;
        let (top, bottom) = (axis.y(most, size), axis.y(least, size));
        // Writing to a String does not fail.
        write!(path, "M{x} {top}V{bottom}").ok();
    }
    path
}

/// The area below values at equal distances.
pub fn area(values: impl ExactSizeIterator<Item = f64>, axis: Axis, size: PlotSize) -> String {
    let steps = values.len().saturating_sub(1).max(1) as u32;
    let mut path = format!("M0 {}", size.height);
    for (n, value) in (0..).zip(values) {
        write!(path, "L{} {}", n * size.width / steps, axis.y(value, size)).ok();
    }
    write!(path, "L{} {}Z", size.width, size.height).ok();
    path
}

/// The bars of a histogram over the whole width, each at least a pixel high.
pub fn bars(bars: &[Bar], size: PlotSize) -> String {
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (n, bar) in (0u32..).zip(bars).filter(|(_, bar)| bar.count > 0) {
        let height = (u64::from(size.height) * bar.count).div_ceil(most).max(10);
        let (left, right) = edges(n, bars.len(), size);
        let gap = if right - left > 30 { 10 } else { 0 };
        write!(path, "M{left} {}v-{height}H{}v{height}z", size.height, right - gap).ok();
    }
    path
}

/// The x coordinate of a value in the histogram, if a bar contains it.
pub fn x_of(bars: &[Bar], value: Millis, size: PlotSize) -> Option<u32> {
    let at = bars.iter().position(|bar| bar.from <= value && value < bar.to)?;
    let (left, right) = edges(at as u32, bars.len(), size);
    let bar = bars[at];
    let share = (value - bar.from) / (bar.to - bar.from);
    Some(left + (f64::from(right - left) * share).round() as u32)
}

fn edges(n: u32, of: usize, size: PlotSize) -> (u32, u32) {
    let of = of.max(1) as u32;
    (n * size.width / of, (n + 1) * size.width / of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: PlotSize = PlotSize { width: 1000, height: 500 };

    #[test]
    fn axes_end_at_round_numbers() {
        let end = |most| Axis::holding(most).end;
        assert_eq!([0.9, 1.0, 4.2, 97.0].map(end), [1.0, 1.0, 5.0, 100.0]);
        assert_eq!(end(0.0), 1.0);
        assert_eq!(end(f64::NAN), 1.0);
        assert_eq!(Axis::holding(4.2).marks().collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn each_range_is_a_stroke() {
        let axis = Axis { end: 10.0, step: 5.0 };
        let range = |at, least, most| Range { at, least, most };
        let all = [range(0.0, 1.0, 5.0), range(50.0, 10.0, 10.0)];
        assert_eq!(ranges(all.into_iter(), 0.0, 100.0, axis, SIZE), "M0 250V450M500 0V0");
    }

    #[test]
    fn axes_of_bytes_end_at_round_numbers_of_their_unit() {
        let end = |most| format::size(Axis::holding_bytes(most).end as u64);
        assert_eq!(end(7_000), "8,000 B");
        assert_eq!(end(700 << 10), "800.0 KiB");
        assert_eq!(end(4_200_000), "5.0 MiB");
        assert_eq!(end(0), "1 B");
    }

    #[test]
    fn an_area_begins_and_ends_at_the_bottom() {
        let axis = Axis { end: 10.0, step: 5.0 };
        assert_eq!(
            area([0.0, 10.0, 5.0].into_iter(), axis, SIZE),
            "M0 500L0 500L500 0L1000 250L1000 500Z"
        );
    }

    #[test]
    fn bars_show_even_a_single_one_among_many() {
        let bar = |count| Bar { from: 0.0, to: 1.0, count };
        assert_eq!(
            bars(&[bar(1000), bar(0), bar(1)], SIZE),
            "M0 500v-500H323v500zM666 500v-10H990v10z"
        );
        assert_eq!(bars(&[], SIZE), "");
    }

    #[test]
    fn a_value_is_found_across() {
        let all = [Bar { from: 0.0, to: 1.0, count: 1 }, Bar { from: 1.0, to: 2.0, count: 1 }];
        assert_eq!(x_of(&all, 1.5, SIZE), Some(750));
        assert_eq!(x_of(&all, 2.0, SIZE), None);
    }

    proptest! {
        #[test]
        fn an_axis_holds_its_values_in_two_to_five_steps(most in 1e-6..1e12) {
            let axis = Axis::holding(most);
            let steps = axis.end / axis.step;
            prop_assert!(axis.end >= most * 0.99, "{axis:?} for {most}");
            prop_assert!(axis.end <= most * 2.6, "{axis:?} for {most}");
            prop_assert!((1.9..5.1).contains(&steps), "{axis:?} for {most}");
        }
    }
}
