//! A virtual list: of a long list only the rows in the viewport are drawn.

use std::ops::Range;

/// Rows drawn above and below the viewport, so that a quick scroll shows no gap.
const MARGIN: usize = 3;

/// The visible part of a list whose rows have one height. Lengths are in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewport {
    /// The number of rows.
    pub rows: usize,
    /// The height of a row.
    pub row_height: f64,
    /// The scroll position.
    pub top: f64,
    /// The height of the viewport.
    pub height: f64,
}

impl Viewport {
    /// The rows to draw.
    pub fn rows_to_draw(&self) -> Range<usize> {
        if self.row_height <= 0.0 {
            return 0..0;
        }
        // Casts from floats saturate: a negative scroll position begins at row 0.
        let first = (self.top / self.row_height) as usize;
        let last = ((self.top + self.height) / self.row_height).ceil() as usize;
        let end = (last + MARGIN).min(self.rows);
        first.saturating_sub(MARGIN).min(end)..end
    }

    /// The scroll position at which the last row is visible.
    pub fn max_top(&self) -> f64 {
        (self.rows as f64 * self.row_height - self.height).max(0.0)
    }

    /// The nearest scroll position at which a row is fully visible.
    pub fn top_to_reveal(&self, index: usize) -> f64 {
        let start = index as f64 * self.row_height;
        self.top.min(start).max(start + self.row_height - self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_without_rows_or_without_a_height_draws_nothing() {
        let none = Viewport { rows: 0, row_height: 20.0, top: 0.0, height: 100.0 };
        assert_eq!(none.rows_to_draw(), 0..0);
        assert_eq!(Viewport { rows: 9, row_height: 0.0, ..none }.rows_to_draw(), 0..0);
    }

    #[test]
    fn a_visible_row_is_revealed_without_scrolling() {
        let viewport = Viewport { rows: 100, row_height: 20.0, top: 200.0, height: 100.0 };
        assert_eq!(viewport.top_to_reveal(12), 200.0);
        assert_eq!(viewport.top_to_reveal(3), 60.0);
        assert_eq!(viewport.top_to_reveal(99), 1900.0);
        assert_eq!(viewport.max_top(), 1900.0);
    }

    proptest! {
        #[test]
        fn every_visible_row_is_drawn_and_few_others(
            rows in 0..100_000usize,
            row in 1.0..100.0,
            top in -100.0..1e7,
            height in 0.0..5000.0,
        ) {
            let viewport = Viewport { rows, row_height: row, top, height };
            let drawn = viewport.rows_to_draw();
            prop_assert!(drawn.end <= rows && drawn.start <= drawn.end);
            prop_assert!(drawn.len() as f64 <= height / row + 2.0 + 2.0 * MARGIN as f64);
            let middle = ((top + height / 2.0) / row).floor();
            if middle >= 0.0 && (middle as usize) < rows {
                prop_assert!(drawn.contains(&(middle as usize)));
            }
        }
    }
}
