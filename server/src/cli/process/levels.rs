//! `ECHOGATE_LOG`: how much is logged.

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::text::suggest;

/// The modules of this crate, each with its path, as `build.rs` finds them.
const MODULES: &str = env!("ECHOGATE_MODULES");

/// Crates that this one is built with and that log by the same library.
const OTHER_CRATES: [&str; 1] = ["h2"];

/// The words for a level, the more the later.
const LEVELS: [(&str, LevelFilter); 7] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("warning", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// What is to be logged by `text`: a level, `MODULE=LEVEL`, or several of these with commas
/// between them. `default` is the level of all that `text` does not mention.
///
/// # Errors
///
/// One line that names the part that is wrong, and what is expected.
pub(super) fn parse(text: &str, default: LevelFilter) -> Result<Targets, String> {
    let mut targets = Targets::new();
    let mut general = None;
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => {
                if general.replace(level(part)?).is_some() {
                    return Err(format!("\"{part}\" is a second level without a module"));
                }
            }
            Some((module, word)) => {
                targets = targets.with_target(known(module.trim())?, level(word.trim())?);
            }
        }
    }
    Ok(targets.with_default(general.unwrap_or(default)))
}

fn level(word: &str) -> Result<LevelFilter, String> {
    let named = LEVELS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    named.map(|(_, level)| *level).ok_or_else(|| {
        let tip = suggest::tip(word, LEVELS.map(|(name, _)| name));
        format!(
            "unknown level \"{word}\": expected off, error, warn, info, debug or trace, alone or \
             as MODULE=LEVEL{tip}"
        )
    })
}

fn known(module: &str) -> Result<String, String> {
    if OTHER_CRATES.contains(&module) || MODULES.split(' ').any(|known| known == module) {
        return Ok(module.to_owned());
    }
    let tip = suggest::tip(module, MODULES.split(' '));
    Err(format!(
        "unknown module \"{module}\": expected echogate or one of its modules, as \
                 echogate::http{tip}"
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
    fn a_level_is_a_word_and_applies_to_what_it_is_for() {
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
        // What is not mentioned is logged as ever, errors above all.
        let rest = parsed("echogate::http=debug");
        assert!(rest.would_enable("echogate::listener", &tracing::Level::INFO));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_is_expected() {
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
            ("info,debug", "\"debug\" is a second level"),
        ] {
            let error = parse(text, L::INFO).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn modules_are_known_by_their_paths() {
        for module in [module_path!(), "echogate", "echogate::service::time", "echogate::service"] {
            if let Some(module) = module.strip_suffix("::tests").or(Some(module)) {
                known(module).unwrap();
            }
        }
    }
}
