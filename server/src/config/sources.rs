//! The sources of settings: the command line, then the environment, then a file. For each
//! setting the first source that gives it counts.

use std::{
    fmt::{self, Display},
    path::Path,
};

use super::{BindAddress, Given, RouteSpec, environment, file};

/// All that was given, by source.
#[derive(Debug)]
pub(crate) struct Sources([(Source, Given); 3]);

/// A place where settings are given.
#[derive(Debug)]
pub(super) enum Source {
    CommandLine,
    Environment,
    File(file::Lines),
}

/// A setting under the name by which it was given: `--drain`, `ECHOGATE_DRAIN` or
/// `echogate.toml:3: drain`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    source: &'a Source,
    /// The long flag without its dashes.
    flag: &'static str,
    /// Which element of a list is meant.
    index: usize,
}

impl Sources {
    /// Reads the environment and the file, which `config` or `ECHOGATE_CONFIG` names.
    ///
    /// # Errors
    ///
    /// One line that names the variable, or the file and the line, and what is wrong there.
    pub(crate) fn read(flags: Given, config: Option<&Path>) -> Result<Sources, String> {
        let environment = environment::read(&std::env::vars_os().collect())?;
        let variable = environment::config();
        let (lines, file) = match config.or(variable.as_deref()) {
            Some(path) => file::read(path)?,
            None => Default::default(),
        };
        Ok(Sources([
            (Source::CommandLine, flags),
            (Source::Environment, environment),
            (Source::File(lines), file),
        ]))
    }

    /// The settings that `text`, the content of the file at `path`, gives, and no others.
    pub(super) fn of_file(path: &Path, text: &str) -> Result<Sources, String> {
        let (lines, file) = file::parse(path, text)?;
        Ok(Sources([
            (Source::CommandLine, Given::default()),
            (Source::Environment, Given::default()),
            (Source::File(lines), file),
        ]))
    }

    /// The settings of `echogate gateway`: `route` at `/` and `/websockify`, on `address`.
    ///
    /// # Errors
    ///
    /// One line that names a setting which contradicts the command's arguments.
    pub(crate) fn into_gateway(
        mut self,
        address: BindAddress,
        route: &RouteSpec,
    ) -> Result<Sources, String> {
        let given = [
            ("http", self.find("http", |given| list(&given.http)).map(|(_, name)| name)),
            ("listen", self.find("listen", |given| list(&given.listen)).map(|(_, name)| name)),
            ("route", self.find("route", |given| list(&given.route)).map(|(_, name)| name)),
        ];
        for (flag, name) in given {
            let Some(name) = name else { continue };
            let instead = match flag {
                "http" => "its first argument is the address",
                "listen" => "it opens no service ports, serve does",
                _ => "its second argument is the upstream; serve takes routes",
            };
            return Err(format!("{name} does not go with gateway: {instead}"));
        }
        let [(_, flags), ..] = &mut self.0;
        flags.http = vec![address];
        flags.route = ["/", "/websockify"]
            .map(|path| RouteSpec { path: path.to_owned(), ..route.clone() })
            .into();
        Ok(self)
    }

    /// The value of a setting, if it was given.
    pub(super) fn value<T>(&self, get: impl Fn(&Given) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|(_, given)| get(given))
    }

    /// The value of the setting `flag`, and the name by which it was given.
    pub(super) fn find<T>(
        &self,
        flag: &'static str,
        get: impl Fn(&Given) -> Option<T>,
    ) -> Option<(T, Setting<'_>)> {
        self.0.iter().find_map(|(source, given)| {
            get(given).map(|value| (value, Setting { source, flag, index: 0 }))
        })
    }
}

/// The elements of a list; none where it was not given.
pub(super) fn list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl Setting<'_> {
    /// The name of an element of the list.
    pub(super) fn element(self, index: usize) -> Self {
        Setting { index, ..self }
    }

    /// The name of another setting in the same source.
    pub(super) fn beside(self, flag: &'static str) -> String {
        match self.source {
            Source::CommandLine => format!("--{flag}"),
            Source::Environment => environment::variable(flag),
            Source::File(_) => flag.to_owned(),
        }
    }
}

impl Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::CommandLine => write!(f, "--{}", self.flag),
            Source::Environment => f.write_str(&environment::variable(self.flag)),
            Source::File(lines) => {
                let key = if self.flag == "listen" { "listener" } else { self.flag };
                write!(f, "{}: {key}", lines.place(key, self.index))
            }
        }
    }
}
