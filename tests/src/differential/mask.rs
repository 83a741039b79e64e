//! Names that differ from one run to the next, and the aliases under which a transcript shows them: vhosts
//! and users of the scenario, and what the broker names itself. Scenarios may use the aliases too.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names that a broker makes up start so; what follows is its own.
const GENERATED: [(&str, &str); 3] =
    [("amq.gen-", "gen"), ("amq.ctag-", "ctag"), ("amq.rabbitmq.reply-to.", "reply")];

/// A timestamp this close to now is now: a day, for clocks that disagree.
const NOW_SECONDS: u64 = 86_400;

/// The aliases of one scenario.
#[derive(Debug)]
pub(super) struct Mask {
    /// What the names of this run have in common.
    run: String,
    /// Real names and aliases.
    known: Vec<(String, String)>,
    now: u64,
}

impl Mask {
    pub(super) fn new(run: String) -> Self {
        #[expect(clippy::disallowed_methods, reason = "black-box tests run in real time")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { run, known: Vec::new(), now }
    }

    /// The line with aliases replaced by real names. Vhosts and users that are new get one.
    pub(super) fn reveal(&mut self, line: &str) -> String {
        let mut out = line.to_owned();
        for kind in ["<vhost", "<user"] {
            let mut from = 0;
            while let Some(start) = out.get(from..).and_then(|rest| rest.find(kind)) {
                let start = from + start;
                let Some(length) = out.get(start..).and_then(|rest| rest.find('>')) else { break };
                let alias = out.get(start..=start + length).unwrap_or_default().to_owned();
                let real = self.real(&alias);
                out.replace_range(start..=start + length, &real);
                from = start + real.len();
            }
        }
        for (real, alias) in &self.known {
            out = out.replace(alias, real);
        }
        out
    }

    fn real(&mut self, alias: &str) -> String {
        if let Some((real, _)) = self.known.iter().find(|(_, known)| known == alias) {
            return real.clone();
        }
        let inner = alias.trim_matches(['<', '>']);
        // `<vhost>` is the run's own name, `<vhost-b>` and `<user-a>` are it with an ending.
        let real = match inner.split_once('-') {
            Some((kind, name)) => {
                format!("{}-{}{name}", self.run, kind.get(..1).unwrap_or_default())
            }
            None => self.run.clone(),
        };
        self.known.push((real.clone(), alias.to_owned()));
        // The longest first, since the run's name is the start of the others.
        self.known.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
        real
    }

    /// The line as a transcript shows it.
    pub(super) fn hide(&mut self, line: &str) -> String {
        let mut out = line.to_owned();
        for (prefix, kind) in GENERATED {
            self.learn(&out, prefix, kind);
        }
        for (real, alias) in &self.known {
            out = out.replace(real, alias);
        }
        self.hide_times(&hide_connections(&hide_processes(&out)))
    }

    /// Gives every generated name in the line an alias.
    fn learn(&mut self, line: &str, prefix: &str, kind: &str) {
        for (start, _) in line.match_indices(prefix) {
            let rest = line.get(start..).unwrap_or_default();
            let part = |c: char| c.is_ascii_alphanumeric() || "-_.+/=@".contains(c);
            let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default().trim_end_matches('.');
            let is_new = self.known.iter().all(|(real, _)| real != name);
            if name.len() > prefix.len() && is_new {
                let tag = format!("<{kind}-");
                let count = self.known.iter().filter(|(_, alias)| alias.starts_with(&tag)).count();
                self.known.push((name.to_owned(), format!("{tag}{}>", count + 1)));
                self.known.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
            }
        }
    }

    fn hide_times(&self, line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find("time") {
            let (before, after) = rest.split_at(at + 4);
            out.push_str(before);
            let sign = after.get(..1).unwrap_or_default();
            let digits = after.get(1..).unwrap_or_default();
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let (number, tail) = digits.split_at(end);
            rest = match number.parse::<u64>() {
                Ok(number) if sign == " " && number.abs_diff(self.now) < NOW_SECONDS => {
                    out.push_str(" <now>");
                    tail
                }
                _ => after,
            };
        }
        out.push_str(rest);
        out
    }

    /// Vhosts and users of this run.
    pub(super) fn made(&self) -> impl Iterator<Item = (&str, &str)> {
        let made = |alias: &str| alias.starts_with("<vhost") || alias.starts_with("<user");
        self.known
            .iter()
            .filter(move |(_, alias)| made(alias))
            .map(|(real, alias)| (real.as_str(), alias.as_str()))
    }
}

/// Connections by their names, `address:port -> address:port`.
fn hide_connections(line: &str) -> String {
    const ARROW: &str = " -> 127.0.0.1:";
    let Some(at) = line.find(ARROW) else { return line.to_owned() };
    let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + ARROW.len()..));
    let start = before.rfind("127.0.0.1:").unwrap_or(at);
    let after = after.unwrap_or_default().trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}<connection>{}", line.get(..start).unwrap_or_default(), hide_connections(after))
}

/// Processes and nodes of the broker.
fn hide_processes(line: &str) -> String {
    let mut out = line.to_owned();
    for node in ["rabbit@localhost", "leveret@localhost"] {
        out = out.replace(node, "<node>");
    }
    let mut from = 0;
    while let Some(start) = out.get(from..).and_then(|rest| rest.find('<')) {
        let start = from + start;
        let inner = out.get(start + 1..).unwrap_or_default();
        let end = inner.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(inner.len());
        let is_process = inner.get(end..).is_some_and(|rest| rest.starts_with('>'))
            && inner.get(..end).is_some_and(|number| number.matches('.').count() == 2);
        if is_process {
            out.replace_range(start + 1..start + 1 + end, "process");
        }
        from = start + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_run_are_hidden_and_revealed() {
        let mut mask = Mask::new("dx-1".into());
        assert_eq!(mask.reveal("<user-a> of <vhost> and <vhost-b>"), "dx-1-ua of dx-1 and dx-1-vb");
        assert_eq!(mask.hide("dx-1-ua of dx-1 and dx-1-vb"), "<user-a> of <vhost> and <vhost-b>");
    }

    #[test]
    fn generated_names_are_numbered() {
        let mut mask = Mask::new("dx-1".into());
        assert_eq!(mask.hide("queue=amq.gen-Ab_9 'amq.gen-x'"), "queue=<gen-1> '<gen-2>'");
        assert_eq!(mask.hide("amq.gen-x"), "<gen-2>");
        assert_eq!(mask.reveal("queue=<gen-1>"), "queue=amq.gen-Ab_9");
    }

    #[test]
    fn only_times_of_today_are_hidden() {
        let mut mask = Mask::new("dx-1".into());
        let now = mask.now;
        assert_eq!(mask.hide(&format!("a: time {now}, b: time 5")), "a: time <now>, b: time 5");
        assert_eq!(mask.hide("on <0.12.3>"), "on <process>");
        let line = "a: \"127.0.0.1:5 -> 127.0.0.1:5672\", b: 1";
        assert_eq!(mask.hide(line), "a: \"<connection>\", b: 1");
    }
}
