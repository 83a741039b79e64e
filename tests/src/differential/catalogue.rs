//! Every method and property of AMQP 0-9-1 as RabbitMQ speaks it: ids, names, arguments. It is data only;
//! `wire` makes bytes of it.

/// The type of an argument on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Octet,
    Short,
    Long,
    LongLong,
    ShortString,
    LongString,
    Bit,
    Table,
}

/// Who sends a method, and whether an answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A client, who then waits.
    Asks,
    /// A client, who goes on.
    Tells,
    /// The broker.
    Broker,
    /// Either; the other answers.
    BothAsk,
    /// Either; there is no answer.
    BothTell,
}

/// A method.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) class: u16,
    pub(super) id: u16,
    /// Such as `queue.declare`.
    pub(super) name: &'static str,
    pub(super) sender: Sender,
    /// Names and type letters, `queue:s passive:b`.
    fields: &'static str,
}

impl Method {
    /// Names and types, in the order of the wire.
    pub(super) fn arguments(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        fields(self.fields)
    }

    /// Whether a client that sends it waits for an answer.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.sender, Asks | BothAsk)
    }

    /// Whether a content header follows.
    pub(super) fn has_content(&self) -> bool {
        matches!(self.name, "basic.publish" | "basic.deliver" | "basic.return" | "basic.get-ok")
    }
}

/// `b` bit, `o` octet, `h` short, `l` long, `q` longlong, `s` shortstr, `S` longstr, `t` table.
fn fields(text: &'static str) -> impl Iterator<Item = (&'static str, Kind)> {
    text.split_ascii_whitespace().filter_map(|field| {
        let (name, letter) = field.split_once(':')?;
        let kind = match letter {
            "b" => Kind::Bit,
            "o" => Kind::Octet,
            "h" => Kind::Short,
            "l" => Kind::Long,
            "q" => Kind::LongLong,
            "s" => Kind::ShortString,
            "S" => Kind::LongString,
            _ => Kind::Table,
        };
        Some((name, kind))
    })
}

/// The method of a name.
pub(super) fn by_name(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// The method of two ids.
pub(super) fn by_id(class: u16, id: u16) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.class == class && method.id == id)
}

/// Whether an argument means nothing: it is shown only where it is not empty.
pub(super) fn is_reserved(name: &str) -> bool {
    matches!(name, "ticket" | "known-hosts" | "out-of-band" | "channel-id" | "cluster-id-reserved")
}

/// The properties of a message, in the order of their flags, from bit 15 downwards.
pub(super) fn properties() -> impl Iterator<Item = (&'static str, Kind)> {
    fields(
        "content-type:s content-encoding:s headers:t delivery-mode:o priority:o correlation-id:s \
         reply-to:s expiration:s message-id:s timestamp:q type:s user-id:s app-id:s cluster-id:s",
    )
}

const fn method(
    class: u16,
    id: u16,
    name: &'static str,
    sender: Sender,
    fields: &'static str,
) -> Method {
    Method { class, id, name, sender, fields }
}

use Sender::{Asks, BothAsk, BothTell, Broker, Tells};

// rabbitmq: the 0-9-1 methods and its extensions
pub(super) const METHODS: [Method; 66] = [
    method(
        10,
        10,
        "connection.start",
        Broker,
        "version-major:o version-minor:o server-properties:t mechanisms:S locales:S",
    ),
    method(
        10,
        11,
        "connection.start-ok",
        Asks,
        "client-properties:t mechanism:s response:S locale:s",
    ),
    method(10, 20, "connection.secure", Broker, "challenge:S"),
    method(10, 21, "connection.secure-ok", Asks, "response:S"),
    method(10, 30, "connection.tune", Broker, "channel-max:h frame-max:l heartbeat:h"),
    method(10, 31, "connection.tune-ok", Tells, "channel-max:h frame-max:l heartbeat:h"),
    method(10, 40, "connection.open", Asks, "virtual-host:s capabilities:s insist:b"),
    method(10, 41, "connection.open-ok", Broker, "known-hosts:s"),
    method(10, 50, "connection.close", BothAsk, "reply-code:h reply-text:s class-id:h method-id:h"),
    method(10, 51, "connection.close-ok", BothTell, ""),
    method(10, 60, "connection.blocked", Broker, "reason:s"),
    method(10, 61, "connection.unblocked", Broker, ""),
    method(10, 70, "connection.update-secret", Asks, "new-secret:S reason:s"),
    method(10, 71, "connection.update-secret-ok", Broker, ""),
    method(20, 10, "channel.open", Asks, "out-of-band:s"),
    method(20, 11, "channel.open-ok", Broker, "channel-id:S"),
    method(20, 20, "channel.flow", Asks, "active:b"),
    method(20, 21, "channel.flow-ok", BothTell, "active:b"),
    method(20, 40, "channel.close", BothAsk, "reply-code:h reply-text:s class-id:h method-id:h"),
    method(20, 41, "channel.close-ok", BothTell, ""),
    method(30, 10, "access.request", Asks, "realm:s exclusive:b passive:b active:b write:b read:b"),
    method(30, 11, "access.request-ok", Broker, "ticket:h"),
    method(
        40,
        10,
        "exchange.declare",
        Asks,
        "ticket:h exchange:s type:s passive:b durable:b auto-delete:b internal:b nowait:b arguments:t",
    ),
    method(40, 11, "exchange.declare-ok", Broker, ""),
    method(40, 20, "exchange.delete", Asks, "ticket:h exchange:s if-unused:b nowait:b"),
    method(40, 21, "exchange.delete-ok", Broker, ""),
    method(
        40,
        30,
        "exchange.bind",
        Asks,
        "ticket:h destination:s source:s routing-key:s nowait:b arguments:t",
    ),
    method(40, 31, "exchange.bind-ok", Broker, ""),
    method(
        40,
        40,
        "exchange.unbind",
        Asks,
        "ticket:h destination:s source:s routing-key:s nowait:b arguments:t",
    ),
    method(40, 51, "exchange.unbind-ok", Broker, ""),
    method(
        50,
        10,
        "queue.declare",
        Asks,
        "ticket:h queue:s passive:b durable:b exclusive:b auto-delete:b nowait:b arguments:t",
    ),
    method(50, 11, "queue.declare-ok", Broker, "queue:s message-count:l consumer-count:l"),
    method(
        50,
        20,
        "queue.bind",
        Asks,
        "ticket:h queue:s exchange:s routing-key:s nowait:b arguments:t",
    ),
    method(50, 21, "queue.bind-ok", Broker, ""),
    method(50, 30, "queue.purge", Asks, "ticket:h queue:s nowait:b"),
    method(50, 31, "queue.purge-ok", Broker, "message-count:l"),
    method(50, 40, "queue.delete", Asks, "ticket:h queue:s if-unused:b if-empty:b nowait:b"),
    method(50, 41, "queue.delete-ok", Broker, "message-count:l"),
    method(50, 50, "queue.unbind", Asks, "ticket:h queue:s exchange:s routing-key:s arguments:t"),
    method(50, 51, "queue.unbind-ok", Broker, ""),
    method(60, 10, "basic.qos", Asks, "prefetch-size:l prefetch-count:h global:b"),
    method(60, 11, "basic.qos-ok", Broker, ""),
    method(
        60,
        20,
        "basic.consume",
        Asks,
        "ticket:h queue:s consumer-tag:s no-local:b no-ack:b exclusive:b nowait:b arguments:t",
    ),
    method(60, 21, "basic.consume-ok", Broker, "consumer-tag:s"),
    method(60, 30, "basic.cancel", BothAsk, "consumer-tag:s nowait:b"),
    method(60, 31, "basic.cancel-ok", BothTell, "consumer-tag:s"),
    method(
        60,
        40,
        "basic.publish",
        Tells,
        "ticket:h exchange:s routing-key:s mandatory:b immediate:b",
    ),
    method(60, 50, "basic.return", Broker, "reply-code:h reply-text:s exchange:s routing-key:s"),
    method(
        60,
        60,
        "basic.deliver",
        Broker,
        "consumer-tag:s delivery-tag:q redelivered:b exchange:s routing-key:s",
    ),
    method(60, 70, "basic.get", Asks, "ticket:h queue:s no-ack:b"),
    method(
        60,
        71,
        "basic.get-ok",
        Broker,
        "delivery-tag:q redelivered:b exchange:s routing-key:s message-count:l",
    ),
    method(60, 72, "basic.get-empty", Broker, "cluster-id-reserved:s"),
    method(60, 80, "basic.ack", BothTell, "delivery-tag:q multiple:b"),
    method(60, 90, "basic.reject", Tells, "delivery-tag:q requeue:b"),
    method(60, 100, "basic.recover-async", Tells, "requeue:b"),
    method(60, 110, "basic.recover", Asks, "requeue:b"),
    method(60, 111, "basic.recover-ok", Broker, ""),
    method(60, 120, "basic.nack", BothTell, "delivery-tag:q multiple:b requeue:b"),
    method(85, 10, "confirm.select", Asks, "nowait:b"),
    method(85, 11, "confirm.select-ok", Broker, ""),
    method(90, 10, "tx.select", Asks, ""),
    method(90, 11, "tx.select-ok", Broker, ""),
    method(90, 20, "tx.commit", Asks, ""),
    method(90, 21, "tx.commit-ok", Broker, ""),
    method(90, 30, "tx.rollback", Asks, ""),
    method(90, 31, "tx.rollback-ok", Broker, ""),
];
