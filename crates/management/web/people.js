// Users with their permissions, and virtual hosts.

import { ask, get, path } from "./api.js";
import { box, danger, fold, form, h, number, rate, table, tag } from "./dom.js";

export function users(_names, _query, refresh) {
  const list = table([
    { title: "Name", cell: (u) => u.name },
    { title: "Tags", cell: (u) => (Array.isArray(u.tags) ? u.tags : u.tags.split(",")).filter(Boolean).map((name) => tag(name, name === "administrator" ? "warn" : "")) },
    { title: "Password", cell: (u) => (u.password_hash ? "yes" : "none") },
    { title: "Virtual hosts", cell: (u) => u.vhosts.map((name) => tag(name)) },
    { title: "", cell: (u) => danger("Delete", `Delete user ${u.name}? Its connections are closed.`, async () => { await ask("DELETE", `users/${path(u.name)}`); refresh(); }) },
  ]);
  const rights = table([
    { title: "User", cell: (p) => p.user }, { title: "Virtual host", cell: (p) => p.vhost },
    ...["configure", "write", "read"].map((name) => ({ title: name, cell: (p) => h("span", { class: "mono" }, p[name] || "nothing") })),
    { title: "", cell: (p) => danger("Remove", `Take ${p.user}'s access to ${p.vhost} away?`, async () => { await ask("DELETE", `permissions/${path(p.vhost, p.user)}`); refresh(); }) },
  ]);
  const add = form([
    { name: "name", label: "Name", required: true }, { name: "password", label: "Password", type: "password", autocomplete: "new-password" },
    { name: "tags", label: "Tags, with commas", placeholder: "monitoring" },
  ], "Set user", async ({ name, password, tags }) => {
    await ask("PUT", `users/${path(name)}`, password ? { password, tags } : { password_hash: "", tags });
    refresh();
    return `User ${name} is set. It also needs permissions.`;
  });
  const allow = form([
    { name: "user", label: "User", required: true }, { name: "vhost", label: "Virtual host", value: "/" },
    { name: "configure", label: "Configure", value: ".*" }, { name: "write", label: "Write", value: ".*" }, { name: "read", label: "Read", value: ".*" },
  ], "Set permissions", async ({ user, vhost, ...patterns }) => { await ask("PUT", `permissions/${path(vhost, user)}`, patterns); refresh(); });
  const node = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Users")), h("div", { class: "box flush" }, list.node), fold("Add a user or change one", add),
    box("Permissions", h("div", { class: "box flush" }, rights.node)), fold("Set permissions", allow));
  async function update() {
    const [all, permissions] = await Promise.all([get("users"), get("permissions")]);
    const of = (name) => permissions.filter((p) => p.user === name).map((p) => p.vhost);
    list.show(all.map((user) => ({ ...user, vhosts: of(user.name) })));
    rights.show(permissions);
  }
  return { node, update };
}

export function vhosts(_names, _query, refresh) {
  const list = table([
    { title: "Name", cell: (v) => v.name },
    { title: "Description", cell: (v) => v.description },
    { title: "Tags", cell: (v) => (v.tags ?? []).map((name) => tag(name)) },
    { title: "Ready", number: true, cell: (v) => number(v.messages_ready ?? 0) },
    { title: "Unacked", number: true, cell: (v) => number(v.messages_unacknowledged ?? 0) },
    { title: "In /s", number: true, cell: (v) => rate(v.message_stats?.publish_details?.rate) },
    { title: "Out /s", number: true, cell: (v) => rate(v.message_stats?.deliver_get_details?.rate) },
    { title: "", cell: (v) => danger("Delete", `Delete ${v.name} with every queue and message in it?`, async () => { await ask("DELETE", `vhosts/${path(v.name)}`); refresh(); }) },
  ]);
  const add = form([{ name: "name", label: "Name", required: true }, { name: "description", label: "Description" }, { name: "tags", label: "Tags, with commas" }], "Add virtual host",
    async ({ name, ...rest }) => { await ask("PUT", `vhosts/${path(name)}`, rest); refresh(); return `${name} is there.`; });
  const node = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Virtual hosts")), h("div", { class: "box flush" }, list.node), fold("Add a virtual host", add));
  return { node, update: async () => list.show(await get("vhosts")) };
}
