// Talking to the server. Paths are relative, so that the page also works below a proxy's prefix.
import {keep, recall} from "./storage.js";

// What the server said is wrong; status 0: it was not reached, or broke off.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let key = recall("sessionStorage", "key") ?? "";

export function setKey(value) {
  key = value;
  keep("sessionStorage", "key", value || null);
}

async function failure(response) {
  let message = `${response.status} ${response.statusText}`.trim();
  try {
    const body = await response.json();
    message = body.error?.message ?? body.message ?? message;
  } catch {
    // Not JSON: the status has to do.
  }
  return new ApiError(response.status, message);
}

export async function request(path, {body, signal} = {}) {
  const headers = key ? {Authorization: `Bearer ${key}`} : {};
  const options = {headers, signal, cache: "no-store", credentials: "same-origin"};
  if (body !== undefined) {
    Object.assign(options, {method: "POST", body: JSON.stringify(body)});
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

// The data of each server-sent event.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((each) => each.replace(/\r$/, ""))) {
      if (line.startsWith("data:")) {
        data.push(line.slice(5).replace(/^ /, ""));
      } else if (line === "" && data.length > 0) {
        yield data.join("\n");
        data = [];
      }
    }
  }
}

// The chunks of a chat completion as they come.
export async function* streamChat(body, signal) {
  const asked = {...body, stream: true, stream_options: {include_usage: true}};
  const response = await request("v1/chat/completions", {body: asked, signal});
  try {
    for await (const data of events(response)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.code ?? 500, chunk.error.message ?? "The server failed.");
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError(0, "The connection broke off.");
  }
  throw new ApiError(0, "The connection ended before the answer did.");
}
