//! The user's actions. An element names its action in `data-action`.

macro_rules! actions {
    ($($action:ident: $name:literal on $event:literal;)*) => {
        /// An action of the user.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Action {
            $($action,)*
        }

        /// Each action with the name of its element and the event that triggers it.
        const ACTIONS: &[(Action, &str, &str)] = &[$((Action::$action, $name, $event),)*];
    };
}

actions! {
    SetLanguage: "language" on "change";

    AddConnection: "add" on "click";
    RemoveConnection: "remove" on "click";
    ChooseConnection: "choose" on "click";
    ToggleConnection: "toggle" on "submit";
    FollowClient: "follow" on "click";
    UseRoute: "route" on "click";
    HalfClose: "half-close" on "click";
    EditEndpoint: "endpoint" on "input";
    EditSubprotocols: "protocol" on "input";
    EditCloseCode: "close-code" on "input";
    EditCloseReason: "close-reason" on "input";
    SetReconnect: "reconnect" on "change";

    TryCard: "try" on "click";
    CopyCommand: "copy-command" on "click";

    Send: "send" on "submit";
    EditMessage: "message" on "input";
    MessageKey: "message" on "keydown";
    ChooseMode: "mode" on "change";
    ChooseTemplate: "template" on "change";
    SaveMessage: "save-message" on "click";
    DeleteMessage: "delete-message" on "click";
    ChooseLineEnding: "line-ending" on "change";
    SetEscapes: "escapes" on "change";
    OpenShareMenu: "share" on "click";
    CopyLink: "copy-link" on "click";
    CopySnippet: "copy-snippet" on "click";
    Forget: "forget" on "click";
    EditInterval: "interval" on "input";
    ToggleRepeat: "repeat" on "click";
    EditBurst: "burst" on "input";
    SendBurst: "send-burst" on "click";

    PickFile: "pick-file" on "click";
    FilePicked: "file" on "change";
    SetExpectedReply: "expect" on "change";
    ToggleTransfer: "file-start" on "click";
    DragOver: "drop" on "dragover";
    DragLeave: "drop" on "dragleave";
    DropFile: "drop" on "drop";

    ScrollTranscript: "transcript" on "scroll";
    TranscriptKey: "transcript" on "keydown";
    ToggleRow: "row" on "click";
    ShowLadder: "ladder" on "click";
    PlayLesson: "play" on "click";
    LessonBack: "lesson-back" on "click";
    LessonNext: "lesson-next" on "click";
    StopLesson: "lesson-stop" on "click";
    ShowTranscript: "show-transcript" on "click";
    PauseTranscript: "pause" on "click";
    ScrollToEnd: "to-end" on "click";
    Search: "search" on "input";
    TogglePattern: "pattern" on "click";
    SetPairing: "pairing" on "change";
    EditPairingField: "pairing-field" on "input";
    ShowRows: "show" on "change";
    ClearTranscript: "clear" on "click";
    UndoClear: "undo-clear" on "click";
    PinRow: "pin" on "click";
    CopyRow: "copy" on "click";
    SaveRow: "save" on "click";
    ChoosePayloadView: "payload-view" on "click";
    ShowInFull: "show-in-full" on "click";
    DetailKey: "detail" on "keydown";
    EditRow: "edit-row" on "click";
    CloseRow: "close-detail" on "click";
    ExportTranscript: "export" on "click";
    PickTranscript: "import" on "click";
    TranscriptPicked: "import-file" on "change";

    EditToken: "token" on "input";
    SignIn: "sign-in" on "submit";
    ChooseConversation: "conversation" on "click";
    EditAnswer: "answer" on "input";
    SendAnswer: "send-answer" on "submit";
    EndChat: "end-chat" on "click";
}

impl Action {
    /// The action of the element with this name at an event of this type.
    pub(super) fn of(name: &str, event: &str) -> Option<Action> {
        let named = ACTIONS.iter().find(|(_, of, on)| *of == name && *on == event);
        named.map(|&(action, ..)| action)
    }

    /// The name of the action's element.
    pub(super) fn name(self) -> &'static str {
        let named = ACTIONS.iter().find(|(action, ..)| *action == self);
        named.map_or("", |(_, name, _)| name)
    }
}
