//! What holds for every Rust file: a header, a bounded length, sibling modules, nothing deferred.

use super::Finding;

/// A file longer than this is two files. Tests do not count.
const LINES_MAX: usize = 800;

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        let what = "the first line must be a `//!` header: what the file owns, what it must not do";
        findings.push(Finding::new(path, 1, what));
    }
    let lines = lines_without_tests(path, text);
    if lines > LINES_MAX {
        let what = format!("{lines} lines; the limit is {LINES_MAX}, so split it by concept");
        findings.push(Finding::new(path, None, what));
    }
    // In `tests/`, cargo takes every other file for a program of its own.
    if path.ends_with("/mod.rs") && !path.contains("tests/") {
        findings.push(Finding::new(path, None, "use `name.rs` beside `name/`, not `mod.rs`"));
    }
    findings
}

/// The lines before the file's test module; none for a file that is all tests.
fn lines_without_tests(path: &str, text: &str) -> usize {
    let in_tests = |part: &str| part == "tests" || part == "tests.rs";
    if path.split('/').any(in_tests) {
        return 0;
    }
    text.lines().take_while(|line| *line != "mod tests {").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str) -> usize {
        check(path, text).len()
    }

    #[test]
    fn a_header_is_on_the_first_line() {
        assert_eq!(check_lines("a.rs", "//! Owns a.\n"), 0);
        assert_eq!(check_lines("a.rs", "\n//! Owns a.\n"), 1);
        assert_eq!(check_lines("a.rs", "// Owns a.\n"), 1);
        assert_eq!(check_lines("a.rs", ""), 1);
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_tests() {
        let code = format!("//! Owns a.\n{}", "fn a() {}\n".repeat(LINES_MAX));
        assert_eq!(check_lines("crates/a/src/a.rs", &code), 1);
        assert_eq!(check_lines("crates/a/src/a/tests.rs", &code), 0);
        assert_eq!(check_lines("crates/a/tests/a.rs", &code), 0);
        let tested = format!("//! Owns a.\n#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(check_lines("crates/a/src/a.rs", &tested), 0);
    }

    #[test]
    fn sibling_style_is_kept() {
        assert_eq!(check_lines("crates/a/src/b/mod.rs", "//! Owns b.\n"), 1);
        assert_eq!(check_lines("crates/a/tests/common/mod.rs", "//! Owns b.\n"), 0);
    }
}
