// The page: puts the parts together.
import {ApiError, request, setKey} from "./api.js";
import {Conversation} from "./conversation.js";
import {Gauges} from "./gauges.js";
import {Pictures} from "./pictures.js";
import {Settings} from "./settings.js";
import {keep, recall} from "./storage.js";

const byId = (id) => document.getElementById(id);
const THEMES = {auto: "as the system", light: "light", dark: "dark"};
const STATES = {connecting: "connecting", ready: "ready", busy: "loading or shutting down", offline: "not reachable", locked: "asks for a key"};

let model = "";
const settings = new Settings(byId("settings"));
const prompt = byId("prompt");

const conversation = new Conversation(
  {scroll: byId("scroll"), turns: byId("turns"), welcome: byId("welcome"), latest: byId("latest"),
   announce: byId("announce")},
  settings, () => model, {onBusy: showBusy, onLocked: askForKey});
const pictures = new Pictures(
  {list: byId("pictures"), note: byId("picture-note"), button: byId("attach"), input: byId("picture-file"),
   area: document.querySelector(".chat"), prompt},
  () => conversation.follow());
const gauges = new Gauges(byId("gauges"), showState);

// ---- The server ----

function showState(state) {
  const shown = byId("server-state");
  const before = shown.dataset.state;
  if (before === state) return;
  shown.dataset.state = state;
  shown.title = `Server: ${STATES[state]}`;
  byId("state-text").textContent = STATES[state];
  if (state === "ready" && (before !== "connecting" || !model)) loadModel();  // it may be another by now
}

async function loadModel() {
  try {
    const {data} = await (await request("v1/models")).json();
    model = data[0].id;
    pictures.offer(data[0].input_modalities?.includes("image") ?? false);
    const length = data[0].max_model_len;
    byId("model-name").textContent = model;
    byId("welcome-model").textContent = model;
    byId("model-length").textContent = length ? `${length.toLocaleString("en")} tokens of context` : "";
    document.title = `${model} · Heed`;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) askForKey();
  }
}

function askForKey() {
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(byId("key").value.trim());
  byId("key").value = "";
  byId("key-dialog").close();
  byId("server-state").dataset.state = "connecting";
  loadModel();
  gauges.poll();
  prompt.focus();
});
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("change-key").addEventListener("click", askForKey);

// ---- Writing ----

function fitPrompt() {
  prompt.style.height = "auto";
  prompt.style.height = `${Math.min(prompt.scrollHeight, window.innerHeight * 0.4)}px`;
}

function showBusy(busy) {
  byId("send").hidden = busy;
  byId("stop").hidden = !busy;
  if (document.activeElement === byId("stop") || document.activeElement === document.body) prompt.focus();
}

async function sendPrompt() {
  await pictures.waiting;  // those still being made smaller come along
  if (!conversation.send(prompt.value, pictures)) return;
  prompt.value = "";
  fitPrompt();
  gauges.poll();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  sendPrompt();
});
prompt.addEventListener("input", fitPrompt);
prompt.addEventListener("keydown", (event) => {
  // While an input method composes a character, Enter is its own.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  sendPrompt();
});
byId("stop").addEventListener("click", () => conversation.stop());
byId("suggestions").addEventListener("click", (event) => {
  if (event.target.closest("button")) conversation.send(event.target.textContent);
});
byId("new-chat").addEventListener("click", () => {
  conversation.clear();
  pictures.clear();
  prompt.focus();
});

// ---- Colours and the panel ----

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme-icon").setAttribute("href", `#icon-${theme}`);
  byId("theme-text").textContent = `Colours: ${THEMES[theme]}`;
  byId("theme").title = `Colours: ${THEMES[theme]}`;
}

byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  keep("localStorage", "theme", next);
  showTheme(next);
});
showTheme(THEMES[recall("localStorage", "theme")] ? recall("localStorage", "theme") : "auto");

const wide = matchMedia("(min-width: 70rem)");

// On a wide window the panel stands beside the conversation; on a narrow one it slides over it.
function showPanel(open) {
  document.body.classList.toggle("panel-open", open);
  byId("panel-toggle").setAttribute("aria-expanded", String(open));
  byId("panel").inert = !open;
  if (wide.matches) keep("localStorage", "panel", open ? "open" : "closed");
}

byId("panel-toggle").addEventListener("click", () => showPanel(!document.body.classList.contains("panel-open")));
byId("shade").addEventListener("click", () => showPanel(false));
wide.addEventListener("change", () => showPanel(wide.matches && recall("localStorage", "panel") !== "closed"));
byId("reset-settings").addEventListener("click", () => settings.reset());

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || byId("key-dialog").open) return;
  if (!wide.matches && document.body.classList.contains("panel-open")) {
    showPanel(false);
  } else {
    conversation.stop();
  }
});

showPanel(wide.matches && recall("localStorage", "panel") !== "closed");
if (matchMedia("(hover: hover)").matches) prompt.focus();  // on a phone this would bring the keyboard up
loadModel();
gauges.poll();
