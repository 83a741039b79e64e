//! Message properties, viewed in the bytes they came in: a word of flags and the values it announces.
//!
//! Hot path (`summary`).

pub(crate) mod rewrite;
pub(crate) mod writer;

use crate::cursor::Cursor;
use crate::table::check_table;
use crate::{DecodeError, TableView};

/// The bit of each property in the flag word, in wire order. The two lowest bits mean nothing to
/// RabbitMQ: it ignores and forwards them, and never reads a second flag word.
// spec: 4.2.6.1 the content header; rabbitmq: field tables
pub(crate) mod flag {
    pub(crate) const CONTENT_TYPE: u16 = 1 << 15;
    pub(crate) const CONTENT_ENCODING: u16 = 1 << 14;
    pub(crate) const HEADERS: u16 = 1 << 13;
    pub(crate) const DELIVERY_MODE: u16 = 1 << 12;
    pub(crate) const PRIORITY: u16 = 1 << 11;
    pub(crate) const CORRELATION_ID: u16 = 1 << 10;
    pub(crate) const REPLY_TO: u16 = 1 << 9;
    pub(crate) const EXPIRATION: u16 = 1 << 8;
    pub(crate) const MESSAGE_ID: u16 = 1 << 7;
    pub(crate) const TIMESTAMP: u16 = 1 << 6;
    pub(crate) const TYPE: u16 = 1 << 5;
    pub(crate) const USER_ID: u16 = 1 << 4;
    pub(crate) const APP_ID: u16 = 1 << 3;
    pub(crate) const CLUSTER_ID: u16 = 1 << 2;
    /// The properties behind priority.
    pub(crate) const AFTER_PRIORITY: u16 = (PRIORITY - 1) & ALL;
    /// Every property.
    pub(crate) const ALL: u16 = !0b11;
}

/// A view of property bytes: flags and values as [`ContentHeader`](crate::ContentHeader) carries them.
///
/// The accessors walk to the property they want. They answer `None` both where it is absent and where the
/// bytes are damaged; [`Properties::summary`] or [`Properties::check`] tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

/// What a publish needs to know about a message's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary<'a> {
    /// The headers table.
    pub headers: Option<TableView<'a>>,
    /// Delivery mode and priority, each 0 where there is none. As one word, since it is written for every message and moved
    /// on at once: a load that is wider than the stores before it waits for all of them, here some 100 ns.
    modes: u64,
    /// Where replies go.
    pub reply_to: Option<&'a [u8]>,
    /// Milliseconds in decimal, as text that is not yet parsed.
    pub expiration: Option<&'a [u8]>,
    /// The user that the publisher claims to be.
    pub user_id: Option<&'a [u8]>,
}

impl Summary<'_> {
    fn with_modes(delivery_mode: u8, priority: u8) -> Self {
        Self { modes: u64::from(delivery_mode) << 8 | u64::from(priority), ..Self::default() }
    }

    /// Whether the delivery mode is 2.
    #[must_use]
    pub const fn is_persistent(&self) -> bool {
        self.modes >> 8 == 2
    }

    /// The priority; 0 if there is none.
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.modes as u8
    }
}

impl<'a> Properties<'a> {
    /// A view of `bytes`, which are not checked.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Flags and values.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Checks everything, the headers table to its depths included, and picks what a publish needs, in
    /// one walk without an allocation. A few nanoseconds where there are no properties.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::TrailingBytes`], and those of the headers table.
    #[inline]
    pub fn summary(self) -> Result<Summary<'a>, DecodeError> {
        match self.0 {
            &[f0, f1, ref values @ ..] => match u16::from_be_bytes([f0, f1]) & flag::ALL {
                0 if values.is_empty() => Ok(Summary::default()),
                0 => Err(DecodeError::TrailingBytes),
                flags => summarise(flags, values),
            },
            _ => Err(DecodeError::Truncated),
        }
    }

    /// Checks everything, the headers table to its depths included.
    ///
    /// # Errors
    /// As [`Properties::summary`].
    pub fn check(self) -> Result<(), DecodeError> {
        self.summary().map(drop)
    }

    /// The raw value of one property, length bytes included.
    fn find(self, wanted: u16) -> Option<Cursor<'a>> {
        let mut cursor = Cursor(self.0);
        let flags = cursor.u16().ok()?;
        if flags & wanted == 0 {
            return None;
        }
        let mut bit = flag::CONTENT_TYPE;
        while bit != wanted {
            if flags & bit != 0 {
                skip(&mut cursor, bit).ok()?;
            }
            bit >>= 1;
        }
        Some(cursor)
    }

    fn short(self, wanted: u16) -> Option<&'a [u8]> {
        self.find(wanted)?.short().ok()
    }

    /// MIME type of the body.
    #[must_use]
    pub fn content_type(self) -> Option<&'a [u8]> {
        self.short(flag::CONTENT_TYPE)
    }

    /// MIME encoding of the body.
    #[must_use]
    pub fn content_encoding(self) -> Option<&'a [u8]> {
        self.short(flag::CONTENT_ENCODING)
    }

    /// The headers table.
    #[must_use]
    pub fn headers(self) -> Option<TableView<'a>> {
        self.find(flag::HEADERS)?.long().ok().map(TableView::new)
    }

    /// 2 is persistent.
    #[must_use]
    pub fn delivery_mode(self) -> Option<u8> {
        self.find(flag::DELIVERY_MODE)?.u8().ok()
    }

    /// The priority.
    #[must_use]
    pub fn priority(self) -> Option<u8> {
        self.find(flag::PRIORITY)?.u8().ok()
    }

    /// What a reply refers to.
    #[must_use]
    pub fn correlation_id(self) -> Option<&'a [u8]> {
        self.short(flag::CORRELATION_ID)
    }

    /// Where replies go.
    #[must_use]
    pub fn reply_to(self) -> Option<&'a [u8]> {
        self.short(flag::REPLY_TO)
    }

    /// Milliseconds in decimal, as text.
    #[must_use]
    pub fn expiration(self) -> Option<&'a [u8]> {
        self.short(flag::EXPIRATION)
    }

    /// The application's name for the message.
    #[must_use]
    pub fn message_id(self) -> Option<&'a [u8]> {
        self.short(flag::MESSAGE_ID)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn timestamp(self) -> Option<u64> {
        self.find(flag::TIMESTAMP)?.u64().ok()
    }

    /// The application's type of the message.
    #[must_use]
    pub fn type_(self) -> Option<&'a [u8]> {
        self.short(flag::TYPE)
    }

    /// The user that the publisher claims to be.
    #[must_use]
    pub fn user_id(self) -> Option<&'a [u8]> {
        self.short(flag::USER_ID)
    }

    /// The application.
    #[must_use]
    pub fn app_id(self) -> Option<&'a [u8]> {
        self.short(flag::APP_ID)
    }

    /// Deprecated, kept for those who set it.
    #[must_use]
    pub fn cluster_id(self) -> Option<&'a [u8]> {
        self.short(flag::CLUSTER_ID)
    }
}

/// Passes over the value of one property.
#[inline]
pub(crate) fn skip(cursor: &mut Cursor<'_>, property: u16) -> Result<(), DecodeError> {
    match property {
        flag::HEADERS => cursor.long().map(drop),
        flag::DELIVERY_MODE | flag::PRIORITY => cursor.u8().map(drop),
        flag::TIMESTAMP => cursor.u64().map(drop),
        _ => cursor.short().map(drop),
    }
}

/// The walk of [`Properties::summary`] where there is at least one property.
fn summarise(flags: u16, values: &[u8]) -> Result<Summary<'_>, DecodeError> {
    let mut cursor = Cursor(values);
    let (mut headers, mut delivery_mode, mut priority) = (None, 0, 0);
    let has = |property: u16| flags & property != 0;
    if has(flag::CONTENT_TYPE) {
        cursor.short()?;
    }
    if has(flag::CONTENT_ENCODING) {
        cursor.short()?;
    }
    if has(flag::HEADERS) {
        let table = cursor.long()?;
        check_table(table)?;
        headers = Some(TableView::new(table));
    }
    if has(flag::DELIVERY_MODE) {
        delivery_mode = cursor.u8()?;
    }
    if has(flag::PRIORITY) {
        priority = cursor.u8()?;
    }
    let mut summary = Summary { headers, ..Summary::with_modes(delivery_mode, priority) };
    if flags & flag::AFTER_PRIORITY != 0 {
        summarise_rest(flags, &mut cursor, &mut summary)?;
    }
    cursor.finish()?;
    Ok(summary)
}

/// The properties after priority, which few messages have.
fn summarise_rest<'a>(
    flags: u16,
    cursor: &mut Cursor<'a>,
    summary: &mut Summary<'a>,
) -> Result<(), DecodeError> {
    let mut bit = flag::CORRELATION_ID;
    while bit >= flag::CLUSTER_ID {
        if flags & bit != 0 {
            match bit {
                flag::REPLY_TO => summary.reply_to = Some(cursor.short()?),
                flag::EXPIRATION => summary.expiration = Some(cursor.short()?),
                flag::USER_ID => summary.user_id = Some(cursor.short()?),
                _ => skip(cursor, bit)?,
            }
        }
        bit >>= 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
