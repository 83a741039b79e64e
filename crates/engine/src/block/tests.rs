//! Records come out of a block as they went in, however they were moved about.

use super::*;
use crate::wire::Reader;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Plain {
    address: Vec<u8>,
    properties: Vec<u8>,
    persistent: bool,
    priority: u8,
    expires_at: Option<u64>,
    body: Vec<u8>,
    shared: bool,
}

fn plain() -> impl Strategy<Value = Plain> {
    let short = || prop::collection::vec(any::<u8>(), 0..6);
    (
        prop::collection::vec(short(), 2..4),
        short(),
        any::<bool>(),
        any::<u8>(),
        prop::option::of(1u64..99),
        short(),
        any::<bool>(),
    )
        .prop_map(|(parts, properties, persistent, priority, expires_at, body, shared)| {
            let mut address = Vec::new();
            for part in parts {
                address.push(part.len() as u8);
                address.extend(part);
            }
            Plain { address, properties, persistent, priority, expires_at, body, shared }
        })
}

fn block(records: &[Plain]) -> Block {
    let mut block = Block::new();
    for plain in records {
        let body = Bytes::from(plain.body.clone());
        block.push(&NewRecord {
            address: &plain.address,
            properties: &plain.properties,
            persistent: plain.persistent,
            priority: plain.priority,
            expires_at: plain.expires_at.map(Timestamp),
            body: if plain.shared { Body::Shared(&body) } else { Body::Inline(&body) },
        });
    }
    block
}

fn check(block: &Block, records: &[Plain]) -> Result<(), TestCaseError> {
    prop_assert_eq!(block.len() as usize, records.len());
    for (at, plain) in (0..).zip(records) {
        let record = block.record(at);
        prop_assert_eq!(record.whole_address(), &plain.address[..]);
        prop_assert_eq!(record.properties(), &plain.properties[..]);
        prop_assert_eq!(record.body().bytes(), &plain.body[..]);
        prop_assert_eq!(record.body_len(), plain.body.len());
        prop_assert_eq!(matches!(record.body(), Body::Shared(_)), plain.shared);
        prop_assert_eq!(
            (record.persistent(), record.priority()),
            (plain.persistent, plain.priority)
        );
        prop_assert_eq!(record.expires_at(), plain.expires_at.map(Timestamp));
        prop_assert_eq!(block.expires_at(at), plain.expires_at.map(Timestamp));
        prop_assert_eq!(block.priority(at), plain.priority);
        prop_assert!(!record.redelivered() && !record.cc_spent());
    }
    prop_assert_eq!(block.any_expires(), records.iter().any(|plain| plain.expires_at.is_some()));
    prop_assert_eq!(block.any_persistent(), records.iter().any(|plain| plain.persistent));
    if let Some(low) = records.iter().map(|plain| plain.priority).min() {
        let (lowest, highest) = block.priorities();
        prop_assert!(lowest <= low);
        prop_assert!(records.iter().all(|plain| plain.priority <= highest));
    }
    Ok(())
}

proptest! {
    #[test]
    fn records_come_out_as_they_went_in(records in prop::collection::vec(plain(), 0..20)) {
        let block = block(&records);
        check(&block, &records)?;
        let copy = Block::from_parts(block.bytes().to_vec(), block.shared_bodies().to_vec());
        check(&copy.unwrap(), &records)?;
    }

    #[test]
    fn parts_of_blocks_can_be_put_together(
        first in prop::collection::vec(plain(), 0..8),
        second in prop::collection::vec(plain(), 1..12),
        from in 0usize..12,
        n in 0usize..12,
    ) {
        let mut target = block(&first);
        let from = from.min(second.len());
        let to = (from + n).min(second.len());
        target.append_from(&block(&second), from as u32..to as u32);
        let mut all = first;
        all.extend_from_slice(&second[from..to]);
        check(&target, &all)?;
        for start in 0..=all.len() {
            for end in start..=all.len() {
                let bytes: usize = all[start..end].iter().map(|plain| plain.body.len()).sum();
                let range = start as u32..end as u32;
                prop_assert_eq!(target.body_bytes(range.clone()), bytes as u64);
                for room in 0..12u64 {
                    let (mut left, mut n) = (room, 0);
                    for plain in &all[start..end] {
                        if left == 0 {
                            break;
                        }
                        left = left.saturating_sub(plain.body.len() as u64);
                        n += 1;
                    }
                    prop_assert_eq!(target.fill(range.clone(), room), n);
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_make_whole_records(
        records in prop::collection::vec(plain(), 1..6),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let block = block(&records);
        let mut bytes = block.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Some(block) = Block::from_parts(bytes, block.shared_bodies().to_vec()) {
            for at in 0..block.len() {
                let record = block.record(at);
                let _ = (record.address(), record.routing_key(), record.hidden_keys().count());
                prop_assert_eq!(record.body().len(), record.body_len());
            }
        }
    }
}

/// Stretches of a run of `n` records, from where each begins and ends as a share of 64.
fn parts(n: u32, cuts: &[(u32, u32)]) -> Vec<Range<u32>> {
    let mut parts = Vec::new();
    let mut at = 0;
    for (gap, len) in cuts {
        let start = (at + gap).min(n);
        let end = (start + len).min(n);
        if start < end && (parts.is_empty() || *gap > 0) {
            parts.push(start..end);
            at = end;
        }
    }
    parts
}

proptest! {
    #[test]
    fn stored_run_comes_back_with_holes_for_what_was_left_out(
        records in prop::collection::vec(plain(), 1..30),
        cuts in prop::collection::vec((0u32..5, 1u32..8), 0..8),
        skip in 0u32..5,
    ) {
        let block = block(&records);
        let span = skip.min(block.len() - 1)..block.len();
        let kept: Vec<_> = parts(span.end - span.start, &cuts)
            .into_iter()
            .map(|part| part.start + span.start..part.end + span.start)
            .collect();
        let mut bytes = Vec::new();
        block.write_run(span.clone(), &kept, &mut bytes);
        let whole = Bytes::from(bytes);
        for mut reader in [Reader::new(&whole), Reader::sharing(&whole)] {
            let back = Block::read_run(&mut reader).unwrap();
            prop_assert!(reader.is_at_end());
            prop_assert_eq!(back.len(), span.end - span.start);
            let n_kept: u32 = kept.iter().map(|part| part.end - part.start).sum();
            prop_assert_eq!(back.holes(), back.len() - n_kept);
            let mut alone = Block::new();
            let mut plains = Vec::new();
            for at in span.clone() {
                let here = at - span.start;
                let is_kept = kept.iter().any(|part| part.contains(&at));
                prop_assert_eq!(back.is_hole(here), !is_kept);
                if is_kept {
                    alone.append_from(&back, here..here + 1);
                    plains.push(records[at as usize].clone());
                } else {
                    prop_assert_eq!(back.body_bytes(here..here + 1), 0);
                }
            }
            check(&alone, &plains)?;
        }
    }

    #[test]
    fn any_bytes_make_a_run_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Block::read_run(&mut Reader::new(&bytes));
    }

    #[test]
    fn damaged_run_makes_whole_records_or_is_refused(
        records in prop::collection::vec(plain(), 1..6),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let block = block(&records);
        let mut bytes = Vec::new();
        block.write_run(0..block.len(), std::slice::from_ref(&(0..block.len())), &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(block) = Block::read_run(&mut Reader::new(&bytes)) {
            for at in 0..block.len() {
                let record = block.record(at);
                let _ = (record.address(), record.routing_key(), record.hidden_keys().count());
                prop_assert_eq!(record.body().len(), record.body_len());
            }
        }
    }
}

#[test]
fn huge_run_without_messages_is_refused() {
    let mut bytes = Vec::new();
    [u64::from(u32::MAX), 0, 0].iter().for_each(|n| crate::wire::put_varint(&mut bytes, *n));
    assert!(Block::read_run(&mut Reader::new(&bytes)).is_err());
}

#[test]
fn hidden_keys_are_not_part_of_the_address() {
    let mut block = Block::new();
    let new = NewRecord {
        address: b"\x01x\x01k\x02b1\x00",
        properties: &[0, 0],
        persistent: false,
        priority: 0,
        expires_at: None,
        body: Body::Inline(b""),
    };
    block.push(&new);
    block.push(&NewRecord { address: b"\x00\x00", ..new });
    let record = block.record(0);
    assert_eq!((record.address(), record.exchange()), (&b"\x01x\x01k"[..], &b"x"[..]));
    assert_eq!(record.hidden_keys().collect::<Vec<_>>(), [&b"b1"[..], b""]);
    assert_eq!(
        (block.record(1).address(), block.record(1).hidden_keys().count()),
        (&[0, 0][..], 0)
    );
}

#[test]
fn marks_and_expiry_can_be_set_later() {
    let records = [None, Some(50), Some(5)];
    let mut block = Block::new();
    for expires_at in records {
        block.push(&NewRecord {
            address: b"\x00\x00",
            properties: &[0, 0],
            persistent: false,
            priority: 0,
            expires_at: expires_at.map(Timestamp),
            body: Body::Inline(b"body"),
        });
    }
    block.limit_expiry(Timestamp(20));
    let expiries: Vec<_> = (0..3).map(|at| block.expires_at(at).unwrap().0).collect();
    assert_eq!(expiries, [20, 20, 5]);
    block.set_expiry(0, None);
    block.mark_redelivered(1);
    block.mark_cc_spent(2);
    let marks = |at| (block.record(at).redelivered(), block.record(at).cc_spent());
    assert_eq!([marks(0), marks(1), marks(2)], [(false, false), (true, false), (false, true)]);
    assert!(block.any_expires() && block.record(0).expires_at().is_none());
}

#[test]
fn block_is_full_at_its_target_shared_bodies_included() {
    let mut block = Block::new();
    let body = Bytes::from(vec![0; BLOCK_TARGET]);
    let mut new = NewRecord {
        address: b"\x00\x00",
        properties: &[0, 0],
        persistent: false,
        priority: 0,
        expires_at: None,
        body: Body::Inline(b"body"),
    };
    block.push(&new);
    assert!(!block.is_full());
    assert!(block.memory() < 1024);
    new.body = Body::Shared(&body);
    block.push(&new);
    assert!(block.is_full());
}

proptest! {
    #[test]
    fn records_come_to_another_node_as_they_are(
        records in prop::collection::vec(plain(), 1..9),
        from in 0u32..8,
        flip in any::<(usize, u8)>(),
    ) {
        let block = block(&records);
        let from = from.min(block.len() - 1);
        let bytes = block.pack(from..block.len());
        check(&Block::unpack(&bytes).unwrap(), &records[from as usize..])?;
        let mut damaged = bytes.clone();
        let at = flip.0 % damaged.len();
        damaged[at] ^= flip.1;
        // It is read as something or not at all.
        let _ = Block::unpack(&damaged);
        prop_assert!(Block::unpack(&bytes[..bytes.len() - 1]).is_err());
    }
}
