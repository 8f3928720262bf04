//! Recordings: the directory, its limits, and the connections that are recorded.

use std::{path::Path, time::Duration};

use nix::unistd::{AccessFlags, access};

use super::{Sources, endpoints::Endpoints};
use crate::{connections::tap::Sides, recorder::RecorderSettings, text::io_error};

/// The default of `--record-limit`.
const LIMIT: u64 = 1 << 30;

/// The default of `--record-rotate-size`, if the limit allows for several files of it.
const ROTATE_SIZE: u64 = 64 << 20;

/// The minimum of `--record-limit`: room for one file with the largest packet.
const MIN_LIMIT: u64 = 128 << 10;

/// The minimum number of files of the default rotation size that fit into the limit.
const MIN_FILES: u64 = 4;

/// The default of `--record-rotate-time`.
const ROTATE_TIME: Duration = Duration::from_secs(3600);

/// The settings of the recorder; None without `--record`. If no endpoint has the option `record`,
/// all endpoints are given that option.
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
    let limit = match sources.find("record-limit", |layer| layer.record_limit) {
        Some((limit, setting)) if limit < MIN_LIMIT => {
            return Err(format!(
                "{setting}: no file fits into {limit} bytes: expected at least {MIN_LIMIT} (128K)"
            ));
        }
        Some((limit, _)) => limit,
        None => LIMIT,
    };
    let rotate_size = match sources.find("record-rotate-size", |layer| layer.record_rotate_size) {
        Some((size, setting)) if size > limit => {
            return Err(format!(
                "{setting}: a file of {size} bytes is above the limit on all files of {limit} bytes \
                 (--record-limit)"
            ));
        }
        Some((size, _)) => size,
        None => ROTATE_SIZE.min(limit / MIN_FILES),
    };
    Ok(Some(RecorderSettings {
        dir,
        format: sources.value(|layer| layer.record_format).unwrap_or_default(),
        rotate_size,
        rotate_time: sources.value(|layer| layer.record_rotate_time).unwrap_or(ROTATE_TIME),
        limit,
        records_all,
    }))
}

/// The error for a setting that has no effect without `--record`; None if there is no such setting.
fn needs_directory(sources: &Sources) -> Option<String> {
    let flag = sources
        .find("record-format", |l| l.record_format.map(drop))
        .or(sources.find("record-rotate-size", |l| l.record_rotate_size.map(drop)))
        .or(sources.find("record-rotate-time", |l| l.record_rotate_time.map(drop)))
        .or(sources.find("record-limit", |l| l.record_limit.map(drop)));
    let endpoint =
        sources
            .find("listen", |l| l.listen.iter().position(|spec| spec.record.is_some()))
            .or(sources.find("route", |l| l.route.iter().position(|it| it.target.record.is_some())))
            .or(sources
                .find("forward", |l| l.forward.iter().position(|it| it.target.record.is_some())));
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
