//! `leveret ctl`: rabbitmqctl's verbs, arguments and output, asked over HTTP or the data directory's socket.
//!
//! Only the command line is here and what all verbs share; what they do is in `ctl/list.rs` (look), `ctl/change.rs`,
//! `ctl/people.rs` and `ctl/rules.rs` (change), `ctl/messages.rs` and `ctl/redrive.rs` (publish, look, move) and `ctl/node.rs` (the broker itself).

mod change;
pub(crate) mod client;
mod list;
mod messages;
mod node;
mod people;
mod redrive;
mod request;
mod rules;
mod table;

use self::client::Target;
pub(crate) use self::node::bytes;
use self::table::{Format, Table};
use clap::{Args, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

/// Manage a running broker with rabbitmqctl's commands.
///
/// It finds the broker by its data directory on this machine, or by --url anywhere.
#[derive(Debug, Args)]
#[command(after_help = HELP, disable_help_subcommand = true)]
pub(crate) struct CtlArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

const HELP: &str = "\
Examples:
  leveret ctl list_queues name messages consumers
  leveret ctl add_user anna secret && leveret ctl set_permissions anna '.*' '.*' '.*'
  leveret ctl set_policy ttl '^tmp\\.' '{\"message-ttl\":60000}' --apply-to queues
  leveret ctl --url http://admin:secret@broker:15672 status --formatter json";

/// What applies to every verb.
#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    target: Target,
    /// Virtual host.
    #[arg(short = 'p', long, value_name = "VHOST", default_value = "/", global = true)]
    vhost: String,
    /// Print results only.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print results only, without the names of columns.
    #[arg(short, long, global = true)]
    silent: bool,
    /// Leave out the names of columns.
    #[arg(long, global = true)]
    no_table_headers: bool,
    /// How lists are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table", global = true)]
    formatter: Format,
    /// Accepted for scripts that name a node; the broker is the one that --data-dir or --url leads to.
    #[arg(short, long, value_name = "NODE", global = true, hide = true)]
    node: Option<String>,
    /// Seconds that the command may take.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60, global = true)]
    timeout: u64,
}

/// rabbitmqctl's verbs, as far as they make sense for leveret.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum Verb {
    #[command(flatten)]
    Look(list::Look),
    #[command(flatten)]
    Change(change::Change),
    #[command(flatten)]
    People(people::People),
    #[command(flatten)]
    Rules(rules::Rules),
    #[command(flatten)]
    Node(node::NodeVerb),
    #[command(flatten)]
    Message(messages::MessageVerb),
    #[command(flatten)]
    Redrive(redrive::RedriveVerb),
}

impl Options {
    /// Says what is being done, unless only results are wanted.
    fn say(&self, what: &str) {
        if !self.quiet && !self.silent && self.formatter == Format::Table {
            print(&format!("{what}\n"));
        }
    }

    fn show(&self, table: &Table) {
        let headers = !self.silent && !self.no_table_headers;
        print(&table.show(self.formatter, headers));
    }
}

/// A closed pipe ends the output, not the work.
fn print(text: &str) {
    let _unheard = std::io::stdout().write_all(text.as_bytes());
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Runs the command.
///
/// # Errors
/// When there is no broker, it refuses, or it takes too long.
pub(crate) fn run(args: &CtlArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seconds = args.options.timeout;
    runtime.block_on(async {
        // It takes as long as there are messages.
        if let Verb::Redrive(verb) = &args.verb {
            return verb.run(&args.options).await;
        }
        let work = async {
            match &args.verb {
                Verb::Look(verb) => verb.run(&args.options).await,
                Verb::Change(verb) => verb.run(&args.options).await,
                Verb::People(verb) => verb.run(&args.options).await,
                Verb::Rules(verb) => verb.run(&args.options).await,
                Verb::Node(verb) => verb.run(&args.options).await,
                Verb::Message(verb) => verb.run(&args.options).await,
                Verb::Redrive(verb) => verb.run(&args.options).await,
            }
        };
        let within = tokio::time::timeout(std::time::Duration::from_secs(seconds), work).await;
        within.unwrap_or_else(|_| {
            anyhow::bail!("the broker did not answer within {seconds} s; --timeout gives it more")
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
