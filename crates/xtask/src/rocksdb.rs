//! RocksDB, compiled once for all profiles. The crate compiles some 340 files one by one and spends most of the time on
//! headers that they share, twice over for two profiles: an hour of processor time. The same files in a few large
//! pieces take a quarter of an hour, once. Where this does not know the system, the crate's own way is taken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, bail};

use crate::checkout::Checkout;
use crate::process;

/// Pieces: small enough that two of them compile in 4 GB, large enough that headers are read seldom.
const PIECES: usize = 16;

/// How the crate compiles them on Linux, with lz4 and the processor's own checksum instruction.
const FLAGS: &[&str] = &[
    "-std=c++20",
    "-O2",
    "-w",
    "-fPIC",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-omit-frame-pointer",
    "-msse4.2",
    "-mpclmul",
    "-include",
    "cstdint",
    "-DNDEBUG=1",
    "-DLZ4=1",
    "-DOS_LINUX",
    "-DROCKSDB_PLATFORM_POSIX",
    "-DROCKSDB_LIB_IO_POSIX",
    "-DROCKSDB_SCHED_GETCPU_PRESENT",
    "-DROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "-DROCKSDB_FALLOCATE_PRESENT",
    "-DROCKSDB_RANGESYNC_PRESENT",
    "-DHAVE_ALIGNED_NEW",
    "-DHAVE_UINT128_EXTENSION",
];

/// Where the library is, once [`prepare`] has found or made it.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Makes cargo link a library that is there already.
pub(crate) fn link(cargo: &mut Command) {
    if let Some(folder) = FOLDER.get() {
        cargo.env("ROCKSDB_LIB_DIR", folder).env("ROCKSDB_STATIC", "1");
    }
}

/// Compiles RocksDB if that has not been done, for every cargo that is started from now on.
///
/// # Errors
/// When its sources cannot be fetched or do not compile.
pub(crate) fn prepare(checkout: &Checkout) -> anyhow::Result<()> {
    let known = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    // Whoever names a library of his own, or cargo's own way, has his reasons.
    let named =
        ["ROCKSDB_LIB_DIR", "ROCKSDB_COMPILE"].iter().any(|n| std::env::var_os(n).is_some());
    if !known || named || FOLDER.get().is_some() {
        return Ok(());
    }
    let version = locked_version(checkout.root(), "librocksdb-sys")?;
    let folder = checkout.target().join("rocksdb").join(version.replace('+', "-"));
    if !folder.join("librocksdb.a").exists() {
        process::show(&mut process::cargo(checkout.root(), &["fetch", "--locked"]))?;
        let sources = package(&format!("librocksdb-sys-{version}"))?;
        let lz4 = locked_version(checkout.root(), "lz4-sys")?;
        let lz4 = package(&format!("lz4-sys-{lz4}"))?.join("liblz4/lib");
        compile(&sources, &lz4, &folder)?;
    }
    FOLDER.get_or_init(|| folder);
    Ok(())
}

fn compile(sources: &Path, lz4: &Path, folder: &Path) -> anyhow::Result<()> {
    let list = std::fs::read_to_string(sources.join("rocksdb_lib_sources.txt"))
        .context("the list of RocksDB's sources cannot be read")?;
    std::fs::create_dir_all(folder)?;
    let pieces = pieces(&list, sources);
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get()).min(PIECES);
    println!("rocksdb: compiling {PIECES} pieces, {jobs} at a time: some minutes, once");
    let todo = Mutex::new(pieces.iter().enumerate().rev().collect::<Vec<_>>());
    let next = || todo.lock().ok().and_then(|mut todo| todo.pop());
    let work = || -> anyhow::Result<()> {
        while let Some((number, text)) = next() {
            compile_piece(number, text, sources, lz4, folder)?;
            println!("rocksdb: piece {} of {PIECES} is done", number + 1);
        }
        Ok(())
    };
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|_| bail!("a compiler's thread panicked"))?;
        }
        Ok(())
    })?;
    archive(folder)
}

/// Each piece includes a part of the files, in the order of the list.
fn pieces(list: &str, sources: &Path) -> Vec<String> {
    let mut files: Vec<_> = list
        .lines()
        .map(str::trim)
        .filter(|file| !file.is_empty() && *file != "util/build_version.cc")
        .map(|file| sources.join("rocksdb").join(file))
        .collect();
    // The crate has one of its own.
    files.push(sources.join("build_version.cc"));
    files
        .chunks(files.len().div_ceil(PIECES))
        .map(|part| part.iter().map(|file| format!("#include \"{}\"\n", file.display())).collect())
        .collect()
}

fn compile_piece(
    number: usize,
    text: &str,
    sources: &Path,
    lz4: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let source = folder.join(format!("piece-{number:02}.cc"));
    std::fs::write(&source, text)?;
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let status = process::command(compiler)
        .args(FLAGS)
        .current_dir(sources)
        .args(["-I", "rocksdb/include", "-I", "rocksdb", "-I", "."])
        .arg("-I")
        .arg(lz4)
        .arg("-c")
        .arg(&source)
        .arg("-o")
        .arg(source.with_extension("o"))
        .status()
        .context("there is no C++ compiler; `cargo xtask setup` names the package")?;
    if !status.success() {
        bail!(
            "RocksDB does not compile ({status}); ROCKSDB_COMPILE=1 in the environment leaves it to the crate"
        );
    }
    Ok(())
}

/// Puts the pieces into the library, whose name says that it is complete.
fn archive(folder: &Path) -> anyhow::Result<()> {
    let draft = folder.join("draft.a");
    let objects = (0..PIECES).map(|n| folder.join(format!("piece-{n:02}.o")));
    let objects: Vec<_> = objects.filter(|object| object.exists()).collect();
    process::show(process::command("ar").arg("crs").arg(&draft).args(&objects))?;
    std::fs::rename(&draft, folder.join("librocksdb.a"))?;
    for object in objects {
        std::fs::remove_file(object)?;
    }
    Ok(())
}

/// The version of a package in Cargo.lock.
fn locked_version(root: &Path, name: &str) -> anyhow::Result<String> {
    let lock: toml::Table = std::fs::read_to_string(root.join("Cargo.lock"))?.parse()?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let mut packages = packages.into_iter().flatten();
    let package =
        packages.find(|package| package.get("name").is_some_and(|n| n.as_str() == Some(name)));
    let version = package.and_then(|package| package.get("version")?.as_str());
    version.map(str::to_owned).with_context(|| format!("{name} is not in Cargo.lock"))
}

/// Where cargo keeps the sources of a package.
fn package(folder: &str) -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let found = std::fs::read_dir(&registries)
        .with_context(|| format!("{} cannot be read", registries.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join(folder)))
        .find(|path| path.is_dir());
    found.with_context(|| format!("{folder} is not in {}", registries.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_one_piece() {
        let list: String = (0..100).map(|n| format!("db/file{n}.cc\n")).collect();
        let list = format!("{list}util/build_version.cc\n");
        let pieces = pieces(&list, Path::new("/s"));
        assert!(pieces.len() <= PIECES);
        let all = pieces.concat();
        assert_eq!(all.lines().count(), 101);
        assert!(
            all.contains("\"/s/rocksdb/db/file99.cc\"") && all.contains("\"/s/build_version.cc\"")
        );
        assert!(!all.contains("util/build_version.cc"));
    }
}
