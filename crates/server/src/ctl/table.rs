//! How lists are printed: as rabbitmqctl does, tabs between columns, so that scripts read them; or as JSON or CSV.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The forms of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns with tabs between them, for people and scripts.
    #[default]
    Table,
    /// An array of objects.
    Json,
    /// Comma-separated values with a line of names.
    Csv,
}

/// A list: what its columns are called, and for each line their values.
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Table {
    /// Lines of the objects in a JSON array. A column is a name, or `shown=key` where the API calls it otherwise; a key
    /// may lead into objects: `a.b`.
    pub(crate) fn of(list: &Value, columns: &[&str]) -> Self {
        let split: Vec<(&str, &str)> =
            columns.iter().map(|c| c.split_once('=').unwrap_or((c, c))).collect();
        let objects = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |object| split.iter().map(|(_, key)| at(object, key)).collect();
        Self {
            columns: split.iter().map(|(shown, _)| (*shown).to_owned()).collect(),
            rows: objects.iter().map(row).collect(),
        }
    }

    /// The text to print.
    pub(crate) fn show(&self, format: Format, headers: bool) -> String {
        match format {
            Format::Json => {
                let object = |row: &Vec<Value>| {
                    let pairs = self.columns.iter().cloned().zip(row.iter().cloned());
                    Value::Object(Map::from_iter(pairs))
                };
                let mut text = Value::Array(self.rows.iter().map(object).collect()).to_string();
                text.push('\n');
                text
            }
            Format::Table => self.lines("\t", headers, plain),
            Format::Csv => self.lines(",", headers, quoted),
        }
    }

    fn lines(&self, between: &str, headers: bool, cell: impl Fn(&Value) -> String) -> String {
        let mut text = String::new();
        if headers && !self.rows.is_empty() {
            let _infallible = writeln!(text, "{}", self.columns.join(between));
        }
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(&cell).collect();
            let _infallible = writeln!(text, "{}", cells.join(between));
        }
        text
    }
}

fn at(object: &Value, key: &str) -> Value {
    key.split('.').fold(object, |value, part| &value[part]).clone()
}

/// A value as rabbitmqctl prints it: text as it is, nothing for null, lists and tables as Erlang has them.
// rabbitmq: rabbitmqctl's table formatter
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let pair = |(key, value): (&String, &Value)| match value {
                Value::String(text) => format!("{{\"{key}\",\"{}\"}}", escaped(text)),
                other => format!("{{\"{key}\",{}}}", plain(other)),
            };
            format!("[{}]", fields.iter().map(pair).collect::<Vec<_>>().join(","))
        }
    }
}

/// Text that stays in its line and column.
fn escaped(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

fn quoted(value: &Value) -> String {
    let text = plain(value);
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Table {
        let list = json!([
            {"name": "a\tb", "n": 1, "arguments": {"x-max-length": 5, "x-overflow": "drop-head"}, "d": {"rate": 0.5}},
            {"name": "c,\"d\"", "n": null, "tags": ["x", "y"]},
        ]);
        Table::of(&list, &["queue=name", "n", "arguments", "rate=d.rate", "tags"])
    }

    #[test]
    fn a_table_has_tabs_between_columns_and_nowhere_else() {
        let lines = "queue\tn\targuments\trate\ttags\n\
            a\\tb\t1\t[{\"x-max-length\",5},{\"x-overflow\",\"drop-head\"}]\t0.5\t\n\
            c,\"d\"\t\t\t\t[x, y]\n";
        assert_eq!(sample().show(Format::Table, true), lines);
        assert!(sample().show(Format::Table, false).starts_with("a\\tb\t"));
        assert_eq!(Table::of(&json!([]), &["name"]).show(Format::Table, true), "");
    }

    #[test]
    fn json_and_csv_are_those_of_other_programs() {
        let json: Value = serde_json::from_str(&sample().show(Format::Json, true)).unwrap();
        assert_eq!(json[0]["queue"], "a\tb");
        assert_eq!(json[1]["tags"], json!(["x", "y"]));
        let csv = sample().show(Format::Csv, true);
        assert_eq!(csv.lines().nth(2), Some("\"c,\"\"d\"\"\",,,,\"[x, y]\""));
    }
}
