//! The texts, each beside its translation. `{0}`, `{1}` … are placeholders.

use echogate_proto::close::CloseCode;

use super::{
    Language,
    checksum::{EMPTY_SUM, checksum},
    fill, reasons,
};
use crate::{format, payload::Payload};

macro_rules! table {
    ($($name:ident: $english:expr, $chinese:literal;)*) => {
        /// The page's texts in one language.
        #[derive(Clone, Copy, Debug)]
        #[expect(missing_docs, reason = "the table shows each text")]
        pub struct Texts {
            pub language: Language,
            /// The translations of the server's reasons; empty in English.
            pub(super) reasons: &'static str,
            $(pub $name: &'static str,)*
        }

        pub(super) static ENGLISH: Texts =
            Texts { language: Language::English, reasons: "", $($name: $english,)* };

        /// Each name, its text in English, and in Chinese. Not part of the WebAssembly module, which
        /// loads a translation when it is wanted.
        #[cfg(not(target_arch = "wasm32"))]
        pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)*];

        /// The checksum of the file with the Chinese texts. The order of the texts is part of it.
        const CHINESE_SUM: u32 = {
            let mut sum = EMPTY_SUM;
            $(sum = checksum(checksum(sum, $chinese), "\n");)*
            reasons::checksum(sum)
        };

        impl Texts {
            fn fields(&mut self) -> impl Iterator<Item = &mut &'static str> {
                [$(&mut self.$name,)*].into_iter()
            }
        }
    };
}

impl Texts {
    /// The Chinese texts: a line for each one of the table, and the reasons after them. `None` if the
    /// file does not belong to this table, as that of another version.
    pub(super) fn read(file: &'static str) -> Option<Texts> {
        if checksum(EMPTY_SUM, file) != CHINESE_SUM {
            return None;
        }
        let mut texts = ENGLISH;
        texts.language = Language::Chinese;
        let mut rest = file;
        for field in texts.fields() {
            (*field, rest) = rest.split_once('\n')?;
        }
        texts.reasons = rest;
        Some(texts)
    }

    /// A reason that the server gave, in this language as far as it is known; that of another server
    /// as it is.
    pub fn reason(&self, reason: &str) -> String {
        reasons::translate(self.reasons, reason).unwrap_or_else(|| reason.to_owned())
    }

    /// A text with a number, in the singular or plural; `{0}` is the number.
    pub fn counted(&self, number: u64, one: &str, many: &str) -> String {
        fill(if number == 1 { one } else { many }, &[&format::grouped(number)])
    }

    /// `1 message`, `2 messages`.
    pub fn messages(&self, number: u64) -> String {
        self.counted(number, self.one_message, self.many_messages)
    }

    /// The type of a message: text or binary.
    pub fn message_type(&self, payload: &Payload) -> &'static str {
        match payload {
            Payload::Text(_) => self.text,
            Payload::Binary(_) => self.binary,
        }
    }

    /// `1 byte`, `2 bytes`.
    pub fn bytes(&self, number: u64) -> String {
        self.counted(number, self.one_byte, self.many_bytes)
    }

    /// The text of lost events with this many bytes.
    pub fn lost(&self, events: u64, bytes: u64) -> String {
        let events = self.counted(events, self.one_event, self.many_events);
        fill(self.seen_lost, &[&events, &format::size(bytes)])
    }
}

table! {
    // Header
    tagline: "a socket workbench", "套接字工作台";
    workbench: "Sockets", "套接字";
    operator: "Chat desk", "客服台";
    views: "Views", "视图";
    language_label: "Language", "语言";
    language_missing: "The texts in {0} could not be loaded from the server. Choose the language again to retry.", "无法从服务器加载{0}文本。请重新选择语言再试。";
    skip: "Skip to the composer", "跳到输入框";

    // Connections
    connections: "Connections", "连接";
    new_connection: "New connection", "新建连接";
    remove: "Remove", "移除";
    remove_connection: "Remove this connection", "移除此连接";
    remove_open: "Close and remove", "断开并移除";
    remove_asks: "This connection is open. Press again to close and remove it.", "此连接仍然打开。再按一次将断开并移除它。";
    endpoint: "Endpoint", "端点";
    endpoint_hint: "/path on this server, host:port/path, or ws://…", "本服务器的 /路径、主机:端口/路径，或 ws://…";
    subprotocols: "Subprotocols", "子协议";
    reconnect: "Reconnect when lost", "断开后自动重连";
    connect: "Connect", "连接";
    connect_again: "Connect again", "重新连接";
    connect_now: "Connect now", "立即连接";
    cancel: "Cancel", "取消";
    disconnect: "Disconnect", "断开";
    finish_sending: "Finish sending (half-close)", "结束发送（半关闭）";
    close_with: "Close with a status code", "以指定状态码关闭";
    close_code: "Code", "代码";
    close_reason: "Reason", "原因";
    close_code_wrong: "A page may close with 1000, or with 3000 to 4999.", "网页只能用 1000 或 3000 到 4999 关闭。";
    close_reason_long: "A reason has at most 123 bytes.", "原因最多 123 字节。";
    endpoint_empty: "Enter an endpoint.", "请输入端点。";
    endpoint_no_host: "The host is missing after the scheme.", "协议后缺少主机名。";
    endpoint_space: "An endpoint contains no white space.", "端点中不能有空白字符。";
    endpoint_scheme: "An endpoint is a path on this server, or begins with ws:// or wss://. Raw sockets need a route (--route).", "端点是本服务器的路径，或以 ws:// 或 wss:// 开头。原始套接字需要路由（--route）。";
    connection: "Connection", "连接";
    route: "→ {0}", "→ {0}";
    service_at: "{0} at {1}", "{1} 上的 {0}";
    framing_message: "one reply per message", "每条消息一个回复";
    framing_line: "one message per line", "每行一条消息";
    framing_text: "text messages", "文本消息";
    framing_bytes: "bytes as binary messages", "字节作为二进制消息";
    framing_length: "messages with a length prefix", "带长度前缀的消息";
    routes_are: "This server’s routes:", "本服务器的路由：";
    with_subprotocol: "subprotocol {0}", "子协议 {0}";
    subprotocols_about: "Subprotocols to offer, separated by commas; none if empty", "要提供的子协议，用逗号分隔；留空则不提供";
    too_many_connections: "Limit: 12 connections. Remove one first.", "最多 12 个连接。请先移除一个。";
    too_many_followed: "Limit: 4 clients followed at once, because a browser opens 6 connections to a server. Remove one first.", "最多同时跟踪 4 个客户端，因为浏览器对一台服务器最多建立 6 个连接。请先移除一个。";

    // States
    not_connected: "Not connected", "未连接";
    connecting: "Connecting", "正在连接";
    connected: "Connected", "已连接";
    you_ended_input: "Connected · you have finished sending", "已连接 · 你已结束发送";
    they_ended_input: "Connected · server has finished sending", "已连接 · 服务器已结束发送";
    closing: "Closing", "正在关闭";
    reconnecting: "Reconnecting", "等待重连";
    from_file: "From a file", "来自文件";
    waiting_close_frame: "waiting for the server’s Close frame", "等待服务器的关闭帧";
    attempt_in: "Attempt {0} in {1} s.", "第 {0} 次尝试，{1} 秒后。";
    connected_to: "Connected to {0}", "已连接到 {0}";
    handshake_completed: "Opening handshake with {0} completed.", "与 {0} 的打开握手已完成。";
    connected_protocol: "Connected to {0}, subprotocol {1}", "已连接到 {0}，子协议 {1}";
    we_half_closed: "You finished sending; still receiving.", "你已结束发送；仍在接收。";
    they_half_closed: "The server has finished sending.", "服务器已结束发送。";

    // A client that is followed
    follow: "Follow: show what passes on this connection", "跟踪：显示此连接上经过的数据";
    follow_too_late: "This client has disconnected, and this page did not follow it.", "此客户端已断开，此处未曾跟踪它。";
    following: "Following", "跟踪中";
    lesson_goes_on: "In progress", "进行中";
    follow_ended: "Connection ended", "连接已结束";
    follow_refused: "Cannot follow", "无法跟踪";
    pause: "Pause", "暂停";

    // The ladder
    ladder: "Ladder", "时序图";
    ladder_about: "Each step of this connection between client, echogate and upstream", "此连接在客户端、echogate 与上游之间的每一步";
    show_transcript: "Transcript", "记录";
    ladder_hidden: "{0} older steps are not shown.", "较早的 {0} 步未显示。";
    ladder_from: "{0} from {1}", "来自 {1} 的 {0}";
    ladder_accept: "The listener accepted the connection: for TCP, the kernel has completed the three-way handshake (RFC 9293, section 3.5).", "监听套接字接受了连接：对 TCP 而言，内核已完成三次握手（RFC 9293 第 3.5 节）。";
    ladder_request: "Opening handshake: an HTTP request that asks for an upgrade. Sec-WebSocket-Key proves that the server speaks WebSocket (RFC 6455, section 4.1).", "打开握手：请求升级的 HTTP 请求。Sec-WebSocket-Key 用来证明服务器支持 WebSocket（RFC 6455 第 4.1 节）。";
    ladder_response: "101: both sides speak WebSocket frames from here on. Sec-WebSocket-Accept answers the key (RFC 6455, section 4.2.2).", "101：此后双方使用 WebSocket 帧。Sec-WebSocket-Accept 是对密钥的应答（RFC 6455 第 4.2.2 节）。";
    ladder_dial: "echogate connected to the upstream of this route.", "echogate 连接到此路由的上游。";
    ladder_before: "Only the latest bytes of a connection are kept for observers that come later.", "只为后来的观察者保留连接最近的字节。";
    ladder_text: "A text frame carries UTF-8. FIN ends the message; a client masks its frames, a server does not (RFC 6455, section 5.2).", "文本帧携带 UTF-8。FIN 表示消息结束；客户端的帧有掩码，服务器的没有（RFC 6455 第 5.2 节）。";
    ladder_binary: "A binary frame carries any bytes (RFC 6455, section 5.6).", "二进制帧携带任意字节（RFC 6455 第 5.6 节）。";
    ladder_continuation: "A continuation frame goes on with a message that was sent in fragments (RFC 6455, section 5.4).", "延续帧继续一条分片发送的消息（RFC 6455 第 5.4 节）。";
    ladder_bytes: "Bytes as one read or write took them. TCP keeps their order, not the boundaries between writes (RFC 9293, section 3.7).", "一次读或写所取得的字节。TCP 保持顺序，但不保留写操作之间的边界（RFC 9293 第 3.7 节）。";
    ladder_datagram: "A datagram: it arrives whole or not at all (RFC 768).", "数据报：要么完整到达，要么不到达（RFC 768）。";
    ladder_ping: "A Ping asks whether the peer is there (RFC 6455, section 5.5.2).", "Ping 询问对方是否在线（RFC 6455 第 5.5.2 节）。";
    ladder_pong: "A Pong answers a Ping with the same payload (RFC 6455, section 5.5.3).", "Pong 以相同的载荷应答 Ping（RFC 6455 第 5.5.3 节）。";
    ladder_close: "A Close frame with a status code; the peer answers with its own, then the TCP connection ends (RFC 6455, section 7.1).", "带状态码的关闭帧；对方以自己的关闭帧应答，然后 TCP 连接结束（RFC 6455 第 7.1 节）。";
    ladder_end: "This direction has ended in order; the other one may go on: a half-closed connection (RFC 9293, section 3.6).", "此方向已正常结束，另一方向仍可继续：半关闭的连接（RFC 9293 第 3.6 节）。";
    ladder_reset: "Both directions end at once, and bytes on their way are lost (RFC 9293, section 3.5.3).", "两个方向立即结束，在途的字节丢失（RFC 9293 第 3.5.3 节）。";
    ladder_lost: "Following never slows the connection: what the page could not take in time is left out and counted.", "跟踪不会减慢连接：页面来不及接收的内容会被略去并计数。";
    ladder_closed: "The connection is over; this is the reason in the server’s log.", "连接已结束；这是服务器日志中的原因。";

    continuation: "continuation", "延续";
    datagram: "datagram", "数据报";
    no_fin: " · no FIN", " · 无 FIN";
    has_mask: " · mask", " · 掩码";
    has_opcode: " · opcode {0}", " · 操作码 {0}";

    // The lesson
    lesson: "Lesson", "课程";
    lesson_play: "Play", "播放";
    lesson_about: "Play the life of a connection, in six steps", "播放：连接的一生，共六步";
    lesson_step: "Step {0} of {1}: {2}", "第 {0} 步，共 {1} 步：{2}";
    lesson_next: "Next", "下一步";
    lesson_back: "Back", "上一步";
    lesson_wait: "Waiting for the server…", "等待服务器…";
    lesson_unreported: "The server does not report this connection: it reports 1,000 connections at most, and to 64 pages, 16 of them of one address. Close some, reload this page, and play the lesson again.", "服务器没有报告此连接：它最多报告 1,000 个连接，并且最多报告给 64 个页面，其中每个地址 16 个。请关闭一些，刷新本页面，然后重新播放。";
    lesson_done: "Done: the marked arrows are what passed.", "完成：突出显示的箭头就是经过的数据。";
    lesson_lost: "The connection ended before this step was complete. Stop, and play the lesson again.", "连接在此步完成之前已结束。请停止，然后重新播放。";
    lesson_refused: "The server refused this step (--no-control, or a proxy); its log says why.", "服务器拒绝了此步骤（--no-control 或代理），原因见其日志。";
    lesson_pieces_title: "Cut into pieces", "切成片段";
    lesson_half_close_title: "Half-close", "半关闭";
    lesson_reset_title: "Reset", "重置";
    lesson_connect: "The page opened a WebSocket. First the kernels of both sides connected over TCP (RFC 9293, section 3.5); then an HTTP request asked for an upgrade, and 101 granted it (RFC 6455, section 4). Behind the route, echogate connected to the service, which speaks plain TCP.", "页面打开了一个 WebSocket。首先双方内核建立 TCP 连接（RFC 9293 第 3.5 节）；然后 HTTP 请求要求升级，101 表示同意（RFC 6455 第 4 节）。echogate 再连接到路由后面的服务，该服务只使用普通 TCP。";
    lesson_send: "The page sent the text hello in one frame. A client masks its frames, a server does not (RFC 6455, section 5.3). Towards the service echogate sent the five bytes alone: TCP has no frames. The reply came back in a frame without a mask.", "页面在一个帧中发送了文本 hello。客户端的帧有掩码，服务器的没有（RFC 6455 第 5.3 节）。echogate 只把五个字节发给服务：TCP 没有帧。回复装在没有掩码的帧中返回。";
    lesson_pieces: "The page sent 65,536 bytes as one message. A read takes what has arrived, so that the message came in several pieces: TCP is a stream, and keeps no boundaries (RFC 9293, section 3.7). WebSocket keeps them: FIN marks the last frame of a message that is sent in fragments (RFC 6455, section 5.4).", "页面把 65,536 字节作为一条消息发送。每次读取只取得已到达的字节，所以消息分成几段到达：TCP 是字节流，不保留边界（RFC 9293 第 3.7 节）。WebSocket 保留边界：FIN 标记分片消息的最后一帧（RFC 6455 第 5.4 节）。";
    lesson_half_close: "The page said that it has finished sending: an empty message, under the subprotocol half-close. Towards the service it became a FIN, which ends one direction; the other one stayed open until the service had ended it, too (RFC 9293, section 3.6). Then echogate closed the WebSocket with 1000.", "页面表示已结束发送：在 half-close 子协议下发送一条空消息。对服务来说它成为 FIN，只结束一个方向；另一方向保持打开，直到服务也结束它（RFC 9293 第 3.6 节）。然后 echogate 以 1000 关闭了 WebSocket。";
    lesson_close: "On a new connection the page sent a Close frame with the code 4000 and a reason. The answer is a Close frame, too; then TCP ends in order, in both directions (RFC 6455, sections 5.5.1 and 7.4). Codes from 4000 to 4999 are those of applications.", "页面在一个新连接上发送了关闭帧，带代码 4000 和原因。应答也是关闭帧；然后 TCP 的两个方向正常结束（RFC 6455 第 5.5.1 和 7.4 节）。4000 到 4999 的代码由应用程序自定。";
    lesson_reset: "On a third connection the page asked the server for a reset, because a page cannot send one: a browser closes in order. A reset ends both directions at once, without a Close, and bytes on their way are lost (RFC 9293, section 3.5.3). A page sees the code 1006, a program the error connection reset by peer.", "在第三个连接上，页面请求服务器重置连接，因为网页自己不能发送重置：浏览器总是正常关闭。重置立即结束两个方向，没有关闭帧，在途的字节丢失（RFC 9293 第 3.5.3 节）。网页看到代码 1006，程序看到错误 connection reset by peer。";

    // Events that the server sees
    by_client: "client", "客户端";
    by_server: "server", "服务器";
    no_code: "no code", "无代码";
    seen_ping: "Ping by the {0}, {1}", "{0}的 Ping，{1}";
    seen_pong: "Pong by the {0}, {1}", "{0}的 Pong，{1}";
    seen_close: "Close frame by the {0}: {1}", "{0}的关闭帧：{1}";
    seen_end: "The {0} has finished sending (end of input).", "{0}已结束发送（输入结束）。";
    seen_reset: "Connection reset by the {0}.", "连接被{0}重置。";
    seen_lost: "Missing: {0} ({1}); the page was slower than the connection.", "缺少 {0}（{1}）：页面比连接慢。";
    seen_before: "{0} passed before this view began and cannot be shown.", "在你查看之前已有 {0} 经过，无法再显示。";
    seen_closed: "Ended: {0}", "结束：{0}";

    // Close reasons
    could_not_connect: "Could not connect", "无法连接";
    cancelled: "Cancelled", "已取消";
    disconnected: "Disconnected", "已断开";
    no_such_route: "No such route", "没有此路由";
    no_route: "The server has no route {0} (code {1}).", "服务器没有路由 {0}（代码 {1}）。";
    closed_by_server: "Closed by the server", "被服务器关闭";
    connection_lost: "Connection lost", "连接丢失";
    browser_rejected: "The browser rejected {3}: {2}", "浏览器拒绝了 {3}：{2}";
    cancelled_before: "Cancelled before it connected.", "在连接建立之前已取消。";
    no_connection: "No connection to {3}: the server is not running, not reachable, or it refused. Browsers do not say which (code {1}).", "无法连接到 {3}：服务器未运行、无法到达或拒绝了连接。浏览器不说明是哪一种（代码 {1}）。";
    you_disconnected: "You disconnected: {0} (code {1}).", "你断开了连接：{0}（代码 {1}）。";
    you_closed_with: "You disconnected with code {1}.", "你以代码 {1} 断开了连接。";
    server_closed_with: "The server closed the connection with code {1}.", "服务器以代码 {1} 关闭了连接。";
    no_close_frame: "You disconnected; the server sent no Close frame (code {1}).", "你断开了连接，未收到服务器的关闭帧（代码 {1}）。";
    server_closed: "The server closed the connection: {0} (code {1}).", "服务器关闭了连接：{0}（代码 {1}）。";
    lost_without_close: "Connection lost: no Close frame (code {1}).", "与服务器的连接中断：未收到关闭帧（代码 {1}）。";
    closed_with_reason: " Reason: \"{2}\".", "原因：“{2}”。";
    one_not_sent: " {0} message was not sent.", "有 {0} 条消息没有发出。";
    many_not_sent: " {0} messages were not sent.", "有 {0} 条消息没有发出。";
    one_without_reply: " {0} message got no reply.", "有 {0} 条消息没有回复。";
    many_without_reply: " {0} messages got no reply.", "有 {0} 条消息没有回复。";
    check_endpoint: "Check the endpoint; from a page over https only wss:// works.", "请检查端点；从 https 页面只能用 wss://。";
    check_server: "Check that the server is running and allows this page (--allow-origin).", "请检查服务器是否在运行，以及是否允许本页面（--allow-origin）。";
    check_tls_server: "Check that the server is running, speaks TLS (or else use ws://), and allows this page (--allow-origin).", "请检查服务器是否在运行、是否使用 TLS（否则请用 ws://），以及是否允许本页面（--allow-origin）。";

    // Status codes
    code_1000: CloseCode(1000).description(), "正常关闭";
    code_1001: CloseCode(1001).description(), "对方即将离开";
    code_1002: CloseCode(1002).description(), "协议错误";
    code_1003: CloseCode(1003).description(), "对方不接受这种数据";
    code_1005: CloseCode(1005).description(), "关闭时没有给出代码";
    code_1006: CloseCode(1006).description(), "连接中断，未收到关闭帧";
    code_1007: CloseCode(1007).description(), "文本不是有效的 UTF-8";
    code_1008: CloseCode(1008).description(), "被策略拒绝";
    code_1009: CloseCode(1009).description(), "消息太大";
    code_1010: CloseCode(1010).description(), "缺少必需的扩展";
    code_1011: CloseCode(1011).description(), "服务器或其上游出错";
    code_1012: CloseCode(1012).description(), "服务器正在重启";
    code_1013: CloseCode(1013).description(), "服务器过载，请稍后再试";
    code_1014: CloseCode(1014).description(), "网关从上游收到无效的响应";
    code_1015: CloseCode(1015).description(), "TLS 握手失败";
    code_registered: CloseCode(3000).description(), "由库或框架登记的代码";
    code_private: CloseCode(4000).description(), "应用程序自定的代码";
    code_unknown: CloseCode(0).description(), "RFC 6455 没有定义的代码";

    // Advice after a status code
    advice_1001: "The server restarts or shuts down, or the connection was idle for too long: connect again in a moment.", "服务器正在重启或关闭，或者连接空闲太久：稍后重新连接。";
    advice_1002: "One side violated RFC 6455: compare the last messages with the reason.", "有一方违反了 RFC 6455：请对照最后几条消息和给出的原因。";
    advice_1003: "Send the other type: text instead of binary, or binary instead of text.", "换一种类型发送：文本改二进制，或二进制改文本。";
    advice_1006: "Check the network and that the server is running, then connect again.", "请检查网络，并确认服务器在运行，然后重新连接。";
    advice_1007: "Bytes that are not UTF-8 came through a text route: use a route with framing=bytes.", "非 UTF-8 字节经过了文本路由：请使用 framing=bytes 的路由。";
    advice_1008: "The server does not allow this by its policy. A page from another origin needs --allow-origin.", "服务器的策略不允许此连接。来自其他源的页面需要 --allow-origin。";
    advice_no_route: "Check the path, or add the route to the server (--route).", "请检查路径，或在服务器上添加该路由（--route）。";
    advice_1009: "Send smaller messages, or raise --max-message.", "发送较小的消息，或调高 --max-message。";
    advice_1011: "Check that the upstream is running and that its address is right.", "请检查上游是否在运行，地址是否正确。";
    advice_1013: "Try again later; automatic reconnection waits longer each time.", "请稍后再试；自动重连每次会多等一会儿。";
    advice_1014: "The upstream’s response to the gateway was invalid.", "上游对网关的响应无效。";
    advice_1015: "The certificate is not trusted or not valid for this name: open the address in a new tab to see why.", "证书不受信任或不属于这个名字：在新标签页中打开该地址查看原因。";

    // Transcript
    transcript: "Transcript", "记录";
    messages_region: "Messages", "消息";
    time: "Time", "时间";
    sent: "Sent", "发送";
    received: "Received", "接收";
    direction: "Direction", "方向";
    kind: "Type", "类型";
    size: "Size", "大小";
    round_trip: "Round trip", "往返";
    clear: "Clear transcript", "清空记录";
    more: "More", "更多";
    export_jsonl: "Export JSON Lines", "导出 JSON Lines";
    export_har: "Export HAR", "导出 HAR";
    load: "Import…", "导入…";
    too_large: "{0} was not imported: it is larger than {1}.", "{0} 未导入：它大于 {1}。";
    not_a_transcript: "{0} is not an echogate transcript (line {1}).", "{0} 不是 echogate 记录（第 {1} 行）。";
    search: "Text or 7b 22", "文本或 7b 22";
    search_label: "Search text, or bytes in hexadecimal with spaces", "搜索文本，或以空格分隔的十六进制字节";
    show: "Show", "显示";
    show_all: "all", "全部";
    show_sent: "sent", "发送的";
    show_received: "received", "接收的";
    show_events: "connects and closes", "连接与关闭";
    show_pinned: "pinned", "已固定";
    shown_of: "{0} of {1} rows", "{1} 行中的 {0} 行";
    rows: "{0} rows", "{0} 行";
    one_row: "1 row", "1 行";
    pattern: "Regular expression", "正则表达式";
    pattern_wrong: "Invalid regular expression: {0}", "正则表达式无效：{0}";
    pairing: "Pair replies", "回复配对";
    pairing_about: "Which received message answers a sent one. Round trips are those of pairs.", "哪条接收的消息回复哪条发送的消息。往返耗时按配对计算。";
    pairing_none: "no pairing", "不配对";
    pairing_order: "pairs in order", "按顺序配对";
    pairing_next: "pairs: next message", "配对：下一条消息";
    pairing_length: "pairs: same length", "配对：相同长度";
    pairing_field: "pairs: JSON", "配对：JSON";
    pairing_field_name: "JSON field that pairs replies", "用于配对的 JSON 字段";
    nothing_found: "No matching rows.", "没有匹配的行。";
    to_end: "Newest", "最新";
    cleared: "Cleared.", "已清空。";
    undo: "Undo", "撤销";
    rows_dropped: "{0} older rows ({1}) were dropped; at most 50,000 rows and 32 MiB are kept.", "较早的 {0} 行（{1}）已丢弃；最多保留 50,000 行和 32 MiB。";
    no_reply_yet: "no reply yet", "尚无回复";
    no_reply: "no reply", "无回复";
    not_sent: "not sent", "未发送";
    first_run: "Pick a service and see its reply, or type a message: Enter connects and sends it.", "选择一个服务查看其回复，或输入消息：按 Enter 连接并发送。";
    try_it: "Try it", "试一试";
    about_upper: "Replies with your bytes in upper case.", "以大写形式返回你的字节。";
    about_echo: "Replies with your bytes unchanged.", "原样返回你的字节。";
    about_time: "Replies to a Unix timestamp with the date and time.", "把 Unix 时间戳转换为日期和时间。";
    card_without_route: "No route leads here: this page needs one (--route).", "没有路由通向此服务：本页面需要路由（--route）。";
    about_chat: "A person answers, at the Chat desk or the server’s terminal. bye ends the chat.", "由客服台或服务器终端上的人回答。发送 bye 结束会话。";
    empty_message: "(empty)", "（空）";
    text: "text", "文本";
    binary: "binary", "二进制";
    bytes_type: "bytes", "字节";

    // An opened row
    row_title: "{0} · {1} {2}", "{0} · {1} {2}";
    event: "Event", "事件";
    view: "View", "查看方式";
    view_text: "Text", "文本";
    view_json: "JSON", "JSON";
    view_hex: "Hex", "十六进制";
    save: "Save", "保存";
    copy_text: "Text", "文本";
    copy_hex: "Hex", "十六进制";
    copy_base64: "Base64", "Base64";
    copy_c: "C array", "C 数组";
    copy_python: "Python bytes", "Python 字节串";
    show_more: "Show more", "显示更多";
    first_values: "The first {0} values.", "前 {0} 个值。";
    pin: "Pin", "固定";
    unpin: "Unpin", "取消固定";
    copy: "Copy", "复制";
    copied: "Copied", "已复制";
    copy_failed: "The browser blocked copying: it needs https or localhost.", "浏览器禁止复制：需要 https 或 localhost。";
    send_again: "Edit and send again", "编辑后再发";
    close: "Close", "关闭";
    same_reply: "The reply is the same, byte for byte.", "回复逐字节相同。";
    changed_bytes: "The reply differs in {0} of {1}.", "回复的 {1}中有 {0} 个不同。";
    first_bytes: "The first {0} of {1}.", "{1} 中的前 {0}。";

    // Composer
    composer: "Composer", "输入";
    send_as: "Send as", "发送方式";
    mode_text: "Text", "文本";
    mode_hex: "Hex", "十六进制";
    mode_file: "File", "文件";
    message: "Message", "消息";
    type_message: "Enter: send, Shift Enter: new line, ↑: recall", "Enter 发送，Shift Enter 换行，↑ 历史";
    type_bytes: "Type bytes, as in 00 61 ff", "输入字节，例如 00 61 ff";
    send: "Send", "发送";
    template: "Template", "模板";
    template_pick: "Templates…", "模板…";
    template_time: "Unix time", "Unix 时间";
    template_large: "64 KiB", "64 KiB";
    template_emoji: "Emoji", "表情符号";
    template_invalid: "Invalid UTF-8", "无效的 UTF-8";
    template_empty: "Empty message", "空消息";
    save_message: "Save message", "保存消息";
    delete_message: "Delete", "删除";
    line_ending: "Line ending", "行尾";
    no_line_ending: "no line ending", "无行尾";
    escapes: "\\r \\n \\xNN", "\\r \\n \\xNN";
    escapes_about: "Escape sequences: \\r \\n \\t \\0 \\xNN \\u{…} \\\\", "转义序列：\\r \\n \\t \\0 \\xNN \\u{…} \\\\";
    no_escape: "The backslash at character {0} begins no escape sequence; a backslash itself is \\\\.", "第 {0} 个字符处的反斜杠不是转义序列；反斜杠本身写作 \\\\。";
    escape_not_utf8: "The bytes at character {0} are not UTF-8: send them as Hex.", "第 {0} 个字符处的字节不是 UTF-8：请以十六进制发送。";
    not_text: "These bytes are not UTF-8: they stay hexadecimal.", "这些字节不是 UTF-8：保持十六进制。";
    json_valid: "valid JSON", "有效的 JSON";
    json_wrong: "not JSON from character {0} on", "从第 {0} 个字符起不是 JSON";
    repeat_ended: "Repeat ended with the connection.", "重复已随连接结束。";
    share: "Share", "分享";
    copy_link: "Copy link to this endpoint and message", "复制包含端点与消息的链接";
    copy_as: "Copy as {0}", "复制为 {0}";
    snippet_error: "The endpoint or the message has an error.", "端点或消息有错误。";
    snippet_no_listener: "No TCP listener of this service is known.", "没有已知的此服务的 TCP 监听端口。";
    snippet_empty: "The program cannot send an empty message.", "该程序不能发送空消息。";
    snippet_lines: "The program sends each line as a message.", "该程序会将每行作为一条消息发送。";
    not_stored: "Messages longer than {0} are not stored: this one is kept only until the page is reloaded.", "超过 {0} 的消息不会保存：此消息只保留到重新加载页面为止。";
    forget: "Forget saved settings", "清除保存的设置";
    forgotten: "Saved messages, history and settings were removed from this browser.", "已从此浏览器清除保存的消息、历史和设置。";
    refreshed: "Current Unix time, refreshed with each send.", "当前 Unix 时间，每次发送时更新。";
    repeat: "Repeat", "重复";
    repeat_every: "every", "每隔";
    repeat_millis: "ms", "毫秒";
    repeating: "Repeating: {0} sent", "重复中：已发送 {0}";
    stop: "Stop", "停止";
    burst: "Burst", "连发";
    burst_of: "messages", "消息数";
    number_wrong: "Enter a number from {0} to {1}.", "请输入 {0} 到 {1} 的数。";
    not_connected_send: "Not connected: nothing was sent.", "未连接：没有发送。";
    input_ended_send: "You have finished sending: nothing was sent.", "你已结束发送：没有发送。";
    queue_full: "Not sent: the send queue is full, the server reads too slowly.", "未发送：发送队列已满，服务器读取太慢。";
    waiting_here: "{0} in the send queue: the server reads too slowly.", "发送队列中有 {0}：服务器读取太慢。";
    empty_of: "empty {0} message", "空的{0}消息";
    size_of: "{0}, {1}", "{0}，{1}";
    not_a_digit: "{0} at character {1} is not a hexadecimal digit.", "第 {1} 个字符 {0} 不是十六进制数字。";
    half_a_byte: "\"{0}\" at character {1} is half a byte: a byte has two digits, as in 0{0}.", "第 {1} 个字符“{0}”只是半个字节：一个字节有两位，如 0{0}。";

    // A file
    file_drop: "Drop a file here, or", "把文件拖到这里，或";
    file_pick: "choose one", "选择文件";
    file_expect: "The service answers", "服务的回答";
    expect_upper: "in upper case", "大写";
    expect_same: "the same bytes", "相同的字节";
    expect_anything: "anything (no check)", "任意（不检查）";
    file_progress: "{0} of {1}, {2}/s", "{1} 中的 {0}，{2}/秒";
    file_done: "{0}: {1} echoed, every byte matches, {2}/s.", "{0}：已回显 {1}，每个字节都相同，{2}/秒。";
    file_sent: "{0}: {1} sent, {2}/s.", "{0}：已发送 {1}，{2}/秒。";
    file_wrong: "{0}: byte {1} came back as {3} where {2} was expected.", "{0}：第 {1} 字节返回 {3}，应为 {2}。";
    file_stopped: "{0}: stopped after {1}.", "{0}：在 {1} 后停止。";
    file_lost: "{0}: the connection ended after {1}.", "{0}：{1} 后连接结束。";
    file_unreadable: "{0} could not be read.", "无法读取 {0}。";

    // Measurements
    measurements: "This connection", "本连接";
    round_trips: "Round trips", "往返时间";
    last_minute: "the last minute", "最近一分钟";
    distribution: "Distribution", "分布";
    distribution_about: "{0} in all", "共 {0}";
    distribution_overlaps: "{0} in all, {1} overlapping", "共 {0}，其中 {1} 条重叠";
    overlaps_about: "Overlapping: sent while other replies were outstanding, so that the time includes a wait behind them", "重叠：发出时还有其他回复未到，因此用时包含排队等待";
    log_scale: "log scale · {0}", "对数刻度 · {0}";
    one_reply: "{0} reply", "{0} 条回复";
    many_replies: "{0} replies", "{0} 条回复";
    throughput: "Throughput", "吞吐量";
    throughput_unit: "per second", "每秒";
    no_round_trips: "Nothing measured yet: send a message.", "尚无测量：请发送一条消息。";
    as_table: "As a table", "以表格显示";
    measure: "Measure", "指标";
    value: "Value", "数值";
    latest: "latest", "最近";
    mean: "mean", "平均";
    least: "least", "最小";
    most: "most", "最大";
    replies: "replies", "回复数";
    one_message: "{0} message", "{0} 条消息";
    many_messages: "{0} messages", "{0} 条消息";
    one_byte: "{0} byte", "{0} 字节";
    many_bytes: "{0} bytes", "{0} 字节";
    one_event: "{0} event", "{0} 个事件";
    many_events: "{0} events", "{0} 个事件";

    // Latency by legs
    latency: "Where the time goes", "往返耗时分解";
    latency_gateway: "echogate", "echogate";
    latency_none: "Send a message: each leg of the round trip shows its time.", "发送一条消息：往返的每一段会显示用时。";
    latency_unpaired: "No reply has been paired with a message yet: there is no round trip to show.", "尚无回复与消息配对：没有可显示的往返耗时。";
    latency_latest: "latest message", "最近一条消息";
    latency_chosen: "chosen message", "所选消息";
    latency_round_trip: "Round trip {0}", "往返 {0}";
    latency_total: "Round trip {0} · drawn in {1}", "往返 {0} · 到绘制完成 {1}";
    leg_page: "page (apart)", "页面（另计）";
    leg_page_about: "From the command to the socket, and from the socket to the drawn reply; no part of the round trip", "从命令到套接字，以及从套接字到绘制出回复；不属于往返时间";
    leg_round_trip: "round trip", "往返";
    leg_round_trip_about: "From the socket's message to its reply. The server reports no legs of this exchange.", "从套接字发出消息到收到回复。服务器没有报告这次往返的分段。";
    leg_network: "network", "网络";
    leg_network_about: "Browser and network between the page's WebSocket and echogate, both directions together", "页面的 WebSocket 与 echogate 之间的浏览器与网络，双向合计";
    leg_gateway_about: "echogate: frames to bytes and bytes to frames", "echogate：帧转换为字节，字节转换为帧";
    leg_transport_about: "Between echogate and the service, both directions together", "echogate 与服务之间，双向合计";
    leg_upstream_about: "The upstream and the network to it", "上游及到上游的网络";
    leg_service_about: "The service, from reading the message to writing the reply", "服务，从读取消息到写出回复";

    // The server's connections
    clients: "Clients", "当前客户端";
    clients_total: "{0} connected", "{0} 个连接";
    clients_none: "No clients.", "没有客户端。";
    clients_try: "No clients. Try: {0}", "没有客户端。试试：{0}";
    clients_more: "and {0} more", "还有 {0} 个";
    clients_unknown: "Waiting for the server’s list…", "等待服务器的列表…";
    clients_lost: "Live updates lost {0} ago; reconnecting.", "实时更新已中断 {0}；正在重新连接。";
    clients_retried: "No list of clients: {0}; trying again.", "没有客户端列表：{0}；正在重试。";
    clients_refused: "No list of clients: {0}.", "没有客户端列表：{0}。";
    clients_no_api: "The server has no list of clients (--no-api, or a proxy).", "服务器不提供客户端列表（--no-api 或代理）。";
    clients_missing: "No answer from replica {0}.", "副本 {0} 没有应答。";
    clients_you: "you", "你";
    clients_upstream: "your upstream", "你的上游连接";
    clients_ended: "ended: {0}", "结束：{0}";

    // The operator
    token: "Token", "令牌";
    token_hint: "Printed by the server at start, or the first line of --operator-token-file.", "由服务器在启动时打印，或 --operator-token-file 的第一行。";
    sign_in: "Sign in", "登录";
    sign_out: "Sign out", "退出登录";
    op_signed_out: "Enter the token printed by the server at start.", "请输入服务器启动时打印的令牌。";
    op_signing_in: "Signing in…", "正在登录…";
    op_in: "You are operator {0}.", "你是操作员 {0}。";
    op_wrong_token: "Wrong token.", "令牌错误。";
    op_lost: "The connection ended. {0}", "连接已结束。{0}";
    conversations: "Conversations", "会话";
    op_nobody: "No conversations yet.", "还没有会话。";
    op_nobody_try: "No conversations yet. A client connects with: {0}", "还没有会话。客户端可以这样连接：{0}";
    op_choose: "Choose a conversation.", "请选择一个会话。";
    op_waits: "waiting {0}", "已等 {0}";
    op_answered: "answered", "已回答";
    op_over_client: "The client ended the chat.", "客户端结束了会话。";
    op_over_operator: "Operator {0} ended the chat.", "操作员 {0} 结束了会话。";
    op_over_you: "You ended the chat.", "你结束了会话。";
    op_over_left: "The client disconnected.", "客户端断开了连接。";
    op_over_vanished: "The client’s connection was lost.", "客户端的连接中断了。";
    op_over_server: "The server ended the chat.", "服务器结束了会话。";
    op_client: "client", "客户端";
    op_you: "you", "你";
    op_other: "operator {0}", "操作员 {0}";
    op_answer: "Answer", "回答";
    op_unread: "new", "新";
    op_bye: "End chat", "结束会话";

    // Announcements for screen readers
    received_this: "Received {0}", "收到 {0}";
    received_many: "{0} messages received", "收到 {0} 条消息";
}
