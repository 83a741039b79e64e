//! Counts of passed and failed tests, read from what test runners print.

use std::fmt;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Tally {
    /// Adds up the closing lines of pytest, `cargo test`, node's runner and the plain form
    /// `N passed, N failed`; nothing when there is no such line.
    pub(crate) fn read(output: &str) -> Option<Self> {
        let mut sum = Self::default();
        let mut seen = false;
        for line in output.lines().filter(|line| is_closing_line(line)) {
            let words: Vec<&str> = words(line).collect();
            for pair in words.windows(2) {
                match *pair {
                    [number, "passed"] => seen |= add(&mut sum.passed, number),
                    [number, "failed" | "error" | "errors"] => {
                        seen |= add(&mut sum.failed, number);
                    }
                    ["pass", number] => seen |= add(&mut sum.passed, number),
                    ["fail" | "cancelled", number] => seen |= add(&mut sum.failed, number),
                    _ => {}
                }
            }
        }
        seen.then_some(sum)
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Closing lines begin with a number (behind rulers or one word with a colon), with
/// `test result`, or are node's `# pass N`; prose that mentions counts is none of them.
fn is_closing_line(line: &str) -> bool {
    if line.starts_with("test result: ") {
        return true;
    }
    if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
        return ["pass ", "fail ", "cancelled "].iter().any(|word| rest.starts_with(word));
    }
    let line = line.trim_matches(['=', ' ']);
    let counts = match line.split_once(": ") {
        Some((label, rest)) if !label.contains(' ') => rest,
        _ => line,
    };
    counts.starts_with(|c: char| c.is_ascii_digit())
}

fn add(sum: &mut u32, number: &str) -> bool {
    number.parse::<u32>().map(|n| *sum += n).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expect: Option<(u32, u32)>) {
        let expect = expect.map(|(passed, failed)| Tally { passed, failed });
        assert_eq!(Tally::read(output), expect, "{output}");
    }

    #[test]
    fn reads_the_plain_form_with_and_without_a_label() {
        check("12 passed, 3 failed\n", Some((12, 3)));
        check("celery: 7 passed, 0 failed, 1 skipped", Some((7, 0)));
    }

    #[test]
    fn reads_pytest() {
        check("===== 1 failed, 40 passed in 3.20s =====", Some((40, 1)));
        check("40 passed in 3.20s", Some((40, 0)));
        check("2 passed, 1 error in 0.1s", Some((2, 1)));
    }

    #[test]
    fn adds_up_the_programs_of_one_cargo_test() {
        let line = "test result: ok. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        check(&format!("{line}\nrunning 4 tests\n{line}"), Some((10, 2)));
    }

    #[test]
    fn reads_node_in_both_forms() {
        check("# tests 9\n# pass 8\n# fail 1\n# cancelled 0", Some((8, 1)));
        check("ℹ pass 8\nℹ fail 0", Some((8, 0)));
    }

    #[test]
    fn prose_is_not_a_count() {
        check("the broker passed 5 messages, 2 failed", None);
        check("", None);
    }
}
