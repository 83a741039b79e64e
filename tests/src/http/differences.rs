//! `differences.txt`: what leveret is meant to answer otherwise than RabbitMQ, and what it does not
//! answer rightly yet. Each line has a reason; one that no longer applies is a problem.

use std::cell::Cell;
use std::path::Path;

use super::compare::Difference;

/// Wanted differences, at most: whoever wants more has to make one go.
const WANTED_MAX: usize = 5;

/// The lines of the file.
pub(super) struct Known {
    entries: Vec<Entry>,
}

struct Entry {
    line: String,
    wanted: bool,
    /// Verb and path, or `*`.
    request: String,
    /// A place, or its end behind `*`.
    place: String,
    met: Cell<bool>,
}

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, a line makes no sense or has no reason, or more is wanted than may be.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries: Vec<Entry> = lines
            .map(|line| Entry::parse(line).ok_or_else(|| format!("differences.txt: {line}")))
            .collect::<Result<_, _>>()?;
        let wanted = entries.iter().filter(|entry| entry.wanted).count();
        if wanted > WANTED_MAX {
            return Err(format!("differences.txt: {wanted} differences are wanted"));
        }
        Ok(Self { entries })
    }

    /// Whether a difference is in the file.
    pub(super) fn has(&self, request: &str, difference: &Difference) -> bool {
        let mut known = false;
        for entry in self.entries.iter().filter(|entry| entry.fits(request, difference)) {
            entry.met.set(true);
            known = true;
        }
        known
    }

    /// Lines that nothing fits any more.
    pub(super) fn unmet(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.met.get()).map(|entry| entry.line.as_str())
    }
}

impl Entry {
    /// `wanted | GET /api/path | place | reason`
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(" | ").map(str::trim);
        let wanted = match parts.next()? {
            "wanted" => true,
            "not yet" => false,
            _ => return None,
        };
        let (request, place) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let reason = parts.next()?;
        (!reason.is_empty() && parts.next().is_none()).then(|| Self {
            line: line.to_owned(),
            wanted,
            request,
            place,
            met: Cell::new(false),
        })
    }

    fn fits(&self, request: &str, difference: &Difference) -> bool {
        let place = match self.place.strip_prefix('*') {
            Some(end) => difference.place.ends_with(end),
            None => difference.place == self.place,
        };
        place && (self.request == "*" || self.request == request)
    }
}
