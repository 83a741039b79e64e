//! Properties: each alone, all together, none; damage; rewriting.

use super::*;
use crate::{Change, PropertiesWriter, PropertyChanges, rewrite};

const HEADERS: &[u8] = b"\x01kI\x00\x00\x00\x01";

fn all() -> PropertiesWriter<'static> {
    PropertiesWriter {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"utf-8"),
        headers: Some(HEADERS),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some(b"c"),
        reply_to: Some(b"reply"),
        expiration: Some(b"60000"),
        message_id: Some(b"m"),
        timestamp: Some(1_577_836_800),
        type_: Some(b"t"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b""),
    }
}

#[test]
fn all_properties_are_read_back() {
    let bytes = all().to_bytes().unwrap();
    assert_eq!(bytes[..2], [0xFF, 0xFC]);
    let view = Properties::new(&bytes);
    assert_eq!(view.content_type(), Some(&b"text/plain"[..]));
    assert_eq!(view.content_encoding(), Some(&b"utf-8"[..]));
    assert_eq!(view.headers(), Some(TableView::new(HEADERS)));
    assert_eq!((view.delivery_mode(), view.priority()), (Some(2), Some(7)));
    assert_eq!(view.correlation_id(), Some(&b"c"[..]));
    assert_eq!(view.reply_to(), Some(&b"reply"[..]));
    assert_eq!(view.expiration(), Some(&b"60000"[..]));
    assert_eq!(view.message_id(), Some(&b"m"[..]));
    assert_eq!(view.timestamp(), Some(1_577_836_800));
    assert_eq!(view.type_(), Some(&b"t"[..]));
    assert_eq!(view.user_id(), Some(&b"guest"[..]));
    assert_eq!(view.app_id(), Some(&b"app"[..]));
    assert_eq!(view.cluster_id(), Some(&b""[..]));
    let summary = Summary {
        headers: Some(TableView::new(HEADERS)),
        reply_to: Some(b"reply"),
        expiration: Some(b"60000"),
        user_id: Some(b"guest"),
        ..Summary::with_modes(2, 7)
    };
    assert_eq!(view.summary(), Ok(summary));
    assert_eq!((summary.is_persistent(), summary.priority()), (true, 7));
}

#[test]
fn no_properties_are_two_zero_bytes() {
    let bytes = PropertiesWriter::default().to_bytes().unwrap();
    assert_eq!(bytes, [0, 0]);
    assert_eq!(Properties::new(&bytes).summary(), Ok(Summary::default()));
    assert_eq!(Properties::new(&bytes).headers(), None);
}

#[test]
fn every_cut_is_truncated_and_more_is_trailing() {
    let bytes = all().to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert_eq!(Properties::new(&bytes[..len]).check(), Err(DecodeError::Truncated), "{len}");
    }
    let longer = [&bytes[..], b"\x00"].concat();
    assert_eq!(Properties::new(&longer).check(), Err(DecodeError::TrailingBytes));
    assert_eq!(Properties::new(b"\x00\x00\x00").check(), Err(DecodeError::TrailingBytes));
}

#[test]
fn damage_within_headers_is_found() {
    let headers = Some(&b"\x01kZ"[..]);
    let bytes = PropertiesWriter { headers, ..Default::default() }.to_bytes().unwrap();
    assert_eq!(Properties::new(&bytes).check(), Err(DecodeError::BadTableType(b'Z')));
}

// rabbitmq 3.10: unused flag bits are ignored and forwarded, a second flag word does not exist
#[test]
fn unused_flag_bits_are_ignored_and_kept() {
    let bytes = b"\x10\x03\x02";
    assert_eq!(Properties::new(bytes).summary().map(|s| s.is_persistent()), Ok(true));
    let mut out = Vec::new();
    let changes = PropertyChanges { expiration: Change::Set(b"5"), ..Default::default() };
    assert_eq!(rewrite(bytes, &changes, &mut out), Ok(()));
    assert_eq!(out, b"\x11\x03\x02\x015");
}

#[test]
fn a_rewrite_changes_what_it_is_told_to() {
    let original = all().to_bytes().unwrap();
    let check = |changes: PropertyChanges<'_>, expected: PropertiesWriter<'_>| {
        let mut out = b"kept".to_vec();
        assert_eq!(rewrite(&original, &changes, &mut out), Ok(()));
        assert_eq!(out, [b"kept", &expected.to_bytes().unwrap()[..]].concat());
    };
    check(PropertyChanges::default(), all());
    let changes = PropertyChanges {
        headers: Change::Set(b""),
        expiration: Change::Remove,
        reply_to: Change::Set(b"amq.rabbitmq.reply-to.x"),
    };
    let expected = PropertiesWriter {
        headers: Some(b""),
        expiration: None,
        reply_to: Some(b"amq.rabbitmq.reply-to.x"),
        ..all()
    };
    check(changes, expected);
    let changes = PropertyChanges { headers: Change::Remove, ..Default::default() };
    check(changes, PropertiesWriter { headers: None, ..all() });
}

#[test]
fn a_failed_rewrite_leaves_the_output_alone() {
    let mut out = b"kept".to_vec();
    let long = [b'x'; 256];
    let changes = PropertyChanges { reply_to: Change::Set(&long), ..Default::default() };
    assert_eq!(rewrite(b"\x00\x00", &changes, &mut out), Err(DecodeError::StringTooLong));
    let none = PropertyChanges::default();
    assert_eq!(rewrite(b"\x80\x00", &none, &mut out), Err(DecodeError::Truncated));
    assert_eq!(out, b"kept");
    let writer = PropertiesWriter { app_id: Some(&long), ..Default::default() };
    assert_eq!(writer.write(&mut out), Err(DecodeError::StringTooLong));
    assert_eq!(out, b"kept");
}
