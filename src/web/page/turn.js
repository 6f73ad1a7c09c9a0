// One turn of the conversation: what it says to the API, and how it is drawn.
import {MarkdownView, copyButton, element} from "./markdown.js";

function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;  // still being written
  }
}

export class UserTurn {
  // pictures: [{name, url (data:, which is sent), shown (blob:)}]
  constructor(content, pictures) {
    Object.assign(this, {content, pictures});
    this.root = element("article", {class: "turn user", "aria-label": "You"});
    if (pictures.length > 0) {
      const images = pictures.map((picture) => element("img", {src: picture.shown, alt: picture.name}));
      this.root.append(element("div", {class: "shown"}, ...images));
    }
    if (content) this.root.append(element("div", {class: "bubble"}, content));
  }

  messages() {
    if (this.pictures.length === 0) return [{role: "user", content: this.content}];
    const parts = this.pictures.map(({url}) => ({type: "image_url", image_url: {url}}));
    if (this.content) parts.push({type: "text", text: this.content});
    return [{role: "user", content: parts}];
  }

  forget() {
    for (const picture of this.pictures) URL.revokeObjectURL(picture.shown);
  }
}

// A tool call, and the box for what the tool gave back.
class ToolCall {
  constructor(id) {
    this.id = id;
    this.name = "";
    this.arguments = "";
    this.title = element("strong");
    this.code = element("code");
    this.result = element("textarea", {rows: "2", placeholder: "What the tool gave back", spellcheck: "false"});
    this.root = element("div", {class: "tool"},
                        element("p", {}, "Calls ", this.title), element("pre", {tabindex: "0"}, this.code),
                        element("label", {class: "tool-result"}, "Result ", this.result));
  }

  add(delta) {
    this.id = delta.id ?? this.id;
    this.name += delta.function?.name ?? "";
    this.arguments += delta.function?.arguments ?? "";
    this.title.textContent = this.name;
    this.code.textContent = prettyJson(this.arguments);
  }
}

const ENDS = {
  length: "Cut off: the most tokens allowed were written.",
  content_filter: "Withheld by a filter.",
  stopped: "Stopped.",
};

export class AssistantTurn {
  constructor() {
    this.content = "";
    this.reasoning = "";
    this.calls = [];
    this.began = performance.now();
    this.firstAt = null;
    this.build();
    this.view = new MarkdownView(this.body);
  }

  build() {
    this.thoughts = element("div", {class: "thoughts-text"});
    this.thoughtsTitle = element("summary", {}, "Thinking");
    this.thoughtsBox = element("details", {class: "thoughts"}, this.thoughtsTitle, this.thoughts);
    this.thoughtsBox.hidden = true;
    this.body = element("div", {class: "body"});
    this.toolBox = element("div", {class: "tools"});
    this.note = element("p", {class: "end-note"});
    this.note.hidden = true;
    this.stats = element("span", {class: "stats"});
    this.actions = element("div", {class: "turn-actions"}, copyButton(() => this.content), this.stats);
    this.root = element("article", {class: "turn assistant streaming", "aria-label": "Answer", "aria-busy": "true"},
                        this.thoughtsBox, this.body, this.toolBox, this.note, this.actions);
  }

  // Takes a chunk in; drawing waits for the next frame, however many come before it.
  add(chunk) {
    if (chunk.usage) this.usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    const delta = choice.delta ?? {};
    const thought = delta.reasoning_content ?? delta.reasoning ?? "";
    if (this.firstAt === null && (delta.content || thought || delta.tool_calls)) this.firstAt = performance.now();
    this.content += delta.content ?? "";
    this.reasoning += thought;
    for (const call of delta.tool_calls ?? []) this.addCall(call);
    if (choice.finish_reason) this.end = choice.finish_reason;
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  addCall(delta) {
    const index = delta.index ?? this.calls.length;
    if (!this.calls[index]) {
      this.calls[index] = new ToolCall(`call_${index}`);
      this.toolBox.append(this.calls[index].root);
    }
    this.calls[index].add(delta);
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    this.view.update(this.content);
    if (this.reasoning) {
      if (this.thoughtsBox.hidden) this.thoughtsBox.open = !this.content;
      if (this.content && !this.closedThoughts) {
        this.closedThoughts = true;
        this.thoughtsBox.open = false;
      }
      this.thoughtsBox.hidden = false;
      this.thoughtsTitle.textContent = this.content || this.ended ? "Thoughts" : "Thinking";
      this.thoughts.textContent = this.reasoning;
    }
    this.onDraw?.();
  }

  // how: "stopped", an Error, or undefined where the stream came to its end.
  finish(how) {
    this.ended = true;
    this.draw();
    this.root.classList.remove("streaming");
    this.root.removeAttribute("aria-busy");
    const failed = how instanceof Error;
    const note = failed ? how.message : ENDS[how ?? this.end];
    if (note) {
      this.note.textContent = note;
      this.note.hidden = false;
      this.note.classList.toggle("failed", failed);
      if (failed) this.note.setAttribute("role", "alert");
    }
    this.showStats();
  }

  showStats() {
    const parts = [];
    const now = performance.now();
    const tokens = this.usage?.completion_tokens;
    if (tokens) parts.push(`${tokens.toLocaleString("en")} token${tokens === 1 ? "" : "s"}`);
    if (tokens > 1 && this.firstAt !== null && now > this.firstAt) {
      parts.push(`${Math.round((tokens - 1) * 1000 / (now - this.firstAt)).toLocaleString("en")} tokens/s`);
    }
    if (this.firstAt !== null) parts.push(`first after ${Math.max(1, this.firstAt - this.began).toFixed(0)} ms`);
    const cached = this.usage?.prompt_tokens_details?.cached_tokens;
    if (cached) parts.push(`${cached.toLocaleString("en")} of ${this.usage.prompt_tokens.toLocaleString("en")} cached`);
    this.stats.textContent = parts.join(" · ");
  }

  get empty() {
    return !this.content && this.calls.length === 0;
  }

  // For the next request. An answer that never came is left out; so is what the model thought.
  messages() {
    if (this.empty) return [];
    const calls = this.calls.filter(Boolean);
    if (calls.length === 0) return [{role: "assistant", content: this.content}];
    const asked = calls.map((call) => ({
      id: call.id, type: "function", function: {name: call.name, arguments: call.arguments},
    }));
    const answers = calls.map((call) => ({role: "tool", tool_call_id: call.id, content: call.result.value}));
    return [{role: "assistant", content: this.content || null, tool_calls: asked}, ...answers];
  }
}
