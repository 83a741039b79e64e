//! What an answer lacks or says otherwise than the recorded one. What it says beyond that is no
//! difference: tools pass over fields they do not know.

use serde_json::Value;

use super::mask::type_of;
use super::table::Answer;

/// A place in an answer, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Such as `[0].message_stats.publish`; `status` for the status.
    pub(super) place: String,
    pub(super) what: String,
}

/// All differences.
pub(super) fn compare(recorded: &Answer, answer: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    // Where RabbitMQ failed by itself, anything but a failure is better.
    if recorded.status == 500 && answer.status < 500 {
        return found;
    }
    if recorded.status != answer.status {
        let what = format!("{} instead of {}: {}", answer.status, recorded.status, answer.body);
        found.push(Difference { place: "status".to_owned(), what });
        return found;
    }
    values(&recorded.body, &answer.body, String::new(), &mut found);
    found
}

fn values(recorded: &Value, answer: &Value, place: String, found: &mut Vec<Difference>) {
    match (recorded, answer) {
        (Value::Object(recorded), Value::Object(answer)) => {
            for (key, expected) in recorded {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                match answer.get(key) {
                    Some(value) => values(expected, value, place, found),
                    None => found.push(Difference { place, what: "missing".to_owned() }),
                }
            }
        }
        (Value::Array(recorded), Value::Array(answer)) => {
            if recorded.len() != answer.len() {
                let what = format!("{} elements instead of {}", answer.len(), recorded.len());
                found.push(Difference { place, what });
                return;
            }
            for (n, (expected, value)) in recorded.iter().zip(answer).enumerate() {
                values(expected, value, format!("{place}[{n}]"), found);
            }
        }
        _ if same(recorded, answer) => {}
        _ => found.push(Difference { place, what: format!("{answer} instead of {recorded}") }),
    }
}

fn same(recorded: &Value, answer: &Value) -> bool {
    let numbers = recorded.as_f64().zip(answer.as_f64());
    recorded == answer
        || *recorded == type_of(answer)
        || numbers.is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_other_is_found_and_what_is_more_is_not() {
        let of = |body: Value| Answer { status: 200, body };
        let recorded = of(json!({"a": 1, "b": "<number>", "c": [{"d": 1}], "e": 0}));
        let well = of(json!({"a": 1, "b": 7, "c": [{"d": 1, "x": 2}], "e": 0.0, "z": 1}));
        assert_eq!(compare(&recorded, &well), []);
        let ill = of(json!({"a": 2, "b": "7", "c": [{}]}));
        let places: Vec<_> = compare(&recorded, &ill).into_iter().map(|one| one.place).collect();
        assert_eq!(places, ["a", "b", "c[0].d", "e"]);
        let other = Answer { status: 404, body: Value::Null };
        assert_eq!(compare(&recorded, &other).len(), 1);
    }
}
