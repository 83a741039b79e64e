//! The command line: what there is to type, and what `--help` says.

use crate::cluster::command::ClusterArgs;
use crate::config::{ConfigError, Flags, load};
use crate::config_commands::ConfigCommand;
use crate::ctl::CtlArgs;
use crate::data_commands::{BackupArgs, DataArgs, RestoreArgs};
use crate::migrate::MigrateArgs;
use crate::perf::PerfArgs;
use crate::top::TopArgs;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// A message broker for AMQP 0-9-1 that takes RabbitMQ's place.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, about, max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "Start a broker with `leveret serve`; any RabbitMQ client connects to it.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker until it is told to stop.
    Serve(Serve),
    /// Look at a configuration before a broker starts with it.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    Perf(PerfArgs),
    /// Read the messages in a data directory, verify every checksum and say what is in it.
    ///
    /// The broker that uses the directory must have been stopped. Nothing is changed.
    Check(DataArgs),
    /// Make damaged messages usable again: keep what can be read, and say what is lost.
    ///
    /// For a broker that refuses to start because its messages are damaged. The damaged files stay
    /// beside the repaired ones. Make a copy of the directory first.
    Repair(DataArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Cluster(ClusterArgs),
    Ctl(CtlArgs),
    Migrate(MigrateArgs),
    Top(TopArgs),
    /// Print what a shell needs to complete commands: `source <(leveret completion bash)`.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// The completion script of a shell.
pub(crate) fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "leveret", &mut script);
    script
}

/// Options of `leveret serve`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct Serve {
    /// Configuration file: leveret's own (TOML), or a rabbitmq.conf if its name ends with .conf.
    #[arg(long, value_name = "FILE", env = "LEVERET_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory that holds everything the broker keeps [default: ./data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where clients connect; can be given several times [default: 0.0.0.0:5672].
    #[arg(long, value_name = "ADDR")]
    pub(crate) amqp_listen: Vec<String>,
    /// Where clients connect with TLS; needs certificates in the configuration [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    pub(crate) amqp_tls_listen: Vec<String>,
    /// Where the management API is served [default: 0.0.0.0:15672].
    #[arg(long, value_name = "ADDR")]
    pub(crate) management_listen: Vec<String>,
    /// Where /metrics is served for Prometheus [default: 0.0.0.0:15692].
    #[arg(long, value_name = "ADDR")]
    pub(crate) prometheus_listen: Vec<String>,
    /// Where other nodes of a cluster connect; needs `cluster.secret` in the configuration [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    pub(crate) cluster_listen: Option<String>,
    /// Name of this node [default: rabbit@HOSTNAME].
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

const SERVE_HELP: &str = "\
Addresses are HOST:PORT; [::]:5672 takes IPv6 and IPv4, 127.0.0.1:5672 this machine only.

Everything can also be set in the configuration file and in the environment, where a key is
LEVERET_ and its path: amqp.heartbeat is LEVERET_AMQP_HEARTBEAT. Flags beat the environment, the
environment beats the file. RabbitMQ's own rabbitmq.conf and variables (RABBITMQ_CONFIG_FILE,
RABBITMQ_DEFAULT_USER, ...) are read as well, and leveret's beat them.

Examples:
  leveret serve
  leveret serve --config /etc/rabbitmq/rabbitmq.conf
  leveret serve --data-dir /var/lib/leveret --amqp-listen '[::]:5672'
  LEVERET_AUTH_LOOPBACK_USERS= leveret serve     let guest in from everywhere (not for production)";

impl Serve {
    /// The configuration that these flags, the environment and the file make together.
    ///
    /// # Errors
    /// What a person must correct.
    pub(crate) fn load(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<load::Loaded, ConfigError> {
        let flags = Flags {
            data_dir: self.data_dir.clone(),
            node_name: self.node_name.clone(),
            amqp_listen: self.amqp_listen.clone(),
            amqp_tls_listen: self.amqp_tls_listen.clone(),
            management_listen: self.management_listen.clone(),
            prometheus_listen: self.prometheus_listen.clone(),
            cluster_listen: self.cluster_listen.clone(),
            log_level: self.log_level.clone(),
        };
        let memory = crate::resources::memory_total();
        load::load(self.config.as_deref(), environment, &flags, memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shells_complete_the_verbs_of_ctl() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completion(shell)).unwrap();
            assert!(script.contains("set_permissions"), "{shell}");
        }
    }

    #[test]
    fn flags_reach_the_configuration() {
        let cli = Cli::try_parse_from([
            "leveret",
            "serve",
            "--data-dir",
            "/d",
            "--amqp-listen",
            "127.0.0.1:1",
            "--amqp-listen",
            "[::1]:1",
            "--management-listen",
            "127.0.0.1:2",
            "--prometheus-listen",
            "127.0.0.1:3",
            "--node-name",
            "n@h",
            "--log-level",
            "debug",
        ])
        .unwrap();
        let Command::Serve(serve) = cli.command else { panic!("not serve") };
        let config = serve.load([]).unwrap().config;
        assert_eq!(config.data_dir, PathBuf::from("/d"));
        assert_eq!(config.amqp.listen, ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(config.management.listen, ["127.0.0.1:2"]);
        assert_eq!(config.prometheus.listen, ["127.0.0.1:3"]);
        assert_eq!(config.node_name, "n@h");
        assert_eq!(config.log.level, "debug");
    }
}
