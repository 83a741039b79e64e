//! `cargo xtask tidy`: the rules of the house that no compiler checks. This file finds the files
//! and prints what is wrong; each kind of rule has a module. Function length is clippy's
//! `too_many_lines`.

mod docs;
mod layers;
mod manifest;
mod source;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::checkout::Checkout;

/// Folders that hold build output or downloaded packages.
const NOT_OURS: [&str; 6] = [".git", ".venv", "__pycache__", "data", "node_modules", "target"];

/// One broken rule: the file, the line where there is one, and what is wrong.
#[derive(Debug, Eq, PartialEq)]
struct Finding {
    path: String,
    line: Option<usize>,
    what: String,
}

impl Finding {
    fn new(path: &str, line: impl Into<Option<usize>>, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line.into(), what: what.into() }
    }
}

pub(crate) fn run(checkout: &Checkout) -> anyhow::Result<()> {
    let root = checkout.root();
    let mut paths = Vec::new();
    list_files(root, root, &mut paths)?;
    paths.sort();
    let mut findings = Vec::new();
    for path in &paths {
        let bytes =
            std::fs::read(root.join(path)).with_context(|| format!("{path}: unreadable"))?;
        // Pictures and the like have no lines to check.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(check_file(root, path, &text)?);
    }
    for Finding { path, line, what } in &findings {
        match line {
            Some(line) => println!("{path}:{line}: {what}"),
            None => println!("{path}: {what}"),
        }
    }
    if !findings.is_empty() {
        bail!("tidy found {} broken rules", findings.len());
    }
    println!("tidy: {} files are in order", paths.len());
    Ok(())
}

fn check_file(root: &Path, path: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    let mut findings = words::check(path, text);
    if path.ends_with(".rs") {
        findings.extend(source::check(path, text));
    } else if path == "Cargo.toml" {
        findings.extend(manifest::check_workspace(path, text));
    } else if path.ends_with("/Cargo.toml") && !manifest::stands_alone(text) {
        findings.extend(manifest::check_member(path, text)?);
        findings.extend(layers::check(path, text)?);
    } else if docs::is_checked(path) {
        findings.extend(docs::check(path, text, |named| root.join(named).exists()));
    }
    Ok(findings)
}

fn list_files(root: &Path, folder: &Path, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path: PathBuf = entry.path();
        if entry.file_type()?.is_dir() {
            if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                list_files(root, &path, paths)?;
            }
        } else if let Ok(path) = path.strip_prefix(root) {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
