// One queue: how it does, who consumes, what is in it; and what can be done with it.

import { ask, get, path } from "./api.js";
import { lengths, RANGE, rates } from "./chart.js";
import { bytes, box, danger, facts, fold, form, h, note, number, stat, table } from "./dom.js";
import { features } from "./queues.js";

// Peeking leaves messages where they are: they are got and given back, which clients see as redelivered.
const MODES = ["ack_requeue_true", "ack_requeue_false", "reject_requeue_true", "reject_requeue_false"];

export function view([vhost, name], _query, refresh) {
  const here = `queues/${path(vhost, name)}`;
  const head = h("span");
  const stats = h("div", { class: "stats" });
  const about = h("div");
  const waiting = lengths();
  const traffic = rates([["publish", "published"], ["deliver_get", "delivered"], ["ack", "acknowledged"], ["redeliver", "redelivered"]]);
  const consumers = table([
    { title: "Channel", cell: (c) => c.channel_details?.name },
    { title: "Tag", cell: (c) => h("span", { class: "mono" }, c.consumer_tag) },
    { title: "Acknowledges", cell: (c) => (c.ack_required ? "yes" : "no") },
    { title: "Prefetch", number: true, cell: (c) => number(c.prefetch_count) },
    { title: "Active", cell: (c) => (c.active ? "yes" : "waiting") },
  ], { empty: "Nobody consumes." });
  const bindings = table([
    { title: "From", cell: (b) => h("a", { href: `#/exchange/${path(vhost, b.source || "amq.default")}` }, b.source || "(default)") },
    { title: "Key", cell: (b) => h("span", { class: "mono" }, b.routing_key) },
    { title: "Arguments", cell: (b) => (Object.keys(b.arguments).length ? h("span", { class: "mono" }, JSON.stringify(b.arguments)) : "") },
    { title: "", cell: (b) => b.source && danger("Unbind", `Remove the binding from ${b.source}?`, async () => {
      await ask("DELETE", `bindings/${path(vhost)}/e/${path(b.source)}/q/${path(name)}/${path(b.properties_key)}`);
      refresh();
    }) },
  ]);
  const node = h("div", {},
    h("div", { class: "head" }, h("a", { class: "link", href: "#/queues" }, "Queues"), h("h1", {}, name), head, h("span", { class: "grow" }),
      danger("Purge", `Remove every ready message from ${name}?`, async () => { await ask("DELETE", `${here}/contents`); refresh(); return "Purged."; }),
      danger("Delete", `Delete ${name} and everything in it?`, async () => { await ask("DELETE", here); location.hash = "#/queues"; return `${name} is gone.`; })),
    stats, h("div", { class: "row" }, waiting.node, traffic.node),
    h("div", { class: "row" }, h("section", { class: "box" }, h("h2", {}, "About"), about), box("Consumers", h("div", { class: "box flush" }, consumers.node))),
    box("Bindings", h("div", { class: "box flush" }, bindings.node), bind(vhost, name, refresh)),
    messages(here), publish(vhost, name, refresh), move(vhost, name, refresh));
  async function update() {
    const [queue, bound] = await Promise.all([get(`${here}?${RANGE}`), get(`${here}/bindings`)]);
    head.replaceChildren(...features(queue));
    stats.replaceChildren(
      stat("Ready", number(queue.messages_ready)), stat("Unacknowledged", number(queue.messages_unacknowledged)),
      stat("Consumers", number(queue.consumers)), stat("Bytes of messages", bytes(queue.message_bytes)), stat("In memory", bytes(queue.memory)));
    const shown = (object) => (object && Object.keys(object).length ? h("span", { class: "mono" }, JSON.stringify(object, null, 1)) : "none");
    about.replaceChildren(facts([
      ["Virtual host", queue.vhost], ["Type", queue.type], ["State", queue.state], ["Node", queue.node], ["Arguments", shown(queue.arguments)],
      ["Policy", queue.policy || "none"], ["Operator policy", queue.operator_policy || "none"], ["In effect", shown(queue.effective_policy_definition)],
    ]));
    waiting.update(queue);
    traffic.update(queue);
    consumers.show(queue.consumer_details ?? []);
    bindings.show(bound);
  }
  return { node, update };
}

function bind(vhost, name, refresh) {
  return form([{ name: "source", label: "From exchange", required: true }, { name: "key", label: "Key" }, { name: "arguments", label: "Arguments, as JSON", value: "{}" }], "Bind",
    async ({ source, key, arguments: text }) => {
      await ask("POST", `bindings/${path(vhost)}/e/${path(source)}/q/${path(name)}`, { routing_key: key, arguments: JSON.parse(text) });
      refresh();
    }, "");
}

function messages(here) {
  const found = h("div");
  const show = (message) => h("div", { class: "message" },
    facts([["Exchange", message.exchange || "(default)"], ["Key", message.routing_key], ["Redelivered", message.redelivered ? "yes" : "no"],
      ["Properties", h("span", { class: "mono" }, JSON.stringify(message.properties))], ["Bytes", `${number(message.payload_bytes)}, ${message.payload_encoding}`]]),
    h("div", { class: "payload mono" }, message.payload));
  return fold("Look at messages", form([
    { name: "count", label: "How many", type: "number", min: 1, max: 1000, value: 5 },
    { name: "ackmode", label: "And then", options: MODES }, { name: "encoding", label: "Payload", options: ["auto", "base64"] },
  ], "Get messages", async ({ count, ackmode, encoding }) => {
    const got = await ask("POST", `${here}/get`, { count: Number(count), ackmode, encoding, truncate: 50000 });
    found.replaceChildren(...(got.length ? got.map(show) : [h("p", { class: "empty" }, "The queue is empty.")]));
  }), found);
}

export function publishForm(vhost, exchange, key, refresh) {
  return form([
    { name: "key", label: "Key", value: key }, { name: "persistent", label: "persistent", type: "checkbox", value: true },
    { name: "headers", label: "Headers, as JSON", value: "{}" }, { name: "properties", label: "Other properties, as JSON", value: "{}" },
    { name: "payload", label: "Payload", type: "textarea", wide: true },
  ], "Publish", async ({ key: routing_key, persistent, headers, properties, payload }) => {
    const all = { ...JSON.parse(properties), headers: JSON.parse(headers), delivery_mode: persistent ? 2 : 1 };
    const { routed } = await ask("POST", `exchanges/${path(vhost, exchange)}/publish`, { properties: all, routing_key, payload, payload_encoding: "string" });
    refresh();
    if (!routed) throw new Error("No queue took it: nothing is bound that fits.");
    return "Published.";
  });
}

const publish = (vhost, name, refresh) => fold("Publish a message", publishForm(vhost, "amq.default", name, refresh));

// Moving: dead letters back to where they died, or everything elsewhere.
function move(vhost, name, refresh) {
  const state = h("div");
  let watching = null;
  async function watch(id) {
    clearTimeout(watching);
    const work = await get(`leveret/redrives/${id}`);
    const failures = work.failures.slice(0, 20).map((f) => h("li", {}, `Message ${f.position}${f.message_id ? ` (${f.message_id})` : ""}: ${f.reason}`));
    state.replaceChildren(
      facts([["State", work.error ? `${work.state}: ${work.error}` : work.state], ["Looked at", `${number(work.looked)} of ${number(work.total)}`],
        [work.dry_run ? "Would be moved" : "Moved", `${number(work.moved)}${Object.entries(work.moved_to).map(([to, n]) => `; to ${to}: ${number(n)}`).join("")}`],
        ["Do not fit", number(work.passed)], ["Failed", number(work.failed)]]),
      h("ul", {}, failures), work.state === "running" ? danger("Cancel", "End it? What was moved stays moved.", () => ask("DELETE", `leveret/redrives/${id}`)) : "");
    if (work.state === "running") watching = setTimeout(() => watch(id).catch((error) => note(error.message, "bad")), 500);
    else refresh();
  }
  return fold("Move messages", h("p", { class: "soft" }, "Without a target, dead letters go back to the queue in which they died first. A message is removed only when the other queue has it."), form([
    { name: "to", label: "To queue", placeholder: "where it died first" }, { name: "died_in", label: "Only what died in" },
    { name: "reason", label: "Only for reason", options: ["", "rejected", "expired", "maxlen", "delivery_limit"] },
    { name: "older_than", label: "At least so many seconds ago", type: "number", min: 1 }, { name: "rate", label: "Messages a second, at most", type: "number", min: 1 },
    { name: "limit", label: "Messages, at most", type: "number", min: 1 }, { name: "dry_run", label: "only count", type: "checkbox", value: true },
  ], "Move", async (values) => {
    const wanted = { vhost, queue: name, dry_run: values.dry_run };
    for (const key of ["to", "died_in", "reason"]) if (values[key]) wanted[key] = values[key];
    for (const key of ["older_than", "rate", "limit"]) if (values[key]) wanted[key] = Number(values[key]);
    await watch((await ask("POST", "leveret/redrives", wanted)).id);
  }), state);
}
