// The conversation: its turns, the answer being written, and the view that follows it.
import {ApiError, streamChat} from "./api.js";
import {element} from "./markdown.js";
import {AssistantTurn, UserTurn} from "./turn.js";

const kNearEnd = 80;  // pixels: who is this near to the end is taken along

export class Conversation {
  // page: {scroll, turns, welcome, latest, announce}; settings; model(): its name; hooks: {onBusy, onLocked}
  constructor(page, settings, model, hooks) {
    Object.assign(this, {page, settings, model, hooks, turns: [], abort: null, following: true});
    page.scroll.addEventListener("scroll", () => this.noteScroll(), {passive: true});
    page.latest.addEventListener("click", () => this.follow());
  }

  get busy() {
    return this.abort !== null;
  }

  // Whether it was taken: not while an answer is being written, and not where there is nothing to say.
  // pictures: those to go with it (pictures.js), if any.
  send(text, pictures) {
    const some = pictures && pictures.taken.length > 0;
    if (this.busy || (text.trim() === "" && !some)) return false;
    this.add(new UserTurn(text.trim(), some ? pictures.release() : []));
    this.answer();
    return true;
  }

  add(turn) {
    this.turns.push(turn);
    this.page.welcome.hidden = true;
    this.page.turns.append(turn.root);
    this.follow();
  }

  messages() {
    const system = this.settings.text("system");
    return [...(system ? [{role: "system", content: system}] : []), ...this.turns.flatMap((turn) => turn.messages())];
  }

  async answer() {
    const turn = new AssistantTurn();
    turn.onDraw = () => this.keepUp();
    const abort = new AbortController();
    this.abort = abort;
    this.hooks.onBusy(true);
    this.page.announce.textContent = "The model is answering.";
    let how;
    try {
      const body = {model: this.model(), messages: this.messages(), ...this.settings.request()};
      this.dropActions();
      this.add(turn);
      for await (const chunk of streamChat(body, abort.signal)) turn.add(chunk);
    } catch (error) {
      how = abort.signal.aborted ? "stopped" : error;
    }
    if (this.abort !== abort) return;  // a new conversation has begun meanwhile
    if (!this.turns.includes(turn)) this.add(turn);
    this.abort = null;
    turn.finish(how);
    this.offerActions(turn);
    this.keepUp();
    this.hooks.onBusy(false);
    this.page.announce.textContent = how instanceof Error ? "" : how === "stopped" ? "Stopped." : "The answer is complete.";
    if (how instanceof ApiError && how.status === 401) this.hooks.onLocked();
  }

  // Below the last answer only: write it again, or go on with what the tools gave back.
  offerActions(turn) {
    const again = element("button", {type: "button", class: "link", id: "regenerate"}, turn.empty ? "Try again" : "Regenerate");
    again.addEventListener("click", () => this.regenerate());
    turn.stats.before(again);
    this.lastActions = [again];
    if (turn.calls.length === 0) return;
    const go = element("button", {type: "button", class: "primary", id: "send-results"}, "Send the results");
    go.addEventListener("click", () => {
      if (!this.busy) this.answer();
    });
    turn.toolBox.append(go);
    this.lastActions.push(go);
  }

  dropActions() {
    for (const action of this.lastActions ?? []) action.remove();
    this.lastActions = [];
  }

  regenerate() {
    if (this.busy || !(this.turns.at(-1) instanceof AssistantTurn)) return;
    this.turns.pop().root.remove();
    this.answer();
  }

  stop() {
    this.abort?.abort();
  }

  clear() {
    this.stop();
    this.abort = null;
    for (const turn of this.turns) turn.forget?.();
    this.turns = [];
    this.page.turns.replaceChildren();
    this.page.welcome.hidden = false;
    this.hooks.onBusy(false);
    this.page.announce.textContent = "New conversation.";
    this.noteScroll();
  }

  // ---- Following the text ----

  noteScroll() {
    const {scrollHeight, scrollTop, clientHeight} = this.page.scroll;
    this.following = scrollHeight - scrollTop - clientHeight < kNearEnd;
    this.page.latest.hidden = this.following;
  }

  follow() {
    this.following = true;
    this.keepUp();
  }

  keepUp() {
    if (this.following) this.page.scroll.scrollTop = this.page.scroll.scrollHeight;
    this.noteScroll();
  }
}
