//! Runtime parameters. Some components are other records by another name: policies, operator
//! policies and the limits of a vhost arrive this way in definitions files.
// rabbitmq: runtime parameters

use super::{Changes, Topology};
use crate::command::{ApplyTo, Change, Outcome, PolicySpec, VhostLimit};
use crate::error::BrokerError;
use crate::parameter::ParameterValue;
use std::sync::Arc;

const POLICY: &str = "policy";
const OPERATOR_POLICY: &str = "operator_policy";
const VHOST_LIMITS: &str = "vhost-limits";

/// Components that are stored for the tools that read them.
const STORED: [&str; 3] = ["federation-upstream", "federation-upstream-set", "shovel"];

impl Topology {
    /// Global parameters by name.
    pub fn global_parameters(&self) -> impl Iterator<Item = (&Arc<str>, &ParameterValue)> {
        self.global_parameters.iter()
    }

    /// A global parameter.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<&ParameterValue> {
        self.global_parameters.get(name)
    }

    pub(super) fn put_parameter(
        &mut self,
        vhost: &Arc<str>,
        component: &Arc<str>,
        name: &Arc<str>,
        value: &ParameterValue,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        match &**component {
            POLICY => self.put_policy(&policy(vhost, name, value)?, changes),
            OPERATOR_POLICY => self.put_operator_policy(&policy(vhost, name, value)?, changes),
            VHOST_LIMITS => self.put_vhost_limits(vhost, value, changes),
            other if !STORED.contains(&other) => Err(unknown_component(other)),
            _ => {
                let key = (component.clone(), name.clone());
                let old = self.vhost_mut(vhost)?.parameters.insert(key, value.clone());
                changes.push(Change::ParametersChanged { vhost: Some(vhost.clone()) });
                Ok(Outcome::Put { created: old.is_none() })
            }
        }
    }

    pub(super) fn delete_parameter(
        &mut self,
        vhost: &Arc<str>,
        component: &Arc<str>,
        name: &Arc<str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        match &**component {
            POLICY => self.delete_policy(vhost, name, changes),
            OPERATOR_POLICY => self.delete_operator_policy(vhost, name, changes),
            VHOST_LIMITS => self.put_vhost_limits(vhost, &ParameterValue::default(), changes),
            _ => {
                let key = (component.clone(), name.clone());
                let existed = self.vhost_mut(vhost)?.parameters.remove(&key).is_some();
                if existed {
                    changes.push(Change::ParametersChanged { vhost: Some(vhost.clone()) });
                }
                Ok(Outcome::Deleted { existed })
            }
        }
    }

    /// Replaces all limits of a vhost; what the value does not name is no longer limited.
    fn put_vhost_limits(
        &mut self,
        vhost: &Arc<str>,
        value: &ParameterValue,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        // A negative number is no limit.
        let limit = |key| value.get(key).and_then(|v| u64::try_from(v.as_i64()?).ok());
        let connections = limit("max-connections");
        self.set_vhost_limit(vhost, VhostLimit::Connections, connections, changes)?;
        self.set_vhost_limit(vhost, VhostLimit::Queues, limit("max-queues"), changes)
    }

    pub(super) fn put_global_parameter(
        &mut self,
        name: &Arc<str>,
        value: &ParameterValue,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let old = self.global_parameters.insert(name.clone(), value.clone());
        changes.push(Change::ParametersChanged { vhost: None });
        Ok(Outcome::Put { created: old.is_none() })
    }

    pub(super) fn delete_global_parameter(
        &mut self,
        name: &str,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let existed = self.global_parameters.remove(name).is_some();
        if existed {
            changes.push(Change::ParametersChanged { vhost: None });
        }
        Ok(Outcome::Deleted { existed })
    }
}

fn unknown_component(component: &str) -> BrokerError {
    BrokerError::Validation(format!("component {component} not found").into())
}

/// A policy as the value of a parameter has it.
fn policy(
    vhost: &Arc<str>,
    name: &Arc<str>,
    value: &ParameterValue,
) -> Result<PolicySpec, BrokerError> {
    let missing = |key: &str| {
        BrokerError::Validation(format!("Key \"{key}\" not found in \"{name}\"").into())
    };
    let text = |key| value.get(key).and_then(ParameterValue::as_str);
    let apply_to = match text("apply-to") {
        None => ApplyTo::All,
        Some(word) => ApplyTo::parse(word).ok_or_else(|| {
            BrokerError::Validation(format!("{word} is not a valid apply-to value").into())
        })?,
    };
    let definition = value.get("definition").and_then(ParameterValue::as_object);
    Ok(PolicySpec {
        vhost: vhost.clone(),
        name: name.clone(),
        pattern: text("pattern").ok_or_else(|| missing("pattern"))?.into(),
        apply_to,
        priority: value.get("priority").and_then(ParameterValue::as_i64).unwrap_or(0),
        definition: definition.ok_or_else(|| missing("definition"))?.to_vec(),
    })
}
