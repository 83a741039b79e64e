// All queues, a page at a time: searched and sorted by the broker, so that ten thousand are as quick as ten.

import { ask, get, path } from "./api.js";
import { fold, form, h, number, rate, table, tag, tell } from "./dom.js";

const SIZE = 50;
const COLUMNS = "name,vhost,type,durable,auto_delete,exclusive,policy,state,messages,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details.rate,message_stats.deliver_get_details.rate,arguments";

// A search, pages and sorting around a list of the API; `columns` are those of the table.
export function paged(title, resource, columns, wanted, { empty, extra, query = new URLSearchParams() } = {}) {
  const state = { page: 1, name: query.get("name") ?? "", regex: false, sort: query.get("sort") ?? "", reverse: query.get("reverse") === "true" };
  let total = 0;
  const list = table(columns, { empty, onsort: (by) => {
    state.reverse = state.sort === by ? !state.reverse : false;
    state.sort = by;
    turn(1);
  } });
  let waiting;
  const search = h("input", { type: "search", placeholder: "Search ( / )", value: state.name, "aria-label": `Search ${title.toLowerCase()}`, oninput: () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.name = search.value; turn(1); }, 250);
  } });
  const regex = h("input", { type: "checkbox", onchange: () => { state.regex = regex.checked; turn(1); } });
  const count = h("span", { class: "soft" });
  const at = h("span", { class: "soft number" });
  const before = h("button", { type: "button", onclick: () => turn(state.page - 1) }, "Previous");
  const after = h("button", { type: "button", onclick: () => turn(state.page + 1) }, "Next");
  const turn = (page) => { state.page = page; tell(update); };
  const node = h("div", {},
    h("div", { class: "head" }, h("h1", {}, title), count, h("span", { class: "grow" }), h("label", { class: "check soft" }, regex, "regular expression"), search),
    h("div", { class: "box flush" }, list.node, h("div", { class: "pages" }, at, before, after)), extra);
  async function update() {
    const asked = new URLSearchParams({ page: state.page, page_size: SIZE });
    if (wanted) asked.set("columns", wanted);
    if (state.name) { asked.set("name", state.name); asked.set("use_regex", state.regex); }
    if (state.sort) { asked.set("sort", state.sort); asked.set("sort_reverse", state.reverse); }
    const answer = await get(`${resource}?${asked}`);
    if (state.page > 1 && answer.items.length === 0) { state.page = 1; return update(); }
    total = answer.filtered_count;
    list.show(answer.items);
    list.sorted(state.sort, state.reverse);
    count.textContent = total === answer.total_count ? number(total) : `${number(total)} of ${number(answer.total_count)}`;
    at.textContent = total ? `${number((state.page - 1) * SIZE + 1)} to ${number(Math.min(state.page * SIZE, total))}` : "";
    before.disabled = state.page <= 1;
    after.disabled = state.page >= answer.page_count;
  }
  return { node, update };
}

export const queueLink = (vhost, name) => h("a", { href: `#/queue/${path(vhost, name)}` }, name);

export function features(object) {
  const found = [];
  if (object.durable) found.push(tag("durable"));
  if (object.exclusive) found.push(tag("exclusive"));
  if (object.auto_delete) found.push(tag("auto-delete"));
  if (object.internal) found.push(tag("internal"));
  if (object.policy) found.push(tag(object.policy, "good"));
  const args = object.arguments ?? {};
  for (const [key, name] of [["x-dead-letter-exchange", "DLX"], ["x-message-ttl", "TTL"], ["x-max-length", "limit"], ["x-max-priority", "priorities"], ["alternate-exchange", "AE"]]) if (key in args) found.push(tag(name));
  return found;
}

export function view(_names, query, refresh) {
  const columns = [
    { title: "Name", sort: "name", cell: (q) => queueLink(q.vhost, q.name) },
    { title: "Virtual host", sort: "vhost", cell: (q) => q.vhost },
    { title: "Type", sort: "type", cell: (q) => q.type },
    { title: "Features", cell: features },
    { title: "Ready", sort: "messages_ready", number: true, cell: (q) => number(q.messages_ready) },
    { title: "Unacked", sort: "messages_unacknowledged", number: true, cell: (q) => number(q.messages_unacknowledged) },
    { title: "In /s", sort: "message_stats.publish_details.rate", number: true, cell: (q) => rate(q.message_stats?.publish_details?.rate) },
    { title: "Out /s", sort: "message_stats.deliver_get_details.rate", number: true, cell: (q) => rate(q.message_stats?.deliver_get_details?.rate) },
    { title: "Consumers", sort: "consumers", number: true, cell: (q) => number(q.consumers) },
  ];
  const add = form([
    { name: "vhost", label: "Virtual host", value: "/" }, { name: "name", label: "Name", required: true },
    { name: "type", label: "Type", options: ["classic", "quorum", "stream"] },
    { name: "arguments", label: "Arguments, as JSON", value: "{}", wide: true },
    { name: "durable", label: "survives a restart", type: "checkbox", value: true },
  ], "Add queue", async ({ vhost, name, type, arguments: text, durable }) => {
    const args = { ...JSON.parse(text), "x-queue-type": type };
    await ask("PUT", `queues/${path(vhost, name)}`, { durable, arguments: args });
    refresh();
    return `Queue ${name} is there.`;
  });
  return paged("Queues", "queues", columns, COLUMNS, { query, empty: "No queue fits.", extra: fold("Add a queue", add) });
}
