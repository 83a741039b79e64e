//! The scenarios of `tests/differential` as files: that each can be read and was recorded, and that the page
//! made of them is current. They are played by `cargo xtask differential`.

use std::path::{Path, PathBuf};

use leveret_tests::differential::{Library, conformance, uncovered};

/// Differences from RabbitMQ that leveret may have.
const DIFFERENCES_MAX: usize = 10;

/// Scenarios that there are at least.
const SCENARIOS_MIN: usize = 250;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn library() -> Library {
    let loaded = Library::load(&root().join("tests/differential"));
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_page_of_conformance_is_current() {
    let page = std::fs::read_to_string(root().join("docs/conformance.md")).unwrap_or_default();
    let current = conformance(&library());
    let line = page.lines().zip(current.lines()).position(|(old, new)| old != new);
    assert!(
        page == current,
        "docs/conformance.md is out of date (line {line:?}): `cargo xtask differential --doc` makes it anew"
    );
}

#[test]
fn every_method_and_argument_has_a_scenario() {
    let library = library();
    assert!(library.scenarios.len() >= SCENARIOS_MIN, "{}", library.scenarios.len());
    assert_eq!(uncovered(&library), Vec::<String>::new());
}

#[test]
fn few_differences_are_wanted_and_none_in_the_first_sections() {
    let library = library();
    let wanted = library.scenarios.iter().filter(|scenario| scenario.differs.is_some());
    let wanted: Vec<_> = wanted.collect();
    assert!(wanted.len() <= DIFFERENCES_MAX, "{} differences", wanted.len());
    for scenario in wanted {
        assert!(scenario.section().0 > 3, "{} is in a section without differences", scenario.name);
    }
}

#[test]
fn every_scenario_was_recorded() {
    let missing: Vec<_> =
        library().scenarios.iter().filter(|s| !s.is_recorded()).map(|s| s.name.clone()).collect();
    assert_eq!(missing, Vec::<String>::new());
}
