//! What is shown when the broker is ready: where it listens, who may log in, what to do next. Short,
//! because it is read every day.

use crate::config::LogFormat;
use crate::server::{Protocol, ServerFacts};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use tracing::{info, warn};

/// Shows the banner, or one log line where machines read the log.
pub(crate) fn show(facts: &ServerFacts, format: LogFormat, warning: Option<String>) {
    if format == LogFormat::Plain {
        let mut out = std::io::stdout().lock();
        // Nobody may be reading; the broker runs all the same.
        let _unread = out.write_all(text(facts).as_bytes()).and_then(|()| out.flush());
    } else {
        let listeners: Vec<String> = facts
            .listeners
            .iter()
            .map(|(protocol, address)| format!("{} {address}", protocol.name()))
            .collect();
        info!(
            node = facts.node_name,
            data_dir = %facts.data_dir.display(),
            listeners = listeners.join(", "),
            "leveret is ready"
        );
    }
    if let Some(warning) = warning {
        warn!("{warning}");
    }
}

fn text(facts: &ServerFacts) -> String {
    let mut text = format!(
        "\nleveret {} is ready: node {}, data in {}\n\n",
        env!("CARGO_PKG_VERSION"),
        facts.node_name,
        facts.data_dir.display()
    );
    for (protocol, address) in &facts.listeners {
        let (what, url) = connect_to(*protocol, *address);
        // Writing into a String cannot fail.
        let _ok = writeln!(text, "  {what:<12}{url}{}", everywhere(*address));
    }
    text.push('\n');
    text.push_str(&login(facts));
    text.push_str(
        "  Stop it with Ctrl-C or SIGTERM. Everything that can be set: leveret serve --help\n\n",
    );
    text
}

/// A name and an address to connect to.
fn connect_to(protocol: Protocol, address: SocketAddr) -> (&'static str, String) {
    let place = if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    match protocol {
        Protocol::Amqp => ("AMQP", format!("amqp://{place}")),
        Protocol::Amqps => ("AMQP, TLS", format!("amqps://{place}")),
        Protocol::Http => ("Management", format!("http://{place}/api/overview")),
        Protocol::Https => ("Management", format!("https://{place}/api/overview")),
        Protocol::Prometheus => ("Metrics", format!("http://{place}/metrics")),
        Protocol::PrometheusTls => ("Metrics", format!("https://{place}/metrics")),
    }
}

fn everywhere(address: SocketAddr) -> &'static str {
    if address.ip().is_unspecified() { "  (and from other machines)" } else { "" }
}

fn login(facts: &ServerFacts) -> String {
    let user = &facts.default_user;
    let password = if facts.well_known_password { " (password: guest)" } else { "" };
    if facts.loopback_only {
        return format!(
            "  User {user}{password} may log in from this machine only. For others make a user:\n  \
             leveret ctl add_user NAME PASSWORD, then leveret ctl set_permissions NAME '.*' '.*' '.*'\n"
        );
    }
    let advice = if facts.well_known_password {
        ".\n  Everybody knows that password: change it before strangers can reach this broker"
    } else {
        ""
    };
    format!("  User {user}{password} may log in from everywhere{advice}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(loopback_only: bool) -> ServerFacts {
        ServerFacts {
            node_name: "rabbit@hare".to_owned(),
            data_dir: "/var/lib/leveret".into(),
            default_user: "guest".to_owned(),
            well_known_password: true,
            loopback_only,
            listeners: vec![
                (Protocol::Amqp, "0.0.0.0:5672".parse().unwrap()),
                (Protocol::Http, "127.0.0.1:15672".parse().unwrap()),
            ],
        }
    }

    #[test]
    fn the_banner_says_where_to_connect_and_who_may() {
        let text = text(&facts(true));
        for part in [
            "node rabbit@hare, data in /var/lib/leveret",
            "AMQP        amqp://localhost:5672  (and from other machines)\n",
            "Management  http://127.0.0.1:15672/api/overview\n",
            "User guest (password: guest) may log in from this machine only",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }

    #[test]
    fn a_known_password_open_to_everybody_is_warned_about() {
        assert!(text(&facts(false)).contains("Everybody knows that password"));
    }
}
