//! The options that `connect` and `listen` share, and the mode that these options and the standard
//! streams select.

use std::io::{self, IsTerminal};

use super::{
    modes::{
        Mode,
        messages::{
            MessageOptions, Messages,
            output::OutputFormat,
            prompt::Prompt,
            source::{InputLines, Source, Timer},
        },
        pipe::Pipe,
    },
    pending_replies::Wait,
    target::schemes,
};
use crate::recording::model::Traffic;

/// The advice for an input over WebSocket whose lines are not text.
const SEND_BINARY: &str = "use --binary to send the input as it is, or --hex";

/// The same advice for other transports.
const SEND_HEX: &str = "use --hex to send other bytes";

/// The options of a session.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SessionArgs {
    /// Read and write hexadecimal text (00 61 ff), one message per line
    #[arg(long, help_heading = "Messages")]
    pub(super) hex: bool,

    /// Send WebSocket text messages, one for each line (default)
    #[arg(long, help_heading = "Messages", conflicts_with = "hex")]
    pub(super) text: bool,

    /// Send WebSocket binary messages: the bytes of a pipe as they are, or one message for each
    /// typed line
    #[arg(long, short, help_heading = "Messages", conflicts_with = "text")]
    pub(super) binary: bool,

    /// End lines with CR LF instead of LF (TCP, TLS, Unix sockets)
    #[arg(long, help_heading = "Messages", conflicts_with = "hex")]
    pub(super) crlf: bool,

    /// Show each step on the standard error: the addresses tried, TLS, the WebSocket handshake and
    /// each WebSocket frame
    #[arg(long, short, help_heading = "Output")]
    pub(super) verbose: bool,

    /// Show nothing but the received data
    #[arg(long, short, help_heading = "Output", conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Do not keep typed lines in $XDG_STATE_HOME/echogate/history
    #[arg(long, help_heading = "Output")]
    pub(super) no_history: bool,
}

/// The choices of a command beyond [`SessionArgs`].
#[derive(Debug)]
pub(super) struct SessionPlan {
    pub(super) traffic: Traffic,
    /// The endpoint, for the greeting of the prompt.
    pub(super) url: String,
    /// The source of messages instead of the input.
    pub(super) timer: Option<Timer>,
    pub(super) count: Option<u64>,
    pub(super) once: bool,
    pub(super) reconnect: bool,
    pub(super) timing: bool,
    pub(super) wait: Wait,
    /// Whether the command itself handles the signals that terminate the process.
    pub(super) command_handles_signals: bool,
}

impl SessionArgs {
    /// Rejects options that have no effect with this traffic.
    pub(super) fn check(&self, traffic: Traffic) -> Result<(), String> {
        let flags = [
            ("--text", self.text, Traffic::Messages),
            ("--binary", self.binary, Traffic::Messages),
            ("--crlf", self.crlf, Traffic::Bytes),
        ];
        let wrong = flags.iter().find(|(_, given, kind)| *given && *kind != traffic);
        match wrong {
            Some((flag, _, kind)) => Err(format!("{flag} is valid with {} only", schemes(*kind))),
            None => Ok(()),
        }
    }

    /// The mode that the options and the standard streams select.
    pub(super) fn mode(&self, plan: SessionPlan) -> Mode {
        let (input, output) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        let options = MessageOptions {
            format: OutputFormat { terminal: output, hex: self.hex },
            commands: plan.traffic == Traffic::Messages,
            timing: plan.timing,
            quiet: self.quiet,
            verbose: self.verbose,
            once: plan.once,
            reconnect: plan.reconnect,
            wait: plan.wait,
            ends_by_silence: plan.once || plan.count.is_some(),
        };
        let takes_lines = self.takes_lines(&plan, input);
        let messages = if let Some(timer) = plan.timer {
            Messages::new(Source::Timer(timer), plan.count, options)
        } else if input && output {
            let prompt = Prompt {
                url: plan.url,
                history: !self.no_history,
                command_handles_signals: plan.command_handles_signals,
            };
            Messages::with_prompt(prompt, plan.count, options)
        } else if takes_lines {
            let advice = if options.commands { SEND_BINARY } else { SEND_HEX };
            let lines = InputLines::new(tokio::io::stdin(), advice);
            Messages::new(Source::Lines(lines), plan.count, options)
        } else {
            return Mode::Pipe(Pipe::new(plan.wait, self.quiet));
        };
        Mode::Messages(Box::new(messages))
    }

    /// Whether each line of an input without a prompt is a message: if an option requires it, over
    /// WebSocket without `--binary`, or if the input is a terminal and the messages are datagrams.
    fn takes_lines(&self, plan: &SessionPlan, typed: bool) -> bool {
        let SessionPlan { once, timing, reconnect, .. } = *plan;
        once || timing
            || reconnect
            || self.hex
            || plan.count.is_some()
            || match plan.traffic {
                Traffic::Messages => !self.binary,
                Traffic::Datagrams => typed,
                Traffic::Bytes => false,
            }
    }
}
