//! The verbs about policies, parameters and the limits of vhosts.

use super::request::{Request, carry_out, delete, json_of, put};
use super::{Options, segment};
use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

/// Policies, parameters, limits.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Rules {
    /// Limit a vhost: `{"max-connections": 10, "max-queues": 100}`.
    SetVhostLimits { definition: String },
    /// Lift the limits of a vhost.
    ClearVhostLimits,
    /// Set a policy.
    SetPolicy(Policy),
    /// Remove a policy.
    ClearPolicy { name: String },
    /// Set an operator policy.
    SetOperatorPolicy(Policy),
    /// Remove an operator policy.
    ClearOperatorPolicy { name: String },
    /// Set a runtime parameter of a vhost.
    SetParameter { component: String, name: String, value: String },
    /// Remove a runtime parameter.
    ClearParameter { component: String, name: String },
    /// Set a runtime parameter of the whole broker.
    SetGlobalParameter { name: String, value: String },
    /// Remove a runtime parameter of the whole broker.
    ClearGlobalParameter { name: String },
    /// Name the cluster.
    SetClusterName { name: String },
}

/// A policy.
#[derive(Debug, clap::Args)]
pub(super) struct Policy {
    name: String,
    pattern: String,
    /// JSON, such as `{"max-length": 1000}`.
    definition: String,
    /// The highest wins.
    #[arg(long, default_value_t = 0)]
    priority: i64,
    /// queues, exchanges or all.
    #[arg(long, value_name = "KIND")]
    apply_to: Option<String>,
}

impl Rules {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        let (vhost, v) = (&options.vhost, segment(&options.vhost));
        let (says, requests) = match self {
            Self::SetVhostLimits { definition } => (
                format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."),
                limits(definition, &format!("/api/vhost-limits/{v}"))?,
            ),
            Self::ClearVhostLimits => (
                format!("Clearing vhost \"{vhost}\" limits ..."),
                ["max-connections", "max-queues"]
                    .map(|limit| delete(format!("/api/vhost-limits/{v}/{limit}")))
                    .into(),
            ),
            Self::SetPolicy(policy) => (
                policy.says("policy", vhost),
                vec![policy.request(&format!("/api/policies/{v}"), "all")?],
            ),
            Self::SetOperatorPolicy(policy) => (
                policy.says("operator policy override", vhost),
                vec![policy.request(&format!("/api/operator-policies/{v}"), "queues")?],
            ),
            Self::ClearPolicy { name } => (
                format!("Clearing policy \"{name}\" on vhost \"{vhost}\" ..."),
                vec![delete(format!("/api/policies/{v}/{}", segment(name)))],
            ),
            Self::ClearOperatorPolicy { name } => (
                format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ..."),
                vec![delete(format!("/api/operator-policies/{v}/{}", segment(name)))],
            ),
            Self::SetParameter { component, name, value } => (
                format!(
                    "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
                ),
                vec![put(parameter(component, &v, name), value_of(value)?)],
            ),
            Self::ClearParameter { component, name } => (
                format!(
                    "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
                ),
                vec![delete(parameter(component, &v, name))],
            ),
            Self::SetGlobalParameter { name, value } => (
                format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."),
                vec![put(format!("/api/global-parameters/{}", segment(name)), value_of(value)?)],
            ),
            Self::ClearGlobalParameter { name } => (
                format!("Clearing global runtime parameter \"{name}\" ..."),
                vec![delete(format!("/api/global-parameters/{}", segment(name)))],
            ),
            Self::SetClusterName { name } => (
                format!("Setting cluster name to {name} ..."),
                vec![put("/api/cluster-name".into(), json!({"name": name}))],
            ),
        };
        carry_out(options, &says, requests).await
    }
}

fn parameter(component: &str, vhost: &str, name: &str) -> String {
    format!("/api/parameters/{}/{vhost}/{}", segment(component), segment(name))
}

fn value_of(text: &str) -> anyhow::Result<Value> {
    Ok(json!({"value": json_of("value", text)?}))
}

impl Policy {
    fn says(&self, what: &str, vhost: &str) -> String {
        let Self { name, pattern, definition, priority, .. } = self;
        format!(
            "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ..."
        )
    }

    fn request(&self, of: &str, apply_to: &str) -> anyhow::Result<Request> {
        let body = json!({
            "pattern": self.pattern,
            "definition": json_of("definition", &self.definition)?,
            "priority": self.priority,
            "apply-to": self.apply_to.as_deref().unwrap_or(apply_to),
        });
        Ok(put(format!("{of}/{}", segment(&self.name)), body))
    }
}

/// One request for each limit of a definition.
pub(super) fn limits(definition: &str, of: &str) -> anyhow::Result<Vec<Request>> {
    let definition = json_of("definition", definition)?;
    let Some(limits) = definition.as_object() else {
        bail!("limits are an object such as {{\"max-connections\": 10}}");
    };
    let request = |(name, value): (&String, &Value)| {
        put(format!("{of}/{}", segment(name)), json!({"value": value}))
    };
    Ok(limits.iter().map(request).collect())
}
