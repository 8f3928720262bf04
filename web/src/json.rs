//! A reader and writer of JSON (RFC 8259), as far as the page needs it. Code derived by serde would
//! be a third of the page's size; this module is a fiftieth of it.

use std::{iter::Peekable, str::CharIndices};

use echogate_proto::hex;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, exact to about fifteen digits, and its text.
    Number(f64, Box<str>),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object's members, in their order.
    Object(Vec<(String, Json)>),
}

/// The most levels of arrays and objects in each other.
const MAX_DEPTH: u32 = 32;

impl Json {
    /// Reads a text that consists of one value.
    pub fn read(text: &str) -> Option<Json> {
        let mut reader = Reader { text, rest: text.char_indices().peekable() };
        let value = reader.value(MAX_DEPTH)?;
        reader.space();
        reader.rest.next().is_none().then_some(value)
    }

    /// The position, counted in characters from 1, at which a text stops being valid JSON; `None` for
    /// valid JSON.
    pub fn error_at(text: &str) -> Option<usize> {
        let mut reader = Reader { text, rest: text.char_indices().peekable() };
        let is_value = reader.value(MAX_DEPTH).is_some();
        if is_value {
            reader.space();
        }
        let at = reader.position();
        (!is_value || at < text.len()).then(|| text[..at].chars().count() + 1)
    }

    /// The object's member of this name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => {
                members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The member of this name, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// The member of this name, if it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Json::Number(number, _) => Some(*number),
            _ => None,
        }
    }

    /// The member of this name, if it is a number, as an integer.
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.number(name).map(|number| number as u64)
    }

    /// The member of this name, if it is an array of which `read` accepts every element.
    pub fn list<T>(&self, name: &str, read: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
        match self.get(name)? {
            Json::List(values) => values.iter().map(read).collect(),
            _ => None,
        }
    }

    /// The bytes of an event of a recording or a tap: the member `text`, or else `hex`, their digits.
    pub fn payload(&self) -> Option<Vec<u8>> {
        match self.text("text") {
            Some(text) => Some(text.as_bytes().to_vec()),
            None => hex::decode(self.text("hex")?).ok(),
        }
    }

    /// The value, if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Appends a string in quotes, escaped.
pub fn quote(text: &str, into: &mut String) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => into.extend(['\\', c]),
            '\n' => into.push_str("\\n"),
            '\0'..='\x1f' => {
                into.push_str("\\u00");
                into.extend(hex::pair(c as u8));
            }
            c => into.push(c),
        }
    }
    into.push('"');
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn value(&mut self, depth: u32) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        self.space();
        match self.rest.peek()?.1 {
            'n' => self.word("null", Json::Null),
            't' => self.word("true", Json::Bool(true)),
            'f' => self.word("false", Json::Bool(false)),
            '"' => self.string().map(Json::Text),
            '[' => {
                let mut values = Vec::new();
                self.members(']', |reader| {
                    values.push(reader.value(depth)?);
                    Some(())
                })?;
                Some(Json::List(values))
            }
            '{' => {
                let mut members = Vec::new();
                self.members('}', |reader| {
                    let name = reader.string()?;
                    reader.space();
                    reader.take(':')?;
                    members.push((name, reader.value(depth)?));
                    Some(())
                })?;
                Some(Json::Object(members))
            }
            _ => self.number(),
        }
    }

    fn members(&mut self, end: char, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.rest.next();
        self.space();
        if self.take(end).is_some() {
            return Some(());
        }
        loop {
            self.space();
            one(self)?;
            self.space();
            if self.take(end).is_some() {
                return Some(());
            }
            self.take(',')?;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        word.chars().try_for_each(|c| self.take(c))?;
        Some(value)
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()?.1 {
                '"' => return Some(text),
                '\0'..='\x1f' => return None,
                '\\' => text.push(match self.rest.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'u' => self.escaped()?,
                    c @ ('"' | '\\' | '/') => c,
                    _ => return None,
                }),
                c => text.push(c),
            }
        }
    }

    /// The character of a `\u` escape; of two, where the first is a high surrogate. A surrogate
    /// without its counterpart is an error.
    fn escaped(&mut self) -> Option<char> {
        let unit = self.unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit);
        }
        self.take('\\')?;
        self.take('u')?;
        let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low)
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit * 16 + self.rest.next()?.1.to_digit(16)?))
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.position();
        let number = self.float()?;
        let text = &self.text[start..self.position()];
        Some(Json::Number(number, text.into()))
    }

    /// The position of the next character, in bytes.
    fn position(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn float(&mut self) -> Option<f64> {
        let sign = if self.take('-').is_some() { -1.0 } else { 1.0 };
        let (mut digits, mut power) = (0u64, 0i32);
        let whole = self.digits(&mut digits, &mut power, false)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if self.take('.').is_some() {
            self.digits(&mut digits, &mut power, true)?;
        }
        if self.take('e').or_else(|| self.take('E')).is_some() {
            let down = self.take('-').is_some();
            let _plus = if down { None } else { self.take('+') };
            let (mut exponent, mut beyond) = (0, 0);
            self.digits(&mut exponent, &mut beyond, false)?;
            let exponent = i32::try_from(exponent.min(9999)).unwrap_or(9999);
            power += if down { -exponent } else { exponent };
        }
        let scale = 10f64.powi(power.abs());
        let number = digits as f64;
        if digits == 0 {
            // 0 times an infinite power of ten would be NaN.
            return Some(sign * 0.0);
        }
        Some(sign * if power < 0 { number / scale } else { number * scale })
    }

    /// Reads at least one digit. Digits beyond the eighteenth only raise the power of ten.
    fn digits(&mut self, into: &mut u64, power: &mut i32, fraction: bool) -> Option<&str> {
        let start = self.rest.peek()?.0;
        let mut end = start;
        while let Some(&(at, c)) = self.rest.peek()
            && let Some(digit) = c.to_digit(10)
        {
            self.rest.next();
            end = at + 1;
            let kept = *into < 100_000_000_000_000_000;
            if kept {
                *into = *into * 10 + u64::from(digit);
            }
            *power += i32::from(!kept) - i32::from(fraction);
        }
        (end > start).then(|| &self.text[start..end])
    }

    fn space(&mut self) {
        while self.rest.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest.next_if(|(_, c)| *c == wanted).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
