//! The player of one end of a recorded connection.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use echogate_proto::{
    close::CloseCode,
    recording::{Direction, Opened},
    ws::OpCode,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    args::{Pace, ReplayArgs},
    connection::ReplayedConnection,
    encode::{control, encode},
    script::{Progress, Script, Step, units},
    wire::{Sink, Source, delivered, halves, reset},
};
use crate::{
    client::{open::RawConnection, recording_file::FileWriter},
    net::stream::Stream,
    recording::{
        model::{Action, RecordedConnection, Traffic},
        wire::WireRecord,
    },
    text::io_error::describe,
};

/// The most bytes that are read beyond those of the recording. They are kept in memory.
const MAX_EXCESS: u64 = 16 << 20;

/// The time for the end of the connection after the last step.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of this program's direction after the steps of a script.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// No step has ended the direction.
    Open,
    /// Ended by a Close, or by an end of the stream.
    Ended,
    /// To be ended by a reset.
    Reset,
    /// Ended by the peer before everything was sent. The text has the amount that was sent, and the
    /// reason.
    Interrupted(String),
}

/// The player of one end of a connection.
pub(super) struct Player {
    script: Script,
    own: Direction,
    pace: Pace,
    /// The limit of the peer's silence, beyond the longest one in the recording.
    timeout: Option<Duration>,
    connection: ReplayedConnection,
}

impl Player {
    /// The player of the end of `connection` that sends in the direction `own`. Events are recorded
    /// with the connection number `number`.
    pub(super) fn new(
        args: &ReplayArgs,
        connection: &RecordedConnection,
        own: Direction,
        number: usize,
        opened: Opened,
        output: Option<Arc<FileWriter>>,
    ) -> Player {
        Player {
            script: Script::new(connection, own),
            own,
            pace: args.pace(),
            timeout: args.silence(),
            connection: ReplayedConnection::new(
                number as u64,
                own,
                connection.traffic,
                opened,
                args.compares(),
                output,
            ),
        }
    }

    /// Takes all events after the end of the connection. There are none unless they are to be
    /// compared.
    pub(super) fn take(&self) -> Vec<WireRecord> {
        self.connection.take()
    }

    /// Plays the script over `wire`.
    ///
    /// # Errors
    ///
    /// One line: the peer has not sent or not received what it had in the recording.
    pub(super) async fn play(&self, wire: RawConnection) -> Result<(), String> {
        let (mut source, mut sink) = halves(wire, &self.connection);
        let played = tokio::select! {
            played = self.write_all(&mut sink) => played,
            never = source.read_all(&self.connection, self.script.total_bytes + MAX_EXCESS) => match never {},
        };
        let ending = played?;
        if let (Source::Stream(source, _), Sink::Stream(sink)) = (source, sink) {
            let stream = source.unsplit(sink);
            if ending == Ending::Reset {
                reset(stream).await;
            } else if self.must_deliver(&stream)
                && (self.connection.is_reset() || delivered(&stream).await.is_err())
            {
                let peer = self.peer();
                return Err(format!(
                    "the {peer} reset the connection before it received everything"
                ));
            }
        }
        Ok(())
    }

    /// Whether a reset by the peer means that data was lost. A reset after a Close or a
    /// close_notify does not, since many peers do not read these.
    fn must_deliver(&self, stream: &Stream) -> bool {
        let is_plain = matches!(stream, Stream::Plain(_));
        is_plain && !self.script.is_reset_by_peer && self.connection.close().is_none()
    }

    /// The result of a script that is stopped.
    ///
    /// # Errors
    ///
    /// One line about what the peer has not sent so far.
    pub(super) fn stopped(&self) -> Result<(), String> {
        match self.connection.progress().covers(self.script.total) {
            true => Ok(()),
            false => Err(format!("stopped: {}", self.received_of(self.script.total))),
        }
    }

    async fn write_all(&self, sink: &mut Sink) -> Result<Ending, String> {
        let mut played = self.steps(sink).await;
        if matches!(played, Ok(Ending::Reset)) {
            return played;
        }
        if let Ok(ending) = played {
            let rest = self.await_peer(self.script.total, sink).await;
            played = rest.and(match ending {
                Ending::Interrupted(reason) => Err(reason),
                ending => Ok(ending),
            });
        }
        let has_ended = matches!(played, Ok(Ending::Ended));
        match self.connection.traffic() {
            Traffic::Bytes => self.end_stream(has_ended, sink).await,
            Traffic::Messages => self.end_websocket(has_ended, sink).await,
            Traffic::Datagrams => {}
        }
        played
    }

    async fn steps(&self, sink: &mut Sink) -> Result<Ending, String> {
        let (start, mut ending) = (Instant::now(), Ending::Open);
        for (index, step) in self.script.steps.iter().enumerate() {
            self.wait(step, start, sink).await?;
            if self.connection.close().is_some() && !step.after.has_ended {
                let reason = format!("the {} closed the WebSocket", self.peer());
                return Ok(self.interrupted(index, &reason, ending));
            }
            match &step.action {
                Action::Reset => {
                    self.connection.ended(true);
                    return Ok(Ending::Reset);
                }
                Action::End => {
                    self.connection.ended(false);
                    sink.shutdown().await;
                    ending = Ending::Ended;
                }
                action => {
                    let sent = self.send(encode(action, self.own), sink).await;
                    match (sent, self.connection.traffic()) {
                        (Ok(()), _) => {}
                        (Err(error), Traffic::Datagrams) => return Err(describe(&error)),
                        (Err(error), _) => {
                            return Ok(self.interrupted(index, &describe(&error), ending));
                        }
                    }
                    if matches!(action, Action::Close { .. }) {
                        ending = Ending::Ended;
                    }
                }
            }
        }
        Ok(ending)
    }

    /// The state of a script whose steps from `index` on cannot be sent. That is `ending`, the
    /// state before them, if these steps have no payload.
    fn interrupted(&self, index: usize, reason: &str, ending: Ending) -> Ending {
        let units = |steps: &[Step]| steps.iter().map(|step| units(&step.action)).sum::<u64>();
        let (sent, all) = (units(&self.script.steps[..index]), units(&self.script.steps));
        match sent == all {
            true => ending,
            false => Ending::Interrupted(format!("sent {sent} of {all} {}: {reason}", self.unit())),
        }
    }

    /// Waits until `step` is due, on a connection that has begun at `start`.
    async fn wait(&self, step: &Step, start: Instant, sink: &mut Sink) -> Result<(), String> {
        if let Pace::Recorded(speed) = self.pace {
            let at = start + step.at.div_f64(speed);
            while Instant::now() < at && self.connection.close().is_none() {
                self.answer_pings(sink).await;
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.connection.changed.notified() => {}
                }
            }
        }
        // An end must not cut off data of a slow peer that had come before the end.
        let is_end = matches!(step.action, Action::Close { .. } | Action::End | Action::Reset);
        if is_end || matches!(self.pace, Pace::ByPeer) {
            return self.await_peer(step.after, sink).await;
        }
        Ok(())
    }

    /// Waits until the peer has sent what it had in the recording.
    ///
    /// # Errors
    ///
    /// The peer ends first, or is silent for too long.
    async fn await_peer(&self, goal: Progress, sink: &mut Sink) -> Result<(), String> {
        let peer = self.peer();
        loop {
            self.answer_pings(sink).await;
            let progress = self.connection.progress();
            if progress.covers(goal) {
                return Ok(());
            }
            if progress.has_ended {
                let received = self.received_of(goal);
                return Err(format!("the {peer} closed the connection early: {received}"));
            }
            let changed = self.connection.changed.notified();
            let Some(limit) = self.timeout else {
                changed.await;
                continue;
            };
            let silence = limit + self.script.longest_silence;
            if timeout(silence, changed).await.is_err() {
                let silence = Duration::from_millis(silence.as_millis() as u64);
                return Err(format!(
                    "no data from the {peer} for {silence:?} (--timeout {limit:?} \
                     beyond the longest pause of the recording): {}",
                    self.received_of(goal)
                ));
            }
        }
    }

    /// The name of the other end.
    fn peer(&self) -> &'static str {
        match self.own {
            Direction::ToServer => "server",
            Direction::ToClient => "client",
        }
    }

    /// The unit of [`Progress::units`].
    fn unit(&self) -> &'static str {
        match self.connection.traffic() {
            Traffic::Bytes => "bytes",
            Traffic::Messages => "messages",
            Traffic::Datagrams => "datagrams",
        }
    }

    /// The progress of the peer, compared with `goal`.
    fn received_of(&self, goal: Progress) -> String {
        let Progress { units, has_ended } = self.connection.progress();
        let is_end_missing = units >= goal.units && goal.has_ended && !has_ended;
        let end = if is_end_missing { ", but not the end" } else { "" };
        format!("received {units} of {} {}{end}", goal.units, self.unit())
    }

    async fn answer_pings(&self, sink: &mut Sink) {
        while let Some(payload) = self.connection.next_ping() {
            let frame = control(OpCode::Pong, &payload, self.own);
            // An error means that the connection has ended, which the reader reports.
            self.send(frame, sink).await.ok();
        }
    }

    async fn send(&self, bytes: Bytes, sink: &mut Sink) -> io::Result<()> {
        sink.send(&bytes).await?;
        self.connection.sent(bytes);
        Ok(())
    }

    /// Ends the stream, unless the script has done so, and reads until the peer ends too.
    async fn end_stream(&self, has_ended: bool, sink: &mut Sink) {
        if !has_ended {
            self.connection.ended(false);
            sink.shutdown().await;
        }
        self.until(ReplayedConnection::has_ended).await;
    }

    /// Performs the closing handshake, as far as the script has not done so.
    async fn end_websocket(&self, has_closed: bool, sink: &mut Sink) {
        if !has_closed && !self.connection.has_ended() {
            let normal = || CloseCode::NORMAL.0.to_be_bytes().to_vec();
            let payload = self.connection.close().unwrap_or_else(normal);
            self.send(control(OpCode::Close, &payload, self.own), sink).await.ok();
        }
        self.until(|connection| connection.close().is_some() || connection.has_ended()).await;
        // The server ends the connection below (RFC 6455 section 7.1.1).
        if self.own == Direction::ToServer {
            self.until(ReplayedConnection::has_ended).await;
        }
        sink.shutdown().await;
    }

    /// Waits until `condition` holds, at most [`END_TIMEOUT`].
    async fn until(&self, condition: impl Fn(&ReplayedConnection) -> bool) {
        let met = async {
            while !condition(&self.connection) {
                self.connection.changed.notified().await;
            }
        };
        timeout(END_TIMEOUT, met).await.ok();
    }
}
