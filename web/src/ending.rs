//! How a connection ended, and how to say so.

use echogate_proto::close::CloseCode;

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
    pub fn headline(&self) -> &'static str {
        match self.how {
            How::NotTried | How::NotOpened => "Could not connect",
            How::CalledOff => "Called off",
            How::ByUs | How::ByUsUnanswered => "Disconnected",
            How::ByPeer => "Closed by the server",
            How::Broken => "Connection lost",
        }
    }

    /// What happened, in sentences.
    pub fn sentences(&self) -> String {
        let (code, words) = (self.code.0, self.code.words());
        let mut text = match self.how {
            How::NotTried => format!("The browser would not try: {}", self.reason),
            How::CalledOff => "Called off before the connection was open.".to_owned(),
            How::NotOpened => format!(
                "Could not connect: nobody answers there, or the server refused; a page is not told \
                 which (code {code})."
            ),
            How::ByUs => format!("You disconnected: {words} (code {code})."),
            How::ByUsUnanswered => {
                format!(
                    "You disconnected, and the server did not answer the goodbye (code {code})."
                )
            }
            How::ByPeer => format!("The server closed the connection: {words} (code {code})."),
            How::Broken => format!("The server went away: {words} (code {code})."),
        };
        if !self.reason.is_empty() && self.how != How::NotTried {
            text.push_str(&format!(" It said: \"{}\".", self.reason));
        }
        if self.unsent > 0 {
            text.push_str(&format!(" {} not sent.", count(self.unsent)));
        }
        if self.unanswered > 0 {
            text.push_str(&format!(" {} without a reply.", count(self.unanswered)));
        }
        text
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

fn count(messages: usize) -> String {
    if messages == 1 { "1 message was".to_owned() } else { format!("{messages} messages were") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(how: How, code: u16) -> Ending {
        Ending { how, code: CloseCode(code), reason: String::new(), unsent: 0, unanswered: 0 }
    }

    #[test]
    fn a_server_that_says_goodbye_and_one_that_does_not_are_told_apart() {
        let goodbye = ending(How::ByPeer, 1001);
        assert_eq!(goodbye.headline(), "Closed by the server");
        assert_eq!(
            goodbye.sentences(),
            "The server closed the connection: the other side is going away (code 1001)."
        );
        let broken = ending(How::Broken, 1006);
        assert_eq!(broken.headline(), "Connection lost");
        assert_eq!(
            broken.sentences(),
            "The server went away: the connection broke without a goodbye (code 1006)."
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
            ending.sentences(),
            "The server closed the connection: the server, or what lies behind it, failed (code \
             1011). It said: \"upstream refused\". 1 message was not sent. 12 messages were without \
             a reply."
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
