//! The budget of the running task, on an event loop or in the runtime.

use std::task::{Context, Poll};

use tokio::task::coop;

use crate::state::{is_loop_thread, try_with_loop};

/// Whether the running task, on an event loop or in the runtime, still has its turn. After the
/// turn a read that is pending does not mean that nothing has arrived; the task is polled again.
#[inline]
pub fn has_turn() -> bool {
    coop::has_budget_remaining() && try_with_loop(|state| !state.turn.is_over).unwrap_or(true)
}

/// Whether the running task may continue with work that is not a read or write. The task asks
/// before each part of such work that takes a noticeable time. If the answer is no, the task has
/// to return, and is polled again after others.
#[inline]
pub fn may_continue(cx: &mut Context<'_>) -> bool {
    let on_loop = try_with_loop(|state| {
        state.turn.is_bulk = true;
        state.turn.may_continue()
    });
    on_loop.unwrap_or_else(|| take_runtime_budget(cx))
}

/// [`may_continue`] for reads of a stream that does not count against the budget of a task of the
/// runtime by itself, such as a stream of HTTP/2. On an event loop the answer is yes, because each
/// socket there counts its own reads.
pub fn may_continue_in_runtime(cx: &mut Context<'_>) -> bool {
    is_loop_thread() || take_runtime_budget(cx)
}

/// Takes one unit of the runtime's budget for the running task, if any is left.
fn take_runtime_budget(cx: &mut Context<'_>) -> bool {
    match coop::poll_proceed(cx) {
        Poll::Ready(taken) => {
            taken.made_progress();
            true
        }
        Poll::Pending => false,
    }
}
