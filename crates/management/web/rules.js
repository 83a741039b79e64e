// Policies, and definitions up and down.

import { ask, get, path } from "./api.js";
import { box, danger, fold, form, h, note, table, tell } from "./dom.js";

export function policies(_names, _query, refresh) {
  const columns = (kind) => [
    { title: "Name", cell: (p) => p.name }, { title: "Virtual host", cell: (p) => p.vhost }, { title: "Pattern", cell: (p) => h("span", { class: "mono" }, p.pattern) },
    { title: "Applies to", cell: (p) => p["apply-to"] }, { title: "Definition", cell: (p) => h("span", { class: "mono" }, JSON.stringify(p.definition)) },
    { title: "Priority", number: true, cell: (p) => p.priority },
    { title: "", cell: (p) => danger("Delete", `Delete policy ${p.name}?`, async () => { await ask("DELETE", `${kind}/${path(p.vhost, p.name)}`); refresh(); }) },
  ];
  const own = table(columns("policies"), { empty: "There are no policies." });
  const operator = table(columns("operator-policies"), { empty: "There are no operator policies." });
  const add = form([
    { name: "kind", label: "Kind", options: ["policies", "operator-policies"] }, { name: "vhost", label: "Virtual host", value: "/" }, { name: "name", label: "Name", required: true },
    { name: "pattern", label: "Pattern", value: "^" }, { name: "apply-to", label: "Applies to", options: ["queues", "exchanges", "all", "classic_queues", "quorum_queues", "streams"] },
    { name: "priority", label: "Priority", type: "number", value: 0 }, { name: "definition", label: "Definition, as JSON", type: "textarea", value: '{"max-length": 100000}', wide: true },
  ], "Set policy", async ({ kind, vhost, name, priority, definition, ...rest }) => {
    await ask("PUT", `${kind}/${path(vhost, name)}`, { ...rest, priority: Number(priority), definition: JSON.parse(definition) });
    refresh();
    return `Policy ${name} is set.`;
  });
  const node = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Policies")), h("div", { class: "box flush" }, own.node),
    box("Operator policies", h("div", { class: "box flush" }, operator.node)), fold("Set a policy", add));
  async function update() {
    const [mine, theirs] = await Promise.all([get("policies"), get("operator-policies")]);
    own.show(mine);
    operator.show(theirs);
  }
  return { node, update };
}

export function definitions() {
  const summary = h("p", { class: "soft" });
  const download = async () => {
    const all = await get("definitions");
    const url = URL.createObjectURL(new Blob([`${JSON.stringify(all, null, 2)}\n`], { type: "application/json" }));
    h("a", { href: url, download: `leveret-${new Date().toISOString().slice(0, 10)}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const file = h("input", { type: "file", accept: "application/json,.json", "aria-label": "Definitions file" });
  const upload = h("button", { class: "main", type: "button", onclick: () => tell(async () => {
    if (!file.files.length) throw new Error("Choose a file first.");
    await ask("POST", "definitions", JSON.parse(await file.files[0].text()));
    note("Taken in. What was there already stayed as it was.");
    await update();
  }) }, "Take in");
  const node = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Definitions")),
    box("Out", summary, h("button", { type: "button", onclick: () => tell(download) }, "Download")),
    box("In", h("p", { class: "soft" }, "A file that RabbitMQ or leveret exported: virtual hosts, users, permissions, policies, exchanges, queues and bindings."), h("div", { class: "head" }, file, upload)));
  async function update() {
    const all = await get("definitions");
    const count = (name) => `${(all[name] ?? []).length} ${name}`;
    summary.textContent = `Everything but messages: ${["vhosts", "users", "permissions", "policies", "exchanges", "queues", "bindings"].map(count).join(", ")}.`;
  }
  return { node, update };
}
