//! The build of the page: from sources to a folder that a server can serve.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use echogate_web::i18n;
use echogate_web_bundle::{
    record,
    sources::{self, STATIC},
    sums,
};
use flate2::{Compression, GzBuilder};
use wasm_bindgen_cli_support::Bindgen;

use crate::{shrink, toolchain::Toolchain};

/// The end of the module's JavaScript, which starts it. A file of its own would cost a request.
const START: &str = include_str!("start.js");

/// Builds the page into `to`, an empty folder.
pub(crate) fn build(root: &Path, to: &Path, toolchain: &Toolchain) -> Result<()> {
    let module = toolchain.compile(root)?;
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name("echogate")
        .generate(to)
        .context("wasm-bindgen")?;
    let (glue, module) = (to.join("echogate.js"), to.join("echogate_bg.wasm"));
    fs::write(&glue, fs::read_to_string(&glue)? + START)?;
    let mut hashes = Vec::new();
    for file in [glue, module] {
        let mut bytes = fs::read(&file)?;
        shrink::number_hashes(&mut bytes, &mut hashes);
        fs::write(&file, bytes)?;
    }
    let from = root.join(STATIC);
    for name in sources::names(&from)? {
        fs::copy(from.join(&name), to.join(&name)).with_context(|| name)?;
    }
    for name in ["echogate.js", "sockets.js", "style.css"] {
        let file = to.join(name);
        fs::write(&file, shrink::without_comments(&fs::read_to_string(&file)?))?;
    }
    fs::write(to.join(i18n::CHINESE_FILE), i18n::chinese_file())?;
    for name in sources::names(to)? {
        compress(&to.join(&name)).with_context(|| name)?;
    }
    fs::write(to.join(record::NAME), record::write(root, &toolchain.version)?)?;
    fs::write(to.join(sums::NAME), sums::write(root, to)?)?;
    Ok(())
}

/// Writes `FILE.br` and `FILE.gz` beside a file, reproducibly.
fn compress(file: &Path) -> Result<()> {
    let bytes = fs::read(file)?;
    let beside = |extension: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(extension);
        path
    };
    let mut brotli = Vec::new();
    let settings = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        size_hint: bytes.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut bytes.as_slice(), &mut brotli, &settings)?;
    fs::write(beside(".br"), brotli)?;
    // No name and no time in the header, for reproducible bytes.
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    fs::write(beside(".gz"), gzip.finish()?)?;
    Ok(())
}
