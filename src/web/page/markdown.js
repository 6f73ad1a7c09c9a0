// Markdown, the part that models write: code, headings, lists, quotes, tables, bold, italics, links.
//
// Everything becomes DOM nodes and text nodes; no text is ever read as HTML.

const kMaxDepth = 8;       // of lists and quotes within each other
const kMaxSpan = 4000;     // characters between the marks of bold or italics
const kMaxColumns = 100;   // browsers take seconds to lay out a table of thousands

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +)(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_RULE = /^ *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A button that copies; browsers offer the clipboard on https and on the machine itself only.
export function copyButton(text, label = "Copy") {
  const button = element("button", {type: "button", class: "link copy"}, label);
  if (!navigator.clipboard) button.hidden = true;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

// ---- Within a line ----

const isWord = (c) => c !== undefined && /[\p{L}\p{N}_]/u.test(c);

// The node that begins at `at`, and where it ends; null where nothing does.
function spanAt(text, at, depth) {
  const c = text[at];
  if (c === "`") {
    const marks = /^`+/.exec(text.slice(at, at + 100))[0];
    const end = text.indexOf(marks, at + marks.length);
    if (end < 0 || end - at > kMaxSpan) return {node: marks, end: at + marks.length};
    const code = text.slice(at + marks.length, end);
    return {node: element("code", {}, code.replace(/^ (.*[^ ].*) $/, "$1")), end: end + marks.length};
  }
  if (c === "[") {
    const link = /^\[([^\]\n]{1,500})\]\((https?:\/\/[^\s()<>]{1,2000})\)/.exec(text.slice(at, at + 2600));
    if (!link) return null;
    const attributes = {href: link[2], target: "_blank", rel: "noopener noreferrer"};
    return {node: element("a", attributes, ...inline(link[1], depth + 1)), end: at + link[0].length};
  }
  if (c !== "*" && c !== "_") return null;
  const marks = text[at + 1] === c ? c + c : c;
  const start = at + marks.length;
  if (/^\s|^$/.test(text.slice(start, start + 1)) || (c === "_" && isWord(text[at - 1]))) return null;
  for (let end = text.indexOf(marks, start + 1); end > 0 && end - start < kMaxSpan;
       end = text.indexOf(marks, end + 1)) {
    const after = text[end + marks.length];
    if (/\s/.test(text[end - 1]) || (c === "_" && isWord(after))) continue;
    if (marks.length === 1 && (after === c || text[end - 1] === c)) continue;  // part of a double mark
    const name = marks.length === 2 ? "strong" : "em";
    return {node: element(name, {}, ...inline(text.slice(start, end), depth + 1)), end: end + marks.length};
  }
  return {node: marks, end: start};
}

function inline(text, depth = 0) {
  if (depth > kMaxDepth) return [text];
  const nodes = [];
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(plain);
    plain = "";
  };
  for (let at = 0; at < text.length;) {
    if (text[at] === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    const span = "`[*_".includes(text[at]) ? spanAt(text, at, depth) : null;
    if (!span) {
      plain += text[at++];
    } else if (typeof span.node === "string") {
      plain += span.node;
      at = span.end;
    } else {
      flush();
      nodes.push(span.node);
      at = span.end;
    }
  }
  flush();
  return nodes;
}

// ---- Blocks ----

function beginsTable(lines, i) {
  return lines[i].includes("|") && lines[i].split("|", kMaxColumns + 2).length <= kMaxColumns + 1 &&
         TABLE_RULE.test(lines[i + 1] ?? "");
}

function beginsBlock(lines, i) {
  const line = lines[i];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || ITEM.test(line) || QUOTE.test(line) ||
         beginsTable(lines, i);
}

function fenceEnd(lines, first) {
  const marks = FENCE.exec(lines[first])[1];
  for (let i = first + 1; i < lines.length; ++i) {
    const line = lines[i].trim();
    if (line.length >= marks.length && line === marks[0].repeat(line.length)) return i + 1;
  }
  return lines.length;
}

// A list goes on over blank lines, if what follows is another item or belongs to one.
function listEnd(lines, first) {
  let i = first + 1;
  for (; i < lines.length; ++i) {
    const line = lines[i];
    if (line.trim() === "") {
      const next = lines[i + 1] ?? "";
      if (!ITEM.test(next) && !/^(?: {2,}|\t)\S/.test(next)) break;
    } else if (!ITEM.test(line) && !/^(?: {2,}|\t)/.test(line) && (lines[i - 1].trim() === "" || beginsBlock(lines, i))) {
      break;
    } else if (RULE.test(line)) {
      break;
    }
  }
  return i;
}

function blockEnd(lines, first) {
  const while_ = (belongs) => {
    let i = first + 1;
    while (i < lines.length && belongs(i)) ++i;
    return i;
  };
  const line = lines[first];
  if (FENCE.test(line)) return fenceEnd(lines, first);
  if (HEADING.test(line) || RULE.test(line)) return first + 1;
  if (ITEM.test(line)) return listEnd(lines, first);
  if (QUOTE.test(line)) return while_((i) => QUOTE.test(lines[i]));
  if (beginsTable(lines, first)) return while_((i) => lines[i].includes("|"));
  return while_((i) => lines[i].trim() !== "" && !beginsBlock(lines, i));
}

function splitBlocks(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  for (let i = 0; i < lines.length;) {
    if (lines[i].trim() === "") {
      ++i;
      continue;
    }
    const end = blockEnd(lines, i);
    blocks.push(lines.slice(i, end).join("\n"));
    i = end;
  }
  return blocks;
}

function codeBlock(lines) {
  const [, marks, language] = FENCE.exec(lines[0]);
  const closed = lines.length > 1 && lines.at(-1).trim().startsWith(marks);
  const code = lines.slice(1, closed ? -1 : undefined).join("\n");
  return element("figure", {class: "code"},
                 element("figcaption", {}, element("span", {}, language || "text"), copyButton(() => code)),
                 element("pre", {tabindex: "0"}, element("code", {}, code)));
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const made = element(ordered ? "ol" : "ul");
  if (ordered) made.start = parseInt(first[2], 10);
  let body = [];
  let indent = 0;
  const close = () => made.append(element("li", {}, ...blocks(body.join("\n"), depth + 1)));
  lines.map((line) => line.replace(/^\t+/, (tabs) => "    ".repeat(tabs.length))).forEach((line, i) => {
    const item = ITEM.exec(line);
    if (item && (i === 0 || item[1].length <= first[1].length + 1)) {
      if (i > 0) close();
      indent = item[1].length + item[2].length + 1;
      body = [item[4]];
    } else {
      const spaces = /^ */.exec(line)[0].length;
      body.push(line.slice(Math.min(spaces, indent)));
    }
  });
  close();
  return made;
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|", kMaxColumns)
    .map((each) => each.trim());
  const row = (line, name) => element("tr", {}, ...cells(line).map((cell) => element(name, {}, ...inline(cell))));
  return element("div", {class: "table", tabindex: "0"},
                 element("table", {}, element("thead", {}, row(lines[0], "th")),
                         element("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")))));
}

function block(source, depth) {
  const lines = source.split("\n");
  if (FENCE.test(lines[0])) return codeBlock(lines);
  if (RULE.test(source)) return element("hr");
  const heading = HEADING.exec(source);
  if (heading) return element(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2]));
  if (depth < kMaxDepth && ITEM.test(lines[0])) return list(lines, depth);
  if (depth < kMaxDepth && QUOTE.test(lines[0])) {
    const inner = lines.map((line) => QUOTE.exec(line)[1]).join("\n");
    return element("blockquote", {}, ...blocks(inner, depth + 1));
  }
  if (beginsTable(lines, 0)) return table(lines);
  return element("p", {}, ...inline(source));
}

function blocks(text, depth = 0) {
  return splitBlocks(text).map((source) => block(source, depth));
}

// A text that grows: only blocks that have changed are drawn anew, so that a long answer costs no more than
// its last paragraph, and what the reader has selected stays selected.
export class MarkdownView {
  constructor(container) {
    this.container = container;
    this.drawn = [];
  }

  update(text) {
    const sources = splitBlocks(text);
    let same = 0;
    while (same < sources.length && sources[same] === this.drawn[same]) ++same;
    while (this.container.children.length > same) this.container.lastChild.remove();
    this.container.append(...sources.slice(same).map((source) => block(source, 0)));
    this.drawn = sources;
  }
}
