//! The server's texts about ends and refusals in Chinese. They stand in the file with the Chinese
//! texts, each beside its English template: English needs no table.

use echogate_proto::reason::*;

use super::fill;

/// The separator of a template and its translation in a line of the file.
const SEPARATOR: char = '\t';

/// The longest text that is translated, in bytes. Longer ones are pages of other servers.
const MAX: usize = 1024;

/// A text of the server, translated by the lines of the file. A text that no template matches, as
/// that of another server, is `None`.
pub(super) fn translate(lines: &str, text: &str) -> Option<String> {
    if text.len() > MAX {
        return None;
    }
    lines.lines().find_map(|line| {
        let (template, translation) = line.split_once(SEPARATOR)?;
        let mut parts = Vec::new();
        if !split(lines, template, text, &mut parts) {
            return None;
        }
        let mut translated = Vec::new();
        for (mark, part) in parts.into_iter().rev() {
            translated.push(match translate(lines, part) {
                Some(part) => part,
                None if mark == b'~' => return None,
                None => part.to_owned(),
            });
        }
        Some(fill(translation, &translated.iter().map(|part| &**part).collect::<Vec<_>>()))
    })
}

/// Whether a template matches, with the last byte of each placeholder and the text in its place added
/// to `parts`, the last one first. Parts are not matched in turn here, so that the time does not grow
/// exponentially with the text.
fn split<'a>(lines: &str, template: &str, text: &'a str, parts: &mut Vec<(u8, &'a str)>) -> bool {
    let Some((before, rest)) = template.split_once('{') else { return template == text };
    let Some(((placeholder, rest), text)) = rest.split_once('}').zip(text.strip_prefix(before))
    else {
        return false;
    };
    let mark = placeholder.as_bytes().last().copied().unwrap_or_default();
    for at in (1..=text.len()).rev() {
        if let Some((part, after)) = text.split_at_checked(at)
            && split(lines, rest, after, parts)
        {
            if is_permitted(lines, mark, part) {
                parts.push((mark, part));
                return true;
            }
            parts.clear();
        }
    }
    false
}

/// Whether a text may be in the place of a placeholder with this mark.
fn is_permitted(lines: &str, mark: u8, text: &str) -> bool {
    match mark {
        b'#' => text.bytes().all(|byte| byte.is_ascii_digit()),
        b'!' => lines
            .lines()
            .any(|line| line.strip_prefix(text).is_some_and(|rest| rest.starts_with(SEPARATOR))),
        _ => true,
    }
}

macro_rules! reasons {
    ($($template:expr => $chinese:literal;)*) => {
        /// Each template of [`echogate_proto::reason`] with its translation.
        #[cfg(not(target_arch = "wasm32"))]
        pub(super) const ALL: &[(&str, &str)] = &[$(($template, $chinese)),*];

        /// Continues the checksum of the file with the lines of this table.
        pub(super) const fn checksum(mut sum: u32) -> u32 {
            $(
                sum = super::checksum::checksum(sum, $template);
                sum = super::checksum::checksum(sum, "\t");
                sum = super::checksum::checksum(sum, $chinese);
                sum = super::checksum::checksum(sum, "\n");
            )*
            sum
        }
    };
}

reasons! {
    // Compositions
    WITH_CODE => "{0}（{1}）";
    LOST_FOR => "{0}；{2} 字节未送达{1}";
    LOST => "{0}；{1} 字节未送达";
    CUT_OFF_AFTER => "{0}；连接被切断";
    AND => "{0}；{1}";
    TRIED => "{0}（已尝试 {1} 个地址）";

    // Peers
    CLIENT => "客户端";
    UPSTREAM => "上游";

    // Ends by the server
    SHUTDOWN => "服务器正在关闭";
    RESTART => "服务器正在重启：请稍后重新连接";
    SHUT_DOWN => "服务器已关闭";
    IDLE => "空闲超时（--idle-timeout）";
    BY_OPERATOR => "由操作员关闭";
    CUT_OFF => "连接被切断";
    CUT_OFF_BY_SHUTDOWN => "服务器关闭期限已到，连接被切断（--drain）";

    // Ends of connections to services
    CLIENT_CLOSED => "客户端关闭了连接";
    SERVICE_CLOSED => "服务关闭了连接";
    ANSWERED_ONCE => "唯一的消息已回复（?once）";
    CONNECTION_FAILED => "连接失败：{0}";
    NO_DATAGRAM => "{0} 内没有数据报";
    SOCKET_CLOSED => "套接字已关闭";
    SOCKET_REASSIGNED => "重新加载配置后，该套接字属于另一个服务";

    // Ends of the peers of a relay
    BOTH_ENDED => "双方都已结束发送";
    PEER_ENDED => "{0}结束了字节流";
    PEER_CLOSED => "{0}关闭了连接";
    PEER_CLOSED_WITH => "{0}关闭了连接：{1}";
    PEER_LEFT => "{0}断开，未发送关闭帧";
    PEER_ENDED_WITHOUT_CLOSE => "{0}结束了连接，未发送关闭帧";
    PEER_SILENT => "{0}没有应答 Ping";
    PEER_STOPPED_READING => "{0}停止读取";
    PEER_RESET => "{0}重置了连接";
    PEER_TIMED_OUT => "{0}超时";
    PEER_WAS => "{0}的连接中断：{1}";
    PEER_FAILED => "{0}出错：{1}";
    PEER_DISCONNECTED => "{0}的连接失败";
    PEER_DISCONNECTED_BY => "{0}的连接失败：{1}";
    PEER_VIOLATED => "{0}违反了协议：{1}";
    PEER_SENT_TOO_MUCH => "{0}发送的消息超过 {1} 字节";
    PEER_SENT_INVALID_TEXT => "{0}发送的文本不是有效的 UTF-8";
    PEER_NOT_ASKED => "{0}发送了没有对应消息的字节（framing=message）";
    PEER_OWES_REPLIES => "{0}在回复所有消息之前就结束了";
    PEER_CUT_RECORD => "{0}在一条记录中途结束（framing=length）";
    NO_PROGRESS => "发送最后的字节时 {0} 秒没有进展";
    CLOSED_EARLY => "在收完全部数据之前就已关闭";

    // Violations of RFC 6455
    RESERVED_BITS => "帧头中设置了保留位";
    RESERVED_OPCODE => "保留的操作码 {0}";
    UNMASKED => "帧没有掩码";
    MASKED => "帧带有掩码";
    FRAGMENTED_CONTROL => "控制帧被分片";
    LONG_CONTROL => "控制帧超过 125 字节";
    BAD_LENGTH => "帧长度的编码有误";
    NOTHING_TO_CONTINUE => "收到延续帧，但没有要延续的消息";
    MESSAGE_IN_MESSAGE => "上一条消息尚未结束就开始了新消息";
    INVALID_TEXT => "文本消息不是有效的 UTF-8";
    SHORT_CLOSE => "关闭帧的载荷只有一个字节";
    BAD_CLOSE_CODE => "不允许发送关闭代码 {0}";
    INVALID_REASON => "关闭原因不是有效的 UTF-8";
    TOO_BIG => "消息超过 {0} 字节";
    MESSAGE_AFTER_END => "结束发送（半关闭）之后又发送了消息";

    // Failures to connect to an upstream
    REFUSED => "上游拒绝了连接";
    BACKLOG_FULL => "上游的监听队列已满";
    UNREACHABLE => "无法到达上游：{0}";
    DIAL_TIMEOUT => "上游在 {0} 内没有应答（--dial-timeout）";
    UNRESOLVED => "无法解析上游的主机名：{0}";
    RESOLVER_TIMEOUT => "{0} 内没有应答（--dial-timeout）";
    NO_ADDRESS => "该名称没有地址";
    PROXY_FAILED => "代理无法连接到上游：{0}";
    PROXY_SILENT => "代理没有应答就关闭了连接";
    UPSTREAM_RESPONDED => "{0}的响应为 {1}";
    CLOSED_IN_HANDSHAKE => "{0}在 WebSocket 握手期间关闭了连接";
    NO_HANDSHAKE_RESPONSE => "WebSocket 握手没有收到响应";

    // A proxy on the way to an upstream
    PROXY_NOT_HTTP => "代理的响应不是 HTTP";
    PROXY_LONG_HEAD => "代理响应的头部超过 16 KiB";
    PROXY_NOT_SOCKS => "代理的响应不是 SOCKS5（HTTP 代理请用 http://）";
    PROXY_STATUS_WRONG_PASSWORD => "{0}：用户名或密码错误";
    PROXY_STATUS_NO_PASSWORD => "{0}：其 URL 需要用户名和密码，形如 http://USER:PASSWORD@HOST:PORT";
    PROXY_WRONG_PASSWORD => "用户名或密码错误";
    PROXY_NO_PASSWORD => "需要身份验证：其 URL 需要用户名和密码，形如 socks5h://USER:PASSWORD@HOST:PORT";
    PROXY_TAKES_NO_PASSWORD => "不接受用户名和密码验证";
    HOST_WITHOUT_ADDRESS => "该主机名没有地址";
    SOCKS_REPLY => "{0}（SOCKS 应答 {1}）";
    SOCKS_FAILURE => "一般性故障";
    SOCKS_RULES => "其规则不允许此连接";
    SOCKS_NETWORK => "网络不可达";
    SOCKS_HOST => "主机不可达";
    SOCKS_REFUSED => "目标拒绝了连接";
    SOCKS_TTL => "生存时间（TTL）已到期";
    SOCKS_NO_CONNECT => "它不支持 CONNECT";
    SOCKS_ADDRESS_TYPE => "它不支持此类地址";
    SOCKS_UNKNOWN => "未知应答";

    // TLS with an upstream
    TLS_ENDED => "{0}在 TLS 握手期间结束了连接";
    TLS_ECHOED => "{0}不使用 TLS：它原样返回了 ClientHello";
    TLS_NOT_SPOKEN => "{0}不使用 TLS";
    TLS_REFUSED => "{0}拒绝了 TLS 握手：{1}";
    TLS_OLD => "{0}既不支持 TLS 1.2 也不支持 TLS 1.3";
    TLS_NOTHING_SHARED => "{0}与本端没有共同的密码套件、密钥交换或签名算法";
    TLS_NO_PROTOCOL => "{0}没有提供本端支持的应用层协议（ALPN）";
    TLS_FAILED => "与{0}的 TLS 握手失败：{1}";
    TLS_CUT_OFF => "TCP 在 TLS 之前结束（没有 close_notify）";

    // Alerts of TLS
    TLS_ALERT => "{0}（{1}）";
    TLS_ENDED_BY_ALERT => "对方结束了 TLS：{0}";
    ALERT_CERTIFICATE_REQUIRED => "它要求客户端证书";
    ALERT_NO_PROTOCOL => "它不支持所提供的任何应用层协议（ALPN）";
    ALERT_VERSION => "它既不支持 TLS 1.2 也不支持 TLS 1.3";
    ALERT_NOTHING_SHARED => "它与本端没有共同的密码套件，或要求客户端证书";
    ALERT_HOST_NAME => "它没有该主机名的证书";
    ALERT_CERTIFICATE => "它不接受该证书";
    ALERT_ACCESS => "拒绝访问";
    ALERT_INTERNAL => "内部错误";
    ALERT_VIOLATION => "违反协议";

    // Certificates
    CERTIFICATE_EXPIRED => "{0}的证书已过期";
    CERTIFICATE_EARLY => "{0}的证书尚未生效";
    CERTIFICATE_NAME => "{0}的证书不属于 {1}";
    CERTIFICATE_SIGNATURE => "{0}的证书不受信任：并非由其签发者签名";
    CERTIFICATE_ISSUER => "{0}的证书不受信任：签发者未知";
    CERTIFICATE_SELF_SIGNED => "{0}的证书不受信任：它是自签名的，或是 CA 证书（CA:TRUE）";
    CERTIFICATE_OTHER => "{0}的证书不受信任：{1}";

    // Limits
    SERVER_FULL => "服务器的连接数已满（--max-connections {0}）";
    ADDRESS_FULL => "{0} 的连接数已达上限（--max-per-address {1}）";
    ROUTE_FULL => "该路由或转发的连接数已满（max={0}）";
    NO_DESCRIPTORS => "服务器的 {0} 个文件描述符已用完（ulimit -n）";
    TOO_MANY_SUBSCRIBERS => "/api/events 的订阅者过多（最多 64 个，每个地址 16 个）";
    TOO_MANY_OBSERVERS => "连接的观察者过多（最多 64 个，每个地址 16 个）";
    OBSERVED_ENDED => "连接已结束";
    OBSERVERS_FULL => "该连接已有 {0} 个观察者";
    OBSERVERS_SLOW => "等待连接观察者读取的事件过多：其中有观察者不读取";

    // Policy
    MANY_ORIGINS => "请求含有多个 Origin 头";
    ORIGIN_REFUSED => "不允许来源 {0}（--allow-origin）：{1}";
    ORIGIN_WITHOUT_HOST => "其中没有主机名";
    ORIGIN_BEHIND_HTTPS => "X-Forwarded-Proto 为 https";
    ORIGIN_BEHIND_HTTP => "X-Forwarded-Proto 为 http";
    ORIGIN_AT_HTTPS => "本服务器使用 https";
    ORIGIN_AT_HTTP => "本服务器使用 http";
    ORIGIN_OF_OTHER_HOST => "{0} 为 {1}；代理必须传递原始的 Host";
    NO_HOST => "请求没有 Host 头";
    HOST_REFUSED => "不允许主机“{0}”（用 --allow-host 添加）";
    ROUTE_LOOP => "此请求已经过该路由：路由指向了自身";
    NO_ROUTE => "没有此路由：{0}";

    // Access to the API
    FOREIGN_PAGE => "其他来源的网页不能使用 API";
    NO_CONNECTION => "没有 ID 为 {0} 的打开的连接（列表见 /api/connections）";
    OF_REPLICA_AT => "连接 {0} 是副本“{2}”的连接 {1}：请在 {3} 向该副本请求";
    OF_REPLICA => "连接 {0} 是副本“{2}”的连接 {1}：请向该副本请求";
    NO_TAPS => "跟踪已禁用（--no-tap）";
    NO_CONTROL => "通过 API 结束连接已禁用（--no-control）";
    TAP => "跟踪";
    CLOSING => "关闭连接";
    DRAIN => "关闭服务器";
    DETAILS => "读取详细信息";
    WRONG_TOKEN => "Authorization：应为 Bearer 加操作员令牌";
    OPERATORS_TOKEN_NEEDED => "操作员在此连接上出示令牌：{0}需要该令牌（Authorization: Bearer TOKEN）";
    REMOTE_TOKEN_NEEDED => "从另一台机器{0}需要操作员令牌（Authorization: Bearer TOKEN）";
    PROXIED_TOKEN_NEEDED => "经由代理{0}需要为该代理设置 --forwarded-from，或使用操作员令牌（Authorization: Bearer TOKEN）";

    // Errors of the operating system and of its resolver
    IO_REFUSED => "连接被拒绝";
    IO_RESET => "连接被对方重置";
    IO_RESET_KIND => "连接被重置";
    IO_PIPE => "管道已断开";
    IO_TIMED_OUT => "连接超时";
    IO_TIMED_OUT_KIND => "超时";
    IO_NETWORK => "网络不可达";
    IO_NETWORK_KIND => "网络不可达";
    IO_HOST => "没有到主机的路由";
    IO_HOST_KIND => "主机不可达";
    IO_NO_FILE => "没有该文件或目录";
    IO_DENIED => "权限不足";
    IO_NO_PROCESS => "端口不可达：没有进程在监听";
    NO_NAME => "未知的名称或服务";
    NO_NAME_NOW => "域名解析暂时失败";
    NO_ADDRESS_OF_NAME => "该主机名没有地址";
}

#[cfg(test)]
mod tests {
    use echogate_proto::{reason, ws::Violation};

    use super::*;
    use crate::i18n::{chinese_file, table::Texts};

    fn chinese() -> Texts {
        Texts::read(chinese_file().leak()).unwrap()
    }

    #[test]
    fn every_reason_of_the_server_has_chinese() {
        let templates: Vec<&str> = ALL.iter().map(|(template, _)| *template).collect();
        assert_eq!(templates, reason::ALL, "in the same order, which decides between matches");
        for (template, translation) in ALL {
            let is_chinese = |c| ('\u{4e00}'..='\u{9fff}').contains(&c);
            let has_words = template.replace(['{', '}'], "").contains(char::is_alphabetic);
            assert!(!has_words || translation.contains(is_chinese), "{translation}");
            assert!(!translation.contains(['\t', '\n']), "{translation}");
        }
    }

    #[test]
    fn every_reason_is_recognised_with_its_variable_parts() {
        let texts = chinese();
        for (template, translation) in ALL {
            let placeholders = template.split('{').skip(1).enumerate();
            let (parts, translated): (Vec<&str>, Vec<&str>) = placeholders
                .map(|(number, rest)| {
                    let placeholder = rest.split('}').next().unwrap();
                    assert!(placeholder.starts_with(&number.to_string()), "{template}");
                    match placeholder.trim_start_matches(|c: char| c.is_ascii_digit()) {
                        "#" => ("4711", "4711"),
                        "!" | "~" => (UPSTREAM, "上游"),
                        _ => ("a part", "a part"),
                    }
                })
                .unzip();
            let expected = fill(translation, &translated);
            assert_eq!(texts.reason(&fill(template, &parts)), expected, "{template}");
            translated.iter().for_each(|part| assert!(expected.contains(part), "{translation}"));
        }
    }

    #[test]
    fn reasons_are_translated_within_reasons() {
        let texts = chinese();
        for (english, chinese) in [
            ("both sides ended the stream (1000)", "双方都已结束发送（1000）"),
            (
                "the server is shutting down; cut off; bytes not delivered to the upstream: 12 \
                 (1006)",
                "服务器正在关闭；连接被切断；12 字节未送达上游（1006）",
            ),
            (
                "the upstream violated the protocol: reserved opcode 3",
                "上游违反了协议：保留的操作码 3",
            ),
            (
                "the upstream was cut off: TCP ended before TLS did (no close_notify)",
                "上游的连接中断：TCP 在 TLS 之前结束（没有 close_notify）",
            ),
            ("the client closed: see you (4000)", "客户端关闭了连接：see you（4000）"),
            (
                "the upstream cannot be reached: no route to host (2 addresses tried)",
                "无法到达上游：没有到主机的路由（已尝试 2 个地址）",
            ),
            (
                "the upstream refused the TLS handshake: it does not accept the certificate \
                 (unknown_ca)",
                "上游拒绝了 TLS 握手：它不接受该证书（unknown_ca）",
            ),
            (
                "the upstream's connection failed: the peer ended TLS: it supports none of the \
                 application protocols offered (ALPN) (no_application_protocol)",
                "上游的连接失败：对方结束了 TLS：它不支持所提供的任何应用层协议（ALPN）\
                 （no_application_protocol）",
            ),
            (
                "the proxy cannot connect to the upstream: the host is unreachable (SOCKS reply 4)",
                "代理无法连接到上游：主机不可达（SOCKS 应答 4）",
            ),
            (
                "the proxy cannot connect to the upstream: 407 Proxy Authentication Required: the \
                 user name or password is wrong",
                "代理无法连接到上游：407 Proxy Authentication Required：用户名或密码错误",
            ),
            (
                "a tap from another machine needs the operators' token (Authorization: Bearer TOKEN)",
                "从另一台机器跟踪需要操作员令牌（Authorization: Bearer TOKEN）",
            ),
            (
                "too many connections from [2001:db8::]/64 (--max-per-address 9)",
                "[2001:db8::]/64 的连接数已达上限（--max-per-address 9）",
            ),
        ] {
            assert_eq!(texts.reason(english), chinese);
        }
        assert_eq!(texts.reason(&Violation::TooBig(9).to_string()), "消息超过 9 字节");
    }

    #[test]
    fn the_reason_of_another_server_is_shown_as_it_came() {
        let texts = chinese();
        for reason in [
            "",
            "bye",
            "peer reset the connection",
            "reserved opcode x",
            "server is shutting down",
            "the server is shutting down now",
            "; cut off",
            "The upstream reset the connection",
        ] {
            assert_eq!(texts.reason(reason), reason);
        }
        let long = "connection failed: ".repeat(50) + "; cut off; cut off";
        let translated = texts.reason(&long);
        assert!(translated.starts_with("连接失败：连接失败："), "{translated}");
        let hostile = "the upstream was the client was; ".repeat(30);
        assert!(
            texts.reason(&hostile).ends_with("was; "),
            "in a time that does not grow exponentially"
        );
        let english = crate::i18n::Language::English.texts();
        assert_eq!(english.reason(SHUTDOWN), SHUTDOWN);
    }
}
