//! What notices say.

use super::changes::of_command;
use super::*;
use crate::command::{Applied, Change, Command, Outcome, VhostSpec};
use leveret_codec::{Properties, TableView, ValueView};

fn headers(notice: &Notice) -> Vec<(String, String)> {
    let record = notice.block.record(0);
    let headers = Properties::new(record.properties()).headers().unwrap();
    headers
        .iter()
        .map(|field| field.unwrap())
        .map(|(key, value)| (text(key), show(value)))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn show(value: ValueView<'_>) -> String {
    match value {
        ValueView::LongString(bytes) => text(bytes),
        ValueView::Array(array) => {
            let values: Vec<_> = array.iter().map(|value| show(value.unwrap())).collect();
            format!("[{}]", values.join(","))
        }
        ValueView::Table(table) => {
            let fields = |table: TableView<'_>| {
                let field =
                    |(key, value): (&[u8], ValueView<'_>)| format!("{}={}", text(key), show(value));
                table.iter().map(|pair| field(pair.unwrap())).collect::<Vec<_>>().join(",")
            };
            format!("{{{}}}", fields(table))
        }
        ValueView::Bool(value) => value.to_string(),
        other => other.as_i64().map_or_else(String::new, |number| number.to_string()),
    }
}

#[test]
fn events_have_a_time_and_no_body() {
    let command = Command::PutVhost(VhostSpec { name: "v".into(), ..VhostSpec::default() });
    let outcome = Outcome::Put { created: true };
    let applied = Applied { outcome, changes: vec![Change::VhostAdded("v".into())] };
    let events = of_command(&command, &applied);
    assert_eq!(events.len(), 1);
    let notices: Vec<_> =
        events.into_iter().filter_map(|event| event.notice(Timestamp(5_500))).collect();
    assert_eq!(notices[0].key, b"vhost.created");
    let expected = [("name", "v"), ("timestamp_in_ms", "5500")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(headers(&notices[0]), expected);
    let record = notices[0].block.record(0);
    assert_eq!((record.body_len(), record.persistent()), (0, true));
    assert_eq!(Properties::new(record.properties()).timestamp(), Some(5));
}
