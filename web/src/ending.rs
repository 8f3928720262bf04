//! How a connection ended, and how to say so.

use echogate_proto::close::CloseCode;

use crate::words::{self, Words, fill};

/// How a connection ended, or why there never was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How far it had come, and whose doing the end was.
    pub how: How,
    /// The close code as the browser reports it.
    pub code: CloseCode,
    /// The reason that came with the Close frame; often empty. For [`How::NotTried`] the
    /// browser's own words.
    pub reason: String,
    /// Messages that were never handed to the network.
    pub unsent: usize,
    /// Messages whose reply was still awaited.
    pub unanswered: usize,
}

/// How far a connection had come, and whose doing its end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The browser would not even try.
    NotTried,
    /// It was called off here before it was open.
    CalledOff,
    /// It never opened.
    NotOpened,
    /// It was closed from here, and the other side agreed.
    ByUs,
    /// It was closed from here, and no Close frame came back.
    ByUsUnanswered,
    /// The other side closed it, with a Close frame.
    ByPeer,
    /// It broke.
    Broken,
}

impl Ending {
    /// In a few words.
    pub fn headline(&self, words: &Words) -> &'static str {
        match self.how {
            How::NotTried | How::NotOpened => words.could_not_connect,
            How::CalledOff => words.called_off,
            How::ByUs | How::ByUsUnanswered => words.disconnected,
            How::ByPeer => words.closed_by_server,
            How::Broken => words.connection_lost,
        }
    }

    /// What happened, in sentences.
    pub fn sentences(&self, words: &Words) -> String {
        let code = self.code.0.to_string();
        let parts = [words::close_code(words.language, self.code), &code, &self.reason];
        let mut text = match self.how {
            How::NotTried => fill(words.browser_would_not, &[&self.reason]),
            How::CalledOff => words.called_off_before.to_owned(),
            How::NotOpened => fill(words.nobody_answers, &parts),
            How::ByUs => fill(words.you_disconnected, &parts),
            How::ByUsUnanswered => fill(words.no_goodbye, &parts),
            How::ByPeer => fill(words.server_closed, &parts),
            How::Broken => fill(words.server_went_away, &parts),
        };
        if !self.reason.is_empty() && self.how != How::NotTried {
            text.push_str(&fill(words.it_said, &parts));
        }
        if self.unsent > 0 {
            text.push_str(&words.counted(
                self.unsent as u64,
                words.one_not_sent,
                words.many_not_sent,
            ));
        }
        if self.unanswered > 0 {
            let (one, many) = (words.one_without_reply, words.many_without_reply);
            text.push_str(&words.counted(self.unanswered as u64, one, many));
        }
        text
    }

    /// What somebody can do about it; empty where nothing is to be done.
    pub fn advice(&self, words: &Words) -> &'static str {
        match self.how {
            How::ByUs | How::ByUsUnanswered | How::CalledOff => "",
            How::NotTried => words.look_at_endpoint,
            How::NotOpened => words.look_at_server,
            How::ByPeer | How::Broken => words::advice(words.language, self.code),
        }
    }

    /// Whether this is what somebody wanted: nothing to worry about.
    pub fn is_calm(&self) -> bool {
        match self.how {
            How::ByUs | How::CalledOff => true,
            How::ByPeer => self.code == CloseCode::NORMAL,
            How::NotTried | How::NotOpened | How::ByUsUnanswered | How::Broken => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    const ENGLISH: Language = Language::English;

    fn ending(how: How, code: u16) -> Ending {
        Ending { how, code: CloseCode(code), reason: String::new(), unsent: 0, unanswered: 0 }
    }

    #[test]
    fn a_server_that_says_goodbye_and_one_that_does_not_are_told_apart() {
        let goodbye = ending(How::ByPeer, 1001);
        assert_eq!(goodbye.headline(ENGLISH.words()), "Closed by the server");
        assert_eq!(
            goodbye.sentences(ENGLISH.words()),
            "The server closed the connection: the other side is going away (code 1001)."
        );
        let broken = ending(How::Broken, 1006);
        assert_eq!(broken.headline(ENGLISH.words()), "Connection lost");
        assert_eq!(
            broken.sentences(ENGLISH.words()),
            "The server went away: the connection ended without a Close frame (code 1006)."
        );
    }

    #[test]
    fn the_reason_and_what_was_left_undone_are_said() {
        let ending = Ending {
            reason: "upstream refused".to_owned(),
            unsent: 1,
            unanswered: 12,
            ..ending(How::ByPeer, 1011)
        };
        assert_eq!(
            ending.sentences(ENGLISH.words()),
            "The server closed the connection: the server or its upstream failed (code 1011). It \
             said: \"upstream refused\". 1 message was not sent. 12 messages were without a reply."
        );
    }

    #[test]
    fn only_an_end_that_was_wanted_is_calm() {
        assert!(ending(How::ByUs, 1000).is_calm());
        assert!(ending(How::ByPeer, 1000).is_calm());
        for how in [How::NotTried, How::NotOpened, How::ByUsUnanswered, How::Broken] {
            assert!(!ending(how, 1006).is_calm(), "{how:?}");
        }
        assert!(!ending(How::ByPeer, 1011).is_calm());
    }
}
