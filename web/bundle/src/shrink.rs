//! Parts of files that the browser does not need.

/// The digits of a hash in a name.
const DIGITS: usize = 16;

/// Replaces the hash at the end of each name that wasm-bindgen makes by a number: compression cannot
/// shorten a hash. Numbers have as many digits, so that the lengths in the module stay valid. `hashes`
/// gives each file the same numbers.
pub(crate) fn number_hashes(file: &mut [u8], hashes: &mut Vec<[u8; DIGITS]>) {
    for at in 0..file.len() {
        let (before, rest) = file.split_at_mut(at);
        let Some(digits) = rest.first_chunk_mut::<DIGITS>() else { return };
        let in_name = before.ends_with(b"_") || before.ends_with(b"_h");
        if in_name && digits.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
            let number = hashes.iter().position(|known| known == digits).unwrap_or_else(|| {
                hashes.push(*digits);
                hashes.len() - 1
            });
            digits.copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        }
    }
}

/// JavaScript or CSS without the lines that are comments, and without indentation. No string in the text
/// may contain a line break.
pub(crate) fn without_comments(text: &str) -> String {
    let mut in_comment = false;
    let mut kept = String::new();
    for line in text.lines().map(str::trim_start) {
        in_comment |= line.starts_with("/*");
        if !in_comment && !line.is_empty() && !line.starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
        in_comment &= !line.ends_with("*/");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_number_in_all_files() {
        let mut glue = *b"__wbg_get_1d33d8d1c6cefa41: f, invoke__h289bc4eba166f1f4()";
        let mut module = *b"\x1dinvoke__h289bc4eba166f1f4\x1a__wbg_get_1d33d8d1c6cefa41";
        let mut hashes = Vec::new();
        number_hashes(&mut glue, &mut hashes);
        number_hashes(&mut module, &mut hashes);
        assert_eq!(&glue, b"__wbg_get_0000000000000000: f, invoke__h0000000000000001()");
        assert_eq!(&module, b"\x1dinvoke__h0000000000000001\x1a__wbg_get_0000000000000000");
    }

    #[test]
    fn comments_and_indentation_are_left_out() {
        let text = "/* One */\na {\n  /* Two\n     lines */\n  b: c; /* kept */\n}\n\n  // d\ne\n";
        assert_eq!(without_comments(text), "a {\nb: c; /* kept */\n}\ne\n");
    }
}
