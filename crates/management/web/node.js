// The process: memory, disk, descriptors, what its store does.

import { get, path } from "./api.js";
import { box, bytes, duration, facts, h, number } from "./dom.js";

function meter(used, limit, over) {
  const bar = h("i", { class: over ? "bad" : null });
  bar.style.width = `${Math.min(100, (100 * used) / (limit || 1))}%`;
  return h("div", { class: "meter" }, bar);
}

export function view() {
  const name = h("h1", {}, "Node");
  const areas = [h("div"), h("div"), h("div"), h("div")];
  const titles = ["Memory", "Disk", "Process", "Message store"];
  const node = h("div", {}, h("div", { class: "head" }, name), h("div", { class: "row" }, areas.slice(0, 2).map((area, n) => box(titles[n], area))), h("div", { class: "row" }, areas.slice(2).map((area, n) => box(titles[n + 2], area))));
  async function update() {
    const [first] = await get("nodes");
    const one = await get(`nodes/${path(first.name)}`);
    name.textContent = one.name;
    areas[0].replaceChildren(facts([["Used", bytes(one.mem_used)], ["Alarm above", bytes(one.mem_limit)]]), meter(one.mem_used, one.mem_limit, one.mem_alarm));
    areas[1].replaceChildren(facts([["Free", bytes(one.disk_free)], ["Alarm below", bytes(one.disk_free_limit)], ["Alarm", one.disk_free_alarm ? "on" : "off"]]), meter(one.disk_free_limit, one.disk_free, one.disk_free_alarm));
    areas[2].replaceChildren(facts([
      ["Up for", duration(one.uptime)], ["Process", one.os_pid], ["Cores", number(one.processors)], ["File descriptors", `${number(one.fd_used)} of ${number(one.fd_total)}`],
      ["Sockets", `${number(one.sockets_used)} of ${number(one.sockets_total)}`], ["Data", one.db_dir],
    ]), meter(one.fd_used, one.fd_total, false));
    const store = one.leveret_store;
    areas[3].replaceChildren(store ? facts([
      ["Group commits", number(store.groups)], ["Mean sync", `${number(store.sync_micros_mean)} µs`], ["In the log", `${bytes(store.window_bytes)} in ${number(store.window_records)} records`],
      ["Chunks", number(store.chunks)], ["On disk", bytes(store.disk_bytes)], ["Memory of the database", bytes(store.memory_bytes)], ["Slow writes", number(store.slow_writes)],
    ]) : "");
  }
  return { node, update };
}
