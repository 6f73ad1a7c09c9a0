"""A server that shows the page and plays a model: what it answers is set by the test, what it was asked is kept."""
import http.server
import json
import pathlib
import re
import sys
import threading

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src" / "web"
POLICY = "".join(re.findall(r'"([^"]*)"', (SOURCE / "web_files.h").read_text().split("kWebContentSecurityPolicy =")[1]))
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HOLD = object()  # in a script: wait until the test lets it go on
BREAK = object()  # in a script: break the connection off
FAIL = object()  # in a script: an error in the midst of the stream


def content(text):
    return {"content": text}


class StubServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.reset()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # browsers drop connections as they like
            super().handle_error(request, client_address)

    def reset(self):
        self.asked = []  # bodies of the chat requests
        self.script = [content("Hello.")]
        self.finish = "stop"
        self.refusal = None  # (status, message)
        self.key = None
        self.loading = False
        self.model = "stub-model"
        self.modalities = ["text"]
        self.metrics = ""
        self.go_on = threading.Event()
        self.client_left = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, kind, body, fields=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, message):
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": status}}
        self.reply(status, "application/json", json.dumps(body).encode())

    def locked(self):
        if self.server.key is None or self.headers.get("Authorization") == f"Bearer {self.server.key}":
            return False
        self.fail(401, "A key is needed: Authorization: Bearer KEY")
        return True

    def do_GET(self):
        name = "index.html" if self.path == "/" else self.path[1:]
        file = SOURCE / "page" / name
        if "/" not in name and file.is_file():
            self.reply(200, TYPES[file.suffix] + "; charset=utf-8", file.read_bytes(),
                       [("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff")])
        elif self.locked():
            pass
        elif self.server.loading:
            self.fail(503, "The model is being loaded")
        elif self.path == "/v1/models":
            models = {"object": "list", "data": [{"id": self.server.model, "object": "model", "max_model_len": 2048,
                                                  "input_modalities": self.server.modalities}]}
            self.reply(200, "application/json", json.dumps(models).encode())
        elif self.path == "/metrics":
            self.reply(200, "text/plain; version=0.0.4", self.server.metrics.encode())
        else:
            self.fail(404, "No such path")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.locked():
            return
        self.server.asked.append(body)
        if self.server.refusal:
            self.fail(*self.server.refusal)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.play()
        except (BrokenPipeError, ConnectionResetError):
            self.server.client_left.set()
            self.close_connection = True

    def event(self, data):
        text = f"data: {data}\n\n".encode()
        # In two halves, as a network may cut it.
        for part in (text[:len(text) // 2], text[len(text) // 2:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()

    def chunk(self, delta, finish=None):
        self.event(json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": delta, "finish_reason": finish}]}, ensure_ascii=False))

    def play(self):
        self.chunk({"role": "assistant", "content": ""})
        for delta in self.server.script:
            if delta is HOLD:
                self.hold()
            elif delta is BREAK:
                self.close_connection = True
                return
            elif delta is FAIL:
                self.event(json.dumps({"error": {"message": "The engine has failed", "code": 500}}))
            else:
                self.chunk(delta)
        self.chunk({}, self.server.finish)
        usage = {"prompt_tokens": 20, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 16}}
        self.event(json.dumps({"id": "c", "choices": [], "usage": usage}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def hold(self):
        """Until the test says so; comments, which readers pass over, find out whether the client is still there."""
        while not self.server.go_on.wait(0.02):
            self.wfile.write(b"9\r\n: still\n\n\r\n")
            self.wfile.flush()
