//! The lines of a `rabbitmq.conf`: keys and values as they are written, comments and quotes taken off, variables of the
//! environment put in. Knows no key.

// rabbitmq: cuttlefish, its grammar of conf files

/// The longest file that is read, in bytes; a real one has some kilobytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its line, counted from 1.
    pub(super) number: usize,
    /// The key's words. A word has a dot where the file has `\.`.
    pub(super) key: Vec<String>,
    /// The value, without quotes and the space around it.
    pub(super) value: String,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Its line, counted from 1.
    pub(super) number: usize,
    /// What is wrong.
    pub(super) reason: String,
}

/// Reads the settings of a file. `variable` looks into the environment.
pub(super) fn read(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Line>, BadLine> {
    let mut lines = Vec::new();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |reason: &str| BadLine { number, reason: reason.to_owned() };
        let (key, value) =
            line.split_once('=').ok_or_else(|| bad("Syntax error: a line is `key = value`"))?;
        let key = words(key.trim())
            .ok_or_else(|| bad("Syntax error: a key is words with dots between them"))?;
        let value = value.trim();
        let value = match value.strip_prefix('\'') {
            Some(quoted) => quoted
                .split_once('\'')
                .filter(|(_, after)| after.trim().is_empty() || after.trim().starts_with('#'))
                .map(|(inside, _)| inside)
                .ok_or_else(|| bad("Syntax error: the quote is not closed"))?,
            None => value.split('#').next().unwrap_or_default().trim_end(),
        };
        if value.is_empty() && !line.contains("''") {
            return Err(bad("Syntax error: there is no value"));
        }
        let value = interpolate(value, &variable)
            .map_err(|name| bad(&format!("environment variable {name} is not set")))?;
        lines.push(Line { number, key, value });
    }
    Ok(lines)
}

/// The words of a key; `None` when it is none.
fn words(key: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut letters = key.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => words.push(String::new()),
            '\\' if letters.next() == Some('.') => words.last_mut()?.push('.'),
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-') => {
                words.last_mut()?.push(letter);
            }
            _ => return None,
        }
    }
    words.iter().all(|word| !word.is_empty()).then_some(words)
}

/// Puts variables where the value has `$(NAME)`, or says which is not set.
// rabbitmq: environment variable interpolation in rabbitmq.conf
fn interpolate(value: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut whole = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((name, behind)) = after.split_once(')') else { break };
        whole.push_str(before);
        whole.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<(usize, String, String)>, String> {
        let variable = |name: &str| (name == "SEED").then(|| "hare".to_owned());
        let line = |line: Line| (line.number, line.key.join("/"), line.value);
        read(text, variable)
            .map(|lines| lines.into_iter().map(line).collect())
            .map_err(|bad| format!("{}: {}", bad.number, bad.reason))
    }

    fn one(text: &str) -> String {
        let lines = of(text).unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].2.clone()
    }

    #[test]
    fn settings_are_found_between_comments() {
        let lines = of("## a\n\n heartbeat = 7 \r\n#x = 1\nlisteners.tcp.1=127.0.0.1:1").unwrap();
        assert_eq!(
            lines,
            [
                (3, "heartbeat".to_owned(), "7".to_owned()),
                (5, "listeners/tcp/1".to_owned(), "127.0.0.1:1".to_owned())
            ]
        );
        assert_eq!(of(r"loopback_users.a\.b = true").unwrap()[0].1, "loopback_users/a.b");
    }

    #[test]
    fn a_hash_ends_a_value_unless_it_is_quoted() {
        assert_eq!(one("default_pass = a b # why"), "a b");
        assert_eq!(one("default_pass = 'e9#s=d' # why"), "e9#s=d");
        assert_eq!(one("default_pass = ''"), "");
    }

    #[test]
    fn variables_are_put_in() {
        assert_eq!(one("default_user = $(SEED)-$(SEED)"), "hare-hare");
        assert_eq!(one("default_user = $(SEED"), "$(SEED");
        assert_eq!(of("\na = $(NONE)").unwrap_err(), "2: environment variable NONE is not set");
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for (text, reason) in [
            ("heartbeat 7", "1: Syntax error: a line is `key = value`"),
            ("\n[a]\n", "2: Syntax error: a line is `key = value`"),
            ("a..b = 1", "1: Syntax error: a key is words with dots between them"),
            ("a/b = 1", "1: Syntax error: a key is words with dots between them"),
            ("a = 'x", "1: Syntax error: the quote is not closed"),
            ("a = ", "1: Syntax error: there is no value"),
            ("a = # x", "1: Syntax error: there is no value"),
        ] {
            assert_eq!(of(text).unwrap_err(), reason, "{text}");
        }
    }
}
