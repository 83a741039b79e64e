//! `leveret config`: what a configuration says and whether a broker can start with it, before one does.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::cli::Serve;
use crate::config::{Config, Secret, reference};
use crate::server::read_definitions;
use crate::tls;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a broker can start with a configuration: keys, values, certificates, definitions.
    ///
    /// Ends with 0 if it can. Takes the flags of `leveret serve`, and opens nothing.
    Check(Box<Serve>),
    /// Print what the file, the environment and the flags make together. Secrets are not shown.
    Show(Box<Serve>),
    /// Print the page of all keys, in Markdown.
    Reference,
    /// Print a JSON schema of the file, for editors.
    Schema,
}

pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let text = match command {
        ConfigCommand::Check(options) => check(options)?,
        ConfigCommand::Show(options) => show(options)?,
        ConfigCommand::Reference => reference::page(),
        ConfigCommand::Schema => serde_json::to_string_pretty(&reference::schema())? + "\n",
    };
    // A closed pipe ends the output.
    let _unread = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn check(options: &Serve) -> anyhow::Result<String> {
    let loaded = options.load(crate::program::environment())?;
    let config = &loaded.config;
    if config.wants_tls() {
        tls::acceptor(&config.tls)?;
    }
    let files = read_definitions(&config.definitions)?;
    for (path, bytes) in &files {
        serde_json::from_slice::<serde_json::Value>(bytes)
            .with_context(|| format!("{} is not JSON", path.display()))?;
    }
    let mut lines = vec!["a broker can start with it".to_owned()];
    lines.extend(loaded.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(facts(config));
    lines.extend(files.iter().map(|(path, _)| format!("  definitions  {}", path.display())));
    Ok(lines.join("\n") + "\n")
}

/// What the broker would do, in a few lines.
fn facts(config: &Config) -> Vec<String> {
    let listening = [
        ("AMQP", &config.amqp.listen),
        ("AMQP, TLS", &config.amqp.tls_listen),
        ("management", &config.management.listen),
        ("management, TLS", &config.management.tls_listen),
        ("metrics", &config.prometheus.listen),
        ("metrics, TLS", &config.prometheus.tls_listen),
    ];
    let mut lines = vec![
        format!("  node  {}", config.node_name),
        format!("  data  {}", config.data_dir.display()),
    ];
    let listening = listening.iter().filter(|(_, addresses)| !addresses.is_empty());
    lines.extend(listening.map(|(name, addresses)| format!("  {name}  {}", addresses.join(", "))));
    lines
}

fn show(options: &Serve) -> anyhow::Result<String> {
    let mut config = options.load(crate::program::environment())?.config;
    config.auth.default_pass = Secret("***".to_owned());
    toml::to_string(&config).context("the configuration cannot be written as TOML")
}
