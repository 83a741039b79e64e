//! What came of the runs, and how a person reads it.

use std::fmt::{self, Display, Write as _};

use super::rows::Row;

/// What one round of a row came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Round {
    /// Messages per second, and those of what it stands beside.
    Rate { broker: f64, ceiling: f64 },
    /// Microseconds.
    Latency { p50: f64, p99: f64, ceiling_p50: f64, ceiling_p99: f64 },
    /// Bytes that are resident, and those of them that are pages of files: the program.
    Memory { resident: f64, of_files: f64 },
}

impl Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { broker, ceiling } => {
                write!(f, "{broker:.0}/s beside {ceiling:.0}/s: {:.2}", broker / ceiling)
            }
            Self::Latency { p50, p99, ceiling_p50, ceiling_p99 } => write!(
                f,
                "p50 {p50:.0} µs beside {ceiling_p50:.0} µs, p99 {p99:.0} µs beside {ceiling_p99:.0} µs"
            ),
            Self::Memory { resident, of_files } => write!(
                f,
                "{:.1} MB resident, {:.1} MB of them the program's pages",
                resident / 1e6,
                of_files / 1e6
            ),
        }
    }
}

/// The median and the extremes.
struct Spread(Vec<f64>);

impl Spread {
    fn of(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Self {
        let mut all: Vec<f64> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    fn median(&self) -> f64 {
        let n = self.0.len();
        let at = |i: usize| self.0.get(i).copied().unwrap_or_default();
        f64::midpoint(at(n.saturating_sub(1) / 2), at(n / 2))
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.first(), self.0.last());
        let (Some(first), Some(last)) = (first, last) else { return f.write_str("-") };
        write!(f, "{:.2} ({first:.2} to {last:.2})", self.median())
    }
}

/// A table in Markdown: medians, with the extremes in brackets.
pub(super) fn table(measured: &[(&Row, Vec<Round>)]) -> String {
    let mut out =
        String::from("| work | of what it stands beside | itself | wanted |\n|---|---|---|---|\n");
    for (row, rounds) in measured {
        let (share, itself) = columns(rounds);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} | {share} | {itself} | {} |", row.name, row.wanted);
    }
    out
}

fn columns(rounds: &[Round]) -> (String, String) {
    match rounds.first() {
        None => (String::new(), String::new()),
        Some(Round::Rate { .. }) => {
            let part = |round: &Round| match *round {
                Round::Rate { broker, ceiling } => broker / ceiling,
                _ => f64::NAN,
            };
            let rate = |round: &Round| match *round {
                Round::Rate { broker, .. } => broker,
                _ => f64::NAN,
            };
            (
                Spread::of(rounds, part).to_string(),
                format!("{:.0}/s", Spread::of(rounds, rate).median()),
            )
        }
        Some(Round::Latency { .. }) => {
            let of = |figure: fn(&Round) -> f64| Spread::of(rounds, figure);
            let p50 = of(|round| latency(round).0);
            let p99 = of(|round| latency(round).1);
            let times50 = of(|round| latency(round).0 / latency(round).2);
            let times99 = of(|round| latency(round).1 / latency(round).3);
            (
                format!("p50 {times50}, p99 {times99}"),
                format!("{:.0} µs, {:.0} µs", p50.median(), p99.median()),
            )
        }
        Some(Round::Memory { .. }) => {
            let of = |figure: fn(&Round) -> f64| Spread::of(rounds, figure).median() / 1e6;
            let resident = of(|round| memory(round).0);
            let of_files = of(|round| memory(round).1);
            (String::from("-"), format!("{resident:.1} MB, {of_files:.1} of them the program's"))
        }
    }
}

fn latency(round: &Round) -> (f64, f64, f64, f64) {
    match *round {
        Round::Latency { p50, p99, ceiling_p50, ceiling_p99 } => {
            (p50, p99, ceiling_p50, ceiling_p99)
        }
        _ => (f64::NAN, f64::NAN, f64::NAN, f64::NAN),
    }
}

fn memory(round: &Round) -> (f64, f64) {
    match *round {
        Round::Memory { resident, of_files } => (resident, of_files),
        _ => (f64::NAN, f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_before_the_extremes() {
        let rounds: Vec<_> =
            [3.0, 1.0, 2.0, 8.0].map(|broker| Round::Rate { broker, ceiling: 4.0 }).into();
        assert_eq!(columns(&rounds).0, "0.62 (0.25 to 2.00)");
    }
}
