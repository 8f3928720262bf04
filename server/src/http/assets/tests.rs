use axum::body::{Body, to_bytes};
use tower::ServiceExt as _;

use super::*;
use crate::config::PAGE_PATHS;

async fn ask(router: Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn get(path: &str, headers: &[(&str, &str)]) -> Response {
    ask(router(None), "GET", path, headers).await
}

async fn body(response: Response) -> Bytes {
    to_bytes(response.into_body(), usize::MAX).await.unwrap()
}

fn header_of<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn chosen(accept: &str) -> &'static str {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
    const ENCODINGS: [&str; 3] = ["br", "gzip", "identity"];
    ENCODINGS[choose(&headers, ENCODINGS)]
}

#[test]
fn the_settings_know_the_paths_of_all_files() {
    assert_eq!(FILES.each_ref().map(|file| file.path), PAGE_PATHS);
}

#[tokio::test]
async fn every_file_is_served_with_its_type() {
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/echogate.js", "text/javascript; charset=utf-8"),
        ("/echogate_bg.wasm", "application/wasm"),
        ("/zh-Hans.txt", "text/plain; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let response = get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header_of(&response, "content-type"), Some(content_type));
        assert_eq!(header_of(&response, "content-encoding"), None);
        assert!(!body(response).await.is_empty());
    }
}

#[tokio::test]
async fn what_a_browser_accepts_is_sent_compressed() {
    let plain = body(get("/echogate_bg.wasm", &[]).await).await;
    assert!(plain.starts_with(b"\0asm"));
    for (encoding, most) in [("br", 2), ("gzip", 2)] {
        let response = get("/echogate_bg.wasm", &[("accept-encoding", encoding)]).await;
        assert_eq!(header_of(&response, "content-encoding"), Some(encoding));
        assert_eq!(header_of(&response, "content-type"), Some("application/wasm"));
        assert_eq!(header_of(&response, "vary"), Some(VARY));
        assert!(body(response).await.len() < plain.len() / most);
    }
}

#[tokio::test]
async fn a_client_that_has_the_bytes_is_told_so() {
    let first = get("/", &[("accept-encoding", "br")]).await;
    let tag = header_of(&first, "etag").unwrap();
    let list = format!("\"other\", W/{tag}");
    for known in [tag, &*list, "*"] {
        let again = get("/", &[("accept-encoding", "br"), ("if-none-match", known)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(header_of(&again, "etag"), Some(tag));
        assert_eq!(header_of(&again, "cache-control"), Some("no-cache"));
        assert_eq!(header_of(&again, "vary"), Some(VARY));
        assert!(body(again).await.is_empty());
    }
    let plain = get("/", &[("if-none-match", tag)]).await;
    assert_eq!(plain.status(), StatusCode::OK, "other bytes, another tag");
    assert_ne!(header_of(&plain, "etag"), Some(tag));
}

#[test]
fn the_encoding_follows_the_clients_weights() {
    assert_eq!(chosen("gzip, deflate, br, zstd"), "br");
    assert_eq!(chosen("gzip"), "gzip");
    assert_eq!(chosen("GZIP"), "gzip");
    assert_eq!(chosen("br;q=0.5, gzip"), "gzip");
    assert_eq!(chosen("br; q=0, gzip; q=0.1"), "gzip");
    assert_eq!(chosen("*"), "br");
    assert_eq!(chosen("*;q=0.5, br;q=0"), "gzip");
    assert_eq!(chosen("identity, gzip;q=0.5"), "identity");
    assert_eq!(chosen("identity;q=0"), "identity", "better than nothing");
    assert_eq!(chosen("zstd"), "identity");
    assert_eq!(chosen(""), "identity");
    assert_eq!(chosen("br;q=nonsense, gzip;level=9"), "identity");
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let head = ask(router(None), "HEAD", "/", &[]).await;
    assert_eq!(head.status(), StatusCode::OK);
    let length: usize = header_of(&head, "content-length").unwrap().parse().unwrap();
    assert!(body(head).await.is_empty());
    assert_eq!(body(get("/", &[]).await).await.len(), length);

    let post = ask(router(None), "POST", "/", &[]).await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header_of(&post, "allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_folder_is_served_in_place_of_what_is_built_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "<p>mine").unwrap();
    let router = || router(Some(folder.path()));
    let index = ask(router(), "GET", "/", &[]).await;
    assert_eq!(header_of(&index, "cache-control"), Some("no-cache"));
    assert_eq!(header_of(&index, "content-security-policy"), None, "it is another program's");
    assert_eq!(body(index).await, "<p>mine");
    for missing in ["/style.css", "/../Cargo.toml", "/%2e%2e/Cargo.toml"] {
        let response = ask(router(), "GET", missing, &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn every_response_says_what_the_page_may_do() {
    for path in ["/", "/echogate.js"] {
        let response = get(path, &[]).await;
        let policy = header_of(&response, "content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        assert!(!policy.contains("unsafe-inline"), "{policy}");
        assert_eq!(header_of(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header_of(&response, "referrer-policy"), Some("no-referrer"));
        assert_eq!(header_of(&response, "cross-origin-resource-policy"), Some("same-origin"));
    }
}

#[tokio::test]
async fn the_page_is_isolated_where_browsers_isolate_pages() {
    for (headers, isolated) in [(&[("sec-fetch-mode", "navigate")][..], true), (&[], false)] {
        let response = get("/", headers).await;
        let opener = header_of(&response, "cross-origin-opener-policy");
        let embedder = header_of(&response, "cross-origin-embedder-policy");
        assert_eq!(opener == Some("same-origin"), isolated, "{opener:?}");
        assert_eq!(embedder == Some("require-corp"), isolated, "{embedder:?}");
        let vary = header_of(&response, "vary").unwrap();
        assert!(vary.contains("sec-fetch-mode"), "caches keep both responses apart: {vary}");
    }
}
