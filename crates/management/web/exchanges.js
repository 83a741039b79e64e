// Exchanges, and one of them with a drawing of what leads to it and from it.

import { ask, get, path } from "./api.js";
import { rates, RANGE } from "./chart.js";
import { danger, facts, fold, form, h, rate, svg } from "./dom.js";
import { features, paged } from "./queues.js";
import { publishForm } from "./queue.js";

const shownName = (name) => name || "(default)";
const pathName = (name) => name || "amq.default";
const KINDS = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-modulus-hash", "x-random", "x-local-random", "x-recent-history", "x-delayed-message", "x-message-deduplication"];

export function list(_names, query, refresh) {
  const columns = [
    { title: "Name", sort: "name", cell: (x) => h("a", { href: `#/exchange/${path(x.vhost, pathName(x.name))}` }, shownName(x.name)) },
    { title: "Virtual host", sort: "vhost", cell: (x) => x.vhost },
    { title: "Type", sort: "type", cell: (x) => x.type },
    { title: "Features", cell: features },
    { title: "In /s", sort: "message_stats.publish_in_details.rate", number: true, cell: (x) => rate(x.message_stats?.publish_in_details?.rate) },
    { title: "Out /s", sort: "message_stats.publish_out_details.rate", number: true, cell: (x) => rate(x.message_stats?.publish_out_details?.rate) },
  ];
  const add = form([
    { name: "vhost", label: "Virtual host", value: "/" }, { name: "name", label: "Name", required: true }, { name: "type", label: "Type", options: KINDS },
    { name: "arguments", label: "Arguments, as JSON", value: "{}", wide: true },
    { name: "durable", label: "survives a restart", type: "checkbox", value: true }, { name: "internal", label: "internal", type: "checkbox" },
  ], "Add exchange", async ({ vhost, name, arguments: text, ...rest }) => {
    await ask("PUT", `exchanges/${path(vhost, name)}`, { ...rest, arguments: JSON.parse(text) });
    refresh();
    return `Exchange ${name} is there.`;
  });
  return paged("Exchanges", "exchanges", columns, "name,vhost,type,durable,auto_delete,internal,arguments,policy,message_stats", { query, extra: fold("Add an exchange", add) });
}

export function one([vhost, segment], _query, refresh) {
  const name = segment === "amq.default" ? "" : segment;
  const here = `exchanges/${path(vhost, segment)}`;
  const head = h("span");
  const about = h("div");
  const drawing = h("div", { class: "bindings" });
  const traffic = rates([["publish_in", "in"], ["publish_out", "out, to queues"]]);
  const bind = form([
    { name: "kind", label: "To", options: ["queue", "exchange"] }, { name: "destination", label: "Name", required: true }, { name: "key", label: "Key" },
    { name: "arguments", label: "Arguments, as JSON", value: "{}" },
  ], "Bind", async ({ kind, destination, key, arguments: text }) => {
    await ask("POST", `bindings/${path(vhost)}/e/${path(name)}/${kind[0]}/${path(destination)}`, { routing_key: key, arguments: JSON.parse(text) });
    refresh();
  });
  const node = h("div", {},
    h("div", { class: "head" }, h("a", { class: "link", href: "#/exchanges" }, "Exchanges"), h("h1", {}, shownName(name)), head, h("span", { class: "grow" }),
      name && !name.startsWith("amq.") ? danger("Delete", `Delete ${name} and its bindings?`, async () => { await ask("DELETE", here); location.hash = "#/exchanges"; }) : ""),
    h("div", { class: "row" }, h("section", { class: "box" }, h("h2", {}, "About"), about), traffic.node),
    h("section", { class: "box" }, h("h2", {}, "What leads here, and where it leads"), drawing),
    name ? fold("Bind", bind) : "", fold("Publish a message", publishForm(vhost, segment, "", refresh)));
  async function update() {
    const [exchange, from, to] = await Promise.all([get(`${here}?${RANGE}`), get(`${here}/bindings/source`), name ? get(`${here}/bindings/destination`) : []]);
    head.replaceChildren(...features(exchange));
    const shown = Object.keys(exchange.arguments).length ? h("span", { class: "mono" }, JSON.stringify(exchange.arguments)) : "none";
    about.replaceChildren(facts([["Virtual host", vhost], ["Type", exchange.type], ["Arguments", shown], ["Policy", exchange.policy || "none"], ["Made by", exchange.user_who_performed_action]]));
    traffic.update(exchange);
    draw(drawing, vhost, shownName(name), to, from);
  }
  return { node, update };
}

// At most so many on each side are drawn; the rest is counted.
const DRAWN = 60;
const ROW = 38;

function draw(area, vhost, name, to, from) {
  const width = Math.max(640, area.clientWidth || 640);
  const [left, right] = [to.slice(0, DRAWN), from.slice(0, DRAWN)];
  const rows = Math.max(left.length, right.length, 1);
  const height = rows * ROW + 30;
  const boxWidth = Math.min(230, width / 3 - 50);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Bindings of ${name}` });
  const cut = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);
  const block = (x, y, text, href, centre) => {
    const inside = [svg("rect", { x, y: y - 14, width: boxWidth, height: 28, rx: 6 }), svg("text", { x: x + 10, y: y + 4 }, cut(text, Math.floor(boxWidth / 7.5))), svg("title", {}, text)];
    return href ? svg("a", { href }, inside) : svg("g", { class: centre ? "centre" : "" }, inside);
  };
  const middle = height / 2;
  const centre = (width - boxWidth) / 2;
  const line = (x1, y1, x2, y2, key) => {
    const bend = (x1 + x2) / 2;
    drawn.append(svg("path", { d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` }));
    if (key) drawn.append(svg("text", { class: "key", x: x1 < centre ? x1 + 6 : x2 - 6, y: (x1 < centre ? y1 : y2) - 6, "text-anchor": x1 < centre ? "start" : "end" }, cut(key, 22), svg("title", {}, key)));
  };
  const place = (n, of) => middle + (n - (of - 1) / 2) * ROW;
  left.forEach((b, n) => line(boxWidth, place(n, left.length), centre, middle, b.routing_key));
  right.forEach((b, n) => line(centre + boxWidth, middle, width - boxWidth, place(n, right.length), b.routing_key));
  left.forEach((b, n) => drawn.append(block(0, place(n, left.length), shownName(b.source), `#/exchange/${path(vhost, pathName(b.source))}`)));
  right.forEach((b, n) => {
    const href = b.destination_type === "queue" ? `#/queue/${path(vhost, b.destination)}` : `#/exchange/${path(vhost, b.destination)}`;
    drawn.append(block(width - boxWidth, place(n, right.length), b.destination, href));
  });
  drawn.append(block(centre, middle, name, null, true));
  const more = to.length + from.length - left.length - right.length;
  area.replaceChildren(drawn, more ? h("p", { class: "soft" }, `and ${more} more bindings`) : "");
}
