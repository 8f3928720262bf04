//! The sources of settings, in descending priority: the command line, the environment, a file.

use std::{
    fmt::{self, Display},
    path::Path,
};

use super::{ConfigLayer, ForwardSpec, HttpAddress, LogFormat, RouteSpec, environment, file};

/// The layers of all sources, in descending priority.
#[derive(Debug)]
pub(crate) struct Sources([(Source, ConfigLayer); 3]);

/// A source of settings.
#[derive(Debug)]
pub(super) enum Source {
    CommandLine,
    Environment,
    File(file::Lines),
}

/// A list of endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) enum EndpointList {
    Http,
    Listen,
    Route,
    Forward,
}

/// A setting that was given, displayed as its source names it: `--drain`, `ECHOGATE_DRAIN` or
/// `echogate.toml:3: drain`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    source: &'a Source,
    /// The long flag without its dashes.
    flag: &'static str,
    /// The position in a list; 0 for a single value.
    index: usize,
}

impl Sources {
    /// Reads the environment, and the file that `config` or `ECHOGATE_CONFIG` names.
    ///
    /// # Errors
    ///
    /// One line that names the variable, or the file and the line, and says what is wrong.
    pub(crate) fn read(flags: ConfigLayer, config: Option<&Path>) -> Result<Sources, String> {
        let environment = environment::read(&std::env::vars_os().collect())?;
        let variable = environment::config();
        let path = config.map(|path| (path, "--config".to_owned()));
        let from_variable = || Some((variable.as_deref()?, environment::variable("config")));
        let (lines, file) = match path.or_else(from_variable) {
            Some((path, name)) => file::read(path, &name)?,
            None => Default::default(),
        };
        Ok(Sources([
            (Source::CommandLine, flags),
            (Source::Environment, environment),
            (Source::File(lines), file),
        ]))
    }

    /// The settings in `text`, the content of the file at `path`, without those of other sources.
    pub(super) fn of_file(path: &Path, text: &str) -> Result<Sources, String> {
        let (lines, file) = file::parse_text(path, text)?;
        Ok(Sources([
            (Source::CommandLine, ConfigLayer::default()),
            (Source::Environment, ConfigLayer::default()),
            (Source::File(lines), file),
        ]))
    }

    /// The settings of `echogate gateway`: HTTP on `address`, and `route` as the only route.
    ///
    /// # Errors
    ///
    /// One line that names a setting in conflict with the arguments of the command.
    pub(crate) fn into_gateway(
        mut self,
        address: HttpAddress,
        route: RouteSpec,
    ) -> Result<Sources, String> {
        self.reject(
            "gateway",
            &[
                (EndpointList::Http, "its first argument is the address to listen on"),
                (EndpointList::Listen, "only serve runs services"),
                (
                    EndpointList::Route,
                    "its second argument is the upstream; only serve takes routes",
                ),
                (EndpointList::Forward, "only serve takes routes and forwards"),
            ],
        )?;
        let [(_, flags), ..] = &mut self.0;
        flags.http = vec![address];
        flags.route = vec![route];
        Ok(self)
    }

    /// The settings of `echogate forward`: only `forward`, and HTTP where it is given.
    ///
    /// # Errors
    ///
    /// One line that names a setting in conflict with the arguments of the command.
    pub(crate) fn into_forward(mut self, forward: ForwardSpec) -> Result<Sources, String> {
        self.reject(
            "forward",
            &[
                (EndpointList::Listen, "only serve runs services"),
                (EndpointList::Route, "only serve takes routes and forwards"),
                (EndpointList::Forward, "its arguments are the forward; serve takes more than one"),
            ],
        )?;
        let [(_, flags), ..] = &mut self.0;
        flags.forward = vec![forward];
        flags.without_http = true;
        Ok(self)
    }

    /// Whether HTTP is served only on addresses that are given, without default addresses.
    pub(super) fn without_http(&self) -> bool {
        self.0.iter().any(|(_, layer)| layer.without_http)
    }

    /// Rejects the lists that the command `command` replaces; each has its reason.
    fn reject(&self, command: &str, lists: &[(EndpointList, &str)]) -> Result<(), String> {
        for (list, reason) in lists {
            if let Some(name) = self.list_setting(*list) {
                return Err(format!("{name} cannot be used with {command}: {reason}"));
            }
        }
        Ok(())
    }

    /// The name of a list of endpoints in the first source that gives it.
    pub(super) fn list_setting(&self, list: EndpointList) -> Option<Setting<'_>> {
        let (flag, is_empty): (_, fn(&ConfigLayer) -> bool) = match list {
            EndpointList::Http => ("http", |layer| layer.http.is_empty()),
            EndpointList::Listen => ("listen", |layer| layer.listen.is_empty()),
            EndpointList::Route => ("route", |layer| layer.route.is_empty()),
            EndpointList::Forward => ("forward", |layer| layer.forward.is_empty()),
        };
        self.find(flag, |layer| (!is_empty(layer)).then_some(())).map(|((), setting)| setting)
    }

    /// The format of the log.
    pub(crate) fn log_format(&self) -> LogFormat {
        self.value(|layer| layer.log_format).unwrap_or_default()
    }

    /// The value of a setting from the first source that gives it.
    pub(super) fn value<T>(&self, get: impl Fn(&ConfigLayer) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|(_, layer)| get(layer))
    }

    /// The elements of a list from the first source that gives it; empty by default.
    pub(super) fn list<T: Clone>(&self, get: impl Fn(&ConfigLayer) -> &[T]) -> Vec<T> {
        self.value(|layer| list(get(layer))).unwrap_or_default()
    }

    /// The value of the setting `flag` from the first source that gives it, and its name there.
    pub(super) fn find<T>(
        &self,
        flag: &'static str,
        get: impl Fn(&ConfigLayer) -> Option<T>,
    ) -> Option<(T, Setting<'_>)> {
        self.0.iter().find_map(|(source, layer)| {
            get(layer).map(|value| (value, Setting { source, flag, index: 0 }))
        })
    }
}

/// A list, or None if it is empty, because then its source does not give the setting.
pub(super) fn list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl Setting<'_> {
    /// The setting as the element `index` of its list.
    pub(super) fn element(self, index: usize) -> Self {
        Setting { index, ..self }
    }

    /// The name of another setting in the source of this one.
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
                write!(f, "{}: {key}", lines.location(key, self.index))
            }
        }
    }
}
