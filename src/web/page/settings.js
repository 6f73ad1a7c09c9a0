// The settings beside the conversation, kept between visits; what is empty is not sent.
import {keep, recall} from "./storage.js";

export class Settings {
  constructor(form) {
    this.form = form;
    this.fields = [...form.querySelectorAll("input[name], textarea[name]")];
    for (const field of this.fields) {
      if (field.type === "number" && !field.placeholder) field.placeholder = "default";
    }
    this.restore();
    form.addEventListener("input", () => this.save());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  restore() {
    let kept = {};
    try {
      kept = JSON.parse(recall("localStorage", "settings") ?? "{}");
    } catch {
      // Not ours, or of another version: as if there were none.
    }
    for (const field of this.fields) field.value = typeof kept[field.name] === "string" ? kept[field.name] : "";
    if (this.text("tools")) this.form.querySelector("details").open = true;
  }

  save() {
    const values = Object.fromEntries(this.fields.map((field) => [field.name, field.value]));
    keep("localStorage", "settings", JSON.stringify(values));
  }

  reset() {
    for (const field of this.fields) field.value = "";
    this.save();
  }

  text(name) {
    return this.form.elements[name].value.trim();
  }

  // The fields of a request. Throws an Error that says what is wrong, and where.
  request() {
    const fields = {};
    for (const field of this.fields) {
      if (field.type !== "number") continue;
      if (field.validity.badInput) {
        field.focus();
        throw new Error(`${field.labels[0].textContent.trim()} is not a number.`);
      }
      if (field.value !== "") fields[field.name] = Number(field.value);
    }
    if (this.text("tools")) {
      try {
        fields.tools = JSON.parse(this.text("tools"));
      } catch (error) {
        throw new Error(`Tools: ${error.message}`);
      }
    }
    return fields;
  }
}
