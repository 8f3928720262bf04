//! The directory of recordings: names of files, and the limit on their size.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::{recording::format::Format, text::io_error::describe};

/// The start of the names of all recordings.
const PREFIX: &str = "echogate-";

/// Complete recordings of this program in a directory, of this process and of others.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    /// Their paths and sizes, oldest first.
    files: VecDeque<(PathBuf, u64)>,
    /// The sum of the sizes.
    total: u64,
}

impl Recordings {
    /// Lists a directory.
    pub(super) fn list(dir: &Path) -> io::Result<Recordings> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_recording = name.to_str().is_some_and(|name| name.starts_with(PREFIX))
                && Format::of_file(Path::new(&name)).is_ok();
            // A file that is being removed by another process has no size.
            if is_recording
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                files.push((entry.path(), metadata.len()));
            }
        }
        // The names begin with the time.
        files.sort();
        let total = files.iter().map(|(_, size)| size).sum();
        Ok(Recordings { files: files.into(), total })
    }

    /// Removes the oldest files until all of them have at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// One line that names the file.
    pub(super) fn limit(&mut self, limit: u64) -> Result<(), String> {
        while self.total > limit
            && let Some((path, size)) = self.files.pop_front()
        {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {}", path.display(), describe(&e)));
                }
                _ => self.total -= size,
            }
        }
        Ok(())
    }
}

/// The name of a file that begins at `time`, with a number that makes it unique.
pub(super) fn file_name(time: Timestamp, number: u32, format: Format) -> String {
    format!("{PREFIX}{}-{number:04}.{format}", time.strftime("%Y%m%dT%H%M%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_recordings_go_first_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let time = Timestamp::from_second(1_790_000_000).unwrap();
        let names = [0, 1, 2].map(|n| file_name(time, n, Format::Jsonl));
        assert_eq!(names[1], "echogate-20260921T141320Z-0001.jsonl");
        let others = ["a.jsonl", "echogate-notes.txt"].map(String::from);
        for name in names.iter().chain(&others) {
            fs::write(dir.path().join(name), [b'a'; 100]).unwrap();
        }
        let mut recordings = Recordings::list(dir.path()).unwrap();
        recordings.limit(300).unwrap();
        assert_eq!(recordings.total, 300);
        recordings.limit(250).unwrap();
        assert_eq!(recordings.total, 200);
        assert!(!dir.path().join(&names[0]).exists());
        assert!(others.iter().chain(&names[1..]).all(|name| dir.path().join(name).exists()));
        recordings.limit(0).unwrap();
        assert_eq!(recordings.total, 0);
    }
}
