//! Dependencies are declared once, in the workspace's manifest, each with the reason it is there.

use anyhow::Context;
use toml::{Table, Value};

use super::Finding;

/// Every dependency of a member's manifest, whichever of its tables names it.
pub(super) fn dependencies(manifest: &Table) -> impl Iterator<Item = (&str, &Value)> {
    let per_target = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values().filter_map(Value::as_table));
    std::iter::once(manifest)
        .chain(per_target)
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|name| table.get(name).and_then(Value::as_table))
        })
        .flat_map(|table| table.iter().map(|(name, value)| (name.as_str(), value)))
}

/// Whether a manifest below the root is a workspace of its own, as cargo-fuzz needs it: it cannot
/// take anything from ours, and nothing that ships depends on it.
pub(super) fn stands_alone(text: &str) -> bool {
    text.lines().any(|line| line == "[workspace]")
}

/// Members take every dependency from the workspace, so that there is one version of each.
pub(super) fn check_member(path: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    let manifest: Table = text.parse().with_context(|| format!("{path} is not a manifest"))?;
    Ok(dependencies(&manifest)
        .filter(|(_, value)| value.get("workspace").and_then(Value::as_bool) != Some(true))
        .map(|(name, _)| {
            let what = format!("`{name}` must be declared in the workspace: `workspace = true`");
            Finding::new(path, None, what)
        })
        .collect())
}

/// A dependency of the workspace has a comment above it, or stands below one that it extends
/// (`serde_json` below `serde`). Our own crates are explained where they are members.
pub(super) fn check_workspace(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside = false;
    let mut explained: Option<&str> = None;
    let mut after_comment = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        }
        let name = line.split([' ', '.', '=']).next().unwrap_or_default();
        let declares = inside && line.contains('=') && !line.starts_with(['#', '[', ' ']);
        if declares && !name.starts_with("leveret-") {
            if after_comment {
                explained = Some(name);
            } else if !explained.is_some_and(|base| name.starts_with(base)) {
                let what = format!("`{name}` has no comment above it that says why it is here");
                findings.push(Finding::new(path, number, what));
            }
        }
        after_comment = line.starts_with('#');
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_a_member_is_found_in_every_table() {
        let text = "[dependencies]\nbytes.workspace = true\nnom = '8'\n\
            [dev-dependencies]\nrand = { version = '1' }\n\
            [target.'cfg(unix)'.build-dependencies]\nlibc = { path = '../libc' }\n";
        let findings = check_member("x/Cargo.toml", text).unwrap();
        let names: Vec<_> = findings.iter().map(|f| f.what.split('`').nth(1).unwrap()).collect();
        assert_eq!(names, ["nom", "rand", "libc"]);
    }

    #[test]
    fn a_workspace_dependency_needs_a_reason() {
        let text = "[workspace.dependencies]\nleveret-codec = { path = 'x' }\n\n\
            # Serialised commands.\nserde = '1'\nserde_json = '1'\n\
            nom = '8'\n[profile.dev]\nopt-level = 1\n";
        let findings = check_workspace("Cargo.toml", text);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, Some(7));
    }
}
