//! Which rows of a long list are in sight: only those are drawn.

use std::ops::Range;

/// Rows drawn above and below what is in sight, so that a quick scroll finds them there.
const MARGIN: usize = 3;

/// A list of rows of one height, and the window on it. Lengths are in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// How many rows there are.
    pub rows: usize,
    /// How high each is.
    pub row: f64,
    /// How far the list is scrolled.
    pub top: f64,
    /// How high the window is.
    pub height: f64,
}

impl Sight {
    /// The rows to draw.
    pub fn drawn(&self) -> Range<usize> {
        if self.row <= 0.0 {
            return 0..0;
        }
        // Casts from floats saturate: a list scrolled beyond its start begins at 0.
        let first = (self.top / self.row) as usize;
        let last = ((self.top + self.height) / self.row).ceil() as usize;
        let end = (last + MARGIN).min(self.rows);
        first.saturating_sub(MARGIN).min(end)..end
    }

    /// Whether the end is in sight, give or take half a row: then it stays there.
    pub fn is_at_end(&self) -> bool {
        self.top + self.height >= self.rows as f64 * self.row - self.row / 2.0
    }

    /// How far to scroll for the end to be in sight.
    pub fn end(&self) -> f64 {
        (self.rows as f64 * self.row - self.height).max(0.0)
    }

    /// How far to scroll, at the least, for a row to be in sight.
    pub fn reveal(&self, index: usize) -> f64 {
        let start = index as f64 * self.row;
        self.top.min(start).max(start + self.row - self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_without_rows_or_without_a_height_draws_nothing() {
        let none = Sight { rows: 0, row: 20.0, top: 0.0, height: 100.0 };
        assert_eq!(none.drawn(), 0..0);
        assert!(none.is_at_end());
        assert_eq!(Sight { rows: 9, row: 0.0, ..none }.drawn(), 0..0);
    }

    #[test]
    fn a_row_in_sight_is_revealed_without_scrolling() {
        let sight = Sight { rows: 100, row: 20.0, top: 200.0, height: 100.0 };
        assert_eq!(sight.reveal(12), 200.0);
        assert_eq!(sight.reveal(3), 60.0);
        assert_eq!(sight.reveal(99), 1900.0);
        assert_eq!(sight.end(), 1900.0);
    }

    proptest! {
        #[test]
        fn every_row_in_sight_is_drawn_and_few_others(
            rows in 0..100_000usize,
            row in 1.0..100.0,
            top in -100.0..1e7,
            height in 0.0..5000.0,
        ) {
            let sight = Sight { rows, row, top, height };
            let drawn = sight.drawn();
            prop_assert!(drawn.end <= rows && drawn.start <= drawn.end);
            prop_assert!(drawn.len() as f64 <= height / row + 2.0 + 2.0 * MARGIN as f64);
            let middle = ((top + height / 2.0) / row).floor();
            if middle >= 0.0 && (middle as usize) < rows {
                prop_assert!(drawn.contains(&(middle as usize)));
            }
        }
    }
}
