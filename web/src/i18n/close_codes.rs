//! Descriptions of status codes (RFC 6455, section 7.4), and advice.

use echogate_proto::close::CloseCode;

use super::Language;

/// The meaning of a status code, as part of a sentence.
pub fn close_code(language: Language, code: CloseCode) -> &'static str {
    match language {
        Language::English => code.description(),
        Language::Chinese => match code.0 {
            1000 => "正常关闭",
            1001 => "对方即将离开",
            1002 => "协议错误",
            1003 => "对方不接受这种数据",
            1005 => "关闭时没有给出代码",
            1006 => "连接中断，未收到关闭帧",
            1007 => "文本不是有效的 UTF-8",
            1008 => "被策略拒绝",
            1009 => "消息太大",
            1010 => "缺少必需的扩展",
            1011 => "服务器或其上游出错",
            1012 => "服务器正在重启",
            1013 => "服务器过载，请稍后再试",
            1014 => "网关从上游收到无效的响应",
            1015 => "TLS 握手失败",
            3000..=3999 => "由库或框架登记的代码",
            4000..=4999 => "应用程序自定的代码",
            _ => "RFC 6455 没有定义的代码",
        },
    }
}

/// Advice about a connection that ended with this code; empty if there is none.
pub fn advice(language: Language, code: CloseCode) -> &'static str {
    let (english, chinese) = match code.0 {
        1001 => (
            "The server restarts or shuts down, or the connection was idle for too long: connect again in a moment.",
            "服务器正在重启或关闭，或者连接空闲太久：稍后重新连接。",
        ),
        1002 => (
            "One side violated RFC 6455: compare the last messages with the reason.",
            "有一方违反了 RFC 6455：请对照最后几条消息和给出的原因。",
        ),
        1003 => (
            "Send the other type: text instead of binary, or binary instead of text.",
            "换一种类型发送：文本改二进制，或二进制改文本。",
        ),
        1006 => (
            "Check the network and that the server is running, then connect again.",
            "请检查网络，并确认服务器在运行，然后重新连接。",
        ),
        1007 => (
            "Bytes that are not UTF-8 came through a text route: use a route with framing=bytes.",
            "非 UTF-8 字节经过了文本路由：请使用 framing=bytes 的路由。",
        ),
        1008 => (
            "The server does not allow this page (--allow-origin), or it has no such route (--route).",
            "服务器不允许本页面（--allow-origin），或者没有这条路由（--route）。",
        ),
        1009 => (
            "Send smaller messages, or raise --max-message.",
            "发送较小的消息，或调高 --max-message。",
        ),
        1011 => (
            "Check that the upstream is running and that its address is right.",
            "请检查上游是否在运行，地址是否正确。",
        ),
        1012 | 1013 => (
            "Try again later; automatic reconnection waits longer each time.",
            "请稍后再试；自动重连每次会多等一会儿。",
        ),
        1014 => ("The upstream’s response to the gateway was invalid.", "上游对网关的响应无效。"),
        1015 => (
            "The certificate is not trusted or not valid for this name: open the address in a new tab to see why.",
            "证书不受信任或不属于这个名字：在新标签页中打开该地址查看原因。",
        ),
        _ => ("", ""),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_advice_and_a_normal_end_has_none() {
        for language in Language::ALL {
            for code in [1001, 1002, 1006, 1007, 1008, 1009, 1011, 1013] {
                assert!(!advice(language, CloseCode(code)).is_empty(), "{code}");
            }
            assert_eq!(advice(language, CloseCode::NORMAL), "");
            assert!(!close_code(language, CloseCode(9)).is_empty());
        }
    }
}
