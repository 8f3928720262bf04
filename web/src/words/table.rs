//! The sentences, each beside its translation. `{0}`, `{1}` … are gaps.

use super::{Language, fill};
use crate::format;

macro_rules! table {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// Everything that the page says, in one language.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "what each says stands in the table")]
        pub struct Words {
            pub language: Language,
            $(pub $name: &'static str,)*
        }

        pub(super) static ENGLISH: Words = Words { language: Language::English, $($name: $english,)* };
        pub(super) static CHINESE: Words = Words { language: Language::Chinese, $($name: $chinese,)* };

        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)*];
    };
}

impl Words {
    /// A sentence about so many; `{0}` stands for the number.
    pub fn counted(&self, number: u64, one: &str, many: &str) -> String {
        fill(if number == 1 { one } else { many }, &[&format::grouped(number)])
    }

    /// `1 message`, `2 messages`.
    pub fn messages(&self, number: u64) -> String {
        self.counted(number, self.one_message, self.many_messages)
    }

    /// `1 byte`, `2 bytes`.
    pub fn bytes(&self, number: u64) -> String {
        self.counted(number, self.one_byte, self.many_bytes)
    }
}

table! {
    // The frame
    tagline: "a socket workbench", "套接字工作台";
    workbench: "Workbench", "工作台";
    operator: "Chat operator", "客服操作台";
    views: "Views", "视图";
    language_label: "Language", "语言";
    skip: "Skip to the composer", "跳到输入框";

    // Connections
    connections: "Connections", "连接";
    new_connection: "New connection", "新建连接";
    remove_connection: "Remove this connection", "移除此连接";
    endpoint: "Endpoint", "端点";
    endpoint_hint: "a path here, or ws://…", "本服务器的路径，或 ws://…";
    subprotocols: "Subprotocols", "子协议";
    optional: "optional", "可选";
    none: "none", "无";
    reconnect: "Reconnect when lost", "断开后自动重连";
    connect: "Connect", "连接";
    connect_again: "Connect again", "重新连接";
    connect_now: "Connect now", "立即连接";
    call_off: "Call off", "取消";
    disconnect: "Disconnect", "断开";
    end_input: "End input", "结束输入";
    close_with: "Close with a code", "以指定代码关闭";
    close_code: "Code", "代码";
    close_reason: "Reason", "原因";
    close_code_wrong: "A page may close with 1000, or with 3000 to 4999.", "网页只能用 1000 或 3000 到 4999 关闭。";
    close_reason_long: "A reason has at most 123 bytes.", "原因最多 123 字节。";
    endpoint_empty: "No endpoint is given.", "没有给出端点。";
    endpoint_no_host: "There is no host behind the scheme.", "协议后面没有主机。";
    endpoint_space: "There is white space in the endpoint.", "端点中有空白字符。";
    endpoint_scheme: "An endpoint begins with ws:// or wss://, or with / for a path on this server.", "端点以 ws:// 或 wss:// 开头，或以 / 开头表示本服务器的路径。";
    leads_to: "leads to {0}, framing {1}", "通往 {0}，分帧 {1}";
    too_many_connections: "That is as many as fit side by side.", "连接数量已达上限。";

    // States
    not_connected: "Not connected", "未连接";
    connecting: "Connecting", "正在连接";
    connected: "Connected", "已连接";
    you_ended_input: "Connected, your input has ended", "已连接，你已结束输入";
    they_ended_input: "Connected, its input has ended", "已连接，对方已结束输入";
    closing: "Closing", "正在关闭";
    reconnecting: "Reconnecting", "等待重连";
    from_file: "From a file", "来自文件";
    press_connect: "Press Connect, then send something.", "点“连接”，然后发送点什么。";
    to_url: "to {0}", "到 {0}";
    to_url_protocol: "to {0}, subprotocol {1}", "到 {0}，子协议 {1}";
    waiting_goodbye: "waiting for the server’s goodbye", "等待服务器道别";
    attempt_in: "Attempt {0} in {1} s.", "第 {0} 次尝试，{1} 秒后。";
    connected_to: "Connected to {0}", "已连接到 {0}";
    connected_protocol: "Connected to {0}, subprotocol {1}", "已连接到 {0}，子协议 {1}";
    we_half_closed: "You ended your input; what still comes is shown.", "你结束了输入；仍会显示收到的内容。";
    they_half_closed: "The server ended its input; it still reads.", "服务器结束了发送；它仍在读取。";

    // Ends
    could_not_connect: "Could not connect", "无法连接";
    called_off: "Called off", "已取消";
    disconnected: "Disconnected", "已断开";
    closed_by_server: "Closed by the server", "被服务器关闭";
    connection_lost: "Connection lost", "连接丢失";
    browser_would_not: "The browser would not try: {0}", "浏览器不肯尝试：{0}";
    called_off_before: "Called off before the connection was open.", "在连接打开之前取消了。";
    nobody_answers: "Could not connect: nobody answers there, or the server refused; a page is not told which (code {1}).", "无法连接：那里没有应答，或服务器拒绝了；网页无从得知（代码 {1}）。";
    you_disconnected: "You disconnected: {0} (code {1}).", "你断开了连接：{0}（代码 {1}）。";
    no_goodbye: "You disconnected, and the server did not answer the goodbye (code {1}).", "你断开了连接，服务器没有回应道别（代码 {1}）。";
    server_closed: "The server closed the connection: {0} (code {1}).", "服务器关闭了连接：{0}（代码 {1}）。";
    server_went_away: "The server went away: {0} (code {1}).", "服务器不见了：{0}（代码 {1}）。";
    it_said: " It said: \"{2}\".", "它说：“{2}”。";
    one_not_sent: " {0} message was not sent.", "有 {0} 条消息没有发出。";
    many_not_sent: " {0} messages were not sent.", "有 {0} 条消息没有发出。";
    one_without_reply: " {0} message was without a reply.", "有 {0} 条消息没有回复。";
    many_without_reply: " {0} messages were without a reply.", "有 {0} 条消息没有回复。";
    look_at_endpoint: "See whether the endpoint is written as it should be; from a page over https only wss:// works.", "请检查端点写法；从 https 页面只能用 wss://。";
    look_at_server: "See whether the server runs and whether it lets this page in (--allow-origin).", "请检查服务器是否在运行，以及是否允许本页面（--allow-origin）。";

    // Transcript
    transcript: "Transcript", "记录";
    messages_region: "Messages", "消息";
    time: "Time", "时间";
    sent: "Sent", "发送";
    received: "Received", "接收";
    kind: "Type", "类型";
    size: "Size", "大小";
    round_trip: "Round trip", "往返";
    clear: "Clear", "清空";
    export: "Export", "导出";
    load: "Load", "载入";
    not_a_transcript: "{0}: line {1} is no row of a transcript.", "{0}：第 {1} 行不是记录。";
    search: "Search text or hex", "搜索文本或十六进制";
    show: "Show", "显示";
    show_all: "everything", "全部";
    show_sent: "sent", "发送的";
    show_received: "received", "接收的";
    show_events: "beginnings and ends", "开始与结束";
    show_pinned: "pinned", "已固定";
    shown_of: "{0} of {1} rows", "{1} 行中的 {0} 行";
    rows: "{0} rows", "{0} 行";
    nothing_found: "No row has that in it.", "没有匹配的行。";
    to_end: "Newest", "最新";
    rows_left: "{0} older rows with {1} left the transcript: it keeps the latest.", "较早的 {0} 行（{1}）已移出：只保留最新的。";
    waiting_to_be_sent: "waiting to be sent", "等待发送";
    no_reply_yet: "no reply yet", "尚无回复";
    no_reply: "no reply", "无回复";
    not_sent: "not sent", "未发送";
    empty_message: "(empty)", "（空）";
    empty_text: "Connect and send hello. The gateway hands the bytes to a TCP service, which answers in upper case: HELLO.", "连接并发送 hello。网关把字节交给 TCP 服务，服务以大写回答：HELLO。";
    text: "text", "文本";
    binary: "binary", "二进制";

    // An opened row
    row: "Row {0}", "第 {0} 行";
    pin: "Pin", "固定";
    unpin: "Unpin", "取消固定";
    copy: "Copy", "复制";
    copied: "Copied", "已复制";
    copy_failed: "The browser would not copy.", "浏览器不允许复制。";
    send_again: "Edit and send again", "编辑后再发";
    close: "Close", "关闭";
    same_reply: "The reply is the same, byte for byte.", "回复逐字节相同。";
    changed_bytes: "{0} of {1} changed on the way.", "{1}中有 {0} 个改变了。";
    first_bytes: "The first {0} of {1} bytes.", "{1} 字节中的前 {0} 字节。";

    // Composer
    composer: "Composer", "输入";
    send_as: "Send as", "发送方式";
    mode_text: "Text", "文本";
    mode_hex: "Hex", "十六进制";
    mode_file: "File", "文件";
    message: "Message", "消息";
    type_message: "Type a message", "输入消息";
    type_bytes: "Type bytes, as in 00 61 ff", "输入字节，例如 00 61 ff";
    send: "Send", "发送";
    keys_hint: "Enter sends · Shift Enter new line · ↑ history", "Enter 发送 · Shift Enter 换行 · ↑ 历史";
    template: "Template", "模板";
    template_pick: "Templates…", "模板…";
    template_time: "Unix time", "Unix 时间";
    template_large: "64 KiB", "64 KiB";
    template_emoji: "Emoji", "表情符号";
    template_invalid: "Invalid UTF-8", "无效的 UTF-8";
    made_anew: "The time, made anew each time it is sent.", "时间，每次发送时更新。";
    repeat: "Repeat", "重复";
    repeat_every: "every", "每隔";
    repeat_millis: "ms", "毫秒";
    repeating: "Sent {0}", "已发送 {0}";
    stop: "Stop", "停止";
    burst: "Burst", "连发";
    burst_of: "of", "数量";
    number_wrong: "A number from {0} to {1}, please.", "请输入 {0} 到 {1} 的数。";
    not_connected_send: "Not connected: nothing was sent.", "未连接：没有发送。";
    input_ended_send: "Your input has ended: nothing was sent.", "输入已结束：没有发送。";
    queue_full: "Not sent: too much is waiting already, the server does not keep up.", "未发送：积压太多，服务器跟不上。";
    waiting_here: "{0} waiting to be sent: the server does not keep up.", "{0}等待发送：服务器跟不上。";
    empty_of: "empty {0} message", "空的{0}消息";
    size_of: "{0}, {1}", "{0}，{1}";
    not_a_digit: "{0} at character {1} is not a hexadecimal digit", "第 {1} 个字符 {0} 不是十六进制数字";
    half_a_byte: "\"{0}\" at character {1} is half a byte: a byte has two digits, as in 0{0}", "第 {1} 个字符“{0}”只是半个字节：一个字节有两位，如 0{0}";

    // A file
    file_drop: "Drop a file here, or", "把文件拖到这里，或";
    file_pick: "choose one", "选择文件";
    file_expect: "The service answers", "服务的回答";
    expect_upper: "in upper case", "大写";
    expect_same: "the same bytes", "相同的字节";
    expect_anything: "anything (no check)", "任意（不检查）";
    file_progress: "{0} of {1}, {2}/s", "{1} 中的 {0}，{2}/秒";
    file_done: "{0}: all {1} came back as they should, {2}/s.", "{0}：{1}全部正确返回，{2}/秒。";
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
    throughput: "Throughput", "吞吐量";
    throughput_unit: "per second", "每秒";
    no_round_trips: "Nothing measured yet: send something.", "尚无测量：发送点什么。";
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

    // The way of a byte
    way: "The way of a byte", "字节之路";
    way_page: "this page", "本页面";
    way_gateway: "gateway", "网关";
    way_tcp: "TCP", "TCP";
    way_service: "service", "服务";
    way_websocket: "WebSocket", "WebSocket";
    way_ws: "WS", "WS";
    way_upstream: "upstream", "上游";
    way_none: "Send something: each part shows how long it took, there and back.", "发送点什么：每一段会显示往返用时。";
    way_network: "browser and network", "浏览器与网络";

    // Who is connected
    who: "Who is connected now", "现在谁在连接";
    who_total: "{0} connected", "{0} 个连接";
    who_none: "Nobody. Try: printf hello | nc 127.0.0.1 7007", "没有人。试试：printf hello | nc 127.0.0.1 7007";
    who_more: "and {0} more", "还有 {0} 个";
    who_unknown: "Waiting for the server to tell…", "等待服务器告知…";
    who_lost: "The server does not tell at the moment; what follows is old.", "服务器暂时没有告知；以下是旧信息。";
    who_client: "Client", "客户端";
    who_to: "To", "目标";
    who_in: "In", "收";
    who_out: "Out", "发";
    who_age: "Age", "时长";
    who_you: "you", "你";
    who_behind: "behind you", "你的上游";
    who_ended: "ended: {0}", "结束：{0}";

    // The operator
    token: "Token", "令牌";
    token_hint: "The token that the server was given for operators of its chat service.", "服务器为 chat 服务的操作员设置的令牌。";
    come_in: "Come in", "进入";
    leave: "Leave", "离开";
    op_away: "Give the token to see who is asking.", "输入令牌以查看谁在提问。";
    op_knocking: "Knocking…", "正在进入…";
    op_in: "You are operator {0}.", "你是操作员 {0}。";
    op_refused: "The token is not right.", "令牌不正确。";
    op_lost: "The connection ended. {0}", "连接已结束。{0}";
    conversations: "Conversations", "会话";
    op_nobody: "Nobody is here yet. A client comes by nc 127.0.0.1 7017, or by this page at /ws/chat.", "还没有人。客户端可用 nc 127.0.0.1 7017，或本页面的 /ws/chat。";
    op_choose: "Choose a conversation.", "请选择一个会话。";
    op_waits: "waits {0}", "已等 {0}";
    op_answered: "answered", "已回答";
    op_over_client: "The client said bye.", "客户端说了再见。";
    op_over_operator: "Operator {0} said bye.", "操作员 {0} 说了再见。";
    op_over_left: "The client left.", "客户端离开了。";
    op_over_vanished: "The client’s connection broke.", "客户端的连接中断了。";
    op_over_server: "The server ended it.", "服务器结束了会话。";
    op_client: "client", "客户端";
    op_you: "you", "你";
    op_other: "operator {0}", "操作员 {0}";
    op_answer: "Answer", "回答";
    op_unread: "new", "新";
    op_bye: "Say bye", "说再见";

    // Said to a screen reader
    received_this: "Received {0}", "收到 {0}";
    received_many: "{0} messages received", "收到 {0} 条消息";
}
