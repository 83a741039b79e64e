//! A broker for the length of one test: a process of its own with free ports and a data folder of its own,
//! ended by its own handle. Its log is shown when the test fails; a panic in it fails the test.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::clock::{Deadline, eventually, pause};
use crate::memory::Memory;
use crate::ports::free_address;

/// How long a broker may take from its start to the first accepted connection, and to its end.
const LIMIT: Duration = Duration::from_secs(20);

/// How often a broker is started anew because another program took one of its ports.
const ATTEMPTS: u32 = 5;

/// Lines of the log that are shown when a test fails.
const LOG_LINES: usize = 40;

/// Descriptors that one test may need: some thousand sockets.
const DESCRIPTORS: u64 = 8_192;

/// How a broker is to be started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Configuration keys as the environment has them, such as `LEVERET_AMQP_HEARTBEAT`.
    pub environment: Vec<(&'static str, OsString)>,
    /// The data folder; its own by default.
    pub data_dir: Option<PathBuf>,
    /// Whether it listens for TLS as well. The certificates are in `environment`.
    pub tls: bool,
    /// The node's name; `leveret@localhost` by default.
    pub node_name: Option<String>,
}

impl Options {
    /// The options with one more configuration key.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((key, value.into()));
        self
    }
}

/// A broker under test.
#[derive(Debug)]
pub struct Broker {
    amqp: SocketAddr,
    tls: Option<SocketAddr>,
    management: Option<SocketAddr>,
    pid: Option<u32>,
    process: Option<Process>,
}

/// How a broker ended, and what it logged.
pub type Ended = (ExitStatus, String);

/// The process of a broker that this test started.
#[derive(Debug)]
struct Process {
    child: Child,
    scratch: PathBuf,
    log: PathBuf,
}

/// The binary under test.
///
/// # Panics
/// When there is none, naming the command that builds it.
#[must_use]
pub fn leveret() -> PathBuf {
    if let Some(path) = std::env::var_os("LEVERET_BIN") {
        return path.into();
    }
    // Test executables are in `deps`, the binary is beside that folder.
    let found = std::env::current_exe().ok().and_then(|this| {
        this.ancestors().skip(1).take(2).map(|dir| dir.join("leveret")).find(|path| path.is_file())
    });
    found.unwrap_or_else(|| {
        panic!(
            "there is no leveret in the target folder of the tests: build it with \
             `cargo build -p leveret-server --bin leveret` (same profile and target folder)"
        )
    })
}

/// Lets this process, and those that it starts, have as many descriptors as the system permits.
///
/// # Panics
/// When that is less than a test needs.
pub fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // What is permitted is checked below.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(
        now >= DESCRIPTORS,
        "{now} file descriptors are too few, {DESCRIPTORS} needed (ulimit)"
    );
}

impl Broker {
    /// The broker that the environment names, or one of its own.
    ///
    /// # Panics
    /// When it cannot be reached or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    /// The broker that the environment names, whatever `options` say, or one of its own with `options`.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn with(options: &Options) -> Self {
        Self::external().unwrap_or_else(|| Self::launch(options))
    }

    /// A broker that several tests of one executable use at the same time. It ends with its last user.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = shared.upgrade() {
            return broker;
        }
        let broker = Arc::new(Self::start());
        *shared = Arc::downgrade(&broker);
        broker
    }

    /// A broker of its own with `options`; `None` where the environment names one, and says so.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn own(options: &Options) -> Option<Self> {
        Self::may_start().then(|| Self::launch(options))
    }

    /// Whether tests may start brokers of their own; says so where the environment names one that is there already.
    #[must_use]
    pub fn may_start() -> bool {
        let external = std::env::var_os("LEVERET_TEST_AMQP").is_some();
        if external {
            eprintln!("not run: this test needs a broker of its own");
        }
        !external
    }

    fn external() -> Option<Self> {
        let address = |name: &str| {
            let text = std::env::var(name).ok()?;
            let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
            Some(found.unwrap_or_else(|| panic!("{name}: `{text}` is not HOST:PORT")))
        };
        let amqp = address("LEVERET_TEST_AMQP")?;
        let management = address("LEVERET_TEST_MANAGEMENT");
        let pid = std::env::var("LEVERET_TEST_PID").ok().and_then(|pid| pid.parse().ok());
        Some(Self { amqp, tls: None, management, pid, process: None })
    }

    fn launch(options: &Options) -> Self {
        Self::try_launch(options).unwrap_or_else(|(status, log)| {
            panic!("leveret ended while it started ({status}):\n{log}")
        })
    }

    /// A broker of its own with `options`, which may end while it starts.
    ///
    /// # Errors
    /// How it ended and what it logged.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn try_launch(options: &Options) -> Result<Self, Ended> {
        for _ in 0..ATTEMPTS {
            let amqp = free_address();
            let tls = options.tls.then(free_address);
            let management = free_address();
            let process = Process::spawn(options, amqp, tls, management);
            let pid = Some(process.child.id());
            let mut broker =
                Self { amqp, tls, management: Some(management), pid, process: Some(process) };
            match broker.listens() {
                Ok(true) => return Ok(broker),
                Ok(false) => {}
                Err(ended) => return Err(ended),
            }
        }
        panic!("leveret found its ports taken {ATTEMPTS} times")
    }

    /// Waits until it accepts clients and serves HTTP, which it opens after AMQP; `false` when it ended because a port
    /// was taken.
    fn listens(&mut self) -> Result<bool, Ended> {
        let deadline = Deadline::after(LIMIT);
        let (amqp, management) = (self.amqp, self.management);
        let open = |address: &SocketAddr| {
            TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok()
        };
        while !open(&amqp) || !management.as_ref().is_none_or(open) {
            let Some(process) = &mut self.process else { return Ok(true) };
            let ended = process.child.try_wait();
            let log = process.log();
            if let Ok(Some(status)) = ended {
                let _ = self.process.take().map(|process| fs::remove_dir_all(process.scratch));
                let taken = log.contains("cannot listen");
                return if taken { Ok(false) } else { Err((status, log)) };
            }
            assert!(!deadline.is_over(), "leveret does not listen on {}:\n{log}", self.amqp);
            pause(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Where it speaks AMQP.
    #[must_use]
    pub fn amqp(&self) -> SocketAddr {
        self.amqp
    }

    /// Where it speaks AMQP over TLS.
    ///
    /// # Panics
    /// When it was started without.
    #[must_use]
    pub fn amqp_tls(&self) -> SocketAddr {
        self.tls.unwrap_or_else(|| panic!("this broker was started without TLS"))
    }

    /// Where its management API is.
    ///
    /// # Panics
    /// When the environment names a broker without one.
    #[must_use]
    pub fn management(&self) -> SocketAddr {
        self.management.unwrap_or_else(|| panic!("LEVERET_TEST_MANAGEMENT is not set"))
    }

    /// An address for ordinary clients, of the vhost `/`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.amqp)
    }

    /// Whether the test started it, so that it is leveret and nobody else uses it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.process.is_some()
    }

    /// Its memory from now on; `None` where its process is not known.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.pid.map(Memory::watch)
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When the test did not start it.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_else(|| panic!("not our broker"))
    }

    /// Its data folder.
    ///
    /// # Panics
    /// When the test did not start it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        let process = self.process.as_ref().unwrap_or_else(|| panic!("not our broker"));
        process.scratch.join("data")
    }

    /// Whether its process is still there.
    ///
    /// # Panics
    /// When the test did not start it.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        let process = self.process.as_mut().unwrap_or_else(|| panic!("not our broker"));
        process.child.try_wait().ok().flatten().is_none()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When it is not this test's own, or ends well.
    #[track_caller]
    pub fn kill(self) {
        self.signal(Signal::KILL);
        let (status, log) = self.wait();
        assert!(!status.success(), "{log}");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the test did not start it, or it is gone.
    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap_or_else(|| panic!("not our broker"));
        kill_process(Pid::from_child(&process.child), signal)
            .unwrap_or_else(|error| panic!("leveret takes no signal: {error}"));
    }

    /// Waits for it to end by itself, and answers with how it ended and what it logged.
    ///
    /// # Panics
    /// When the test did not start it, or it runs on.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let mut process = self.process.take().unwrap_or_else(|| panic!("not our broker"));
        let status =
            eventually("the broker ends", LIMIT, || process.child.try_wait().unwrap_or_default());
        let log = process.log();
        let _ = fs::remove_dir_all(&process.scratch);
        (status, log)
    }
}

impl Process {
    fn spawn(
        options: &Options,
        amqp: SocketAddr,
        tls: Option<SocketAddr>,
        management: SocketAddr,
    ) -> Self {
        let scratch = scratch_dir();
        let log = scratch.join("broker.log");
        let file = File::create(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let errors = file.try_clone().unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let data_dir = options.data_dir.clone().unwrap_or_else(|| scratch.join("data"));
        let program = leveret();
        let mut command = Command::new(&program);
        command.arg("serve").arg("--data-dir").arg(data_dir);
        command.args(["--amqp-listen", &amqp.to_string()]);
        command.args(["--management-listen", &management.to_string()]);
        command.args(["--prometheus-listen", &free_address().to_string()]);
        if let Some(tls) = tls {
            command.args(["--amqp-tls-listen", &tls.to_string()]);
        }
        let name = options.node_name.as_deref().unwrap_or("leveret@localhost");
        command.args(["--node-name", name, "--log-level", "info"]);
        command.envs(options.environment.iter().map(|(key, value)| (key, value)));
        // Ours; the broker would warn that it does not know it.
        command.env_remove("LEVERET_BIN");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self { child, scratch, log }
    }

    fn log(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

/// A new folder for one broker.
fn scratch_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("leveret-tests-{}-{number}", std::process::id());
    let path: &Path = &std::env::temp_dir().join(name);
    // Left by a process of the same number that was killed.
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.to_owned()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let ended = process.child.try_wait().ok().flatten();
        // Both fail only when it has already ended.
        let _ = process.child.kill();
        let _ = process.child.wait();
        let log = process.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("the broker's log ({}) ends:\n{}", process.log.display(), tail.join("\n"));
            return;
        }
        let _ = fs::remove_dir_all(&process.scratch);
        if let Some(status) = ended {
            panic!("the broker ended during the test ({status}):\n{log}");
        }
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            panic!("the broker panicked during the test: {line}");
        }
    }
}
