//! Descriptions of status codes (RFC 6455, section 7.4), and advice.

use echogate_proto::close::CloseCode;

use super::Texts;

/// The meaning of a status code, as part of a sentence.
pub fn close_code(texts: &Texts, code: CloseCode) -> &'static str {
    match code.0 {
        1000 => texts.code_1000,
        1001 => texts.code_1001,
        1002 => texts.code_1002,
        1003 => texts.code_1003,
        1005 => texts.code_1005,
        1006 => texts.code_1006,
        1007 => texts.code_1007,
        1008 => texts.code_1008,
        1009 => texts.code_1009,
        1010 => texts.code_1010,
        1011 => texts.code_1011,
        1012 => texts.code_1012,
        1013 => texts.code_1013,
        1014 => texts.code_1014,
        1015 => texts.code_1015,
        3000..=3999 => texts.code_registered,
        4000..=4999 => texts.code_private,
        _ => texts.code_unknown,
    }
}

/// Advice about a connection that ended with this code; empty if there is none.
pub fn advice(texts: &Texts, code: CloseCode) -> &'static str {
    match code.0 {
        1001 => texts.advice_1001,
        1002 => texts.advice_1002,
        1003 => texts.advice_1003,
        1006 => texts.advice_1006,
        1007 => texts.advice_1007,
        1008 => texts.advice_1008,
        1009 => texts.advice_1009,
        1011 => texts.advice_1011,
        1012 | 1013 => texts.advice_1013,
        1014 => texts.advice_1014,
        1015 => texts.advice_1015,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Language, *};

    #[test]
    fn failures_have_advice_and_a_normal_end_has_none() {
        let texts = Language::English.texts();
        for code in [1001, 1002, 1006, 1007, 1008, 1009, 1011, 1013] {
            assert!(!advice(texts, CloseCode(code)).is_empty(), "{code}");
        }
        assert_eq!(advice(texts, CloseCode::NORMAL), "");
    }

    #[test]
    fn codes_have_the_descriptions_of_the_protocol_crate() {
        for code in 0..=5000 {
            let code = CloseCode(code);
            assert_eq!(close_code(Language::English.texts(), code), code.description());
        }
    }
}
