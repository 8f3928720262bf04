//! Recordings: the directory, its limits, and the connections that are recorded.

use std::{path::Path, time::Duration};

use nix::unistd::{AccessFlags, access};

use super::{
    Sources,
    endpoints::Endpoints,
    sources::list,
    values::{Size, Timeout},
};
use crate::{
    connections::tap::Sides, recorder::RecorderSettings, recording::file::Format, text::io_error,
};

/// The default of `--record-limit`.
const LIMIT: u64 = 1 << 30;

/// The default of `--record-rotate-size`, if the limit allows for several files of it.
const ROTATE_SIZE: u64 = 64 << 20;

/// The number of files that a limit has room for at least, by default.
const MIN_FILES: u64 = 4;

/// The default of `--record-rotate-time`.
const ROTATE_TIME: Duration = Duration::from_secs(3600);

/// The settings of the recorder, if there is a directory for it. Where no endpoint has the option
/// `record`, all of them are given it.
pub(super) fn load(
    sources: &Sources,
    endpoints: &mut Endpoints,
) -> Result<Option<RecorderSettings>, String> {
    let Some((dir, setting)) = sources.find("record", |layer| layer.record.clone()) else {
        return needs_directory(sources).map_or(Ok(None), Err);
    };
    check_directory(&dir).map_err(|why| format!("{setting}: {}: {why}", dir.display()))?;
    let records_all = endpoints.recorded().all(|sides| sides.is_none());
    if records_all {
        endpoints.recorded().for_each(|sides| *sides = Some(Sides::Client));
    }
    let limit = sources.value(|layer| layer.record_limit).map_or(LIMIT, |Size(bytes)| bytes);
    let rotate_size = match sources.find("record-rotate-size", |layer| layer.record_rotate_size) {
        Some((Size(size), setting)) if size > limit => {
            return Err(format!(
                "{setting}: a file of {size} bytes is above the limit on all files of {limit} bytes \
                 (--record-limit)"
            ));
        }
        Some((Size(size), _)) => size,
        None => ROTATE_SIZE.min(limit / MIN_FILES).max(1),
    };
    let time = sources.value(|layer| layer.record_rotate_time);
    let format: Option<Format> = sources.value(|layer| layer.record_format);
    Ok(Some(RecorderSettings {
        dir,
        format: format.unwrap_or_default(),
        rotate_size,
        rotate_time: time.map_or(ROTATE_TIME, |Timeout(time)| time),
        limit,
        records_all,
    }))
}

/// The error of a setting that has no effect without a directory.
fn needs_directory(sources: &Sources) -> Option<String> {
    let flags = [
        sources.find("record-format", |l| l.record_format.map(|_| 0)),
        sources.find("record-rotate-size", |l| l.record_rotate_size.map(|_| 0)),
        sources.find("record-rotate-time", |l| l.record_rotate_time.map(|_| 0)),
        sources.find("record-limit", |l| l.record_limit.map(|_| 0)),
    ];
    let flag = flags.into_iter().flatten().next();
    let position = |list: Vec<bool>| list.iter().position(|is_recorded| *is_recorded);
    let endpoint = [
        sources.find("listen", |l| {
            position(list(&l.listen)?.iter().map(|spec| spec.record.is_some()).collect())
        }),
        sources.find("route", |l| {
            position(list(&l.route)?.iter().map(|spec| spec.target.record.is_some()).collect())
        }),
        sources.find("forward", |l| {
            position(list(&l.forward)?.iter().map(|spec| spec.target.record.is_some()).collect())
        }),
    ];
    let endpoint = endpoint.into_iter().flatten().next();
    if let Some((index, setting)) = endpoint {
        let setting = setting.element(index);
        return Some(format!("{setting}: record needs a directory for the files (--record DIR)"));
    }
    flag.map(|(_, setting)| format!("{setting} has no effect without a directory (--record DIR)"))
}

fn check_directory(dir: &Path) -> Result<(), String> {
    let metadata = dir.metadata().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "no such directory: create it".to_owned(),
        _ => io_error::describe(&e),
    })?;
    if !metadata.is_dir() {
        return Err("not a directory".to_owned());
    }
    let may = access(dir, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK);
    may.map_err(|e| format!("files cannot be created there: {}", io_error::describe(&e.into())))
}
