//! The page: the files of `web/dist`, built into the binary, or those of the folder `--web-root`.
//!
//! Browsers revalidate each time (`Cache-Control: no-cache`) by the ETag, the hash of the bytes in
//! the encoding that is sent.

use std::path::Path;

use axum::{
    Router,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use percent_encoding::percent_decode_str;
use tower_http::services::ServeDir;

/// The Content-Security-Policy of the built-in page. The page runs its own script and WebAssembly, and
/// opens WebSockets to any host. Inline scripts and styles, files of other origins, and frames around
/// the page are forbidden.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers that isolate the built-in page from other origins, so that browsers give the page a clock of
/// 5 µs instead of 100 µs or more, with which round trips are measured. An isolated page loads nothing
/// from other origins, and their windows have no reference to the page.
const ISOLATION: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

/// Request headers on which a response depends: the encoding, and the isolation by [`with_policy`].
const VARY: &str = "accept-encoding, sec-fetch-mode";

/// The number of bytes of a folder's file that are read at once.
const READ: usize = 16 * 1024;

/// One file of the page, in the encodings that it is served in.
struct File {
    path: &'static str,
    content_type: &'static str,
    variants: [Variant; 3],
}

/// A file in one encoding.
struct Variant {
    /// As in `Accept-Encoding`.
    encoding: &'static str,
    /// Its name in `web/dist`.
    name: &'static str,
    bytes: &'static [u8],
}

/// A file with its variants, in ascending order of size.
macro_rules! file {
    ($path:literal, $name:literal, $content_type:literal) => {
        File {
            path: $path,
            content_type: $content_type,
            variants: [
                Variant {
                    encoding: "br",
                    name: concat!($name, ".br"),
                    bytes: include_bytes!(concat!("../../../web/dist/", $name, ".br")),
                },
                Variant {
                    encoding: "gzip",
                    name: concat!($name, ".gz"),
                    bytes: include_bytes!(concat!("../../../web/dist/", $name, ".gz")),
                },
                Variant {
                    encoding: "identity",
                    name: $name,
                    bytes: include_bytes!(concat!("../../../web/dist/", $name)),
                },
            ],
        }
    };
}

static FILES: [File; 7] = [
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/style.css", "style.css", "text/css; charset=utf-8"),
    file!("/sockets.js", "sockets.js", "text/javascript; charset=utf-8"),
    file!("/echogate.js", "echogate.js", "text/javascript; charset=utf-8"),
    file!("/echogate_bg.wasm", "echogate_bg.wasm", "application/wasm"),
    file!("/zh-Hans.txt", "zh-Hans.txt", "text/plain; charset=utf-8"),
    file!("/favicon.svg", "favicon.svg", "image/svg+xml"),
];

/// The hashes of these files, written by the build of the page.
const SUMS: &str = include_str!("../../../web/dist/SHA256SUMS");

/// Routes to the built-in files, or to all files of a folder.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(web_root: Option<&Path>) -> Router<S> {
    let router = match web_root {
        Some(folder) => {
            let files = ServeDir::new(folder).with_buf_chunk_size(READ);
            let guard = middleware::from_fn(|request: Request, next: Next| async move {
                match is_public(request.uri().path()) {
                    true => next.run(request).await,
                    false => StatusCode::NOT_FOUND.into_response(),
                }
            });
            Router::new()
                .route("/", get_service(files.clone()))
                .route("/{*path}", get_service(files))
                .layer(guard)
        }
        None => FILES
            .iter()
            .fold(Router::new(), |router, file| {
                let tags = file.variants.each_ref().map(Variant::tag);
                router.route(
                    file.path,
                    get(move |request: Request| async move {
                        file.respond(&tags, request.headers())
                    }),
                )
            })
            .layer(middleware::from_fn(with_policy)),
    };
    router.layer(middleware::map_response(with_headers))
}

/// Whether a folder's file at `path` may be served: no segment begins with a dot, except for
/// `.well-known` (RFC 8615), and no segment is empty, since a redirection to `//NAME/` would lead
/// to another host.
fn is_public(path: &str) -> bool {
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return false };
    let path = path.strip_prefix('/').unwrap_or(&path);
    let mut names = path.trim_end_matches('/').split('/');
    let is_hidden = |name: &str| name.starts_with('.') && name != ".well-known";
    !path.ends_with("//")
        && (path.is_empty() || names.all(|name| !name.is_empty() && !is_hidden(name)))
}

/// Adds the policy and the isolation of the built-in page. The pages of `--web-root` belong to other
/// programs and may need what both forbid (inline scripts, fonts, media, frames).
async fn with_policy(request: Request, next: Next) -> Response {
    // Browsers send Sec-Fetch-Mode to the origins that they isolate (https and loopback), and write an
    // error to the console if another origin requests isolation.
    let isolates = request.headers().contains_key("sec-fetch-mode");
    let mut response = next.run(request).await;
    let policy = (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    add(&mut response, [policy]);
    if isolates {
        add(&mut response, ISOLATION);
    }
    response
}

async fn with_headers(mut response: Response) -> Response {
    add(&mut response, HEADERS);
    response
}

fn add<const N: usize>(response: &mut Response, headers: [(HeaderName, &'static str); N]) {
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

impl File {
    fn respond(&self, tags: &[HeaderValue; 3], headers: &HeaderMap) -> Response {
        let chosen = choose(headers, self.variants.each_ref().map(|variant| variant.encoding));
        let (variant, tag) = (&self.variants[chosen], &tags[chosen]);
        let validators =
            [(header::ETAG, tag.clone()), (header::VARY, HeaderValue::from_static(VARY))];
        if is_known(headers, tag) {
            return (StatusCode::NOT_MODIFIED, validators).into_response();
        }
        let content_type = [(header::CONTENT_TYPE, self.content_type)];
        let body = Bytes::from_static(variant.bytes);
        let mut response = (validators, content_type, body).into_response();
        if variant.encoding != "identity" {
            let encoding = HeaderValue::from_static(variant.encoding);
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
        }
        response
    }
}

impl Variant {
    /// The ETag of these bytes.
    fn tag(&self) -> HeaderValue {
        let sum = SUMS.lines().find_map(|line| {
            let (sum, path) = line.split_once("  ")?;
            (path.strip_prefix("web/dist/")? == self.name).then_some(sum)
        });
        let sum = sum.expect("SHA256SUMS has every file of the page");
        HeaderValue::from_str(&format!("\"{sum}\"")).expect("hexadecimal digits fit a header")
    }
}

/// The encoding with the highest weight in `Accept-Encoding` (RFC 9110 section 12.5.3), the first of
/// equals; the last one, `identity`, if the client names none or accepts none of them.
fn choose<const N: usize>(headers: &HeaderMap, encodings: [&str; N]) -> usize {
    let offers: Vec<(&str, f32)> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(weighed)
        .collect();
    let named = |name: &str| {
        let offer = offers.iter().find(|(offered, _)| offered.eq_ignore_ascii_case(name));
        offer.map(|&(_, weight)| weight)
    };
    let mut best = (N - 1, 0.0);
    for (index, &encoding) in encodings.iter().enumerate() {
        // `identity` is acceptable unless it is refused, and has a lower weight than any that is named.
        let implied = (encoding == "identity").then_some(f32::MIN_POSITIVE);
        let weight = named(encoding).or_else(|| named("*")).or(implied).unwrap_or(0.0);
        if weight > best.1 {
            best = (index, weight);
        }
    }
    best.0
}

/// `NAME` or `NAME;q=WEIGHT`.
fn weighed(offer: &str) -> Option<(&str, f32)> {
    let (name, parameter) = offer.split_once(';').unwrap_or((offer, "q=1"));
    let (key, weight) = parameter.split_once('=')?;
    let weight: f32 = weight.trim().parse().ok()?;
    (key.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&weight))
        .then(|| (name.trim(), weight))
}

/// Whether `If-None-Match` has the tag (RFC 9110 section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests;
