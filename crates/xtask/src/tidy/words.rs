//! Words that must not be in any file: promises to do something later, and traces of the machine
//! that somebody worked on.

use super::Finding;

/// A word, spelt in two halves so that this file does not contain it, and why it is refused.
struct Refused {
    halves: [&'static str; 2],
    why: &'static str,
}

const LATER: &str = "do it, or say in prose what does not work";
const MACHINE: &str = "a path of one machine means nothing to others";

const REFUSED: [Refused; 6] = [
    Refused { halves: ["TO", "DO"], why: LATER },
    Refused { halves: ["FIX", "ME"], why: LATER },
    Refused { halves: ["/wo", "rk/"], why: MACHINE },
    Refused { halves: ["/ro", "ot/"], why: MACHINE },
    Refused { halves: ["/tmp/", "brief"], why: MACHINE },
    Refused { halves: ["shar", "ed/"], why: "what lies beside the checkout is not part of it" },
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    // Lock files are generated; the licence is not our text.
    if path.ends_with(".lock") || path.ends_with("-lock.json") || path == "LICENSE" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for Refused { halves, why } in &REFUSED {
            let word = halves.concat();
            if contains_word(line, &word) {
                findings.push(Finding::new(path, number, format!("`{word}`: {why}")));
            }
        }
    }
    findings
}

/// Whether `word` is in the line and is not the tail or head of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let glued_before = word.starts_with(part_of_word)
            && line[..start].ends_with(|c: char| part_of_word(c) || c == '-');
        let glued_after =
            word.ends_with(part_of_word) && line[start + word.len()..].starts_with(part_of_word);
        !glued_before && !glued_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, line: &str) -> usize {
        check(path, line).len()
    }

    #[test]
    fn deferred_work_is_found() {
        let word = ["TO", "DO"].concat();
        assert_eq!(check_line("a.rs", &format!("// {word}: later")), 1);
        assert_eq!(check_line("a.rs", &format!("let {word}S = 1;")), 0);
    }

    #[test]
    fn machine_paths_are_found() {
        let path = ["/wo", "rk/main"].concat();
        assert_eq!(check_line("docs/a.md", &format!("see {path}")), 1);
        assert_eq!(check_line("Cargo.lock", &format!("see {path}")), 0);
    }

    #[test]
    fn what_lies_beside_the_checkout_is_not_named() {
        let line = ["../shar", "ed/x"].concat();
        assert_eq!(check_line("docs/a.md", &line), 1);
        assert_eq!(check_line("docs/a.md", "an un\u{73}hared/x path"), 0);
    }
}
