//! A leveret broker for the length of one command: free ports, a data folder of its own,
//! ended when the value is dropped.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::checkout::Checkout;
use crate::process;

/// How long a broker may take from its start to the first accepted connection.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where a broker under test listens.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) amqp: u16,
    pub(crate) management: u16,
}

impl Address {
    /// Reads `HOST:PORT` of the AMQP listener.
    pub(crate) fn parse(amqp: &str, management: u16) -> anyhow::Result<Self> {
        let Some((host, port)) = amqp.rsplit_once(':') else {
            bail!("`{amqp}` is not HOST:PORT");
        };
        let amqp = port.parse().with_context(|| format!("`{port}` is not a port"))?;
        Ok(Self { host: host.to_owned(), amqp, management })
    }
}

/// A broker that this process started.
pub(crate) struct Broker {
    child: Child,
    address: Address,
    log: PathBuf,
}

impl Broker {
    /// Builds `leveret` with the development profile and starts it under `scratch`.
    ///
    /// # Errors
    /// When it does not build, ends by itself, or does not listen within `START_LIMIT`.
    pub(crate) fn start(checkout: &Checkout, scratch: &Path) -> anyhow::Result<Self> {
        // The whole workspace is selected so that dependencies get the same features, and are
        // compiled once, for this and for the tests.
        process::show(&mut process::cargo(
            checkout.root(),
            &["build", "--workspace", "--bin", "leveret"],
        ))?;
        Self::start_program(&checkout.dev_program("leveret"), scratch)
    }

    /// Starts a `leveret` that is built under `scratch`.
    ///
    /// # Errors
    /// When it ends by itself, or does not listen within `START_LIMIT`.
    pub(crate) fn start_program(program: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let [amqp, management, prometheus] = free_ports()?;
        let log = scratch.join("broker.log");
        let file = File::create(&log)?;
        let child = process::command(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(scratch.join("data"))
            .arg("--amqp-listen")
            .arg(amqp.to_string())
            .arg("--management-listen")
            .arg(management.to_string())
            .arg("--prometheus-listen")
            .arg(prometheus.to_string())
            .args(["--node-name", "leveret@localhost", "--log-level", "info"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start leveret")?;
        let address = Address {
            host: amqp.ip().to_string(),
            amqp: amqp.port(),
            management: management.port(),
        };
        let mut broker = Self { child, address, log };
        broker.wait_until_listening(&[amqp, management])?;
        Ok(broker)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it is still running: a test that ended it has failed, whatever it printed.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("leveret ended ({status}); see {}", self.log.display()),
        }
    }

    fn wait_until_listening(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let end = Instant::now() + START_LIMIT;
        for address in addresses {
            while TcpStream::connect_timeout(address, Duration::from_secs(1)).is_err() {
                self.check_alive()?;
                if Instant::now() >= end {
                    bail!(
                        "leveret does not listen on {address} after {} s; see {}",
                        START_LIMIT.as_secs(),
                        self.log.display()
                    );
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Loopback addresses that nothing listens on. They are let go before the broker takes them, so
/// another program could come first; the broker then ends and says so.
pub(crate) fn free_ports() -> anyhow::Result<[SocketAddr; 3]> {
    let held = [bind_any()?, bind_any()?, bind_any()?];
    Ok([held[0].local_addr()?, held[1].local_addr()?, held[2].local_addr()?])
}

/// Waits until somebody accepts connections at `address`.
///
/// # Errors
/// When nobody does within `START_LIMIT`.
pub(crate) fn wait_until_accepting(address: SocketAddr) -> anyhow::Result<()> {
    let end = Instant::now() + START_LIMIT;
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        if Instant::now() >= end {
            bail!("nobody listens on {address} after {} s", START_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn bind_any() -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).context("no free port on the loopback interface")
}
