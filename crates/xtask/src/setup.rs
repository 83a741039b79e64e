//! `cargo xtask setup`: what the commands need besides Rust, and how to get it.
//! Installs only as root on Debian and its relatives; elsewhere it names the command.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::process;

/// What is going to be done, which decides what is needed.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Scope {
    /// Building and running the broker.
    Run,
    /// All checks of `cargo xtask test`.
    Test,
}

/// One program that has to be there.
struct Need {
    name: &'static str,
    why: &'static str,
    scope: Scope,
    present: fn() -> bool,
    apt: &'static str,
    dnf: &'static str,
    brew: &'static str,
}

const NEEDS: [Need; 6] = [
    Need {
        name: "a C compiler",
        why: "the allocator and the TLS primitives are C",
        scope: Scope::Run,
        present: || process::output_of("cc", &["--version"]).is_some(),
        apt: "gcc libc6-dev",
        dnf: "gcc",
        brew: "gcc",
    },
    Need {
        name: "a C++ compiler",
        why: "RocksDB, the message store, is C++",
        scope: Scope::Run,
        present: || process::output_of("c++", &["--version"]).is_some(),
        apt: "g++",
        dnf: "gcc-c++",
        brew: "gcc",
    },
    Need {
        name: "libclang",
        why: "the bindings to RocksDB are made from its headers",
        scope: Scope::Run,
        present: has_libclang,
        apt: "libclang-dev",
        dnf: "clang-devel",
        brew: "llvm",
    },
    Need {
        name: "Python 3.10 or later with venv",
        why: "the interop tests of pika and Celery",
        scope: Scope::Test,
        present: has_python,
        apt: "python3 python3-venv",
        dnf: "python3",
        brew: "python",
    },
    Need {
        name: "Node.js 18 or later with npm",
        why: "the interop tests of amqplib",
        scope: Scope::Test,
        present: has_node,
        apt: "nodejs npm",
        dnf: "nodejs npm",
        brew: "node",
    },
    Need {
        name: "amqp-publish, amqp-consume, amqp-get and amqp-declare-queue",
        why: "the interop test of the C client's tools",
        scope: Scope::Test,
        present: || process::output_of("amqp-publish", &["--help"]).is_some(),
        apt: "amqp-tools",
        dnf: "librabbitmq-tools",
        brew: "rabbitmq-c",
    },
];

/// Installs or names what is missing.
///
/// # Errors
/// When something is missing and could not be installed.
pub(crate) fn run(scope: Scope) -> anyhow::Result<()> {
    let missing = missing(scope);
    if !missing.is_empty() && is_root_on_debian() {
        install(&missing)?;
    }
    let missing = self::missing(scope);
    if !missing.is_empty() {
        bail!("{}", advice(&missing));
    }
    if scope == Scope::Test {
        println!("setup: everything is there");
        if process::output_of("cargo", &["nextest", "--version"]).is_none() {
            println!("setup: cargo-nextest would run the tests in parallel; `cargo test` will do");
        }
    }
    Ok(())
}

fn missing(scope: Scope) -> Vec<&'static Need> {
    NEEDS
        .iter()
        .filter(|need| scope == Scope::Test || need.scope == Scope::Run)
        .filter(|need| !(need.present)())
        .collect()
}

fn install(missing: &[&Need]) -> anyhow::Result<()> {
    for need in missing {
        println!("setup: installing {} ({}): {}", need.apt, need.name, need.why);
    }
    let packages = missing.iter().flat_map(|need| need.apt.split(' '));
    process::show(Command::new("apt-get").args(["update", "-qq"]))?;
    process::show(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
}

fn advice(missing: &[&Need]) -> String {
    let mut text = String::from("something is missing on this machine:\n");
    for need in missing {
        text += &format!("  {}: {}\n", need.name, need.why);
    }
    let join = |package: fn(&Need) -> &'static str| {
        missing.iter().map(|need| package(need)).collect::<Vec<_>>().join(" ")
    };
    text += "install it, then run the same command again:\n";
    text += &format!("  Debian, Ubuntu: sudo apt-get install {}\n", join(|need| need.apt));
    text += &format!("  Fedora:         sudo dnf install {}\n", join(|need| need.dnf));
    text += &format!("  macOS:          brew install {}", join(|need| need.brew));
    text
}

fn is_root_on_debian() -> bool {
    Path::new("/etc/debian_version").exists()
        && process::output_of("id", &["-u"]).as_deref() == Some("0")
}

/// Whether there is a libclang where the bindings' generator looks for it.
fn has_libclang() -> bool {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let llvm = process::output_of("llvm-config", &["--libdir"]).map(PathBuf::from);
    let versions = entries(Path::new("/usr/lib"))
        .filter(|dir| name_of(dir).starts_with("llvm"))
        .map(|dir| dir.join("lib"));
    let usual = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu"];
    let multiarch = ["/usr/lib/aarch64-linux-gnu", "/opt/homebrew/opt/llvm/lib"];
    let fixed = usual.into_iter().chain(multiarch).map(PathBuf::from);
    let mut folders = named.into_iter().chain(llvm).chain(versions).chain(fixed);
    folders.any(|folder| entries(&folder).any(|file| is_libclang(&file)))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let read = std::fs::read_dir(folder).ok();
    read.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The library itself, not `libclang-cpp`, which is another one.
fn is_libclang(file: &Path) -> bool {
    let name = name_of(file);
    let rest = name.strip_prefix("libclang");
    rest.is_some_and(|rest| rest.starts_with(".so") || rest.starts_with(".dylib"))
        || rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| {
            rest.starts_with(|digit: char| digit.is_ascii_digit()) && rest.contains(".so")
        })
}

fn has_python() -> bool {
    let program = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    process::output_of("python3", &["-c", program]).is_some()
}

fn has_node() -> bool {
    let node = process::output_of("node", &["--version"]);
    node.as_deref().and_then(major_version).is_some_and(|major| major >= 18)
        && process::output_of("npm", &["--version"]).is_some()
}

/// The first number of a version such as `v20.20.2`.
fn major_version(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_each_missing_piece_and_one_command_per_system() {
        let text = advice(&[&NEEDS[3], &NEEDS[5]]);
        assert!(text.contains("pika and Celery"), "{text}");
        assert!(text.contains("sudo apt-get install python3 python3-venv amqp-tools\n"), "{text}");
        assert!(text.contains("sudo dnf install python3 librabbitmq-tools\n"), "{text}");
        assert!(text.ends_with("brew install python rabbitmq-c"), "{text}");
    }

    #[test]
    fn running_a_broker_needs_only_what_builds_it() {
        let names: Vec<_> =
            NEEDS.iter().filter(|need| need.scope == Scope::Run).map(|need| need.apt).collect();
        assert_eq!(names, ["gcc libc6-dev", "g++", "libclang-dev"]);
    }

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        let is = |name: &str| is_libclang(&Path::new("/usr/lib").join(name));
        assert!(is("libclang.so") && is("libclang.so.1") && is("libclang-14.so.1"));
        assert!(!is("libclang-cpp.so") && !is("libclang-common.a") && !is("libclangAST.a"));
    }

    #[test]
    fn major_version_of_node() {
        assert_eq!(major_version("v20.20.2"), Some(20));
        assert_eq!(major_version("garbage"), None);
    }
}
