//! Paths that the documentation names must exist, so that it does not outlive what it describes.

use super::Finding;

/// Folders whose name at the start of a quoted word makes it a path of this repository.
const FOLDERS: [&str; 9] = [
    ".cargo/",
    ".ci/",
    ".config/",
    ".github/",
    "crates/",
    "docker/",
    "docs/",
    "interop-tests/",
    "tests/",
];

pub(super) fn is_checked(path: &str) -> bool {
    path.ends_with(".md")
        && (path.starts_with("docs/") || path == "README.md" || path == "CONTRIBUTING.md")
}

pub(super) fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        // Every second piece between backticks is quoted.
        for quoted in line.split('`').skip(1).step_by(2) {
            if let Some(named) = as_path(quoted)
                && !exists(named)
            {
                findings.push(Finding::new(path, number, format!("`{named}` does not exist")));
            }
        }
    }
    findings
}

/// The path that a quoted word names, without a line number; none for commands and patterns.
fn as_path(quoted: &str) -> Option<&str> {
    let pattern = |c: char| " *<>{}$:|".contains(c);
    let path = match quoted.split_once(':') {
        Some((path, line)) if line.bytes().all(|b| b.is_ascii_digit()) => path,
        _ => quoted,
    };
    let ours = FOLDERS.iter().any(|folder| path.starts_with(folder));
    (ours && !path.contains(pattern)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(line: &str) -> Vec<String> {
        let exists = |path: &str| path == "crates/codec";
        check("docs/a.md", line, exists).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        assert_eq!(
            check_line("see `crates/gone.rs` and `crates/codec`"),
            ["`crates/gone.rs` does not exist"]
        );
        assert_eq!(check_line("`crates/gone.rs:12`"), ["`crates/gone.rs` does not exist"]);
    }

    #[test]
    fn commands_patterns_and_blocks_are_not_paths() {
        assert!(
            check_line("`cargo run crates/x`, `crates/*/src`, `basic/ack`, crates/x").is_empty()
        );
        assert!(check_line("```\n`crates/gone.rs`\n```").is_empty());
    }

    #[test]
    fn only_documentation_is_read() {
        assert!(is_checked("docs/operations/backup.md") && is_checked("README.md"));
        assert!(!is_checked("docs/picture.svg") && !is_checked("CHANGELOG.md"));
    }
}
