//! The path below which a proxy publishes the server.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use super::route::{check_characters, is_reserved};

/// A value of `--base-path` without a trailing slash; empty for `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BasePath(String);

impl BasePath {
    /// The rest of `path` after the base path: empty, or with a leading slash. None if `path` is
    /// not below the base path, as in the requests of a proxy that strips the base path.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BasePath {
    type Err = String;

    fn from_str(text: &str) -> Result<BasePath, String> {
        check_characters(text)?;
        let path = text.strip_suffix('/').unwrap_or(text);
        if is_reserved(path) {
            return Err(format!("path {path} is reserved by the server"));
        }
        if path.split('/').skip(1).any(str::is_empty) {
            return Err(format!("path \"{text}\" has an empty segment"));
        }
        Ok(BasePath(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_are_stripped_and_other_paths_are_left_alone() {
        let base: BasePath = "/tools/echogate/".parse().unwrap();
        for (path, rest) in [
            ("/tools/echogate", Some("")),
            ("/tools/echogate/", Some("/")),
            ("/tools/echogate/ws/echo", Some("/ws/echo")),
            ("/tools/echogate2", None),
            ("/tools", None),
            ("/", None),
        ] {
            assert_eq!(base.strip(path), rest, "{path}");
        }
        assert!("/".parse::<BasePath>().unwrap().is_empty());
    }
}
