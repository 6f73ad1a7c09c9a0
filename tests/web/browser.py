"""Drives a headless Chromium by the DevTools protocol: just what the page's tests need."""
import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from websockets.sync.client import connect

NAMES = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"]
DEADLINE = 60  # seconds: only a page that hangs waits so long


def find_browser():
    return next((path for path in map(shutil.which, NAMES) if path), None)


def wait_until(condition, what):
    """Polls; the value of the condition once it is true."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {DEADLINE} s in vain: {what}")


class Browser:
    def __init__(self, width=1280, height=860):
        self.profile = tempfile.TemporaryDirectory(prefix="heed_browser_")
        self.process = subprocess.Popen(
            [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={self.profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.profile.name) / "DevToolsActivePort"
        lines = wait_until(lambda: port_file.exists() and port_file.read_text().splitlines()[1:] and
                           port_file.read_text().splitlines(), "the browser's port")
        self.socket = connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, compression=None)
        self.numbers = itertools.count(1)
        self.events = []
        self.session = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"]:
            self.send(f"{domain}.enable")
        self.size(width, height)

    def close(self):
        self.session = None
        self.send("Browser.close")  # the process started may be a script that only waits for it
        self.socket.close()
        self.process.wait()
        self.profile.cleanup()

    def send(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=DEADLINE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        """The value of an expression; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script):
        return wait_until(lambda: self.run(script), script)

    def open(self, url):
        self.run("window.isOldPage = true")
        self.send("Page.navigate", url=url)
        self.wait("!window.isOldPage && document.readyState === 'complete'")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def click(self, selector):
        """As a person would: with the mouse, in the middle of what is seen there."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})")
        place = self.run(f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                         "return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ["mousePressed", "mouseReleased"]:
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def type(self, text):
        self.send("Input.insertText", text=text)

    def press(self, key, shift=False):
        codes = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}
        code, text = codes[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def fill(self, selector, text):
        self.run(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus(); field.select(); "
                 "})()")
        self.type(text)

    def choose(self, selector, paths):
        """As a person would in the dialog that a file field opens."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def size(self, width, height, phone=False):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                  mobile=phone)

    def prefer(self, scheme):
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        data = self.send("Page.captureScreenshot", format="png")["data"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def complaints(self):
        """What the page did wrong since the last call: exceptions, and what the policy blocked."""
        self.run("1")  # takes in what is still on its way
        found = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"])
            entry = event.get("params", {}).get("entry", {})
            if event.get("method") == "Log.entryAdded" and entry.get("source") in ("security", "javascript"):
                found.append(entry["text"])
        return found

    def requested(self):
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]
