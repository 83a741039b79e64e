//! What `leveret cluster` asks a running broker, over the socket in its data directory.

use super::folder::{self, Remembered};
use super::start::Settings;
use crate::clock::Clock;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use leveret_cluster::replication::{ClusterCommand, NodeId, NodeRole, NodeState, Reply};
use leveret_cluster::transport::Transport;
use leveret_cluster::{MetaConsensus as _, RaftConsensus};
use leveret_engine::view::Registry as _;
use leveret_node::Node;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tracing::info;

/// The paths.
pub(super) const STATUS: &str = "/control/cluster";
pub(super) const INIT: &str = "/control/cluster/init";
pub(super) const JOIN: &str = "/control/cluster/join";
pub(super) const LEAVE: &str = "/control/cluster/leave";
pub(super) const FORGET: &str = "/control/cluster/forget";
pub(super) const TRANSFER: &str = "/control/cluster/transfer";

/// How long a node that leaves waits for the others to go on without it.
const LEFT_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A node of the cluster, by name or number.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Named {
    pub(super) node: String,
}

/// Where a node is that belongs to the cluster.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Seed {
    pub(super) seed: String,
}

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) settings: Option<Settings>,
    pub(crate) remembered: Option<Remembered>,
    pub(crate) transport: Option<Arc<Transport>>,
    pub(crate) data_dir: PathBuf,
    pub(crate) node: Arc<Node>,
    pub(crate) consensus: Arc<RaftConsensus>,
    pub(crate) clock: Arc<Clock>,
    /// Told when the broker is to start again.
    pub(crate) restart: Arc<Notify>,
}

/// The routes.
pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route(STATUS, get(status))
        .route(INIT, post(init))
        .route(JOIN, post(join))
        .route(LEAVE, post(leave))
        .route(FORGET, post(forget))
        .route(TRANSFER, post(transfer))
        .with_state(control)
}

/// Why not. The text is for the person who asks.
struct No(String);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let body = json!({"error": "bad_request", "reason": self.0});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

fn no<T>(reason: impl Into<String>) -> Result<T, No> {
    Err(No(reason.into()))
}

async fn status(State(control): State<Control>) -> Json<Value> {
    Json(control.status())
}

async fn init(State(control): State<Control>) -> Result<Json<Value>, No> {
    let found = control.outside()?.found();
    control.become_node(&found)
}

async fn join(
    State(control): State<Control>,
    Json(Seed { seed }): Json<Seed>,
) -> Result<Json<Value>, No> {
    let settings = control.outside()?;
    let mut n_queues = 0;
    control.node.with_topology(&mut |topology| {
        let queues = topology.vhosts().flat_map(|vhost| vhost.queues());
        n_queues = queues.filter(|queue| queue.durable).count();
    });
    if n_queues > 0 {
        return no(format!(
            "this broker has {n_queues} durable queues, which it would lose: move their messages with `leveret migrate` and delete \
             them, or found the cluster here with `leveret cluster init` and let the other nodes join this one"
        ));
    }
    let joined = settings.join(&seed).await.map_err(|error| No(error.to_string()))?;
    control.become_node(&joined)
}

async fn leave(State(control): State<Control>) -> Result<Json<Value>, No> {
    let (me, _) = control.inside()?;
    let alone = control.node.with_metadata(|metadata| {
        if metadata.nodes().count() < 2 {
            return Err(No("this is the only node; stop it instead".into()));
        }
        Ok(metadata.queues().filter(|(_, queue)| queue.in_sync().eq([me])).count())
    })?;
    if alone > 0 {
        return no(format!(
            "{alone} queues have their only copy in sync on this node and would be lost: set a policy with ha-mode for them and \
             wait until it is in sync elsewhere, or delete them"
        ));
    }
    let incarnation = control.node.membership().map(|membership| membership.incarnation);
    let incarnation = incarnation.unwrap_or_default();
    control.decide(ClusterCommand::Drain { node: me }).await?;
    control.decide(ClusterCommand::Fence { node: me, incarnation, lease_over: false }).await?;
    control.decide(ClusterCommand::Forget { node: me }).await?;
    let gone = async {
        while control.consensus.standing().voters.contains(&me) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(LEFT_WITHIN, gone).await.is_err() {
        info!("the other nodes will notice by themselves that this one no longer votes");
    }
    folder::will_leave(&control.data_dir).map_err(|error| No(error.to_string()))?;
    control.restart.notify_one();
    Ok(Json(json!({"left": true})))
}

async fn forget(
    State(control): State<Control>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, No> {
    let (me, _) = control.inside()?;
    let node = control.find(&named.node)?;
    if node == me {
        return no("a node that is running leaves: `leveret cluster leave`");
    }
    control.decide(ClusterCommand::Forget { node }).await?;
    Ok(Json(json!({"forgotten": node.0})))
}

async fn transfer(
    State(control): State<Control>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, No> {
    control.inside()?;
    let node = control.find(&named.node)?;
    if !control.consensus.standing().voters.contains(&node) {
        return no(format!("node {node} has no vote, so that it cannot lead"));
    }
    control.consensus.transfer(node);
    let leads = async {
        while control.consensus.standing().leader != Some(node) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(LEFT_WITHIN, leads).await {
        Ok(()) => Ok(Json(json!({"leader": node.0}))),
        Err(_) => no(format!(
            "node {node} does not lead yet: see `leveret cluster status`, and ask again"
        )),
    }
}

impl Control {
    /// The settings of a broker that may become a node.
    fn outside(&self) -> Result<&Settings, No> {
        if let Some(remembered) = &self.remembered {
            return no(format!(
                "this broker is node {} of cluster {} already; `leveret cluster leave` comes first",
                remembered.node(),
                remembered.cluster()
            ));
        }
        self.settings.as_ref().ok_or_else(|| {
            No("start this broker with `cluster.listen` and `cluster.secret` first: the other nodes have to reach it".into())
        })
    }

    fn inside(&self) -> Result<(NodeId, &Remembered), No> {
        match &self.remembered {
            Some(remembered) => Ok((remembered.node(), remembered)),
            None => no("this broker belongs to no cluster; see `leveret cluster init` and `join`"),
        }
    }

    fn become_node(&self, remembered: &Remembered) -> Result<Json<Value>, No> {
        folder::will_join(&self.data_dir, remembered).map_err(|error| No(error.to_string()))?;
        self.restart.notify_one();
        let cluster = remembered.cluster().to_string();
        Ok(Json(json!({"cluster": cluster, "node": remembered.node().0})))
    }

    fn find(&self, named: &str) -> Result<NodeId, No> {
        let found = self.node.with_metadata(|metadata| {
            let by_number = || {
                let id = NodeId(named.parse().ok()?);
                metadata.node(id).map(|_| id)
            };
            metadata.node_named(named).map(|(id, _)| id).or_else(by_number)
        });
        found.ok_or_else(|| No(format!("there is no node '{named}': see `leveret cluster status`")))
    }

    async fn decide(&self, command: ClusterCommand) -> Result<Reply, No> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |decided| {
            // Whoever asked may have gone.
            let _ = tell.send(decided);
        });
        self.consensus.decide(command, self.clock.now(), done);
        match told.await {
            Ok(decided) => decided.map_err(|error| No(error.to_string())),
            Err(_) => no("the broker ends"),
        }
    }

    fn status(&self) -> Value {
        let Some(remembered) = &self.remembered else {
            return json!({"cluster": null, "ready": self.settings.is_some()});
        };
        let standing = self.consensus.standing();
        let connected =
            self.transport.as_ref().map(|transport| transport.connected()).unwrap_or_default();
        let me = remembered.node();
        let nodes: Vec<_> = self.node.with_metadata(|metadata| {
            let of = |(id, node): (NodeId, &leveret_cluster::replication::NodeRecord)| {
                json!({
                    "node": id.0,
                    "name": node.name,
                    "address": node.addresses.first(),
                    "role": if node.role == NodeRole::Witness { "witness" } else { "data" },
                    "state": state(node.state),
                    "votes": standing.voters.contains(&id),
                    "leads_agreement": standing.leader == Some(id),
                    "connected": id == me || connected.contains(&id),
                    "leads": node.n_leaders,
                    "copies": node.n_replicas,
                })
            };
            metadata.nodes().map(of).collect()
        });
        json!({
            "cluster": remembered.cluster().to_string(),
            "node": me.0,
            "leader": standing.leader.map(|leader| leader.0),
            "nodes": nodes,
        })
    }
}

fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Fenced => "down",
        NodeState::Up => "up",
        NodeState::Draining => "draining",
        NodeState::Stopped => "stopped",
    }
}
