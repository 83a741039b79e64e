//! Which crate may use which: the one table, with reasons. An arrow that is not here does not
//! exist; to add one, argue for it in `docs/decisions` and add it here.

use anyhow::Context;

use super::Finding;

/// A package, what it may use of ours, and why it may use no more.
struct Layer {
    package: &'static str,
    may_use: &'static [&'static str],
    reason: &'static str,
}

const CLUSTER: &str = "leveret-cluster";
const CODEC: &str = "leveret-codec";
const ENGINE: &str = "leveret-engine";
const MANAGEMENT: &str = "leveret-management";
const NODE: &str = "leveret-node";
const PROTOCOL: &str = "leveret-protocol";
const SERVER: &str = "leveret-server";
const STORE: &str = "leveret-store";

const LAYERS: [Layer; 12] = [
    Layer { package: CODEC, may_use: &[], reason: "bytes and frames know no queue" },
    Layer { package: STORE, may_use: &[], reason: "the store sees slots and bytes, not AMQP" },
    Layer {
        package: ENGINE,
        may_use: &[CODEC],
        reason: "the broker's rules are pure: no store, no connection, no cluster",
    },
    Layer {
        package: PROTOCOL,
        may_use: &[ENGINE, CODEC],
        reason: "connections and channels see queues only through the engine",
    },
    Layer {
        package: CLUSTER,
        may_use: &[ENGINE, STORE],
        reason: "replication moves records and commands; it does not speak AMQP",
    },
    Layer {
        package: NODE,
        may_use: &[ENGINE, PROTOCOL, CLUSTER, STORE],
        reason: "a node wires the pure parts; what the wire looks like is the protocol's",
    },
    Layer {
        package: MANAGEMENT,
        may_use: &[ENGINE],
        reason: "the HTTP API reads and commands through the engine's traits",
    },
    Layer {
        package: SERVER,
        may_use: &[CODEC, STORE, ENGINE, PROTOCOL, CLUSTER, NODE, MANAGEMENT],
        reason: "the binary may see all, but not the tests or the development commands",
    },
    Layer {
        package: "leveret-xtask",
        may_use: &[],
        reason: "development commands must build when the broker does not",
    },
    Layer {
        package: "leveret-tests",
        may_use: &[CODEC, STORE, ENGINE, PROTOCOL, CLUSTER, NODE, MANAGEMENT, SERVER],
        reason: "black-box tests and the simulator may see all that ships",
    },
    Layer {
        package: "leveret-power-loss",
        may_use: &[],
        reason: "what stands between a process and the system knows files and nothing else",
    },
    Layer {
        package: "leveret-interop-lapin",
        may_use: &[],
        reason: "a foreign client's test knows only the wire",
    },
];

/// Checks the arrows of one member's manifest.
pub(super) fn check(path: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    let manifest: toml::Table =
        text.parse().with_context(|| format!("{path} is not a manifest"))?;
    let package = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .unwrap_or_default();
    let Some(layer) = LAYERS.iter().find(|layer| layer.package == package) else {
        return Ok(vec![Finding::new(
            path,
            None,
            format!("package `{package}` is not in the table of layers (tidy/layers.rs)"),
        )]);
    };
    Ok(super::manifest::dependencies(&manifest)
        .filter(|(name, _)| name.starts_with("leveret-") && *name != layer.package)
        .filter(|(name, _)| !layer.may_use.contains(name))
        .map(|(name, _)| {
            let what = format!("{package} must not use {name}: {}", layer.reason);
            Finding::new(path, None, what)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(text: &str) -> Vec<String> {
        check("x/Cargo.toml", text).unwrap().into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_arrow_of_the_table_passes() {
        let text = "[package]\nname = 'leveret-engine'\n\
            [dependencies]\nleveret-codec.workspace = true\nbytes.workspace = true\n";
        assert!(check_lines(text).is_empty());
    }

    #[test]
    fn another_arrow_is_named_with_the_reason() {
        let text = "[package]\nname = 'leveret-engine'\n\
            [dependencies]\nleveret-store.workspace = true\n";
        let findings = check_lines(text);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("leveret-engine must not use leveret-store: the broker's"));
    }

    #[test]
    fn development_and_target_dependencies_count() {
        let text = "[package]\nname = 'leveret-codec'\n\
            [dev-dependencies]\nleveret-engine.workspace = true\n\
            [target.'cfg(unix)'.dependencies]\nleveret-node.workspace = true\n";
        assert_eq!(check_lines(text).len(), 2);
    }

    #[test]
    fn a_package_outside_the_table_is_an_error() {
        let text = "[package]\nname = 'leveret-extra'\n";
        assert!(check_lines(text)[0].contains("not in the table"));
    }

    #[test]
    fn the_table_has_no_circle() {
        for layer in &LAYERS {
            for below in layer.may_use {
                let below = LAYERS.iter().find(|other| other.package == *below).unwrap();
                assert!(!below.may_use.contains(&layer.package), "{}", layer.package);
            }
        }
    }
}
