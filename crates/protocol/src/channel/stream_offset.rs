//! The header that tells where in its stream a message is. Hot path: of messages in a row with the same
//! properties only the number differs.

use leveret_codec::{Change, Properties, PropertyChanges, TableWriter, rewrite};

/// The header; a publisher's own is replaced.
// rabbitmq: streams
const OFFSET: &str = "x-stream-offset";

/// Bytes of the number, which is at the end of the headers.
const NUMBER: usize = 8;

/// Properties with the header.
#[derive(Default)]
pub(crate) struct WithOffset<'b> {
    /// The properties of the message before, as they are stored.
    before: Option<&'b [u8]>,
    /// The same with the header.
    bytes: Vec<u8>,
    /// Where the number is in them.
    at: usize,
    /// Memory for the headers.
    table: Vec<u8>,
}

impl<'b> WithOffset<'b> {
    /// The properties of a message at `offset`.
    pub(crate) fn put(&mut self, properties: &'b [u8], offset: u64) -> &[u8] {
        if self.before != Some(properties) {
            if !self.rewrite(properties) {
                // They were checked when the message was published.
                self.before = None;
                return properties;
            }
            self.before = Some(properties);
        }
        if let Some(number) = self.bytes.get_mut(self.at..self.at + NUMBER) {
            number.copy_from_slice(&offset.to_be_bytes());
        }
        &self.bytes
    }

    /// Makes the properties anew, with a number to be filled in.
    fn rewrite(&mut self, properties: &[u8]) -> bool {
        let headers = Properties::new(properties).headers().unwrap_or_default();
        self.table.clear();
        let mut writer = TableWriter::new(&mut self.table);
        let others = headers.fields().map_while(Result::ok);
        others.filter(|field| field.key != OFFSET.as_bytes()).for_each(|field| writer.copy(&field));
        writer.long(OFFSET, 0);
        let changes =
            PropertyChanges { headers: Change::Set(&self.table), ..PropertyChanges::default() };
        self.bytes.clear();
        if rewrite(properties, &changes, &mut self.bytes).is_err() {
            return false;
        }
        let headers = Properties::new(&self.bytes).headers().unwrap_or_default();
        let end = headers.as_bytes().as_ptr_range().end.addr();
        self.at = end.saturating_sub(self.bytes.as_ptr().addr() + NUMBER);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::ValueView;

    fn properties(content_type: bool, headers: &[(&str, i64)]) -> Vec<u8> {
        let mut table = Vec::new();
        let mut writer = TableWriter::new(&mut table);
        headers.iter().for_each(|(key, value)| writer.long(key, *value));
        let changes =
            PropertyChanges { headers: Change::Set(&table), ..PropertyChanges::default() };
        let mut out = Vec::new();
        let plain: &[u8] = if content_type { &[0x90, 0, 1, b'x', 2] } else { &[0, 0] };
        rewrite(plain, &changes, &mut out).unwrap();
        out
    }

    fn read(bytes: &[u8]) -> Vec<(String, i64)> {
        let headers = Properties::new(bytes).headers().unwrap();
        let field = |(key, value): (&[u8], ValueView<'_>)| {
            (String::from_utf8_lossy(key).into_owned(), value.as_i64().unwrap())
        };
        headers.iter().map(|pair| field(pair.unwrap())).collect()
    }

    #[test]
    fn every_message_has_its_own_offset_whatever_the_one_before_had() {
        let (plain, typed) = (vec![0, 0], properties(true, &[("a", 1)]));
        let mut with = WithOffset::default();
        for (properties, offset) in [(&plain, 7), (&plain, 8), (&typed, 9), (&typed, 10)] {
            let bytes = with.put(properties, offset);
            assert!(Properties::new(bytes).check().is_ok());
            assert_eq!(read(bytes).last().unwrap(), &(OFFSET.to_owned(), offset as i64));
            assert_eq!(read(bytes).len(), if *properties == typed { 2 } else { 1 });
        }
        assert_eq!(Properties::new(with.put(&typed, 11)).delivery_mode(), Some(2));
    }

    #[test]
    fn publishers_own_header_is_replaced() {
        let sent = properties(false, &[(OFFSET, 99), ("b", 2)]);
        let mut with = WithOffset::default();
        assert_eq!(read(with.put(&sent, 3)), [("b".to_owned(), 2), (OFFSET.to_owned(), 3)]);
    }
}
