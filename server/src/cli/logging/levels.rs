//! `ECHOGATE_LOG` and `RUST_LOG`: log levels, in general and by module.

use std::mem;

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::text::suggest;

/// The paths of this crate's modules, collected by `build.rs`.
const MODULES: &str = env!("ECHOGATE_MODULES");

/// The dependencies whose log has levels here.
const OTHER_CRATES: [&str; 2] = ["async_nats", "h2"];

/// A dependency whose log is off unless it is named, since `cluster` logs the same events.
const BROKER_CLIENT: &str = "async_nats";

/// The names of the levels, in increasing verbosity.
const LEVELS: [(&str, LevelFilter); 7] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("warning", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The levels parsed so far.
struct Levels {
    of_modules: Targets,
    /// The level of all other modules.
    general: Option<LevelFilter>,
}

impl Levels {
    fn new() -> Levels {
        let of_modules = Targets::new().with_target(BROKER_CLIENT, LevelFilter::OFF);
        Levels { of_modules, general: None }
    }

    /// Adds a level or `MODULE=LEVEL`.
    fn add(&mut self, part: &str) -> Result<(), String> {
        let Some((module, word)) = part.split_once('=') else {
            return match self.general.replace(parse_level(part)?) {
                Some(_) => Err(format!("\"{part}\": only one level without a module is possible")),
                None => Ok(()),
            };
        };
        let (module, level) = (parse_module(module.trim())?, parse_level(word.trim())?);
        self.of_modules = mem::take(&mut self.of_modules).with_target(module, level);
        Ok(())
    }

    fn or(self, default: LevelFilter) -> Targets {
        self.of_modules.with_default(self.general.unwrap_or(default))
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Parses a level, `MODULE=LEVEL`, or several of these separated by commas. `default` is the
/// level of modules that `text` does not mention.
///
/// # Errors
///
/// One line that names the invalid part and the expected form.
pub(super) fn parse(text: &str, default: LevelFilter) -> Result<Targets, String> {
    let mut levels = Levels::new();
    parts(text).try_for_each(|part| levels.add(part))?;
    Ok(levels.or(default))
}

/// Parses the value of a variable that other programs also read. Parts that are invalid here are
/// ignored: other programs may understand them.
pub(super) fn parse_shared(text: &str, default: LevelFilter) -> Targets {
    let mut levels = Levels::new();
    for part in parts(text) {
        levels.add(part).ok();
    }
    levels.or(default)
}

fn parse_level(word: &str) -> Result<LevelFilter, String> {
    let named = LEVELS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    named.map(|(_, level)| *level).ok_or_else(|| {
        let suggestion = suggest::suggestion(word, LEVELS.map(|(name, _)| name));
        format!(
            "unknown level \"{word}\": expected off, error, warn, info, debug or trace, alone or \
             as MODULE=LEVEL{suggestion}"
        )
    })
}

fn parse_module(module: &str) -> Result<String, String> {
    if OTHER_CRATES.contains(&module) || MODULES.split(' ').any(|known| known == module) {
        return Ok(module.to_owned());
    }
    let suggestion = suggest::suggestion(module, MODULES.split(' '));
    Err(format!(
        "unknown module \"{module}\": expected echogate or one of its modules, such as \
         echogate::http{suggestion}"
    ))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter as L;

    use super::*;

    fn parsed(text: &str) -> Targets {
        parse(text, L::INFO).unwrap()
    }

    #[test]
    fn a_level_applies_to_its_module_and_otherwise_to_all() {
        for (text, level) in [
            ("", L::INFO),
            (" , ", L::INFO),
            ("warn", L::WARN),
            ("warning", L::WARN),
            ("Debug ", L::DEBUG),
            (" OFF", L::OFF),
        ] {
            assert_eq!(parsed(text).default_level(), Some(level), "{text}");
        }
        let some = parsed("echogate::http = debug, warn,h2=trace");
        assert_eq!(some.default_level(), Some(L::WARN));
        assert!(some.would_enable("echogate::http::upgrade", &tracing::Level::DEBUG));
        assert!(!some.would_enable("echogate::listener", &tracing::Level::INFO));
        // Modules that are not mentioned keep the default level.
        let rest = parsed("echogate::http=debug");
        assert!(rest.would_enable("echogate::listener", &tracing::Level::INFO));
    }

    #[test]
    fn an_invalid_part_is_rejected_with_the_expected_form() {
        for (text, part) in [
            ("verbose", "unknown level \"verbose\""),
            ("all", "unknown level \"all\""),
            ("infos", "\"info\""),
            ("echogate=verbose", "unknown level \"verbose\""),
            ("echogate=", "unknown level \"\""),
            ("echogate::http", "unknown level \"echogate::http\""),
            ("=info", "unknown module \"\""),
            ("echogate=x=y", "unknown level \"x=y\""),
            ("info=debug", "unknown module \"info\""),
            ("echogate::htttp=debug", "\"echogate::http\""),
            ("echogate::htt=debug", "unknown module"),
            ("http=debug", "unknown module \"http\""),
            ("info,debug", "\"debug\": only one level"),
        ] {
            let error = parse(text, L::INFO).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn parts_for_other_programs_are_ignored_in_a_shared_variable() {
        let levels = parse_shared("hyper=debug, warn,echogate::http=trace,[span]=info", L::INFO);
        assert_eq!(levels.default_level(), Some(L::WARN));
        assert!(levels.would_enable("echogate::http", &tracing::Level::TRACE));
        assert!(!levels.would_enable("hyper", &tracing::Level::INFO));
        assert_eq!(parse_shared("mine=trace", L::INFO).default_level(), Some(L::INFO));
    }

    #[test]
    fn modules_are_known_by_their_paths() {
        for module in [module_path!(), "echogate", "echogate::service::time", "echogate::service"] {
            parse_module(module.strip_suffix("::tests").unwrap_or(module)).unwrap();
        }
    }
}
