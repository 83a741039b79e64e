// What the broker does right now, in a minute's reading.

import { get } from "./api.js";
import { lengths, RANGE, rates } from "./chart.js";
import { box, h, number, rate, stat, table } from "./dom.js";

export function view() {
  const stats = h("div", { class: "stats" });
  const waiting = lengths();
  const traffic = rates([["publish", "published"], ["deliver_get", "delivered"], ["ack", "acknowledged"], ["confirm", "confirmed"]]);
  const odd = rates([["redeliver", "redelivered"], ["return_unroutable", "returned, unroutable"], ["drop_unroutable", "dropped, unroutable"], ["get_empty", "asked an empty queue"]], "Not as it should be, per second");
  const longest = table([
    { title: "Queue", cell: (q) => h("a", { href: `#/queue/${encodeURIComponent(q.vhost)}/${encodeURIComponent(q.name)}` }, q.name) },
    { title: "Virtual host", cell: (q) => q.vhost },
    { title: "Ready", number: true, cell: (q) => number(q.messages_ready) },
    { title: "Unacknowledged", number: true, cell: (q) => number(q.messages_unacknowledged) },
    { title: "In /s", number: true, cell: (q) => rate(q.message_stats?.publish_details?.rate) },
    { title: "Out /s", number: true, cell: (q) => rate(q.message_stats?.deliver_get_details?.rate) },
    { title: "Consumers", number: true, cell: (q) => number(q.consumers) },
  ], { empty: "There are no queues yet: the first client that declares one makes it." });
  const listeners = table([
    { title: "Protocol", cell: (l) => l.protocol },
    { title: "Address", cell: (l) => l.ip_address },
    { title: "Port", number: true, cell: (l) => l.port },
  ]);
  const listening = h("section", { class: "box flush" }, listeners.node);
  const node = h("div", {},
    h("div", { class: "head" }, h("h1", {}, "Overview")), stats,
    h("div", { class: "row" }, waiting.node, traffic.node),
    h("div", { class: "row" }, odd.node, h("section", { class: "box" }, h("h2", {}, "Where clients connect"), listening)),
    box("Longest queues", h("div", { class: "box flush" }, longest.node)));
  async function update() {
    const [all, page] = await Promise.all([
      get(`overview?${RANGE}`),
      get("queues?page=1&page_size=8&sort=messages&sort_reverse=true&columns=name,vhost,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details.rate,message_stats.deliver_get_details.rate"),
    ]);
    const [totals, objects, messages] = [all.queue_totals ?? {}, all.object_totals ?? {}, all.message_stats ?? {}];
    stats.replaceChildren(
      stat("Ready", number(totals.messages_ready ?? 0)), stat("Unacknowledged", number(totals.messages_unacknowledged ?? 0)),
      stat("Published", rate(messages.publish_details?.rate), "/s"), stat("Delivered", rate(messages.deliver_get_details?.rate), "/s"),
      stat("Connections", number(objects.connections)), stat("Channels", number(objects.channels)),
      stat("Queues", number(objects.queues)), stat("Consumers", number(objects.consumers)));
    waiting.update(all);
    traffic.update(all);
    odd.update(all);
    longest.show(page.items);
    listeners.show(all.listeners ?? []);
  }
  return { node, update };
}
