//! The keys that a message is routed by, wherever it goes: its own, those of its CC header, and those that were in BCC.

use super::Record;
use leveret_codec::{ArrayView, Properties, ValueView};
use smallvec::SmallVec;

impl<'a> Record<'a> {
    /// All of them, its own first.
    #[must_use]
    pub fn routing_keys(&self) -> SmallVec<[&'a [u8]; 4]> {
        let own = std::iter::once(self.routing_key());
        own.chain(self.cc_keys()).chain(self.hidden_keys()).collect()
    }

    /// Those of the CC header, while they take part in routing.
    pub(crate) fn cc_keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let headers = Properties::new(self.properties()).headers().filter(|_| !self.cc_spent());
        let keys = match headers.and_then(|headers| headers.get("CC")) {
            Some(ValueView::Array(keys)) => keys,
            _ => ArrayView::default(),
        };
        keys.iter().map_while(Result::ok).filter_map(ValueView::as_bytes)
    }
}
