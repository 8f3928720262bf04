//! The documentation: its examples print the documented output, its configuration is valid, and its
//! links and paths lead to files.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use echogate_tests::server::Server;

use crate::ECHOGATE;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A document: its path from the root of the repository, and its text.
struct Document {
    path: PathBuf,
    text: String,
}

/// A fenced block of code.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

/// A command of a `console` block, and its output.
#[derive(Debug, Default)]
struct Example {
    command: String,
    output: String,
}

/// All documents: those at the root, of the server and of the benchmarks.
fn documents() -> Vec<Document> {
    let folders = ["", "server", "server/docs", "tests/bench"];
    let names = folders.into_iter().flat_map(|folder| {
        let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        entries.map(move |entry| Path::new(folder).join(entry.unwrap().file_name()))
    });
    let mut paths: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

impl Document {
    fn read(path: PathBuf) -> Document {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).unwrap();
        Document { path, text }
    }

    /// The fenced blocks, and the text between them.
    fn parts(&self) -> (Vec<Block<'_>>, Vec<&str>) {
        let (mut blocks, mut text, mut is_open) = (Vec::new(), Vec::new(), false);
        for line in self.text.lines() {
            match (line.strip_prefix("```"), blocks.last_mut()) {
                (Some(_), _) if is_open => is_open = false,
                (Some(language), _) => {
                    blocks.push(Block { language, lines: Vec::new() });
                    is_open = true;
                }
                (None, Some(Block { lines, .. })) if is_open => lines.push(line),
                (None, _) => text.push(line),
            }
        }
        assert!(!is_open, "{}: a block has no end", self.path.display());
        (blocks, text)
    }

    fn blocks(&self, language: &str) -> Vec<Block<'_>> {
        let (blocks, _) = self.parts();
        blocks.into_iter().filter(|block| block.language == language).collect()
    }

    fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for line in self.blocks("console").iter().flat_map(|block| &block.lines) {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => {
                    examples.push(Example { command: command.to_owned(), ..Example::default() });
                }
                (None, Some(example)) => {
                    example.output.push_str(line);
                    example.output.push('\n');
                }
                (None, None) => panic!("{}: output without a command", self.path.display()),
            }
        }
        examples
    }

    /// The targets of links and images.
    fn links(&self) -> Vec<&str> {
        let (_, text) = self.parts();
        let behind_brackets = text.into_iter().flat_map(|line| line.split("](").skip(1));
        behind_brackets.filter_map(|rest| rest.split(')').next()).collect()
    }

    /// The anchors of the headings, in GitHub's form.
    fn anchors(&self) -> Vec<String> {
        let (_, text) = self.parts();
        let headings = text.into_iter().filter(|line| line.starts_with('#'));
        let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        headings
            .map(|text| text.chars().filter(is_kept).collect::<String>().replace(' ', "-"))
            .collect()
    }
}

/// Whether all programs of the command are installed.
fn can_run(command: &str, path: &str) -> bool {
    command.split('|').filter_map(|part| part.split_whitespace().next()).all(|program| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .env("PATH", path)
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    })
}

#[test]
fn every_example_does_what_it_says() {
    let bin = tempfile::tempdir().unwrap();
    symlink(fs::canonicalize(ECHOGATE).unwrap(), bin.path().join("echogate")).unwrap();
    let path = format!("{}:{}", bin.path().display(), env::var("PATH").unwrap());
    let mut run = 0;
    for document in documents() {
        let (name, examples) = (document.path.display(), document.examples());
        if examples.is_empty() {
            continue;
        }
        // A folder for each document: the files of one are not visible to another.
        let services = ["time", "chat"].map(|service| format!("{service}=tcp://127.0.0.1:0"));
        let [time, chat] = &services;
        let server =
            Server::start(ECHOGATE, &["--listen", time, "--listen", chat, "--timezone", "UTC"]);
        for Example { command, output } in examples {
            if !can_run(&command, &path) {
                assert!(env::var_os("CI").is_none(), "{name}: `{command}`: a program is missing");
                eprintln!("SKIPPED, a program is missing: {command}");
                continue;
            }
            let mut here = command.replace("127.0.0.1:8080", server.address("http"));
            for (service, port) in [("upper", "7007"), ("time", "7013"), ("chat", "7017")] {
                let address = server.address(service);
                here = here.replace(&format!("127.0.0.1:{port}"), address);
                here = here.replace(&format!("127.0.0.1 {port}"), &address.replace(':', " "));
            }
            let ran = Command::new("sh").args(["-c", &here]).env("PATH", &path).output().unwrap();
            let printed = String::from_utf8_lossy(&ran.stdout);
            let errors = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(printed.trim_end(), output.trim_end(), "{name}: $ {command}\n{errors}");
            assert!(ran.status.success(), "{name}: $ {command}: {}\n{errors}", ran.status);
            run += 1;
        }
    }
    assert!(run >= 10, "there are examples: {run}");
}

/// The result of `echogate check` with the arguments of a command line.
fn check(arguments: &str) -> Output {
    let line = format!("exec {ECHOGATE} check {arguments}");
    Command::new("sh").args(["-c", &line]).output().unwrap()
}

#[test]
fn every_configuration_and_command_line_of_serve_is_accepted() {
    let mut checked = 0;
    for document in documents() {
        for Block { lines, .. } in document.blocks("toml") {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), lines.join("\n")).unwrap();
            let output = check(&format!("--config {}", file.path().display()));
            assert!(output.status.success(), "{}: {output:?}", document.path.display());
            checked += 1;
        }
        let blocks = document.blocks("sh");
        let commands = blocks.iter().flat_map(|block| &block.lines);
        // Files that the reader is to create are missing here.
        for line in commands.filter(|line| !line.contains(".pem")) {
            let Some(flags) = line.strip_prefix("echogate ").filter(|f| f.starts_with("--")) else {
                continue;
            };
            let output = check(flags);
            assert!(output.status.success(), "{}: {line}: {output:?}", document.path.display());
            checked += 1;
        }
    }
    assert!(checked >= 5, "there are configurations: {checked}");
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let documents = documents();
    let root = fs::canonicalize(ROOT).unwrap();
    let mut links = 0;
    for document in &documents {
        let name = document.path.display();
        for link in document.links() {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
            let target = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            let target = fs::canonicalize(root.join(&target))
                .unwrap_or_else(|e| panic!("{name}: {link}: {e}"));
            let target = target.strip_prefix(&root).unwrap_or_else(|_| panic!("{name}: {link}"));
            if let Some(anchor) = anchor {
                let anchors = Document::read(target.to_owned()).anchors();
                assert!(anchors.iter().any(|a| a == anchor), "{name}: {link}: {anchors:?}");
            }
            links += 1;
        }
    }
    assert!(links >= 30, "there are links: {links}");
}

#[test]
fn every_document_of_the_reference_is_linked_from_the_front_page() {
    let documents = documents();
    let front = Document::read("README.md".into());
    let links = front.links();
    for Document { path, .. } in &documents {
        let is_reference = path.starts_with("server/docs") || path.components().count() == 1;
        let path = path.to_str().unwrap();
        let is_linked = links.iter().any(|link| link.split('#').next() == Some(path));
        assert!(!is_reference || path == "README.md" || is_linked, "{path} has no link");
    }
}

#[test]
fn every_path_that_the_documents_for_developers_name_exists() {
    let tops = ["server/", "web/", "tests/", ".ci/", ".github/", ".cargo/"];
    let is_path = |name: &&str| {
        let is_file = [".rs", ".toml", ".md"].iter().any(|end| name.ends_with(end));
        tops.iter().any(|top| name.starts_with(top)) || (is_file && name.contains('/'))
    };
    let mut missing = Vec::new();
    for path in ["CONTRIBUTING.md", "server/ARCHITECTURE.md"] {
        let document = Document::read(path.into());
        let (_, text) = document.parts();
        let code = text.into_iter().flat_map(|line| line.split('`').skip(1).step_by(2));
        let names = code.filter_map(|code| code.split([' ', ':']).next());
        // ARCHITECTURE.md names sources relative to `server/src`.
        let exists = |name: &str| {
            let bases = ["", "server", "server/src"];
            bases.iter().any(|base| Path::new(ROOT).join(base).join(name).exists())
        };
        for name in names.filter(is_path).filter(|name| !exists(name)) {
            missing.push(format!("{path}: {name}"));
        }
    }
    assert!(missing.is_empty(), "no such files: {missing:#?}");
}
