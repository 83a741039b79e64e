//! Stands before amq-protocol's parser, which has no limit on nesting and one error for everything.
//! Walks a method's fields, names the defect, and makes the first of two equal table keys count.

use crate::cursor::Cursor;
use crate::table::check_table;
use crate::table::view::{ArrayView, Field, TableView, ValueView};
use crate::table::writer::{ArrayWriter, TableWriter};
use crate::{DecodeError, method_id};

/// Bytes before the arguments: class and method id.
const IDS: usize = 4;

/// The fields of a method in order, one letter each: `o` an octet or up to eight bits, `w` 16 bits,
/// `l` 32 bits, `q` 64 bits, `s` short string, `S` long string, `t` table.
// spec: 1.2 - 1.8 the classes; rabbitmq: extensions
fn layout(class: u16, method: u16) -> Option<&'static [u8]> {
    let layout: &[u8] = match (class, method) {
        (10, 10) => b"ootSS",
        (10, 11) => b"tsSs",
        (10, 20 | 21) => b"S",
        (10, 30 | 31) => b"wlw",
        (10, 40) => b"sso",
        (10, 41 | 60) => b"s",
        (10, 50) => b"wsww",
        (10, 51 | 61 | 71) => b"",
        (10, 70) => b"Ss",
        (20, 10) => b"s",
        (20, 11) => b"S",
        (20, 20 | 21) => b"o",
        (20, 40) => b"wsww",
        (20, 41) => b"",
        (30, 10) => b"so",
        (30, 11) => b"w",
        (40, 10) => b"wssot",
        (40, 20) => b"wso",
        (40, 30 | 40) => b"wsssot",
        (40, 11 | 21 | 31 | 51) => b"",
        (50, 10) => b"wsot",
        (50, 11) => b"sll",
        (50, 20) => b"wsssot",
        (50, 30 | 40) => b"wso",
        (50, 31 | 41) => b"l",
        (50, 50) => b"wssst",
        (50, 21 | 51) => b"",
        (60, 10) => b"lwo",
        (60, 20) => b"wssot",
        (60, 21 | 31 | 72) => b"s",
        (60, 30) => b"so",
        (60, 40) => b"wsso",
        (60, 50) => b"wsss",
        (60, 60) => b"sqoss",
        (60, 70) => b"wso",
        (60, 71) => b"qossl",
        (60, 80 | 90 | 120) => b"qo",
        (60, 100 | 110) => b"o",
        (60, 11 | 111) => b"",
        (85, 10) => b"o",
        (85, 11) => b"",
        (90, 10 | 11 | 20 | 21 | 30 | 31) => b"",
        _ => return None,
    };
    Some(layout)
}

/// Walks the whole payload. `true` means that a table holds a key twice.
pub(super) fn check(payload: &[u8]) -> Result<bool, DecodeError> {
    let (class, method) = method_id(payload).ok_or(DecodeError::Truncated)?;
    let fields = layout(class, method).ok_or(DecodeError::UnknownMethod { class, method })?;
    let mut cursor = Cursor(payload.get(IDS..).unwrap_or_default());
    let mut duplicates = false;
    for field in fields {
        match field {
            b's' => utf8(cursor.short()?)?,
            b't' => duplicates |= check_arguments(cursor.long()?)?,
            _ => skip(&mut cursor, *field)?,
        }
    }
    cursor.finish()?;
    Ok(duplicates)
}

fn skip(cursor: &mut Cursor<'_>, field: u8) -> Result<(), DecodeError> {
    match field {
        b'o' => cursor.bytes(1),
        b'w' => cursor.bytes(2),
        b'l' => cursor.bytes(4),
        b'q' => cursor.bytes(8),
        b's' => cursor.short(),
        _ => cursor.long(),
    }
    .map(drop)
}

fn utf8(bytes: &[u8]) -> Result<(), DecodeError> {
    str::from_utf8(bytes).map(drop).map_err(|_| DecodeError::BadShortString)
}

/// Depth and validity first, so that what comes after may recurse.
fn check_arguments(bytes: &[u8]) -> Result<bool, DecodeError> {
    check_table(bytes)?;
    table_duplicates(TableView::new(bytes))
}

pub(crate) fn table_duplicates(table: TableView<'_>) -> Result<bool, DecodeError> {
    let mut keys = Vec::new();
    let mut found = false;
    for field in table.fields() {
        let field = field?;
        utf8(field.key)?;
        keys.push(field.key);
        found |= value_duplicates(field.value)?;
    }
    keys.sort_unstable();
    Ok(found || keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)))
}

fn value_duplicates(value: ValueView<'_>) -> Result<bool, DecodeError> {
    match value {
        ValueView::Table(table) => table_duplicates(table),
        ValueView::Array(array) => {
            let mut found = false;
            for element in array.iter() {
                found |= value_duplicates(element?)?;
            }
            Ok(found)
        }
        _ => Ok(false),
    }
}

/// The payload without the second and later fields of a key, at every depth. The catalogue's tables
/// let the last one win; RabbitMQ looks up the first.
// rabbitmq: field tables
pub(super) fn first_wins(payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (class, method) = method_id(payload).ok_or(DecodeError::Truncated)?;
    let fields = layout(class, method).ok_or(DecodeError::UnknownMethod { class, method })?;
    let mut cursor = Cursor(payload);
    let mut out = cursor.bytes(IDS)?.to_vec();
    for field in fields {
        let before = cursor.0;
        if *field == b't' {
            let mut kept = Vec::new();
            copy_table(TableView::new(cursor.long()?), &mut TableWriter::new(&mut kept))?;
            out.extend((kept.len() as u32).to_be_bytes());
            out.extend(kept);
        } else {
            skip(&mut cursor, *field)?;
            let used = before.len() - cursor.0.len();
            out.extend(before.get(..used).unwrap_or_default());
        }
    }
    Ok(out)
}

fn copy_table(table: TableView<'_>, out: &mut TableWriter<'_>) -> Result<(), DecodeError> {
    let fields = table.fields().collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..fields.len()).collect();
    let key = |index: &usize| fields.get(*index).map(|field| field.key);
    order.sort_by_key(key);
    order.dedup_by_key(|index| key(index));
    order.sort_unstable();
    for Field { key, value, .. } in order.into_iter().filter_map(|index| fields.get(index)) {
        match value {
            ValueView::Table(inner) => out.table(key, |out| copy_table(*inner, out))?,
            ValueView::Array(inner) => out.array(key, |out| copy_array(*inner, out))?,
            _ => out.value(key, *value),
        }
    }
    Ok(())
}

fn copy_array(array: ArrayView<'_>, out: &mut ArrayWriter<'_>) -> Result<(), DecodeError> {
    for value in array.iter() {
        match value? {
            ValueView::Table(inner) => out.table(|out| copy_table(inner, out))?,
            ValueView::Array(inner) => out.array(|out| copy_array(inner, out))?,
            value => out.value(value),
        }
    }
    Ok(())
}
