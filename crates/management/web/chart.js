// Lines over time, drawn as SVG from the samples that the API keeps.

import { h, rate, number, svg } from "./dom.js";

const HEIGHT = 150;
const LEFT = 44;
const BELOW = 16;

// Points of counters become rates between them; lengths are taken as they are. Oldest first.
function points(details, counted) {
  const samples = (details?.samples ?? []).map(({ sample, timestamp }) => [timestamp, sample]).sort((a, b) => a[0] - b[0]);
  if (!counted) return samples;
  return samples.slice(1).map(([time, value], n) => [time, Math.max(0, (value - samples[n][1]) * 1000 / (time - samples[n][0] || 1))]);
}

function nice(max) {
  if (max <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= max);
}

function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
  return `${+value.toPrecision(3)}`;
}

// A chart of series { name, details(data), counted }; `update` draws it anew.
export function chart(title, series) {
  const area = h("div");
  const legend = h("div", { class: "legend" });
  const node = h("section", { class: "box chart" }, h("h2", {}, title), area, legend);
  function update(data) {
    const lines = series.map(({ details, counted }) => points(details(data), counted));
    const all = lines.flat();
    const times = all.map(([time]) => time);
    const [from, to] = [Math.min(...times), Math.max(...times)];
    const max = nice(Math.max(0, ...all.map(([, value]) => value)));
    const width = area.clientWidth || 600;
    const x = (time) => LEFT + (to > from ? (time - from) / (to - from) : 1) * (width - LEFT - 4);
    const y = (value) => HEIGHT - BELOW - (value / max) * (HEIGHT - BELOW - 8);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": title });
    for (const part of [0, 0.5, 1]) {
      drawing.append(svg("line", { class: "grid", x1: LEFT, x2: width, y1: y(max * part), y2: y(max * part) }));
      drawing.append(svg("text", { x: LEFT - 6, y: y(max * part) + 4, "text-anchor": "end" }, short(max * part)));
    }
    if (to > from) {
      const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
      drawing.append(svg("text", { x: LEFT, y: HEIGHT - 2 }, clock(from)), svg("text", { x: width - 4, y: HEIGHT - 2, "text-anchor": "end" }, clock(to)));
    }
    lines.forEach((line, n) => {
      const d = line.map(([time, value], at) => `${at ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      if (d) drawing.append(svg("path", { d, class: `c${(n % 5) + 1}` }));
    });
    area.replaceChildren(drawing);
    legend.replaceChildren(...series.map(({ name, counted }, n) => {
      const last = lines[n].at(-1)?.[1] ?? 0;
      return h("span", {}, h("i", { class: `c${(n % 5) + 1}` }), `${name} `, h("b", {}, counted ? `${rate(last)}/s` : number(last)));
    }));
  }
  return { node, update };
}

const stats = (key) => (data) => data.message_stats?.[`${key}_details`];

export const rates = (pairs, title = "Messages per second") => chart(title, pairs.map(([key, name]) => ({ name, details: stats(key), counted: true })));

export const lengths = () => chart("Messages waiting", [
  { name: "ready", details: (data) => (data.queue_totals ?? data).messages_ready_details },
  { name: "unacknowledged", details: (data) => (data.queue_totals ?? data).messages_unacknowledged_details },
]);

export const RANGE = "msg_rates_age=600&msg_rates_incr=5&lengths_age=600&lengths_incr=5";
