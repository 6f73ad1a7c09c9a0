// The server's gauges: reads /metrics every two seconds while the page is seen, and draws the last two minutes.
import {ApiError, request} from "./api.js";
import {element} from "./markdown.js";

const kEvery = 2000;   // milliseconds
const kPoints = 60;
const kWidth = 100;    // of a curve, in units of its own
const kHeight = 28;

// {name: sum over its series}; buckets are left out.
export function parseMetrics(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    const sample = /^([A-Za-z_:][\w:]*)(?:\{.*\})? (\S+)/.exec(line);
    if (!sample || sample[1].endsWith("_bucket")) continue;
    sums.set(sample[1], (sums.get(sample[1]) ?? 0) + Number(sample[2].replace("Inf", "Infinity")));
  }
  return sums;
}

const whole = (value) => Math.round(value).toLocaleString("en");
const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;

function time(seconds) {
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

// How much a counter grew since the reading before.
const growth = (now, before, name) => (now.get(name) ?? 0) - (before?.get(name) ?? now.get(name) ?? 0);

// value(now, before, seconds between): a number, or null where nothing can be said.
const GAUGES = [
  {id: "running", label: "Running", about: "Requests being computed", show: whole,
   value: (now) => now.get("heed:num_requests_running") ?? null},
  {id: "waiting", label: "Waiting", about: "Requests in the queue", show: whole,
   value: (now) => now.get("heed:num_requests_waiting") ?? null},
  {id: "rate", label: "Tokens/s", about: "Tokens generated in a second, for all requests together",
   show: (value) => (value < 10 && value > 0 ? value.toFixed(1) : whole(value)),
   value: (now, before, seconds) => (before ? growth(now, before, "heed:generation_tokens_total") / seconds : null)},
  {id: "cache", label: "Cache in use", about: "Share of the cache's pages that requests hold", show: percent, top: 1,
   value: (now) => now.get("heed:kv_cache_usage_perc") ?? null},
  {id: "hits", label: "Prefix hits", about: "Share of all prompt tokens that were found in the prefix cache",
   show: percent, top: 1,
   value: (now) => {
     const queries = now.get("heed:prefix_cache_queries_total");
     return queries ? now.get("heed:prefix_cache_hits_total") / queries : null;
   }},
  {id: "ttft", label: "First token", about: "Mean time to the first token, of the latest requests", show: time,
   value: (now, before) => {
     const name = "heed:time_to_first_token_seconds";
     const count = growth(now, before, `${name}_count`);
     if (count > 0) return growth(now, before, `${name}_sum`) / count;
     return now.get(`${name}_count`) && !before ? now.get(`${name}_sum`) / now.get(`${name}_count`) : undefined;
   }},
];

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Gauge {
  constructor(definition) {
    this.definition = definition;
    this.points = [];
    this.number = element("dd", {id: `gauge-${definition.id}`}, "–");
    this.area = svg("path", {class: "area"});
    this.line = svg("path", {class: "line"});
    const curve = svg("svg", {viewBox: `0 0 ${kWidth} ${kHeight}`, preserveAspectRatio: "none", "aria-hidden": "true"});
    curve.append(this.area, this.line);
    this.card = element("div", {class: "gauge", title: definition.about},
                        element("dt", {}, definition.label), this.number, curve);
  }

  // undefined: as before.
  add(value) {
    const last = this.points.at(-1) ?? null;
    this.points.push(value === undefined ? last : value);
    if (this.points.length > kPoints) this.points.shift();
    const shown = this.points.at(-1);
    this.number.textContent = shown === null ? "–" : this.definition.show(shown);
    this.draw();
  }

  draw() {
    const known = this.points.filter((point) => point !== null);
    if (known.length < 2) return;
    const top = this.definition.top ?? Math.max(...known, 1e-9) * 1.1;
    const first = kPoints - known.length;
    const x = (i) => ((first + i) * kWidth / (kPoints - 1)).toFixed(2);
    const y = (value) => (kHeight - 1.5 - (kHeight - 3) * Math.min(1, value / top)).toFixed(2);
    const path = known.map((value, i) => `${i === 0 ? "M" : "L"}${x(i)} ${y(value)}`).join("");
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", `${path}L${kWidth} ${kHeight}L${x(0)} ${kHeight}Z`);
  }
}

// onState("ready" | "busy" | "offline" | "locked"): whether the server answers, and takes our key.
export class Gauges {
  constructor(container, onState) {
    this.gauges = GAUGES.map((definition) => new Gauge(definition));
    container.append(...this.gauges.map((gauge) => gauge.card));
    this.onState = onState;
    document.addEventListener("visibilitychange", () => this.poll());
  }

  // Reads now, and goes on as long as the page is seen.
  async poll() {
    clearTimeout(this.timer);
    if (document.hidden || this.reading) return;
    this.reading = true;
    try {
      const response = await request("metrics");
      this.take(parseMetrics(await response.text()), performance.now());
      this.onState("ready");
    } catch (error) {
      const states = {401: "locked", 403: "locked", 503: "busy"};
      this.onState((error instanceof ApiError && states[error.status]) || "offline");
    }
    this.reading = false;
    this.timer = setTimeout(() => this.poll(), kEvery);
  }

  take(now, at) {
    // After a pause the rate over all of it says little, and a server that began anew counts from zero.
    const began = now.get("process_start_time_seconds");
    const fresh = this.before && at - this.at < 3 * kEvery && this.before.get("process_start_time_seconds") === began;
    const before = fresh ? this.before : null;
    for (const gauge of this.gauges) gauge.add(gauge.definition.value(now, before, (at - this.at) / 1000));
    this.before = now;
    this.at = at;
  }
}
