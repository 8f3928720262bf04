use super::*;
use proptest::prelude::*;

fn of_size(bytes: usize) -> EntryKind {
    EntryKind::Received(vec![0; bytes].into(), None)
}

#[test]
fn the_latest_rows_stay_and_dropped_ones_are_counted() {
    let mut transcript = Transcript::new();
    for _ in 0..Transcript::MAX_ROWS + 3 {
        transcript.push(0.0, of_size(10));
    }
    assert_eq!(transcript.len(), Transcript::MAX_ROWS);
    assert_eq!(transcript.dropped(), Dropped { rows: 3, bytes: 30 });
    assert_eq!(transcript.get(2), None);
    assert_eq!(transcript.get(3).unwrap().id, 3);
}

#[test]
fn large_messages_push_out_older_ones_but_the_latest_always_stays() {
    let mut transcript = Transcript::new();
    transcript.push(0.0, of_size(1));
    transcript.push(0.0, of_size(Transcript::MAX_BYTES + 1));
    assert_eq!(transcript.rows().map(|row| row.id).collect::<Vec<_>>(), [1]);
    assert_eq!(transcript.dropped(), Dropped { rows: 1, bytes: 1 });
}

#[test]
fn a_reply_to_a_dropped_row_changes_nothing() {
    let mut transcript = Transcript::new();
    let id = transcript.push(0.0, EntryKind::Sent("a".into(), Delivery::Sent));
    transcript.push(0.0, of_size(Transcript::MAX_BYTES));
    transcript.set_delivery(id, Delivery::Answered(1));
    assert_eq!(transcript.len(), 1);
    assert_eq!(transcript.dropped(), Dropped { rows: 1, bytes: 1 });
}

#[test]
fn a_pinned_row_is_not_dropped() {
    let mut transcript = Transcript::new();
    let pinned = transcript.push(0.0, of_size(1));
    assert!(transcript.toggle_pin(pinned));
    for _ in 0..Transcript::MAX_ROWS {
        transcript.push(0.0, of_size(0));
    }
    assert_eq!(transcript.dropped(), Dropped::default());
    assert_eq!(transcript.rows().next(), transcript.get(pinned));
    assert_eq!(transcript.at(0), transcript.get(pinned));
    assert_eq!(transcript.at(1).unwrap().id, pinned + 1);
    let before = [pinned, pinned + 1, pinned + 3, u64::MAX].map(|id| transcript.len_before(id));
    assert_eq!(before, [0, 1, 3, Transcript::MAX_ROWS + 1]);
    assert!(!transcript.toggle_pin(pinned));
    assert_eq!(transcript.dropped(), Dropped { rows: 1, bytes: 1 });
    assert!(!transcript.toggle_pin(u64::MAX), "there is no such row");
}

#[test]
fn numbers_go_on_after_the_transcript_was_cleared() {
    let mut transcript = Transcript::new();
    let before = transcript.push(0.0, of_size(1));
    transcript.clear();
    let after = transcript.push(0.0, of_size(1));
    assert!(after > before);
    assert_eq!(transcript.get(before), None);
    assert_eq!(transcript.get(after).unwrap().id, after);
}

proptest! {
    #[test]
    fn no_byte_is_lost_without_being_counted(
        sizes in prop::collection::vec(0..Transcript::MAX_BYTES / 3, 0..9),
    ) {
        let mut transcript = Transcript::new();
        let mut total = 0;
        for &size in &sizes {
            total += size;
            transcript.push(0.0, of_size(size));
        }
        let kept: usize = transcript.rows().map(|row| row.kind.bytes()).sum();
        prop_assert_eq!(kept as u64 + transcript.dropped().bytes, total as u64);
        prop_assert_eq!(kept, transcript.bytes);
        prop_assert!(kept <= Transcript::MAX_BYTES || transcript.len() == 1);
        prop_assert_eq!(
            transcript.len() as u64 + transcript.dropped().rows,
            sizes.len() as u64
        );
    }
}

#[test]
fn cleared_rows_come_back_before_those_that_were_added_since() {
    let mut transcript = Transcript::new();
    let id = transcript.push(0.0, EntryKind::Sent("a".into(), Delivery::Sent));
    transcript.push(0.0, of_size(5));
    transcript.toggle_pin(id);
    transcript.clear();
    assert!(transcript.is_empty() && transcript.has_cleared());
    transcript.clear();
    transcript.push(1.0, of_size(7));
    transcript.set_delivery(id, Delivery::Answered(1));
    transcript.restore();
    assert_eq!(transcript.rows().map(|row| row.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        transcript.get(id).unwrap().kind,
        EntryKind::Sent("a".into(), Delivery::Answered(1))
    );
    assert!(transcript.is_pinned(id) && !transcript.has_cleared());
    assert_eq!(transcript.push(2.0, of_size(1)), 3);
}

#[test]
fn cleared_rows_take_no_memory_beyond_the_bounds() {
    let mut transcript = Transcript::new();
    transcript.push(0.0, of_size(Transcript::MAX_BYTES / 2));
    transcript.clear();
    transcript.push(0.0, of_size(Transcript::MAX_BYTES / 2));
    assert!(transcript.has_cleared());
    transcript.push(0.0, of_size(1));
    assert!(!transcript.has_cleared());
    assert_eq!(transcript.dropped(), Dropped::default());
}
