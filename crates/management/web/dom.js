// Elements, tables, forms and notes. Text always goes in as text, so names of queues cannot be markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity));
  return element;
}

export const box = (title, ...children) => h("section", { class: "box" }, title && h("h2", {}, title), ...children);

export const number = (value) => (value === undefined || value === null ? "" : Number(value).toLocaleString("en"));

export function rate(value) {
  const n = Number(value ?? 0);
  return n === 0 ? "0" : Math.abs(n) < 10 ? n.toFixed(1) : Math.round(n).toLocaleString("en");
}

export function bytes(value) {
  let n = Number(value ?? 0);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (n < 1000) return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1000;
  }
  return `${n.toFixed(1)} TB`;
}

export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${name}`;
  }
  return `${seconds} s`;
}

export const tag = (text, kind = "") => h("span", { class: `tag ${kind}` }, text);

// A list of facts; replaced as a whole when they change.
export function facts(pairs) {
  return h("dl", {}, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "")]));
}

export function stat(name, value, unit = "") {
  return h("div", { class: "stat" }, h("div", { class: "name" }, name), h("div", { class: "value" }, value, unit && h("small", {}, ` ${unit}`)));
}

// A table whose rows can be replaced. Columns: { title, cell(row), number, sort }.
export function table(columns, { empty = "Nothing here.", onsort } = {}) {
  const body = h("tbody");
  const heads = columns.map((column) => {
    const title = column.sort && onsort ? h("button", { type: "button", onclick: () => onsort(column.sort) }, column.title) : column.title;
    return h("th", { class: column.number ? "number" : null, scope: "col", "data-sort": column.sort }, title);
  });
  const node = h("table", {}, h("thead", {}, h("tr", {}, heads)), body);
  return {
    node,
    sorted(by, reverse) {
      for (const head of heads) {
        const on = head.dataset.sort === by && by;
        if (on) head.setAttribute("aria-sort", reverse ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
        const button = head.querySelector("button");
        if (button) button.textContent = button.textContent.replace(/ [↑↓]$/, "") + (on ? (reverse ? " ↓" : " ↑") : "");
      }
    },
    show(rows) {
      const line = (row) => h("tr", {}, columns.map((column) => h("td", { class: column.number ? "number" : null }, column.cell(row))));
      const none = h("tr", {}, h("td", { colspan: columns.length, class: "empty" }, empty));
      body.replaceChildren(...(rows.length ? rows.map(line) : [none]));
    },
  };
}

// A form. Fields: { name, label, type, value, options, wide, placeholder }. `submit` gets the values by name.
export function form(fields, action, submit, kind = "main") {
  const field = ({ name, label, type = "text", value = "", options, wide, ...rest }) => {
    if (type === "checkbox") return h("label", { class: "check" }, h("input", { type, name, checked: value === true, ...rest }), label);
    const input = options
      ? h("select", { name }, options.map((option) => h("option", { value: option, selected: option === value }, option)))
      : type === "textarea" ? h("textarea", { name, ...rest }, value) : h("input", { type, name, value, ...rest });
    return h("label", { class: `field ${wide ? "wide" : ""}` }, label, input);
  };
  const button = h("button", { class: kind, type: "submit" }, action);
  const node = h("form", { class: "form", onsubmit: async (event) => {
    event.preventDefault();
    const values = {};
    for (const input of node.elements) if (input.name) values[input.name] = input.type === "checkbox" ? input.checked : input.value;
    button.disabled = true;
    await tell(() => submit(values, node));
    button.disabled = false;
  } }, fields.map(field), h("div", { class: "actions" }, button));
  return node;
}

export const fold = (title, ...children) => h("details", { class: "box" }, h("summary", {}, title), ...children);

let noteTimer;

// A note in the corner, gone after some seconds.
export function note(text, kind = "") {
  document.querySelector(".note")?.remove();
  document.body.append(h("div", { class: `note ${kind}`, role: "status" }, text));
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => document.querySelector(".note")?.remove(), kind ? 8000 : 3500);
}

// Does something; what it returns or what goes wrong is told.
export async function tell(work) {
  try {
    const said = await work();
    if (typeof said === "string") note(said);
    return true;
  } catch (error) {
    note(error.message, "bad");
    return false;
  }
}

// A button that does something after a question.
export function danger(text, question, work) {
  return h("button", { class: "bad", type: "button", onclick: async () => { if (confirm(question)) await tell(work); } }, text);
}
