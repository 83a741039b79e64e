//! Regular expressions as people write them for RabbitMQ (PCRE, unanchored), compiled once and with
//! a bound on the work for one name.

use crate::error::BrokerError;
use crate::limits::{PATTERN_BYTES_MAX, REGEX_BACKTRACK_MAX, REGEX_BYTES_MAX};
use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A compiled pattern and its source.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// `.*` and its like: no need to look.
    Everything,
    Regex(Arc<Regex>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`BrokerError::InvalidPattern`].
    pub fn new(source: &str) -> Result<Self, BrokerError> {
        let matcher = match source {
            ".*" | "^.*" | "^.*$" | ".*$" | "^" | "$" => Matcher::Everything,
            _ => Matcher::Regex(Arc::new(compile(source)?)),
        };
        Ok(Self { source: source.into(), matcher })
    }

    /// Compiles a pattern of a permission, where an empty one matches the empty name only.
    // rabbitmq: "" is ^$ in permissions
    ///
    /// # Errors
    /// [`BrokerError::InvalidPattern`].
    pub fn for_permission(source: &str) -> Result<Self, BrokerError> {
        if source.is_empty() {
            let matcher = Matcher::Regex(Arc::new(compile("^$")?));
            return Ok(Self { source: source.into(), matcher });
        }
        Self::new(source)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Whether the pattern is found in `text`. A search that needs too many steps finds nothing.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Regex(regex) => regex.is_match(text).unwrap_or(false),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = Arc::<str>::deserialize(deserializer)?;
        Self::new(&source).map_err(serde::de::Error::custom)
    }
}

fn compile(source: &str) -> Result<Regex, BrokerError> {
    let refused = |reason: &str| BrokerError::InvalidPattern {
        pattern: source.into(),
        reason: reason.into(),
    };
    if source.len() > PATTERN_BYTES_MAX {
        return Err(refused("too long"));
    }
    RegexBuilder::new(&as_rust_writes_it(source))
        .backtrack_limit(REGEX_BACKTRACK_MAX)
        .delegate_size_limit(REGEX_BYTES_MAX)
        .delegate_dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| refused(&error.to_string()))
}

/// PCRE takes a brace that starts no repetition, and a bracket within a class, for itself; the
/// regex library wants both escaped.
fn as_rust_writes_it(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source;
    let mut class: Option<usize> = None; // where the open class began in `out`
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' => {
                let escaped = after.chars().next();
                out.push('\\');
                out.extend(escaped);
                rest = after.get(escaped.map_or(0, char::len_utf8)..).unwrap_or_default();
                continue;
            }
            '[' if class.is_none() => class = Some(out.len()),
            '[' if !after.starts_with(':') => out.push('\\'),
            ']' if class.is_some_and(|start| !class_just_opened(&out, start)) => class = None,
            ']' if class.is_some() => out.push('\\'),
            '{' if class.is_none() && !starts_repetition(after) => out.push('\\'),
            '}' if class.is_none() && !out_ends_repetition(&out) => out.push('\\'),
            '&' | '~' | '-' if class.is_some() && after.starts_with(c) => out.push('\\'),
            _ => {}
        }
        out.push(c);
        rest = skip_named_class(c, class, after, &mut out);
    }
    out
}

/// Copies the rest of `[:alpha:]` so that its bracket does not close the class around it.
fn skip_named_class<'a>(
    c: char,
    class: Option<usize>,
    after: &'a str,
    out: &mut String,
) -> &'a str {
    let inside = c == '[' && class.is_some() && after.starts_with(':');
    match after.find(":]") {
        Some(end) if inside => {
            let (name, rest) = after.split_at(end + 2);
            out.push_str(name);
            rest
        }
        _ => after,
    }
}

fn class_just_opened(out: &str, start: usize) -> bool {
    matches!(out.get(start..), Some("[" | "[^"))
}

/// Whether `after` begins with `n}`, `n,}` or `n,m}`.
fn starts_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Whether what was written last is a repetition that lacks its closing brace.
fn out_ends_repetition(out: &str) -> bool {
    out.rsplit_once('{').is_some_and(|(before, inside)| {
        !before.ends_with('\\') && starts_repetition(&format!("{inside}}}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let pattern = Pattern::new(pattern).unwrap();
        for name in matching {
            assert!(pattern.matches(name), "{pattern:?} should match {name}");
        }
        for name in other {
            assert!(!pattern.matches(name), "{pattern:?} should not match {name}");
        }
    }

    #[test]
    fn patterns_are_unanchored() {
        check("a", &["a", "bab"], &["b", "A", ""]);
        check("^a$", &["a"], &["ab", "ba"]);
        check("", &["", "a"], &[]);
        check(".*", &["", "a"], &[]);
        check("^amq\\.gen.*", &["amq.gen-x"], &["amqxgen"]);
    }

    #[test]
    fn look_around_and_back_references_work() {
        check("^(?!amq\\.).*", &["q", "amq"], &["amq.direct"]);
        check("^(a|b)\\1$", &["aa", "bb"], &["ab"]);
        check("^(?:(?!-local).)*$", &["q"], &["q-local"]);
    }

    #[test]
    fn what_pcre_takes_literally_is_literal() {
        check("^{client_id}$", &["{client_id}"], &["client_id"]);
        check("^a{b}$", &["a{b}"], &["ab"]);
        check("^a{2}$", &["aa"], &["a{2}"]);
        check("^a{2,}b{1,2}$", &["aaab"], &["ab"]);
        check("^[[]x$", &["[x"], &["x"]);
        check("^[]a]+$", &["]a"], &["[a"]);
        check("^[^]a]+$", &["b"], &["]"]);
        check("^[[:alpha:]]+$", &["ab"], &["1", ":"]);
        check("^[a&&b]+$", &["a&b"], &["c"]);
        check("^\\{x\\}$", &["{x}"], &["x"]);
    }

    #[test]
    fn an_empty_permission_matches_only_the_empty_name() {
        let pattern = Pattern::for_permission("").unwrap();
        assert!(pattern.matches(""));
        assert!(!pattern.matches("a"));
    }

    #[test]
    fn bad_patterns_are_named() {
        let error = Pattern::new("(").unwrap_err();
        assert!(error.explain().starts_with("Invalid regular expression '(': "));
        assert!(Pattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_pattern_that_explodes_ends() {
        let pattern = Pattern::new("^(a+)+(?=b)$").unwrap();
        assert!(!pattern.matches(&"a".repeat(255)));
    }
}
