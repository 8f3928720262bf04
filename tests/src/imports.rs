//! The direction of imports inside one crate: read from its sources, compared with a table of
//! layers.
//!
//! An import is any path that begins with `crate::`, `self::` or `super::`, in a `use` line or
//! in the code. Comments, literals, items under `#[cfg(test)]` and files named `tests.rs` are
//! left out. A name that an ancestor of the importing module has by a `use` of its own is resolved
//! to the module that defines it. An import of a module's own ancestor or descendant is no import,
//! unless the table names both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::Path,
};

/// A path that code of one module uses.
#[derive(Debug)]
struct Import {
    /// `FILE:LINE`, the file as a path under the source root.
    at: String,
    from: Vec<String>,
    /// The absolute path; later the module that it leads to.
    to: Vec<String>,
    /// The name that the path has in `from`, by a `use` outside of functions and inline modules.
    name: Option<String>,
}

/// The absolute paths of the names that modules have by `use`.
type Names = BTreeMap<(Vec<String>, String), Vec<String>>;

/// The imports under a source root that the layers do not allow, one line each:
/// `FILE:LINE: FROM -> TO: REASON`.
///
/// `layers` lists modules, top layer first, by their path in the crate (`view`, `view::dom`);
/// an entry covers the modules below it that have no entry of their own, and `crate` stands for
/// `lib.rs` and `main.rs`. A module may import only entries of layers below its own; a module
/// without an entry is reported where it is imported or imports. In addition no two siblings,
/// each with all modules below it, may reach each other in a cycle.
pub fn violations(root: &Path, layers: &[&[&str]]) -> Vec<String> {
    let mut sources = BTreeMap::new();
    collect(root, &[], &mut sources);
    let modules: BTreeSet<Vec<String>> =
        sources.keys().map(|path| module_of(path)).chain([Vec::new()]).collect();
    let layer_of: BTreeMap<Vec<String>, usize> = (0..)
        .zip(layers)
        .flat_map(|(layer, entries)| entries.iter().map(move |entry| (split(entry), layer)))
        .collect();
    for entry in layer_of.keys() {
        assert!(modules.contains(entry), "the table names no module: {}", join(entry));
    }
    let mut imports: Vec<Import> =
        sources.iter().flat_map(|(path, source)| imports(path, source)).collect();
    let names: Names = imports
        .iter()
        .filter_map(|import| Some(((import.from.clone(), import.name.clone()?), import.to.clone())))
        .collect();
    for import in &mut imports {
        import.to = module_that_defines(&import.to, &import.from, &modules, &names);
    }
    imports.retain(|import| import.from != import.to);
    let cycles = cycles(&imports);
    let mut violations = BTreeSet::new();
    for import in &imports {
        let entry = |module: &[String]| longest(module, |entry| layer_of.contains_key(entry));
        let said = |reason: &str| {
            format!("{}: {} -> {}: {reason}", import.at, join(&import.from), join(&import.to))
        };
        match (entry(&import.from), entry(&import.to)) {
            (Some(from), Some(to)) if from != to && layer_of[&from] >= layer_of[&to] => {
                violations.insert(said(&format!("{} is not below {}", join(&to), join(&from))));
            }
            (Some(_), Some(_)) => {}
            // The root may import everything without an entry.
            (None, _) if import.from.is_empty() => {}
            _ => {
                violations.insert(said("no entry in the table"));
            }
        }
        if siblings(import).is_some_and(|pair| cycles.contains(&pair)) {
            violations.insert(said("part of a cycle"));
        }
    }
    violations.into_iter().collect()
}

/// Reads every source file below a folder, keyed by its path under the root.
fn collect(folder: &Path, below: &[String], sources: &mut BTreeMap<Vec<String>, String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder that can be read to its end").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let here = [below, std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            collect(&path, &here, sources);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path);
            sources.insert(here, text.unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        }
    }
}

/// The module that a file defines: `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_of(path: &[String]) -> Vec<String> {
    let Some((file, folders)) = path.split_last() else { return Vec::new() };
    match file.trim_end_matches(".rs") {
        "mod" => folders.to_vec(),
        "lib" | "main" if folders.is_empty() => Vec::new(),
        name => [folders, &[name.to_owned()]].concat(),
    }
}

fn split(path: &str) -> Vec<String> {
    if path == "crate" { Vec::new() } else { path.split("::").map(str::to_owned).collect() }
}

fn join(module: &[String]) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

/// The longest prefix of a path that `wanted` accepts.
fn longest(path: &[String], wanted: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
    (0..=path.len()).rev().map(|end| &path[..end]).find(|part| wanted(part)).map(<[_]>::to_vec)
}

/// The two children of the nearest common ancestor that an import joins; `None` between a module
/// and its own ancestor.
fn siblings(import: &Import) -> Option<(Vec<String>, Vec<String>)> {
    let shared = import.from.iter().zip(&import.to).take_while(|(from, to)| from == to).count();
    Some((import.from.get(..=shared)?.to_vec(), import.to.get(..=shared)?.to_vec()))
}

/// The pairs of siblings that are part of a cycle.
fn cycles(imports: &[Import]) -> BTreeSet<(Vec<String>, Vec<String>)> {
    let pairs: BTreeSet<_> = imports.iter().filter_map(siblings).collect();
    let returns = |(start, next): &&(Vec<String>, Vec<String>)| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![next]);
        while let Some(module) = open.pop() {
            if module == start {
                return true;
            }
            if seen.insert(module) {
                open.extend(pairs.iter().filter(|(from, _)| from == module).map(|(_, to)| to));
            }
        }
        false
    };
    pairs.iter().filter(returns).cloned().collect()
}

/// The module in which the absolute path `path`, used by the module `from`, ends. Names that
/// ancestors of `from` have by `use` are followed.
fn module_that_defines(
    path: &[String],
    from: &[String],
    modules: &BTreeSet<Vec<String>>,
    names: &Names,
) -> Vec<String> {
    let to = longest(path, |part| modules.contains(part)).unwrap_or_default();
    let is_ancestor = from.starts_with(&to) && from != to;
    let [name, rest @ ..] = &path[to.len()..] else { return to };
    match names.get(&(to.clone(), name.clone())) {
        Some(used) if is_ancestor && !used.starts_with(&path[..=to.len()]) => {
            module_that_defines(&[used, rest].concat(), from, modules, names)
        }
        _ => to,
    }
}

/// The imports of one file.
fn imports(path: &[String], source: &str) -> Vec<Import> {
    let tokens = without_tests(&tokens(source));
    let module = module_of(path);
    // Inline modules that are open: their names, and the depth of braces around each.
    let (mut inline, mut depth): (Vec<(&str, usize)>, usize) = (Vec::new(), 0);
    // The end of the `use` that has been read last.
    let mut read = 0;
    let mut imports = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let next = |offset: usize| tokens.get(at + offset).map_or("", |(_, token)| *token);
        let is_use = *token == "use" && depth == 0;
        match *token {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, around)| *around == depth);
            }
            "mod" if next(2) == "{" => inline.push((next(1), depth)),
            _ => {}
        }
        let begins = is_keyword(token) && next(1) == "::" && begins_path(&tokens[..at]);
        if at < read || !(is_use || begins) {
            continue;
        }
        let inside = inline.iter().map(|(name, _)| (*name).to_owned());
        let here: Vec<String> = module.iter().cloned().chain(inside).collect();
        let mut leaves = Vec::new();
        let end = tree(&tokens, at + usize::from(is_use), Vec::new(), &mut leaves);
        read = if is_use { end } else { read };
        for (leaf, name) in leaves {
            let (to, at) = (resolve(&here, &leaf), format!("{}:{line}", path.join("/")));
            let name = is_use.then(|| name.to_owned());
            imports.push(Import { at, from: module.clone(), to, name });
        }
    }
    imports
}

fn is_keyword(token: &str) -> bool {
    matches!(token, "crate" | "self" | "super")
}

/// Whether a keyword after these tokens begins a path of code: not one inside a path, and not the
/// one in `pub(in …)`.
fn begins_path(before: &[(usize, &str)]) -> bool {
    !matches!(before, [.., (_, "::")] | [.., (_, "("), (_, "in")])
}

/// The absolute form of a path that begins with a keyword, in the module `here`.
fn resolve(here: &[String], path: &[&str]) -> Vec<String> {
    let mut base = here.to_vec();
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        match *first {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = others;
    }
    base.extend(rest.iter().map(|name| (*name).to_owned()));
    base
}

/// Collects the paths of the use tree that begins at a token, each with its name; returns the index
/// after the tree.
fn tree<'a>(
    tokens: &[(usize, &'a str)],
    mut at: usize,
    mut prefix: Vec<&'a str>,
    leaves: &mut Vec<(Vec<&'a str>, &'a str)>,
) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| *token);
    loop {
        match token(at) {
            "{" => {
                at += 1;
                while !matches!(token(at), "}" | "") {
                    at = tree(tokens, at, prefix.clone(), leaves);
                    // A rename, and the comma.
                    while !matches!(token(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(token(at) == ",");
                }
                return at + 1;
            }
            name if is_name(name) => prefix.push(name),
            _ => {
                leaves.push((prefix, "*"));
                return at + 1;
            }
        }
        if token(at + 1) != "::" {
            // `self` at the end of a braced path names what stands before the braces.
            if prefix.len() > 1 {
                prefix.pop_if(|last| *last == "self");
            }
            let own = prefix.last().copied().unwrap_or_default();
            let name = if token(at + 1) == "as" { token(at + 2) } else { own };
            leaves.push((prefix, name));
            return at + 1;
        }
        at += 2;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The tokens that are left without the items under `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[(usize, &'a str)]) -> Vec<(usize, &'a str)> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut left = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = MARK.iter().zip(&tokens[at..]).filter(|(mark, token)| **mark == token.1);
        if marked.count() < MARK.len() {
            left.push(tokens[at]);
            at += 1;
            continue;
        }
        let (mut depth, mut end) = (0, at + MARK.len());
        while let Some((_, token)) = tokens.get(end) {
            match *token {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            end += 1;
            if depth == 0 && matches!(*token, "}" | ";") {
                break;
            }
        }
        at = end;
    }
    left
}

/// Names and punctuation with their line numbers; no comments, no literals.
fn tokens(source: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < source.len() {
        let rest = &source[at..];
        let Range { start, end } = token(rest);
        if start < end {
            tokens.push((line, &rest[start..end]));
        }
        line += rest[..end.max(1)].matches('\n').count();
        at += end;
    }
    tokens
}

/// The token at the beginning of `rest`: its range, which is empty and ends after the piece for
/// white space, comments and literals.
fn token(rest: &str) -> Range<usize> {
    let to = |end: Option<usize>, length: usize| {
        let end = end.map_or(rest.len(), |end| end + length);
        end..end
    };
    let first = rest.chars().next().unwrap_or(' ');
    if rest.starts_with("//") {
        return to(rest.find('\n'), 0);
    }
    if rest.starts_with("/*") {
        return to(rest.find("*/"), 2);
    }
    if let Some(hashes) = raw_string(rest) {
        let close = format!("\"{}", "#".repeat(hashes));
        let open = rest.find('"').map_or(rest.len(), |quote| quote + 1);
        return to(rest[open..].find(&close).map(|end| end + open), close.len());
    }
    if first == '"' {
        return to(closing(&rest[1..], '"').map(|end| end + 1), 1);
    }
    if first == '\'' {
        // A lifetime has no closing quote two characters on.
        let mut after = rest[1..].chars();
        let escaped = after.next() == Some('\\');
        if escaped || after.next() == Some('\'') {
            return to(closing(&rest[1..], '\'').map(|end| end + 1), 1);
        }
    }
    if rest.starts_with("::") {
        return 0..2;
    }
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    match word {
        0 if first.is_whitespace() => first.len_utf8()..first.len_utf8(),
        0 => 0..first.len_utf8(),
        word => 0..word,
    }
}

/// The number of hashes of the raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The index of the closing quote of a literal whose escapes begin with a backslash.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(files: &[(&str, &str)], layers: &[&[&str]]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        violations(root.path(), layers)
    }

    const TABLE: &[&[&str]] = &[&["top"], &["middle", "beside"], &["low"]];
    const LOW: (&str, &str) = ("low.rs", "");
    const MIDDLE: (&str, &str) = ("middle/mod.rs", "use crate::low::{self, Thing as Other};");
    const BESIDE: (&str, &str) = ("beside.rs", "");

    #[test]
    fn imports_of_lower_layers_pass() {
        let top = "use crate::{middle::part::{A, B}, low};\nfn f() { crate::beside::g() }";
        let files = [("lib.rs", "mod top;"), ("top.rs", top), MIDDLE, BESIDE, LOW];
        assert_eq!(report(&files, TABLE), [""; 0]);
    }

    #[test]
    fn imports_of_the_same_layer_or_one_above_are_named_with_their_line() {
        let low = "/* crate::top */\nuse super::{\n    middle::{part::X},\n};";
        let beside = "fn f() {\n    crate::middle::g();\n}";
        let files = [("top.rs", ""), MIDDLE, ("middle/part.rs", ""), ("beside.rs", beside)];
        let found = report(&[&files[..], &[("low.rs", low)]].concat(), TABLE);
        assert_eq!(
            found,
            [
                "beside.rs:2: beside -> middle: middle is not below beside",
                "low.rs:2: low -> middle::part: middle is not below low",
                "low.rs:2: low -> middle::part: part of a cycle",
                "middle/mod.rs:1: middle -> low: part of a cycle",
            ]
        );
    }

    #[test]
    fn siblings_inside_an_entry_form_no_circle() {
        let files = [
            ("a/one.rs", "mod inner { use super::super::two; }"),
            ("a/two.rs", "use super::three::X;"),
            ("a/three.rs", "fn f<'a>(x: &'a super::one::X) {}"),
            ("a.rs", "use self::one::X;"),
            ("a/four.rs", "use super::X; use super::one;"),
        ];
        assert_eq!(
            report(&files, &[&["a"]]),
            [
                "a/one.rs:1: a::one -> a::two: part of a cycle",
                "a/three.rs:1: a::three -> a::one: part of a cycle",
                "a/two.rs:1: a::two -> a::three: part of a cycle",
            ]
        );
    }

    #[test]
    fn a_name_of_an_ancestor_is_an_import_of_the_module_that_defines_it() {
        let files = [
            ("a.rs", "pub use one::{X as Y, Z}; use crate::b::{B, B as C}; use std::fmt;"),
            ("a/one.rs", "use super::two::f;"),
            ("a/two.rs", "use super::{Y::Variant, fmt, B};"),
            ("a/three.rs", "fn f() { super::Z::new() }\nfn g() { use super::two; }"),
            ("a/three/deep.rs", "use super::super::{four, C};"),
            ("a/four.rs", "use super::three::Z;"),
            ("b.rs", "use std::io; fn f() { use crate::a; }"),
        ];
        assert_eq!(
            report(&files, &[&["a"], &["b"]]),
            [
                "a.rs:1: a -> b: part of a cycle",
                "a/four.rs:1: a::four -> a::three: part of a cycle",
                "a/one.rs:1: a::one -> a::two: part of a cycle",
                "a/three/deep.rs:1: a::three::deep -> a::four: part of a cycle",
                "a/three/deep.rs:1: a::three::deep -> b: part of a cycle",
                "a/two.rs:1: a::two -> a::one: part of a cycle",
                "a/two.rs:1: a::two -> b: part of a cycle",
                "b.rs:1: b -> a: a is not below b",
                "b.rs:1: b -> a: part of a cycle",
            ]
        );
    }

    #[test]
    fn tests_comments_and_literals_import_nothing() {
        let low = r####"
            // crate::top
            const A: &str = "crate::top \" crate::top";
            const B: &str = r#"" crate::top"#;
            const C: char = '"';
            #[cfg(test)]
            use crate::top;
            #[cfg(test)]
            mod tests { use crate::top; fn f() { {} } }
            pub(crate) fn f() {}
            pub(in crate::top) fn g() {}
        "####;
        let files =
            [("top.rs", ""), MIDDLE, BESIDE, ("low.rs", low), ("low/tests.rs", "use crate::top;")];
        assert_eq!(report(&files, TABLE), [""; 0]);
    }

    #[test]
    fn a_module_without_an_entry_is_reported() {
        let files = [("top.rs", "use crate::new;"), ("new.rs", ""), MIDDLE, BESIDE, LOW];
        assert_eq!(report(&files, TABLE), ["top.rs:1: top -> new: no entry in the table"]);
    }

    #[test]
    fn an_import_of_the_root_needs_an_entry_for_it() {
        let files = [("lib.rs", "pub fn f() {}"), ("a.rs", "use crate::f;")];
        assert_eq!(report(&files, &[&["a"]]), ["a.rs:1: a -> crate: no entry in the table"]);
        let upward = "a.rs:1: a -> crate: crate is not below a";
        assert_eq!(report(&files, &[&["crate"], &["a"]]), [upward]);
    }
}
