//! The reference of the configuration, made from the doc comments of its fields, so that it cannot say anything else
//! than the code: as a page for people and as a schema for editors.

use super::{Config, load};
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

Everything has a default; a broker needs no configuration.
What can be set is set in a TOML file (`leveret serve --config FILE`), in the environment, or with flags of `leveret serve`: flags beat the environment, the environment beats the file.
RabbitMQ's `rabbitmq.conf` and variables are read as well, and what is set here beats them ([how](moving-from-rabbitmq.md)).

- `leveret config check --config FILE` says whether a broker can start with a configuration, and what it would do.
- `leveret config show` prints what the file, the environment and the flags make together.
- `leveret config schema` prints a JSON schema, with which editors complete keys and show what is on this page.

This page is what `leveret config reference` prints.

```toml
data_dir = \"/var/lib/leveret\"

[amqp]
listen = [\"[::]:5672\"]

[resources]
disk_free_limit = \"8GB\"
```
";

/// The schema of the configuration file.
pub(crate) fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let (schema, keys) = (schema(), load::known_keys());
    let mut page = HEAD.to_owned();
    let sections = properties(&schema);
    let single = sections.iter().filter(|(_, value)| properties(value).is_empty());
    table(&mut page, "The broker", "", single.copied(), &keys);
    for (name, section) in &sections {
        let inner = properties(section);
        if inner.is_empty() {
            continue;
        }
        let known = keys.get(*name).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        table(&mut page, &format!("`[{name}]`"), &format!("{name}."), inner.into_iter(), &known);
    }
    page
}

type Property<'a> = (&'a str, &'a Value);

/// The keys of a section that are no section themselves, with those of sections in it.
fn table<'a>(
    page: &mut String,
    title: &str,
    prefix: &str,
    keys: impl Iterator<Item = Property<'a>>,
    known: &toml::Table,
) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n| key | default | what it does |\n|---|---|---|\n");
    for (key, value) in keys {
        row(page, prefix, (key, value), known.get(key));
    }
}

fn row(page: &mut String, prefix: &str, (key, value): Property<'_>, known: Option<&toml::Value>) {
    let inner = properties(value);
    for property in &inner {
        let known = known.and_then(toml::Value::as_table).and_then(|table| table.get(property.0));
        row(page, &format!("{prefix}{key}."), *property, known);
    }
    if inner.is_empty() {
        let default = known.map(shown).unwrap_or_default();
        let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let _ = writeln!(page, "| `{prefix}{key}` | {default} | {text} |");
    }
}

/// A default as it is written in the file; nothing where there is none.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) if text.is_empty() => String::new(),
        toml::Value::Table(_) => String::new(),
        value => format!("`{value}`"),
    }
}

fn properties(schema: &Value) -> Vec<Property<'_>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(there == page(), "write it anew: leveret config reference > docs/configuration.md");
    }

    #[test]
    fn every_key_is_there_and_says_what_it_does() {
        let page = page();
        for key in ["data_dir", "amqp.heartbeat", "auth.default_permissions.read", "tls.verify"] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
            let text = row.and_then(|row| row.rsplit('|').nth(1)).unwrap_or_default();
            assert!(text.len() > 10, "{key}: {row:?}");
        }
        assert!(!page.contains("|  |\n"), "a key without a word");
    }
}
