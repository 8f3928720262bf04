//! A list whose rows keep their elements as long as their items are in the list.

use web_sys::Node;

use super::dom::{El, expect_ok};

/// A row of a list.
pub(super) trait KeyedRow {
    /// The identifier of the row's item.
    fn key(&self) -> u64;
    fn root(&self) -> &El;
}

/// Makes, moves and removes rows so that there is one for each key, in this order. A row is moved only if
/// its own rank among the others changes, so that a click on it is not lost if the list changes between
/// press and release.
pub(super) fn arrange<R: KeyedRow>(
    list: &El,
    rows: &mut Vec<R>,
    keys: &[u64],
    mut new: impl FnMut(usize) -> R,
) {
    for gone in rows.extract_if(.., |row| !keys.contains(&row.key())) {
        gone.root().node.remove();
    }
    for (rank, key) in keys.iter().enumerate() {
        if rows.get(rank + 1).is_some_and(|next| next.key() == *key) {
            // The row in front of this one has a later rank, which its own turn determines.
            let row = rows.remove(rank);
            insert(list, rows, rows.len(), row);
        }
        match rows[rank..].iter().position(|row| row.key() == *key) {
            Some(0) => {}
            Some(further) => {
                let row = rows.remove(rank + further);
                insert(list, rows, rank, row);
            }
            None => insert(list, rows, rank, new(rank)),
        }
    }
}

fn insert<R: KeyedRow>(list: &El, rows: &mut Vec<R>, rank: usize, row: R) {
    let next = rows.get(rank).map(|next| -> &Node { &next.root().node });
    expect_ok(list.node.insert_before(&row.root().node, next), "a list takes rows");
    rows.insert(rank, row);
}
