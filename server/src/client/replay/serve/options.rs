//! The endpoint and the options of a mock server.

use echogate_proto::endpoint::Endpoint;

use crate::client::target_args::TargetArgs;

/// Refuses options that only a client has.
pub(super) fn check(args: &TargetArgs, endpoint: &Endpoint) -> Result<(), String> {
    let given = [
        ("--header", !args.header.is_empty()),
        ("--origin", args.origin.is_some()),
        ("--protocol", !args.protocol.is_empty()),
        ("--ca", args.ca.is_some()),
        ("--insecure", args.insecure),
        ("--server-name", args.server_name.is_some()),
        ("--proxy", args.proxy.is_some()),
        ("--no-proxy", args.no_proxy.is_some()),
    ];
    let flag = given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
    if let Some(flag) = flag.or(args.address.flag()) {
        return Err(format!("{flag} is for clients, not for --serve"));
    }
    if let Some((key, _)) = endpoint.options.first() {
        return Err(format!("unknown option \"{key}\": the URL of --serve has none"));
    }
    if endpoint.credentials.is_some() {
        return Err("a user name is for clients, not for --serve".to_owned());
    }
    Ok(())
}
