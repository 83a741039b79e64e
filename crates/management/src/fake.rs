//! A broker for the tests of this crate: a real topology, and queues, connections and a process
//! that are plain values.

use crate::{Client, Samples, State, metrics_router, router};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::Outcome;
use leveret_engine::topology::{Topology, TopologyConfig, default_commands};
use leveret_engine::view::{
    Alarm, BoxFuture, ChannelView, ConnectionView, ConsumerView, DeleteOnly, Distribution, HandGet,
    HandGot, HandPublish, HandPublished, HandRefused, ListenerView, MessageStats, NodeView,
    Propose, PutMessage, QueueFigures, Redrive, RedriveState, RedriveView, Registry, Resources,
    StoreView, Totals,
};
use leveret_engine::{
    BrokerError, Command, ConnectionId, QueueCounts, QueueId, QueueStats, Timestamp,
};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt as _;

pub(crate) struct Fake {
    pub(crate) topology: Mutex<Topology>,
    pub(crate) figures: Mutex<HashMap<QueueId, QueueFigures>>,
    pub(crate) connections: Mutex<Vec<ConnectionView>>,
    pub(crate) channels: Mutex<Vec<ChannelView>>,
    pub(crate) consumers: Mutex<Vec<ConsumerView>>,
    pub(crate) alarms: Mutex<Vec<Alarm>>,
    pub(crate) connection_max: Mutex<Option<u64>>,
    /// Who was asked to go, and why.
    pub(crate) closed: Mutex<Vec<(ConnectionId, String)>>,
    /// What was published by hand.
    pub(crate) by_hand: Mutex<Vec<HandPublish>>,
    /// What was put into queues.
    pub(crate) put: Mutex<Vec<PutMessage>>,
    pub(crate) redrives: Mutex<Vec<RedriveView>>,
    pub(crate) samples: Arc<Samples>,
}

impl Fake {
    /// A broker as it is after its first start.
    pub(crate) fn new() -> Arc<Self> {
        let mut topology = Topology::new(TopologyConfig::default());
        let password = PasswordHash::new(HashAlgorithm::default(), b"guest", [1; 4]);
        let tags = vec!["administrator".into()];
        for command in default_commands(&"/".into(), &"guest".into(), password, tags) {
            topology.apply(&command, Timestamp(0)).unwrap();
        }
        Arc::new(Self {
            topology: Mutex::new(topology),
            figures: Mutex::default(),
            connections: Mutex::default(),
            channels: Mutex::default(),
            consumers: Mutex::default(),
            alarms: Mutex::default(),
            connection_max: Mutex::default(),
            closed: Mutex::default(),
            by_hand: Mutex::default(),
            put: Mutex::default(),
            redrives: Mutex::default(),
            samples: Arc::default(),
        })
    }

    pub(crate) fn queue_id(&self, name: &str) -> QueueId {
        self.topology.lock().unwrap().vhost("/").unwrap().queue(name).unwrap().id
    }

    /// Says what a queue holds.
    pub(crate) fn fill(&self, name: &str, ready: u64, published: u64) {
        let counts = QueueCounts { ready, ..QueueCounts::default() };
        let stats = QueueStats { published, ..QueueStats::default() };
        let figures = QueueFigures { counts, stats, ..QueueFigures::default() };
        self.figures.lock().unwrap().insert(self.queue_id(name), figures);
    }

    pub(crate) fn state(self: &Arc<Self>) -> State {
        State {
            registry: self.clone(),
            node: self.clone(),
            propose: self.clone(),
            samples: Arc::clone(&self.samples),
            body_bytes_max: 10_000,
            salt: || [7; 4],
        }
    }

    /// Sends a request as `guest` from this machine.
    pub(crate) async fn call(
        self: &Arc<Self>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        self.call_as("guest:guest", method, path, body).await
    }

    pub(crate) async fn get(self: &Arc<Self>, path: &str) -> Value {
        let reply = self.call("GET", path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        reply.body
    }

    pub(crate) async fn call_as(
        self: &Arc<Self>,
        login: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let login = format!("Basic {}", STANDARD.encode(login));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, login)
            .extension(Client::Network("127.0.0.1:9".parse().unwrap()));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        send(router(self.state()), request.body(body).unwrap()).await
    }

    pub(crate) async fn metrics(self: &Arc<Self>) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = metrics_router(self.state(), "/metrics").oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    /// `null` where there is none.
    pub(crate) body: Value,
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        serde_json::from_slice(&bytes).unwrap_or(Value::String(text))
    };
    Reply { status: parts.status, headers: parts.headers, body }
}

impl Registry for Fake {
    fn with_topology(&self, f: &mut dyn FnMut(&Topology)) {
        f(&self.topology.lock().unwrap());
    }

    fn queue_figures(&self, id: QueueId) -> Option<QueueFigures> {
        Some(self.figures.lock().unwrap().get(&id).cloned().unwrap_or_default())
    }

    fn connections(&self) -> Vec<ConnectionView> {
        self.connections.lock().unwrap().clone()
    }

    fn channels(&self) -> Vec<ChannelView> {
        self.channels.lock().unwrap().clone()
    }

    fn consumers(&self) -> Vec<ConsumerView> {
        self.consumers.lock().unwrap().clone()
    }

    fn totals(&self) -> Totals {
        Totals {
            connections: self.connections.lock().unwrap().len() as u64,
            queues: self.topology.lock().unwrap().n_queues(),
            ready: self.figures.lock().unwrap().values().map(|f| f.counts.ready).sum(),
            connections_opened: 5,
            messages: MessageStats {
                publish: 10,
                drop_unroutable: 1,
                deliver_no_ack: 7,
                ..MessageStats::default()
            },
            ..Totals::default()
        }
    }
}

impl NodeView for Fake {
    fn name(&self) -> &str {
        "rabbit@test"
    }

    fn cluster_name(&self) -> String {
        let topology = self.topology.lock().unwrap();
        let given = topology.global_parameter("cluster_name").and_then(|value| value.as_str());
        given.unwrap_or("rabbit@test").to_owned()
    }

    fn product_version(&self) -> &str {
        "3.13.7"
    }

    fn uptime_ms(&self) -> u64 {
        61_000
    }

    fn listeners(&self) -> Vec<ListenerView> {
        vec![ListenerView { protocol: "amqp".into(), ip: "0.0.0.0".into(), port: 5672 }]
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.alarms.lock().unwrap().clone()
    }

    fn resources(&self) -> Resources {
        Resources { memory_used: 1000, descriptors_used: 20, os_pid: 7, ..Resources::default() }
    }

    fn connection_max(&self) -> Option<u64> {
        *self.connection_max.lock().unwrap()
    }

    fn store(&self) -> Option<StoreView> {
        let sync_seconds = Distribution { buckets: vec![(0.001, 3), (0.1, 5)], count: 6, sum: 0.5 };
        Some(StoreView { sync_seconds, window_bytes: 1234, ..StoreView::default() })
    }
}

impl Propose for Fake {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Outcome, BrokerError>> {
        Box::pin(async move {
            self.topology
                .lock()
                .unwrap()
                .apply(&command, Timestamp(0))
                .map(|applied| applied.outcome)
        })
    }

    fn delete_queue<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        only: DeleteOnly,
    ) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let id = self.queue_id(name);
        let ready = self.queue_figures(id).map_or(0, |figures| figures.counts.ready);
        let (vhost, name) = (vhost.into(), name.into());
        Box::pin(async move {
            if only.if_empty && ready > 0 {
                let name = leveret_engine::ResourceName::queue(&vhost, name);
                return Err(BrokerError::NotEmpty(name));
            }
            self.propose(Command::DeleteQueue { vhost, name, id: None }).await?;
            Ok(ready)
        })
    }

    fn purge_queue<'a>(
        &'a self,
        _vhost: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let id = self.queue_id(name);
        let purged = self.figures.lock().unwrap().remove(&id);
        Box::pin(async move { Ok(purged.map_or(0, |figures| figures.counts.ready)) })
    }

    fn put<'a>(
        &'a self,
        _vhost: &'a str,
        _queue: &'a str,
        messages: Vec<PutMessage>,
    ) -> BoxFuture<'a, Result<(), HandRefused>> {
        self.put.lock().unwrap().extend(messages);
        Box::pin(async { Ok(()) })
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000)
    }

    fn redrive(&self, wanted: Redrive) -> Option<u64> {
        let mut redrives = self.redrives.lock().unwrap();
        let id = redrives.len() as u64 + 1;
        redrives.push(RedriveView::begun(id, wanted, self.now()));
        Some(id)
    }

    fn redrives(&self) -> Vec<RedriveView> {
        self.redrives.lock().unwrap().clone()
    }

    fn cancel_redrive(&self, id: u64) -> bool {
        let mut redrives = self.redrives.lock().unwrap();
        let found = redrives.iter_mut().find(|view| view.id == id);
        found.map(|view| view.state = RedriveState::Cancelled).is_some()
    }

    fn publish(&self, message: HandPublish) -> BoxFuture<'_, Result<HandPublished, HandRefused>> {
        let outcome = match &*message.routing_key {
            "full" => Ok(HandPublished::Rejected),
            "nowhere" => Ok(HandPublished::Unroutable),
            _ => Ok(HandPublished::Routed),
        };
        self.by_hand.lock().unwrap().push(message);
        Box::pin(async move { outcome })
    }

    /// What was published to a queue of this name, through the default exchange.
    fn get(&self, wanted: HandGet) -> BoxFuture<'_, Result<Vec<HandGot>, HandRefused>> {
        let messages = self.by_hand.lock().unwrap();
        let got = messages.iter().filter(|message| message.routing_key == wanted.queue);
        let got = got.take(wanted.count as usize).map(|message| HandGot {
            routing_key: message.routing_key.to_string(),
            properties: message.properties.clone(),
            body: message.body.iter().take(wanted.keep_bytes).copied().collect(),
            body_bytes: message.body.len() as u64,
            ..HandGot::default()
        });
        let got = got.collect();
        Box::pin(async move { Ok(got) })
    }

    fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        self.closed.lock().unwrap().push((id, reason.to_owned()));
        true
    }
}
