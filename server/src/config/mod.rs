//! The settings of the server: flags override the environment, which overrides the file, which
//! overrides the defaults.
//!
//! - `settings`: the merged, validated values; `load`: merges the layers of all sources into them
//! - `layer`: the settings of one source; `environment` and `file` read theirs
//! - `sources`: all layers, and the name under which each setting was given
//! - `endpoints`: HTTP addresses, listeners, routes and forwards; `addresses`: the sockets to be bound;
//!   none twice, none with TLS without a certificate; `loops`: no route or forward leads to itself
//! - `listener`, `route`, `forward`: their specifications; `upstream`: the URL of the last two, with
//!   `framing` and `headers` as its options; `bind`: a socket to bind
//! - `http_address`, `base_path`, `origin`, `values`: the other values; `secrets`, `tls`: token,
//!   certificate, key; `secret_file`: the permissions of their files
//! - `handover`: the socket of the handover; `record`: recordings; `proxies`: the proxies through
//!   which upstreams are connected to; `cluster`: the broker of the replicas
//! - `log_format`: the format of the log, in force for the whole process
//! - `activated`: sockets passed by a service manager

mod activated;
mod addresses;
mod base_path;
mod bind;
mod cluster;
mod endpoints;
mod environment;
mod file;
mod forward;
mod framing;
mod handover;
mod headers;
mod http_address;
mod layer;
mod listener;
mod load;
mod log_format;
mod loops;
mod origin;
mod proxies;
mod record;
mod route;
mod secret_file;
mod secrets;
mod settings;
mod sources;
mod tls;
mod upstream;
mod values;

use std::path::Path;

use self::endpoints::Endpoints;
pub(crate) use self::{
    activated::ActivatedNames,
    base_path::BasePath,
    bind::Bind,
    cluster::{ClusterSettings, ClusterUrl, Login},
    environment::with_variables,
    forward::ForwardSpec,
    handover::HandoverPath,
    http_address::HttpAddress,
    layer::ConfigLayer,
    listener::{ListenAddr, ListenerSpec, SocketPath},
    log_format::LogFormat,
    origin::{AllowedOrigin, Origin, default_port},
    route::{ANY_PATH, PAGE_PATHS, RouteSpec, is_reserved},
    settings::Settings,
    sources::Sources,
    upstream::{TargetSpec, UpstreamSpec, WebSocketSpec},
    values::{parse_count, parse_duration},
};

/// Checks the settings of a file that need neither the environment nor other files.
///
/// # Errors
///
/// One line that names the line of the file and what is wrong there.
pub(crate) fn check_file(path: &Path, text: &str) -> Result<(), String> {
    Endpoints::new(&Sources::of_file(path, text)?, &ActivatedNames::default()).map(drop)
}
