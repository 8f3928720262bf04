//! The ways in which an opened message is shown.

use crate::{json::Json, payload::Payload};

/// A way to show a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadView {
    /// As text.
    Text,
    /// As a tree of JSON values.
    Json,
    /// As a hex dump.
    Hex,
}

/// The longest text that is shown as a tree of JSON values, in bytes.
const MAX_JSON: usize = 256 << 10;

impl PayloadView {
    /// All views, in the order of the page's buttons.
    pub const ALL: [PayloadView; 3] = [PayloadView::Text, PayloadView::Json, PayloadView::Hex];

    /// The view's name in program text.
    pub fn name(self) -> &'static str {
        match self {
            PayloadView::Text => "text",
            PayloadView::Json => "json",
            PayloadView::Hex => "hex",
        }
    }

    /// The view of a message: the user's choice if the message has such a view, otherwise JSON, text
    /// or hex, the first that it has.
    pub fn of(payload: &Payload, choice: Option<PayloadView>) -> PayloadView {
        let has = |view: &PayloadView| match view {
            PayloadView::Text => payload.as_text().is_some(),
            PayloadView::Json => json(payload).is_some(),
            PayloadView::Hex => true,
        };
        let order = [PayloadView::Json, PayloadView::Text, PayloadView::Hex];
        choice.filter(has).or_else(|| order.into_iter().find(has)).unwrap_or(PayloadView::Hex)
    }
}

/// The JSON object or array of a message.
pub fn json(payload: &Payload) -> Option<Json> {
    let text = payload.as_text().filter(|text| text.len() <= MAX_JSON)?;
    text.trim_start().starts_with(['{', '[']).then(|| Json::read(text)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_that_tells_most_is_shown_unless_the_user_chose_another() {
        let view = |payload: &Payload| PayloadView::of(payload, None);
        assert_eq!(view(&r#" {"a":1}"#.into()), PayloadView::Json);
        assert_eq!(view(&"{a".into()), PayloadView::Text);
        assert_eq!(view(&"17".into()), PayloadView::Text);
        assert_eq!(view(&b"GET / HTTP/1.1\r\n".to_vec().into()), PayloadView::Text);
        assert_eq!(view(&vec![0, 255].into()), PayloadView::Hex);
        let json = Payload::from("[1]");
        assert_eq!(PayloadView::of(&json, Some(PayloadView::Hex)), PayloadView::Hex);
        assert_eq!(PayloadView::of(&vec![0].into(), Some(PayloadView::Text)), PayloadView::Hex);
    }
}
