// Connections and channels of clients.

import { ask, get, path } from "./api.js";
import { bytes, danger, duration, facts, h, number, rate, table, tag } from "./dom.js";
import { paged } from "./queues.js";

const state = (name) => tag(name ?? "", name === "running" ? "good" : name === "blocked" || name === "blocking" ? "bad" : "warn");
const shown = (c) => c.user_provided_name || c.client_properties?.connection_name || c.name;

export function connections(_names, query) {
  return paged("Connections", "connections", [
    { title: "Name", sort: "name", cell: (c) => [h("a", { href: `#/connection/${path(c.name)}` }, shown(c)), shown(c) === c.name ? "" : h("div", { class: "soft" }, c.name)] },
    { title: "User", sort: "user", cell: (c) => c.user },
    { title: "Virtual host", sort: "vhost", cell: (c) => c.vhost },
    { title: "State", sort: "state", cell: (c) => state(c.state) },
    { title: "TLS", sort: "ssl", cell: (c) => (c.ssl ? "yes" : "no") },
    { title: "Client", cell: (c) => [c.client_properties?.product, c.client_properties?.version].filter(Boolean).join(" ") },
    { title: "Channels", sort: "channels", number: true, cell: (c) => number(c.channels) },
    { title: "From client", sort: "recv_oct_details.rate", number: true, cell: (c) => `${bytes(c.recv_oct_details?.rate)}/s` },
    { title: "To client", sort: "send_oct_details.rate", number: true, cell: (c) => `${bytes(c.send_oct_details?.rate)}/s` },
    { title: "Since", sort: "connected_at", cell: (c) => duration(Date.now() - c.connected_at) },
  ], null, { query, empty: "No client is connected." });
}

export function connection([name]) {
  const about = h("div");
  const list = table(channelColumns, { empty: "It has no channel." });
  const node = h("div", {},
    h("div", { class: "head" }, h("a", { class: "link", href: "#/connections" }, "Connections"), h("h1", {}, name), h("span", { class: "grow" }),
      danger("Close", "Close this connection? Most clients connect again by themselves.", async () => { await ask("DELETE", `connections/${path(name)}`); location.hash = "#/connections"; return "Closed."; })),
    h("section", { class: "box" }, h("h2", {}, "About"), about), h("section", { class: "box flush" }, list.node));
  async function update() {
    const [c, channels] = await Promise.all([get(`connections/${path(name)}`), get(`connections/${path(name)}/channels`)]);
    about.replaceChildren(facts([
      ["Name given", c.user_provided_name], ["User", c.user], ["Virtual host", c.vhost], ["State", state(c.state)], ["Protocol", c.protocol], ["Login", c.auth_mechanism],
      ["TLS", c.ssl ? `${c.ssl_protocol} ${c.ssl_cipher}` : "no"], ["Connected", new Date(c.connected_at).toLocaleString()], ["Heartbeat", `${c.timeout} s`],
      ["Largest frame", bytes(c.frame_max)], ["Received", bytes(c.recv_oct)], ["Sent", bytes(c.send_oct)], ["Client", h("span", { class: "mono" }, JSON.stringify(c.client_properties, null, 1))],
    ]));
    list.show(channels);
  }
  return { node, update };
}

const channelColumns = [
  { title: "Channel", sort: "name", cell: (c) => c.name },
  { title: "User", sort: "user", cell: (c) => c.user },
  { title: "Mode", cell: (c) => [c.confirm ? tag("confirms") : "", c.transactional ? tag("transactions") : ""] },
  { title: "Consumers", sort: "consumer_count", number: true, cell: (c) => number(c.consumer_count) },
  { title: "Prefetch", sort: "prefetch_count", number: true, cell: (c) => number(c.prefetch_count) },
  { title: "Unacked", sort: "messages_unacknowledged", number: true, cell: (c) => number(c.messages_unacknowledged) },
  { title: "Unconfirmed", sort: "messages_unconfirmed", number: true, cell: (c) => number(c.messages_unconfirmed) },
  { title: "Published /s", number: true, cell: (c) => rate(c.message_stats?.publish_details?.rate) },
  { title: "Delivered /s", number: true, cell: (c) => rate(c.message_stats?.deliver_get_details?.rate) },
];

export function channels(_names, query) {
  return paged("Channels", "channels", channelColumns, null, { query, empty: "There are no channels." });
}
