//! Tables: the check against the iterators, copies, owned tables, and amq-protocol's opinion.

use amq_protocol::types::FieldTable;
use amq_protocol::types::parsing::parse_field_table;

use crate::method::table_duplicates;
use crate::{DecodeError, TABLE_DEPTH_MAX, Table, TableView, TableWriter, ValueView};

/// The bytes of a table, without their length.
pub fn fuzz_table(data: &[u8]) {
    let view = TableView::new(data);
    let checked = view.check();
    assert_eq!(checked, walk(ValueView::Table(view), TABLE_DEPTH_MAX), "the walks disagree");
    let Ok(table) = Table::try_from(view) else {
        assert!(checked.is_err(), "a checked table cannot be copied");
        return;
    };
    assert!(checked.is_ok());
    copies(view);
    lookups(view);
    let Ok(duplicates) = table_duplicates(view) else { return };
    owned(&table);
    if !duplicates {
        oracle(data, &table);
    }
}

/// The walk of the check, made of the iterators.
fn walk(value: ValueView<'_>, levels: usize) -> Result<(), DecodeError> {
    match value {
        ValueView::Table(table) => {
            let levels = levels.checked_sub(1).ok_or(DecodeError::TableTooDeep)?;
            table.iter().try_for_each(|field| walk(field?.1, levels))
        }
        ValueView::Array(array) => {
            let levels = levels.checked_sub(1).ok_or(DecodeError::TableTooDeep)?;
            array.iter().try_for_each(|value| walk(value?, levels))
        }
        _ => Ok(()),
    }
}

/// Field by field the same bytes.
fn copies(view: TableView<'_>) {
    let mut out = Vec::new();
    let mut writer = TableWriter::new(&mut out);
    view.fields().flatten().for_each(|field| writer.copy(&field));
    assert_eq!(out, view.as_bytes());
}

/// The first field with a key is the one that is found.
fn lookups(view: TableView<'_>) {
    let Some(Ok(first)) = view.fields().next() else { return };
    let found = view.get(first.key).map(ValueView::kind);
    assert_eq!(found, Some(first.value.kind()));
}

/// Written and read again an owned table gives the same bytes.
fn owned(table: &Table) {
    assert_eq!(table.check(), Ok(()));
    let bytes = table.to_bytes();
    let again = Table::try_from(TableView::new(&bytes));
    assert_eq!(again.map(|again| again.to_bytes()), Ok(bytes));
}

/// Keys are UTF-8, differ, and depth is within the limit: amq-protocol must read the same.
fn oracle(data: &[u8], table: &Table) {
    let counted = [&(data.len() as u32).to_be_bytes(), data].concat();
    let Ok(([], oracle)) = parse_field_table(counted.as_slice()) else {
        panic!("accepted what amq-protocol refuses");
    };
    let ours = Table::from(FieldTable::from(table));
    assert_eq!(ours.to_bytes(), Table::from(oracle).to_bytes());
}
