// Pictures on their way into the next message: taken, made smaller where they are enormous, shown, removed.
import {element} from "./markdown.js";

const TAKEN = ["image/jpeg", "image/png", "image/webp", "image/gif"];  // what the server reads as it is
const MAX_SIDE = 2048;  // pixels: more than any model looks at
const MAX_BYTES = 4 << 20;

function asUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

function drawn(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = element("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.92));
}

// The file as it is sent. Browsers read more kinds than the server does: these are drawn anew, too.
async function prepared(file) {
  const bitmap = await createImageBitmap(file);  // turned as its camera says
  const fits = Math.max(bitmap.width, bitmap.height) <= MAX_SIDE && file.size <= MAX_BYTES;
  // A copy: the file may be gone when it is shown in the conversation.
  const blob = fits && TAKEN.includes(file.type) ? new Blob([await file.arrayBuffer()], {type: file.type}) : await drawn(bitmap);
  bitmap.close();
  return blob;
}

const imagesOf = (files) => [...files].filter((file) => file.type.startsWith("image/"));

export class Pictures {
  // page: {list, note, button, input, area (where they may be dropped), prompt (where they may be pasted)}
  constructor(page, onChange) {
    Object.assign(this, {page, onChange, taken: [], waiting: Promise.resolve(), offered: false});
    page.button.addEventListener("click", () => page.input.click());
    page.input.addEventListener("change", () => {
      this.add(page.input.files);
      page.input.value = "";  // the same file may be chosen again
    });
    page.prompt.addEventListener("paste", (event) => this.paste(event));
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      page.area.addEventListener(kind, (event) => this.drag(event));
    }
  }

  // Whether the model sees.
  offer(offered) {
    this.offered = offered;
    this.page.button.hidden = !offered;
    if (!offered) this.clear();
  }

  paste(event) {
    const files = imagesOf(event.clipboardData.files);
    // What is copied from a table or a text often comes as a picture, too.
    if (!this.offered || files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    this.add(files);
  }

  drag(event) {
    if (!this.offered || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();  // or the browser would leave the page for the file
    const over = event.type === "dragenter" || event.type === "dragover";
    const within = event.type === "dragleave" && this.page.area.contains(event.relatedTarget);
    if (!within) this.page.area.classList.toggle("dropping", over);
    if (event.type === "drop") this.add(imagesOf(event.dataTransfer.files));
  }

  // One after the other, so that they keep their order and a phone its memory.
  add(files) {
    this.say("");
    for (const file of files) this.waiting = this.waiting.then(() => this.take(file));
  }

  async take(file) {
    try {
      const blob = await prepared(file);
      this.show({name: file.name || "picture", url: await asUrl(blob), shown: URL.createObjectURL(blob)});
    } catch {
      this.say(`${file.name || "What was pasted"} cannot be read as a picture.`);
    }
  }

  show(picture) {
    const remove = element("button", {type: "button", class: "remove", title: `Remove ${picture.name}`}, "×");
    picture.item = element("li", {}, element("img", {src: picture.shown, alt: picture.name}), remove);
    remove.addEventListener("click", () => {
      this.taken = this.taken.filter((each) => each !== picture);
      picture.item.remove();
      URL.revokeObjectURL(picture.shown);
      this.changed();
      this.page.prompt.focus();
    });
    this.taken.push(picture);
    this.page.list.append(picture.item);
    this.changed();
  }

  changed() {
    this.page.list.hidden = this.taken.length === 0;
    this.onChange();
  }

  say(text) {
    this.page.note.textContent = text;
    this.page.note.hidden = text === "";
  }

  // Those of the next message, which are its own from now on.
  release() {
    const pictures = this.taken;
    this.taken = [];
    this.page.list.replaceChildren();
    this.say("");
    this.changed();
    return pictures;
  }

  clear() {
    for (const picture of this.release()) URL.revokeObjectURL(picture.shown);
  }
}
