// The frame of the page: who is logged in, where one is, and what is asked anew every few seconds.

import { ask, ApiError, get, loggedIn, logIn, logOut } from "./api.js";
import { h } from "./dom.js";
import * as overview from "./overview.js";
import * as queues from "./queues.js";
import * as queue from "./queue.js";
import * as exchanges from "./exchanges.js";
import * as clients from "./clients.js";
import * as people from "./people.js";
import * as rules from "./rules.js";
import * as node from "./node.js";

// The broker looks at its counters every five seconds; lists change at once.
const REFRESH_MS = 3000;

const places = [
  ["", "Overview"], ["queues", "Queues"], ["exchanges", "Exchanges"], ["connections", "Connections"], ["channels", "Channels"],
  ["users", "Users", "administrator"], ["vhosts", "Virtual hosts"], ["policies", "Policies"], ["definitions", "Definitions", "administrator"], ["node", "Node", "monitoring"],
];

const views = {
  "": overview.view, queues: queues.view, queue: queue.view, exchanges: exchanges.list, exchange: exchanges.one,
  connections: clients.connections, connection: clients.connection, channels: clients.channels,
  users: people.users, vhosts: people.vhosts, policies: rules.policies, definitions: rules.definitions, node: node.view,
};

const app = document.getElementById("app");
let current = null;
let timer = null;
let round = 0;

const theme = (name) => {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("leveret-theme", name); } catch { /* A private window keeps nothing. */ }
};

function login(problem) {
  clearTimeout(timer);
  current = null;
  const user = h("input", { name: "user", autocomplete: "username", required: true, autofocus: true });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  const form = h("form", { class: "box", onsubmit: async (event) => {
    event.preventDefault();
    logIn(user.value, password.value);
    start();
  } },
  h("img", { src: "web/icon.svg", alt: "" }), h("h1", {}, "leveret"), problem && h("div", { class: "alarm", role: "alert" }, problem),
  h("label", { class: "field" }, "User", user), h("label", { class: "field" }, "Password", password),
  h("button", { class: "main", type: "submit" }, "Log in"));
  app.replaceChildren(h("div", { class: "login" }, form));
  user.focus();
}

const main = h("main", { id: "main", tabindex: -1 });
const alarms = h("div", { "aria-live": "polite" });
const pulse = h("span", { class: "pulse" });
const cluster = h("span", { class: "soft cluster" });
const counts = {};

function frame(who) {
  const may = (needed) => !needed || who.tags.includes("administrator") || (needed === "monitoring" && who.tags.includes("monitoring"));
  const link = ([place, name, needed]) => may(needed) && h("a", { href: `#/${place}`, "data-place": place }, name, (counts[place] = h("span", { class: "soft number" })));
  const toggle = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  app.replaceChildren(h("div", { class: "frame" },
    h("header", { class: "bar" },
      h("a", { class: "brand", href: "#/" }, h("img", { src: "web/icon.svg", alt: "" }), "leveret"), cluster, h("span", { class: "grow" }),
      h("span", { class: "soft" }, pulse, who.name),
      h("button", { class: "plain", type: "button", onclick: toggle, title: "Dark or light" }, "◐"),
      h("button", { class: "plain", type: "button", onclick: () => { logOut(); login(); } }, "Log out")),
    h("div", { class: "side" }, h("nav", { "aria-label": "Places" }, places.map(link).filter(Boolean))), main));
}

// #/queue/%2F/jobs?x=y: the view, its names and what else is asked.
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...names] = path.split("/").map(decodeURIComponent);
  return { name, names, query: new URLSearchParams(query) };
}

function show() {
  const { name, names, query } = place();
  const view = views[name] ?? views[""];
  round += 1;
  current = view(names, query, refresh);
  document.title = `${[name, ...names.slice(-1)].filter(Boolean).join(" ") || "overview"} · leveret`;
  main.replaceChildren(alarms, current.node);
  for (const link of document.querySelectorAll(".side a")) {
    const here = link.dataset.place === name || link.dataset.place === `${name}s`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  const mine = round;
  try {
    const [overview] = await Promise.all([get("overview"), current?.update()]);
    if (mine !== round) return;
    pulse.classList.remove("off");
    cluster.textContent = overview.cluster_name;
    const totals = overview.object_totals ?? {};
    for (const name of ["queues", "exchanges", "connections", "channels"]) if (counts[name]) counts[name].textContent = totals[name] ?? "";
    alarms.replaceChildren(...await alarmed());
  } catch (error) {
    if (mine !== round) return;
    if (error instanceof ApiError && error.status === 401) {
      if (/not authori[sz]ed|Not_Authorized|management user|localhost/i.test(error.message) && current?.open !== true) {
        logOut();
        return login(error.message === "Not_Authorized" ? "The broker does not know this user and password." : error.message);
      }
    }
    pulse.classList.add("off");
    alarms.replaceChildren(h("div", { class: "alarm", role: "alert" }, error.status === 404 ? "This is not there (any more)." : error.message));
  }
  if (mine === round) timer = setTimeout(refresh, document.hidden ? 5 * REFRESH_MS : REFRESH_MS);
}

async function alarmed() {
  let found = [];
  try {
    await ask("GET", "health/checks/alarms");
  } catch (error) {
    if (error.status === 503) found = ["An alarm is on: memory or disk is short, so clients that publish are not read. See Node."];
  }
  return found.map((text) => h("div", { class: "alarm", role: "alert" }, text));
}

async function start() {
  try {
    frame(await get("whoami"));
    show();
  } catch (error) {
    logOut();
    login(error.status === 401 && error.message === "Not_Authorized" ? "The broker does not know this user and password." : error.message);
  }
}

let kept = null;
try { kept = localStorage.getItem("leveret-theme"); } catch { /* A private window keeps nothing. */ }
document.documentElement.dataset.theme = kept ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
addEventListener("hashchange", () => loggedIn() && show());
addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const search = document.querySelector("input[type=search]");
  if (search) { event.preventDefault(); search.focus(); }
});
if (loggedIn()) start();
else login();
