"""A `heed serve` process for tests of its clients: starts it on a free port, waits until it is ready, looks at its
metrics and its memory, and stops it.

The binary is that of the environment variable HEED, else build/release/heed.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEED = os.environ.get("HEED", str(ROOT / "build" / "release" / "heed"))
BARD = str(ROOT / "models" / "bard")
PATIENCE = 120  # seconds until something that must happen counts as missing; never a measure of speed


def wait_until(condition, what):
    """The first true value of condition()."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE} s in vain: {what}")


class Server:
    def __init__(self, *options, model=BARD, key=None):
        self.key = key
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", prefix="heed_serve_")
        command = [HEED, "serve", model, "--port", "0", *options]
        if key:
            command += ["--api-key", key]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        try:
            self.url = wait_until(self._find_url, "the server's URL in its start-up report")
            self.port = int(self.url.rsplit(":", 1)[1])
            wait_until(lambda: self.get_status("/health") == 200, "/health to say 200")
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.output(), file=sys.stderr)
            raise

    def output(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def _find_url(self):
        if self.process.poll() is not None:
            raise AssertionError(f"heed serve ended with {self.process.returncode}:\n{self.output()}")
        found = re.search(r"https?://[\w.\[\]:-]+:\d+", self.output())
        return found and found[0]

    def call(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """(status, headers, body) of a request with nothing between it and the server."""
        headers = dict(headers or {})
        if self.key and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.key}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def get_status(self, path):
        try:
            return self.call("GET", path)[0]
        except OSError:
            return None

    def json(self, path, body=None):
        status, _, text = self.call("GET" if body is None else "POST", path, body)
        assert status == 200, (path, status, text[:500])
        return json.loads(text)

    def model(self):
        return self.json("/v1/models")["data"][0]["id"]

    def tokens(self, prompt):
        """Token ids of a text, or of messages."""
        return self.json("/tokenize", {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt})["tokens"]

    def metric(self, name, **labels):
        """The sum of the samples of that name with those labels; None if there are none."""
        total = None
        for line in self.call("GET", "/metrics")[2].decode().splitlines():
            match = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line)
            if not match or match[1] != name:
                continue
            if all(f'{key}="{value}"' in (match[2] or "") for key, value in labels.items()):
                total = (total or 0) + float(match[3])
        return total

    def is_idle(self):
        return self.metric("heed:num_requests_running") == 0 and self.metric("heed:num_requests_waiting") == 0

    def wait_idle(self):
        wait_until(self.is_idle, "no request running or waiting")

    def rss(self):
        """Bytes of memory in use."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def openai(self, **options):
        import openai
        options = {"base_url": self.url + "/v1", "api_key": self.key or "unused", "max_retries": 0,
                   "timeout": PATIENCE, **options}
        return openai.OpenAI(**options)

    def async_openai(self, **options):
        import openai
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=self.key or "unused", max_retries=0,
                                  timeout=PATIENCE, **options)

    def anthropic(self, **options):
        import anthropic
        options = {"base_url": self.url, "api_key": self.key or "unused", "max_retries": 0, "timeout": PATIENCE, **options}
        return anthropic.Anthropic(**options)

    def stop(self):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed: it did not stop"


class ServerCase(unittest.TestCase):
    """Tests that share one server; `options` are its own."""
    options = ()
    key = None
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options, key=cls.key)
        cls.client = cls.server.openai()
        cls.model = cls.server.model()

    @classmethod
    def tearDownClass(cls):
        still_idle = True
        try:
            cls.server.wait_idle()
        except AssertionError:
            still_idle = False
        status = cls.server.stop()
        if status != 0 or not still_idle:
            raise AssertionError(f"the server ended with {status}, idle: {still_idle}\n{cls.server.output()[-4000:]}")


def heed(*arguments, stdin=None):
    """Runs `heed ARGUMENTS`; its standard output."""
    return subprocess.run([HEED, *arguments], check=True, capture_output=True, text=True, input=stdin).stdout


def main_or_skip(run):
    """Exits with run()'s status; with 77 (skipped) where this heed cannot serve."""
    if subprocess.run([HEED, "serve", "--help"], capture_output=True).returncode != 0:
        print(f"skipped: {HEED} has no `serve`")
        sys.exit(77)
    sys.exit(run())


def main():
    """Runs a module's tests."""
    main_or_skip(lambda: unittest.main(verbosity=2))
