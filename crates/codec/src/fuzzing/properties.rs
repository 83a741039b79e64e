//! Properties: accessors, summary, rewriting and building agree; and amq-protocol's opinion.

use amq_protocol::protocol::basic::parse_properties;

use crate::properties::flag;
use crate::{Change, Properties, PropertiesWriter, PropertyChanges, Summary, rewrite};

/// Property bytes: flags and values.
pub fn fuzz_properties(data: &[u8]) {
    let properties = Properties::new(data);
    let all = collect(properties);
    let mut same = Vec::new();
    let kept = rewrite(data, &PropertyChanges::default(), &mut same);
    match properties.summary() {
        Ok(summary) => {
            assert_eq!(kept, Ok(()));
            assert_eq!(same, data, "no change changed something");
            agree(&summary, &all);
            rebuilt(data, &all);
            changed(data, &all);
            oracle(data, &all);
        }
        Err(_) if kept.is_ok() => {
            assert!(properties.headers().is_some_and(|headers| headers.check().is_err()));
        }
        Err(_) => assert!(same.is_empty()),
    }
}

fn collect(from: Properties<'_>) -> PropertiesWriter<'_> {
    PropertiesWriter {
        content_type: from.content_type(),
        content_encoding: from.content_encoding(),
        headers: from.headers().map(crate::TableView::as_bytes),
        delivery_mode: from.delivery_mode(),
        priority: from.priority(),
        correlation_id: from.correlation_id(),
        reply_to: from.reply_to(),
        expiration: from.expiration(),
        message_id: from.message_id(),
        timestamp: from.timestamp(),
        type_: from.type_(),
        user_id: from.user_id(),
        app_id: from.app_id(),
        cluster_id: from.cluster_id(),
    }
}

fn agree(summary: &Summary<'_>, all: &PropertiesWriter<'_>) {
    assert_eq!(summary.headers.map(crate::TableView::as_bytes), all.headers);
    assert_eq!(summary.is_persistent(), all.delivery_mode == Some(2));
    assert_eq!(summary.priority(), all.priority.unwrap_or(0));
    assert_eq!(summary.reply_to, all.reply_to);
    assert_eq!(summary.expiration, all.expiration);
    assert_eq!(summary.user_id, all.user_id);
}

/// What the accessors found makes the same bytes again, but for flag bits without a meaning.
fn rebuilt(data: &[u8], all: &PropertiesWriter<'_>) {
    let [f0, f1, values @ ..] = data else { panic!("accepted without flags") };
    let flags = u16::from_be_bytes([*f0, *f1]) & flag::ALL;
    let expected = [&flags.to_be_bytes(), values].concat();
    assert_eq!(all.to_bytes(), Ok(expected));
}

/// A rewrite sets and removes what it was told to and nothing else.
fn changed(data: &[u8], all: &PropertiesWriter<'_>) {
    let changes = PropertyChanges {
        headers: Change::Set(b"\x01kV"),
        expiration: Change::Remove,
        reply_to: Change::Set(b"amq.gen-reply"),
    };
    let mut out = vec![0xAA];
    assert_eq!(rewrite(data, &changes, &mut out), Ok(()));
    let rewritten = Properties::new(&out[1..]);
    assert_eq!(rewritten.check(), Ok(()));
    let expected = PropertiesWriter {
        headers: Some(b"\x01kV"),
        expiration: None,
        reply_to: Some(b"amq.gen-reply"),
        ..*all
    };
    assert_eq!(collect(rewritten), expected);
}

/// Where every text is UTF-8, amq-protocol must read the same.
fn oracle(data: &[u8], all: &PropertiesWriter<'_>) {
    let Ok((rest, oracle)) = parse_properties(data) else {
        let texts = [
            all.content_type,
            all.content_encoding,
            all.correlation_id,
            all.reply_to,
            all.expiration,
            all.message_id,
            all.type_,
            all.user_id,
            all.app_id,
            all.cluster_id,
        ];
        let text = texts.into_iter().flatten().all(|text| str::from_utf8(text).is_ok());
        assert!(!text || all.headers.is_some(), "accepted what amq-protocol refuses");
        return;
    };
    assert_eq!(rest, b"");
    let same = |theirs: &Option<amq_protocol::types::ShortString>, ours: Option<&[u8]>| {
        assert_eq!(theirs.as_ref().map(|text| text.as_str().as_bytes()), ours);
    };
    same(oracle.content_type(), all.content_type);
    same(oracle.content_encoding(), all.content_encoding);
    same(oracle.correlation_id(), all.correlation_id);
    same(oracle.reply_to(), all.reply_to);
    same(oracle.expiration(), all.expiration);
    same(oracle.message_id(), all.message_id);
    same(oracle.kind(), all.type_);
    same(oracle.user_id(), all.user_id);
    same(oracle.app_id(), all.app_id);
    same(oracle.cluster_id(), all.cluster_id);
    assert_eq!(*oracle.delivery_mode(), all.delivery_mode);
    assert_eq!(*oracle.priority(), all.priority);
    assert_eq!(*oracle.timestamp(), all.timestamp);
    assert_eq!(oracle.headers().is_some(), all.headers.is_some());
}
