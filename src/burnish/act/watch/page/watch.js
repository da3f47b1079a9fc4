"use strict";
// One stream of events in, the page out. Everything that comes from the run is put in as text, never as markup.

const $ = (id) => document.getElementById(id);
const WINDOW = 120; // seconds that the lanes show, unless all is asked for
const MOST_LINES = 400; // of the story; the log has them all
const agents = new Map();
const spans = [];
const marks = [];
let state = null;
let latest = 0; // the run's time, and when it was seen
let seenAt = performance.now();
let dirty = true;

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

function words(call) {
  const given = call.arguments || {};
  const what = given.item ?? given.target ?? given.to;
  // What it is about says enough; skills of another world are told with all that is short.
  const about = what === undefined ? Object.values(given).filter((each) => typeof each !== "object" || each === null) : [given.count > 1 ? given.count : "", what];
  return [call.name.replace(/_item$/, ""), ...about].filter((each) => each !== "").join(" ").replaceAll("_", " ");
}

// Agents

function card(name, goal) {
  const box = element("article", "", "card agent");
  const top = element("div");
  const stop = element("button", "Interrupt");
  stop.type = "button";
  stop.disabled = state.deaf !== "";
  stop.setAttribute("aria-label", `Interrupt ${name}`);
  stop.addEventListener("click", () => send("/interrupt", { agent: name }));
  top.append(element("b", name), stop);
  const health = document.createElement("meter");
  Object.assign(health, { min: 0, max: 20, low: 6, high: 12, optimum: 20, value: 20, hidden: true });
  health.setAttribute("aria-label", `Health of ${name}`);
  const parts = { box, stop, health, doing: element("span", "idle", "doing"), thinking: element("span", "", "thinking") };
  parts.points = element("span", "", "points");
  const body = element("div");
  body.append(health, parts.points);
  parts.thought = element("span", "", "thought");
  parts.has = element("span", "", "has");
  const line = element("div");
  line.append(parts.doing, parts.thinking);
  box.append(top, element("span", goal, "goal"), body, line, parts.thought, parts.has);
  box.dataset.agent = name;
  $("agents").append(box);
  agents.set(name, { parts, call: null, skill: null });
}

function observed(agent, seen) {
  const { health, has, points } = agent.parts;
  if (typeof seen.health === "number") {
    health.hidden = false;
    health.max = Math.max(health.max, seen.health);
    health.value = seen.health;
    points.textContent = `${+seen.health.toFixed(1)} health`;
  }
  const inventory = Object.entries(seen.inventory || {}).map(([item, count]) => `${count} ${item.replaceAll("_", " ")}`);
  const plain = Object.entries(seen).filter(([key, value]) => ["number", "string"].includes(typeof value) && key !== "health" && key !== "time");
  has.textContent = inventory.length ? inventory.join(", ") : plain.slice(0, 5).map(([key, value]) => `${key}: ${value}`).join(", ");
}

// Events

function take(event) {
  const { agent: name, kind, data, time } = event;
  if (time >= latest) { latest = time; seenAt = performance.now(); }
  const agent = agents.get(name);
  const parts = agent && agent.parts;
  if (kind === "observe" && agent) observed(agent, data);
  else if (kind === "call_start" && agent) {
    agent.call = { name, lane: 0, start: time, end: null, kind: "planning", label: "planning" };
    spans.push(agent.call);
    parts.thinking.textContent = "thinking ...";
  } else if (kind === "call_end" && agent) {
    if (agent.call) Object.assign(agent.call, { end: time, kind: data.status === "done" ? "planning" : data.status === "cancelled" ? "cancelled" : "failed" });
    agent.call = null;
    parts.thinking.textContent = "";
    if (!["done", "cancelled"].includes(data.status)) tell(event, `${name}: the planner gave no answer: ${data.status}`, "bad");
  } else if (kind === "plan" && agent && data.reason) parts.thought.textContent = data.reason.replaceAll("_", " ");
  else if (kind === "skill_start" && agent) {
    agent.skill = { name, lane: 1, start: time, end: null, kind: "open", label: words(data) };
    spans.push(agent.skill);
    parts.doing.textContent = words(data);
    parts.doing.classList.add("busy");
    tell(event, `${name}: ${words(data)}${data.reason ? ` (${data.reason.replaceAll("_", " ")})` : ""}`);
  } else if (kind === "skill_end" && agent) {
    if (agent.skill) Object.assign(agent.skill, { end: time, kind: data.status });
    agent.skill = null;
    parts.doing.textContent = "idle";
    parts.doing.classList.remove("busy");
    if (data.status === "interrupted") marks.push({ name, time });
    if (data.status !== "done") tell(event, `${name}: ${words(data)} ${data.status}${data.why ? `: ${data.why}` : ""}`, data.status === "failed" ? "bad" : "");
  } else if (kind === "chat") tell(event, `${name}: ${data.text}`, "chat");
  else if (kind === "human") tell(event, `${name}: interrupted by a person`);
  else if (kind === "reflex") tell(event, `${name}: by reflex, on ${data.on}: ${words(data.skill)}`);
  else if (kind === "goal") tell(event, `${name}: goal reached`, "chat");
  else if (kind === "limit") tell(event, `ended by a limit: ${data.limit}`);
  else if (kind === "world") {
    const hit = data.kind === "damage" && data.by !== undefined;
    const more = Object.entries(data).filter(([key]) => key !== "kind").map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`);
    const about = data.kind === "kill" ? `killed a ${data.what}` : hit ? `hit by ${data.by}, ${data.amount} points, health ${data.health}` : `${data.kind} ${more.join(", ")}`;
    tell(event, `${name || "the world"}: ${about}`, ["damage", "death"].includes(data.kind) ? "bad" : "");
  }
  dirty = true;
}

function tell(event, text, name = "") {
  const story = $("story");
  const row = document.createElement("li");
  row.append(element("time", `${event.time.toFixed(1)} s`), element("span", text, name));
  const atEnd = story.scrollHeight - story.scrollTop - story.clientHeight < 60;
  story.append(row);
  while (story.children.length > MOST_LINES) story.firstChild.remove();
  if (atEnd) story.scrollTop = story.scrollHeight;
}

// Lanes

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function lanes() {
  const svg = $("lanes");
  const wide = svg.clientWidth || 800;
  const left = 86, row = 20, gap = 12, each = 2 * row + gap;
  const tall = agents.size * each + 24;
  const end = Math.max(now(), 1);
  const start = $("all").checked ? 0 : Math.max(0, end - WINDOW);
  const x = (time) => left + (wide - left - 8) * (time - start) / (end - start);
  svg.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
  svg.style.height = `${tall}px`;
  svg.replaceChildren();
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find((size) => (end - start) / size <= 9) || 7200;
  for (let tick = Math.ceil(start / step) * step; tick <= end; tick += step) {
    svg.append(draw("line", { x1: x(tick), x2: x(tick), y1: 0, y2: tall - 18 }));
    svg.append(draw("text", { x: x(tick), y: tall - 5, "text-anchor": "middle" }, `${+tick.toFixed(1)} s`));
  }
  const order = [...agents.keys()];
  order.forEach((name, number) => svg.append(draw("text", { x: 0, y: number * each + row + 4, class: "name" }, name)));
  for (const span of spans) {
    const stop = span.end === null ? end : span.end;
    if (stop < start) continue;
    const from = x(Math.max(span.start, start)), size = Math.max(1.5, x(stop) - from);
    const y = order.indexOf(span.name) * each + span.lane * row;
    const bar = draw("rect", { x: from, y: y + 1, width: size, height: row - 3, rx: 3, class: span.kind });
    bar.append(draw("title", {}, `${span.label}, ${span.start.toFixed(1)} to ${stop.toFixed(1)} s`));
    svg.append(bar);
    if (span.lane === 1 && size > 6.4 * span.label.length) svg.append(draw("text", { x: from + 5, y: y + row - 7, class: "in" }, span.label));
  }
  for (const { name, time } of marks) {
    if (time < start) continue;
    const y = order.indexOf(name) * each + row - 1;
    svg.append(draw("path", { d: `M${x(time)} ${y} l5 -7 h-10 z`, class: "mark" }));
  }
}

function now() {
  const going = state && state.status === "running" && state.clock === "wall";
  return going ? latest + (performance.now() - seenAt) / 1000 : latest;
}

// Doing

async function send(where, what) {
  $("note").textContent = "";
  try {
    const answer = await fetch(where, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) });
    if (!answer.ok) $("note").textContent = (await answer.json()).detail || `not possible (${answer.status})`;
    return answer.ok;
  } catch {
    $("note").textContent = "the page's server does not answer";
    return false;
  }
}

async function refresh() {
  state = await (await fetch("/state")).json();
  $("status").textContent = state.status;
  $("status").className = `badge ${state.status}`;
  const deaf = state.deaf !== "";
  for (const { parts } of agents.values()) parts.stop.disabled = deaf;
  $("text").disabled = deaf;
  document.querySelector("#chat button").disabled = deaf;
  $("note").textContent = state.deaf;
  if (state.status !== "running") map();
}

function map() {
  const next = new Image();
  next.onload = () => { $("map").src = next.src; $("map-card").hidden = false; };
  next.src = `/map.svg?at=${Date.now()}`;
}

async function begin() {
  await refresh();
  document.title = `${state.run}: Burnish`;
  $("run").textContent = state.run;
  $("about").textContent = `${state.agents.length} ${state.agents.length === 1 ? "agent" : "agents"} in ${state.world}, ${state.mode}, ${state.clock} clock`;
  for (const { name, goal } of state.agents) card(name, goal);
  $("all").checked = state.status !== "running";
  map();
  const stream = new EventSource("/events");
  stream.onmessage = (message) => take(JSON.parse(message.data));
  stream.addEventListener("status", refresh);
  stream.onerror = () => { $("status").textContent = "connection lost"; $("status").className = "badge lost"; };
  stream.onopen = () => refresh();
  $("all").addEventListener("change", () => { dirty = true; });
  $("chat").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (text && await send("/chat", { text })) $("text").value = "";
  });
  setInterval(() => { if (state.status === "running") map(); }, 1000);
  setInterval(() => {
    const going = state.status === "running" && state.clock === "wall";
    $("clock").textContent = `${now().toFixed(1)} s`;
    if (dirty || going) lanes();
    dirty = false;
  }, 200);
}

begin();
