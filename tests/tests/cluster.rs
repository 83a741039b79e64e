//! Brokers that form a cluster: what is agreed on is on all of them, whichever of them is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::process::{Command, Output};

use leveret_tests::{
    Broker, Folder, Management, Options, PATIENCE, eventually, free_address, leveret,
};
use serde_json::Value;

const SECRET: &str = "what all nodes know";

/// A node: its folder stays when its broker is killed.
struct Node {
    folder: Folder,
    address: SocketAddr,
    number: u32,
    secret: &'static str,
    broker: Option<Broker>,
}

impl Node {
    fn new(number: u32, secret: &'static str) -> Option<Self> {
        let folder = Folder::new("cluster");
        let mut node = Self { folder, address: free_address(), number, secret, broker: None };
        node.start()?;
        Some(node)
    }

    fn start(&mut self) -> Option<()> {
        let options = Options { node_name: Some(self.name()), ..Options::default() }
            .set("LEVERET_CLUSTER_LISTEN", self.address.to_string())
            .set("LEVERET_CLUSTER_SECRET", self.secret);
        self.broker = Some(self.folder.broker(options)?);
        Some(())
    }

    fn name(&self) -> String {
        format!("rabbit@n{}", self.number)
    }

    fn kill(&mut self) {
        self.broker.take().unwrap().kill();
    }

    fn cluster(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(leveret());
        command.arg("cluster").arg("--data-dir").arg(self.folder.data()).args(arguments);
        command.output().unwrap()
    }

    #[track_caller]
    fn does(&self, arguments: &[&str]) -> String {
        let done = self.cluster(arguments);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}: {text}{:?}", done.stderr);
        text
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let done = self.cluster(arguments);
        assert!(!done.status.success(), "{arguments:?} is done");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.does(&["status", "--json"])).unwrap()
    }

    fn http(&self) -> Management {
        Management(self.broker.as_ref().unwrap().management())
    }

    /// Declares a queue: it is answered once it is agreed on, whoever has to be found for that.
    #[track_caller]
    fn declare(&self, queue: &str) {
        let path = format!("/api/queues/%2f/{queue}");
        let (status, answer) = self.http().request("PUT", &path, r#"{"durable":true}"#);
        assert_eq!(status, 201, "{answer}");
    }

    fn sees(&self, queue: &str) {
        let path = format!("/api/queues/%2f/{queue}");
        eventually("a queue is seen", PATIENCE, || {
            (self.http().request("GET", &path, "").0 == 200).then_some(())
        });
    }

    /// Waits until so many nodes vote and one of them leads, and says which.
    fn leader(&self, voters: usize) -> u32 {
        eventually("the nodes vote", PATIENCE, || {
            let status = self.status();
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let voting = nodes.iter().filter(|node| node["votes"] == true).count();
            let leader = status["leader"].as_u64()? as u32;
            (voting == voters).then_some(leader)
        })
    }
}

/// Three nodes that vote. The first has what it had when it was alone.
fn cluster() -> Option<Vec<Node>> {
    let nodes: Option<Vec<_>> = (1..=3).map(|number| Node::new(number, SECRET)).collect();
    let nodes = nodes?;
    nodes[0].declare("before");
    nodes[0].does(&["init"]);
    let seed = nodes[0].address.to_string();
    for node in &nodes[1..] {
        node.does(&["join", &seed]);
    }
    nodes[2].leader(3);
    Some(nodes)
}

#[test]
fn what_is_declared_on_one_node_is_on_all_whichever_is_killed() {
    let Some(mut nodes) = cluster() else { return };
    nodes.iter().for_each(|node| node.sees("before"));
    for (n, node) in nodes.iter().enumerate() {
        let name = format!("of-{n}");
        node.declare(&name);
        nodes.iter().for_each(|node| node.sees(&name));
    }
    let leads = nodes[0].leader(3);
    let killed = nodes.iter().position(|node| node.number == leads).unwrap();
    nodes[killed].kill();
    let others: Vec<_> = nodes.iter().filter(|node| node.number != leads).collect();
    others[0].declare("after");
    others[1].sees("after");
    // The one that is down is shown so, and neither the others nor it can be taken for gone by mistake.
    eventually("the dead node is noticed", PATIENCE, || {
        let status = others[0].status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["state"] == "down").then_some(())
    });
    let refused = others[0].refuses(&["forget", &others[1].name()]);
    assert!(refused.contains("is up"), "{refused}");
    nodes[killed].start().unwrap();
    nodes[killed].sees("after");
    nodes[killed].declare("back");
    nodes.iter().for_each(|node| node.sees("back"));
}

#[test]
fn who_does_not_belong_to_the_cluster_is_told_why() {
    let (Some(first), Some(second)) = (Node::new(1, SECRET), Node::new(2, SECRET)) else { return };
    let seed = first.address.to_string();
    let refused = second.refuses(&["join", &seed]);
    assert!(refused.contains("belongs to no cluster"), "{refused}");
    first.does(&["init"]);
    let refused = first.refuses(&["init"]);
    assert!(refused.contains("already"), "{refused}");
    second.declare("mine");
    let refused = second.refuses(&["join", &seed]);
    assert!(refused.contains("1 durable queues"), "{refused}");
    let stranger = Node::new(3, "what nobody else knows").unwrap();
    let refused = stranger.refuses(&["join", &seed]);
    assert!(refused.contains("cluster.secret"), "{refused}");
    // Another node of the same name.
    let twin = Node::new(1, SECRET).unwrap();
    let refused = twin.refuses(&["join", &seed]);
    assert!(refused.contains("is in the cluster already"), "{refused}");
}

#[test]
fn a_node_that_leaves_is_alone_and_new() {
    let Some(nodes) = cluster() else { return };
    nodes[2].does(&["leave"]);
    let status = nodes[0].status();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2, "{status}");
    assert!(nodes[2].status()["cluster"].is_null());
    let there = nodes[2].http().request("GET", "/api/queues/%2f/before", "").0;
    assert_eq!(there, 404);
    nodes[1].declare("without");
    nodes[0].sees("without");
}
