#!/usr/bin/env python3
"""The web page in a headless Chromium, against a server that plays a model.

  page_test.py [--screenshots FOLDER] [TEST ...]
  page_test.py --server URL             against a Heed that is running: only what can be said of any model
  page_test.py --heed BINARY MODEL      against one that it starts
"""
import argparse
import base64
import contextlib
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import zlib

import browser as browsers
from browser import Browser, find_browser, wait_until
from stub_server import BREAK, FAIL, HOLD, StubServer, content

HOSTILE = '<img src="x" onerror="window.hacked=1"><script>window.hacked=1</script>'
MARKDOWN = """# A title

Some **bold**, *italic* and `code *as is*` text, 2 * 3 * 4, snake_case_name and a [link](https://example.org/a?b=c).

1. one
2. two
   - inner **item**
   - another

```python
def f(x):
\treturn x < 3 and "<b>"
```

| a | b |
|---|---|
| 1 | **2** |

> quoted
"""
METRICS = """# HELP heed:num_requests_running Number of requests in model execution batches.
# TYPE heed:num_requests_running gauge
heed:num_requests_running{{model_name="m}} 1",engine="0"}} {running}
heed:num_requests_waiting{{model_name="m",engine="0"}} 7
heed:kv_cache_usage_perc{{model_name="m",engine="0"}} 0.42
heed:prefix_cache_queries_total{{model_name="m",engine="0"}} 200
heed:prefix_cache_hits_total{{model_name="m",engine="0"}} 50
heed:generation_tokens_total{{model_name="m",engine="0"}} {tokens}
heed:time_to_first_token_seconds_bucket{{model_name="m",engine="0",le="+Inf"}} 4
heed:time_to_first_token_seconds_sum{{model_name="m",engine="0"}} {waited}
heed:time_to_first_token_seconds_count{{model_name="m",engine="0"}} {firsts}
"""
# Files for the page: GIVE.drop([[name, type, base64]...]) and .paste(), as a browser tells of them.
GIVE = """window.GIVE ??= {
  transfer(files) {
    const transfer = new DataTransfer();
    for (const [name, type, bytes] of files)
      transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, {type}));
    return transfer;
  },
  drop(files) {
    for (const kind of ['dragenter', 'dragover', 'drop']) {
      const event = new DragEvent(kind, {dataTransfer: this.transfer(files), bubbles: true, cancelable: true});
      document.querySelector('#turns').dispatchEvent(event);
      if (kind === 'drop') return event.defaultPrevented;
    }
  },
  paste(files, text) {
    const clipboardData = this.transfer(files);
    if (text) clipboardData.setData('text/plain', text);
    const event = new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true});
    document.querySelector('#prompt').dispatchEvent(event);
    return event.defaultPrevented;
  },
  async enormous(width, height) {
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    canvas.getContext('2d').fillRect(0, 0, width / 2, height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    const bytes = new Uint8Array(await blob.arrayBuffer());
    this.drop([['large.png', 'image/png', btoa(String.fromCharCode(...bytes))]]);
  },
  async size(url) {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(url.split(',')[1]), (c) => c.charCodeAt(0))]));
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  },
}"""
screenshots = None
server_url = None


def png(width, height, colour):
    """A picture of one colour."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(data):
    return base64.b64encode(data).decode()


class Page(unittest.TestCase):
    """Against a server that plays a model."""

    @classmethod
    def setUpClass(cls):
        cls.server = StubServer()
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.server.shutdown()
        cls.server.server_close()

    def setUp(self):
        self.server.reset()
        self.server.metrics = METRICS.format(running=3, tokens=1000, waited=0.2, firsts=4)
        self.browser.size(1280, 860)
        self.browser.prefer("light")
        self.browser.open(self.server.url)
        self.browser.run("localStorage.clear(), sessionStorage.clear()")
        self.browser.events.clear()
        self.browser.open(self.server.url)
        self.browser.wait("document.querySelector('#model-name').textContent === 'stub-model'")

    def tearDown(self):
        self.server.go_on.set()
        self.assertEqual(self.browser.complaints(), [])
        own = (self.server.url, f"blob:{self.server.url}", "about:", "data:")
        elsewhere = [url for url in self.browser.requested() if not url.startswith(own)]
        self.assertEqual(elsewhere, [])
        self.assertIsNone(self.browser.run("window.hacked ?? null"))

    def shoot(self, name):
        if screenshots:
            self.browser.screenshot(f"{screenshots}/{name}.png")

    def say(self, text):
        self.browser.run("document.querySelector('#prompt').focus()")
        self.browser.type(text)
        self.browser.press("Enter")

    def say_and_wait(self, text="Hi"):
        self.say(text)
        self.wait_for_end()

    def wait_for_end(self):
        self.browser.wait("document.querySelector('.turn.assistant:last-child .stats') && "
                          "!document.querySelector('.streaming') && document.querySelector('#stop').hidden")

    def answer(self):
        return self.browser.text(".turn.assistant:last-child .body")

    def test_an_answer_streams_in(self):
        self.server.script = [content("Half"), HOLD, content(" and é☃ half.")]
        self.say("Hello there")
        self.browser.wait("document.querySelector('.turn.assistant .body')?.textContent === 'Half'")
        self.assertTrue(self.browser.run("document.querySelector('#send').hidden"))
        self.assertEqual(self.browser.run("document.querySelector('#prompt').value"), "")
        self.say("Not now")  # while it answers, nothing more is sent
        self.server.go_on.set()
        self.wait_for_end()
        self.assertEqual(self.answer(), "Half and é☃ half.")
        self.assertEqual(self.browser.text(".turn.user .bubble"), "Hello there")
        self.assertRegex(self.browser.text(".stats"), r"^40 tokens · [\d,]+ tokens/s · first after \d+ ms · 16 of 20 cached$")
        self.assertEqual(self.server.asked, [{
            "model": "stub-model", "messages": [{"role": "user", "content": "Hello there"}], "stream": True,
            "stream_options": {"include_usage": True}}])

    def test_the_conversation_goes_on(self):
        self.server.script = [content("First.")]
        self.say_and_wait("One")
        self.say_and_wait("Two")
        self.assertEqual(self.server.asked[1]["messages"], [
            {"role": "user", "content": "One"}, {"role": "assistant", "content": "First."},
            {"role": "user", "content": "Two"}])
        self.assertEqual(self.browser.run("document.querySelectorAll('#regenerate').length"), 1)

    def test_stop_ends_the_answer_and_keeps_what_came(self):
        for how in ["button", "escape"]:
            self.server.client_left.clear()
            self.server.script = [content("Endless"), HOLD]
            self.say("Go on")
            self.browser.wait("document.querySelector('.streaming .body')?.textContent === 'Endless'")
            if how == "button":
                self.browser.click("#stop")
            else:
                self.browser.press("Escape")
            self.assertTrue(self.server.client_left.wait(browsers.DEADLINE), "the server did not notice")
            self.wait_for_end()
            self.assertEqual(self.answer(), "Endless")
            self.assertEqual(self.browser.text(".turn.assistant:last-child .end-note"), "Stopped.")
        self.server.script = [content("Fine.")]
        self.say_and_wait("Next")
        self.assertEqual(self.server.asked[-1]["messages"][1], {"role": "assistant", "content": "Endless"})

    def test_settings_reach_the_request_and_are_kept(self):
        given = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "max_tokens": 99, "seed": 7,
                 "presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.1}
        self.browser.fill("#settings [name=system]", "Be brief.")
        for name, value in given.items():
            self.browser.fill(f"#settings [name={name}]", str(value))
        self.shoot("settings")
        self.browser.open(self.server.url)
        self.browser.wait("document.querySelector('#model-name').textContent === 'stub-model'")
        self.say_and_wait()
        asked = self.server.asked[0]
        self.assertEqual({name: asked[name] for name in given}, given)
        self.assertEqual(asked["messages"][0], {"role": "system", "content": "Be brief."})
        self.browser.click("#reset-settings")
        self.say_and_wait()
        self.assertEqual(set(self.server.asked[1]), {"model", "messages", "stream", "stream_options"})
        self.assertEqual(self.server.asked[1]["messages"][0]["role"], "user")

    def test_html_in_what_the_model_says_is_text(self):
        tool = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": HOSTILE, "arguments": HOSTILE}}]}
        text = f"{HOSTILE}\n\n- {HOSTILE}\n\n```{HOSTILE}\n{HOSTILE}\n```\n\n`{HOSTILE}` **{HOSTILE}**\n\n" \
               "[a](javascript:window.hacked=1) [b](data:text/html,x) [c](https://x.example/\"onclick=\"window.hacked=1)"
        self.server.model = HOSTILE
        self.browser.open(self.server.url)
        self.browser.wait("document.querySelector('#model-name').textContent.startsWith('<img')")
        self.server.script = [{"reasoning_content": HOSTILE}, content(text), tool]
        self.say_and_wait(HOSTILE)
        self.assertEqual(self.browser.run("document.querySelectorAll('#turns :is(img, script, iframe, style)').length"), 0)
        self.assertIn(HOSTILE, self.browser.run("document.querySelector('.turn.assistant .body p').textContent"))
        self.assertIn(HOSTILE, self.browser.run("document.querySelector('.bubble').textContent"))
        links = self.browser.run("[...document.querySelectorAll('#turns a')].map((a) => a.getAttribute('href'))")
        self.assertTrue(all(link.startswith("https://") for link in links), links)
        self.assertEqual(self.browser.run("document.querySelectorAll('#turns [onclick], #turns [onerror]').length"), 0)
        self.server.refusal = (400, HOSTILE)
        self.say_and_wait()
        self.assertEqual(self.browser.text(".end-note.failed"), HOSTILE)

    def test_markdown_is_drawn(self):
        self.server.script = [content(part) for part in re.findall(r"(?s).{1,7}", MARKDOWN)]
        self.say_and_wait()
        look = lambda selector: self.browser.run(f"[...document.querySelectorAll('.body {selector}')].map((e) => e.textContent)")
        self.assertEqual(look("h3"), ["A title"])
        self.assertEqual(look("strong"), ["bold", "item", "2"])
        self.assertEqual(look("em"), ["italic"])
        self.assertEqual(look("p > code"), ["code *as is*"])
        self.assertEqual(look("ol > li > ul > li"), ["inner item", "another"])
        self.assertEqual(look("pre"), ['def f(x):\n\treturn x < 3 and "<b>"'])
        self.assertEqual(look("figcaption span"), ["python"])
        self.assertEqual(look("td"), ["1", "2"])
        self.assertEqual(look("blockquote"), ["quoted"])
        self.assertIn("2 * 3 * 4, snake_case_name and a link", look("p")[0])
        self.assertEqual(self.browser.run("document.querySelector('.body a').href"), "https://example.org/a?b=c")
        self.shoot("markdown")

    def test_hostile_markdown_does_not_hang_the_page(self):
        for text in ["**a " * 20000, "- " * 5000 + "x", "> " * 5000, "`" * 9999 + "a" * 9999, "[" * 20000, "|a" * 9999 + "\n|-|",
                     "*a _b " * 9000, "\n".join("  " * i + "- x" for i in range(300))]:
            self.server.script = [content(text)]
            self.say_and_wait()
            self.browser.click("#new-chat")

    def test_reasoning_is_shown_and_folds_when_the_answer_begins(self):
        self.server.script = [{"reasoning_content": "Let me "}, {"reasoning_content": "think."}, HOLD, content("Yes.")]
        self.say("Is it so?")
        self.browser.wait("document.querySelector('.thoughts')?.open")
        self.browser.wait("document.querySelector('.thoughts-text').textContent === 'Let me think.'")
        self.server.go_on.set()
        self.wait_for_end()
        self.assertFalse(self.browser.run("document.querySelector('.thoughts').open"))
        self.assertEqual(self.browser.text(".thoughts summary"), "Thoughts")
        self.assertEqual(self.answer(), "Yes.")
        self.browser.click(".thoughts summary")
        self.assertEqual(self.browser.text(".thoughts-text"), "Let me think.")
        self.shoot("reasoning")
        self.say_and_wait("And?")
        self.assertEqual(self.server.asked[1]["messages"][1], {"role": "assistant", "content": "Yes."})

    def test_tool_calls_are_shown_and_answered(self):
        call = lambda **fields: {"tool_calls": [{"index": 0, **fields}]}
        self.server.script = [call(id="call_7", type="function", function={"name": "weather", "arguments": ""}),
                              call(function={"arguments": '{"city": '}), call(function={"arguments": '"Oslo"}'})]
        self.server.finish = "tool_calls"
        tools = '[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]'
        self.browser.click("#tools-field summary")
        self.browser.fill("#settings [name=tools]", tools)
        self.say_and_wait("Weather?")
        self.assertEqual(self.server.asked[0]["tools"][0]["function"]["name"], "weather")
        self.assertEqual(self.browser.text(".tool strong"), "weather")
        self.assertEqual(self.browser.text(".tool code"), '{\n  "city": "Oslo"\n}')
        self.browser.fill(".tool-result textarea", "rain")
        self.shoot("tools")
        self.server.script = [content("It rains.")]
        self.server.finish = "stop"
        self.browser.click("#send-results")
        self.browser.wait("document.querySelectorAll('.turn.assistant').length === 2")
        self.wait_for_end()
        self.assertEqual(self.answer(), "It rains.")
        self.assertEqual(self.server.asked[1]["messages"][1:], [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]},
            {"role": "tool", "tool_call_id": "call_7", "content": "rain"}])

    def test_regenerate_asks_the_same_again(self):
        self.say_and_wait("Tell")
        self.server.script = [content("Another.")]
        self.browser.click("#regenerate")
        self.browser.wait("document.querySelector('.body')?.textContent === 'Another.'")
        self.wait_for_end()
        self.assertEqual(self.server.asked[0], self.server.asked[1])
        self.assertEqual(self.browser.run("document.querySelectorAll('.turn').length"), 2)

    def test_a_new_chat_begins_anew_even_while_answering(self):
        self.server.script = [content("Long"), HOLD]
        self.say("One")
        self.browser.wait("document.querySelector('.streaming .body')?.textContent === 'Long'")
        self.browser.click("#new-chat")
        self.assertTrue(self.server.client_left.wait(browsers.DEADLINE))
        self.assertFalse(self.browser.run("document.querySelector('#welcome').hidden"))
        self.server.script = [content("Fresh.")]
        self.say_and_wait("Two")
        self.assertEqual(self.server.asked[1]["messages"], [{"role": "user", "content": "Two"}])
        self.assertEqual(self.browser.run("document.querySelectorAll('.turn').length"), 2)

    def see(self):
        """From now on the model sees."""
        self.server.modalities = ["text", "image"]
        self.browser.open(self.server.url)
        self.browser.wait("!document.querySelector('#attach').hidden")
        self.browser.run(f"({GIVE}, null)")

    def thumbnails(self, count):
        self.browser.wait(f"document.querySelectorAll('#pictures img').length === {count}")

    def give(self, how, *files, text=""):
        listed = json.dumps([[name, kind, encoded(data)] for name, kind, data in files])
        return self.browser.run(f"GIVE.{how}({listed}, {json.dumps(text)})")

    def test_pictures_are_chosen_shown_and_sent(self):
        self.see()
        red, blue = png(30, 20, [200, 30, 30]), png(10, 40, [30, 30, 200])
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ["red.png", "blue.png"]]
            for path, data in zip(paths, [red, blue]):
                path.write_bytes(data)
            self.browser.choose("#picture-file", paths)
            self.thumbnails(2)
        self.shoot("pictures_chosen")
        self.say_and_wait("What are these?")
        urls = [f"data:image/png;base64,{encoded(data)}" for data in [red, blue]]
        told = {"role": "user", "content": [*({"type": "image_url", "image_url": {"url": url}} for url in urls),
                                            {"type": "text", "text": "What are these?"}]}
        self.assertEqual(self.server.asked[0]["messages"], [told])
        self.assertTrue(self.browser.run("document.querySelector('#pictures').hidden"))
        shown = "[...document.querySelectorAll('.turn.user img')]"
        self.browser.wait(f"{shown}.length === 2 && {shown}.every((i) => i.complete && i.naturalWidth > 0)")
        self.assertEqual(self.browser.run(f"{shown}.map((i) => [i.alt, i.naturalWidth])"),
                         [["red.png", 30], ["blue.png", 10]])
        self.shoot("pictures")
        self.say_and_wait("And now?")
        self.assertEqual(self.server.asked[1]["messages"][0], told)
        self.assertEqual(self.server.asked[1]["messages"][2], {"role": "user", "content": "And now?"})

    def test_pictures_are_pasted_dropped_and_removed(self):
        self.see()
        one, two, three = [("%d.png" % n, "image/png", png(n, n, [n, n, n])) for n in (1, 2, 3)]
        self.assertTrue(self.give("paste", one))
        self.thumbnails(1)
        self.assertTrue(self.give("drop", two, three))
        self.thumbnails(3)
        self.assertFalse(self.browser.run("document.querySelector('.dropping') !== null"))
        self.browser.click("#pictures li:nth-child(2) .remove")
        self.thumbnails(2)
        self.assertFalse(self.give("paste", one, text="copied from a table"))
        self.browser.run("document.querySelector('#prompt').focus()")
        self.browser.press("Enter")  # pictures alone are a message, too
        self.wait_for_end()
        self.assertEqual([part["image_url"]["url"] for part in self.server.asked[0]["messages"][0]["content"]],
                         [f"data:image/png;base64,{encoded(file[2])}" for file in (one, three)])

    def test_enormous_pictures_are_made_smaller(self):
        self.see()
        self.browser.run("GIVE.enormous(5000, 1000)")
        self.thumbnails(1)
        self.say_and_wait("Large?")
        url = self.server.asked[0]["messages"][0]["content"][0]["image_url"]["url"]
        self.assertRegex(url, "^data:image/(webp|png);base64,")
        self.assertEqual(self.browser.run(f"GIVE.size({json.dumps(url)})"), [2048, 410])

    def test_a_file_that_is_no_picture_is_said_to_be_none(self):
        self.see()
        self.give("drop", ("broken.png", "image/png", b"not a picture"), ("good.png", "image/png", png(2, 2, [1, 2, 3])))
        self.thumbnails(1)
        self.assertEqual(self.browser.text("#picture-note"), "broken.png cannot be read as a picture.")
        self.browser.click("#new-chat")
        self.thumbnails(0)
        self.assertTrue(self.browser.run("document.querySelector('#picture-note').hidden"))

    def test_a_model_that_reads_text_only_is_offered_no_picture(self):
        self.browser.run(f"({GIVE}, null)")
        self.assertTrue(self.browser.run("document.querySelector('#attach').hidden"))
        file = ("a.png", "image/png", png(2, 2, [1, 2, 3]))
        self.assertFalse(self.give("paste", file))
        self.assertFalse(self.give("drop", file))
        self.say_and_wait("Hello")
        self.assertEqual(self.server.asked[0]["messages"][0]["content"], "Hello")

    def test_light_and_dark_follow_the_system_and_the_switch(self):
        colours = lambda: self.browser.run("[getComputedStyle(document.body).backgroundColor, "
                                           "getComputedStyle(document.body).color]")
        light = colours()
        self.browser.prefer("dark")
        dark = colours()
        self.assertTrue(light[0] != dark[0] and light[1] != dark[1], (light, dark))
        self.browser.click("#theme")
        self.assertEqual(colours(), light)  # chosen, whatever the system says
        self.browser.open(self.server.url)
        self.assertEqual(colours(), light)
        self.browser.click("#theme")
        self.browser.prefer("light")
        self.assertEqual(colours(), dark)

    def test_text_stands_out_from_its_ground(self):
        contrast = """(() => {
          const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
              .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
          const probe = document.body.appendChild(document.createElement('i'));
          const colour = (name) => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color); };
          const ratio = (a, b) => { const [x, y] = [colour(a), colour(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05); };
          const pairs = [['text', 'page'], ['text', 'raised'], ['text', 'said'], ['muted', 'page'], ['muted', 'raised'],
            ['muted', 'sunken'], ['text', 'sunken'], ['on-accent', 'accent'], ['accent', 'page'], ['danger', 'page']];
          const found = pairs.map(([a, b]) => [`${a} on ${b}`, ratio(a, b)]);
          probe.remove();
          return found; })()"""
        for scheme in ["light", "dark"]:
            self.browser.prefer(scheme)
            for pair, ratio in self.browser.run(contrast):
                self.assertGreaterEqual(ratio, 4.5, f"{pair}, {scheme}")

    def test_gauges_show_the_metrics(self):
        shown = lambda name: self.browser.text(f"#gauge-{name}")
        self.browser.wait("document.querySelector('#gauge-running').textContent === '3'")
        self.assertEqual([shown(name) for name in ["waiting", "cache", "hits", "ttft"]], ["7", "42 %", "25 %", "50 ms"])
        self.server.metrics = METRICS.format(running=1, tokens=1100, waited=2.2, firsts=5)
        self.browser.wait("document.querySelector('#gauge-running').textContent === '1'")
        self.assertEqual(shown("ttft"), "2.00 s")
        self.assertRegex(shown("rate"), r"^\d+(\.\d)?$")
        self.assertGreater(float(shown("rate")), 0)
        self.assertIn("M", self.browser.run("document.querySelector('.gauge .line').getAttribute('d')"))

    def test_a_key_is_asked_for_when_one_is_needed(self):
        self.server.key = "s3cret"
        self.browser.open(self.server.url)
        self.browser.wait("document.querySelector('#key-dialog').open")
        self.shoot("key")
        self.browser.type("s3cret")
        self.browser.press("Enter")
        self.browser.wait("document.querySelector('#server-state').dataset.state === 'ready'")
        self.say_and_wait()
        self.assertEqual(self.answer(), "Hello.")
        self.assertNotIn("s3cret", self.browser.run("JSON.stringify(localStorage)"))

    def test_what_goes_wrong_is_said(self):
        self.server.refusal = (400, "temperature: 9 is not within 0 and 2")
        self.say_and_wait()
        self.assertEqual(self.browser.text(".end-note.failed"), "temperature: 9 is not within 0 and 2")
        self.server.refusal = None
        self.server.script = [content("Half"), HOLD, BREAK]
        self.browser.click("#regenerate")
        self.browser.wait("document.querySelector('.body')?.textContent === 'Half'")
        self.server.go_on.set()
        self.wait_for_end()
        self.assertEqual(self.browser.text(".end-note.failed"), "The connection broke off.")
        self.server.script = [content("Half"), FAIL]
        self.browser.click("#regenerate")
        self.browser.wait("document.querySelector('.end-note.failed')?.innerText === 'The engine has failed'")
        self.browser.click("#tools-field summary")
        self.browser.fill("#settings [name=tools]", "[{")
        self.say_and_wait("More")
        self.assertRegex(self.browser.text(".turn:last-child .end-note.failed"), r"^Tools: ")

    def test_a_server_that_loads_is_waited_for(self):
        state = "document.querySelector('#server-state').dataset.state"
        self.server.loading = True
        self.browser.open(self.server.url)
        self.browser.wait(f"{state} === 'busy'")
        self.server.loading = False
        self.browser.wait(f"{state} === 'ready' && document.querySelector('#model-name').textContent === 'stub-model'")

    def test_shift_enter_breaks_the_line(self):
        self.browser.run("document.querySelector('#prompt').focus()")
        self.browser.type("one")
        self.browser.press("Enter", shift=True)
        self.browser.type("two")
        self.browser.press("Enter")
        self.wait_for_end()
        self.assertEqual(self.server.asked[0]["messages"][0]["content"], "one\ntwo")

    def test_the_view_follows_the_text_unless_the_reader_leaves(self):
        at_end = "(() => { const s = document.querySelector('#scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight < 5; })()"
        self.server.script = [content("line\n\n" * 80), HOLD, content("more\n\n" * 40)]
        self.say("Much")
        self.browser.wait("document.querySelectorAll('.body p').length === 80")
        self.assertTrue(self.browser.run(at_end))
        self.browser.run("document.querySelector('#scroll').scrollTop = 0")
        self.browser.wait("!document.querySelector('#latest').hidden")
        self.server.go_on.set()
        self.wait_for_end()
        self.assertEqual(self.browser.run("document.querySelector('#scroll').scrollTop"), 0)
        self.browser.click("#latest")
        self.assertTrue(self.browser.run(at_end))

    def test_every_control_has_a_name(self):
        self.server.script = [{"reasoning_content": "Hm."}, content("```\nx\n```"),
                              {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}]
        self.say_and_wait()
        roles = {"button", "textbox", "spinbutton", "link", "DisclosureTriangle", "searchbox"}
        seen = 0
        for node in self.browser.send("Accessibility.getFullAXTree")["nodes"]:
            if not node.get("ignored") and node["role"]["value"] in roles:
                seen += 1
                self.assertTrue(node.get("name", {}).get("value", "").strip(), node)
        self.assertGreater(seen, 15)

    def test_a_phone_shows_it_all(self):
        self.browser.size(390, 844, phone=True)
        self.browser.open(self.server.url)
        self.browser.wait("document.querySelector('#model-name').textContent === 'stub-model'")
        self.shoot("phone_welcome")
        self.server.script = [content(MARKDOWN + "\n" + "a_very_long_word" * 20)]
        self.say_and_wait("Show me everything that you can write, in one answer, please.")
        self.shoot("phone")
        self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), 390)
        self.assertLessEqual(self.browser.run("document.querySelector('#scroll').scrollWidth"), 390)
        self.assertTrue(self.browser.run("document.querySelector('#panel').inert"))
        self.browser.click("#panel-toggle")
        self.browser.wait("!document.querySelector('#panel').inert")
        box = self.browser.run("(() => { const r = document.querySelector('#panel').getBoundingClientRect(); return [r.x, r.right]; })()")
        self.assertTrue(0 <= box[0] and box[1] <= 391, box)
        self.shoot("phone_panel")
        self.browser.press("Escape")
        self.assertTrue(self.browser.run("document.querySelector('#panel').inert"))

    def look(self):
        """Not a test, for there is nothing to hold it to but the eye: --screenshots."""
        for i in range(3):
            self.server.metrics = METRICS.format(running=3 + i % 2, tokens=1000 + 700 * i * i, waited=0.2, firsts=4)
            self.browser.run("new Promise((done) => setTimeout(done, 2100))")
        for scheme in ["light", "dark"]:
            self.browser.prefer(scheme)
            self.shoot(f"welcome_{scheme}")
        self.server.script = [{"reasoning_content": "The user wants an overview."}, content(MARKDOWN)]
        self.say_and_wait("What can you show me?")
        self.server.script = [content("A second answer, which is being written right n"), HOLD]
        self.say("And now something shorter, on two lines.\nPlease.")
        self.browser.wait("document.querySelector('.streaming .body')?.textContent.length > 10")
        for scheme in ["light", "dark"]:
            self.browser.prefer(scheme)
            self.shoot(f"chat_{scheme}")


class RealServer(unittest.TestCase):
    """Against the URL that was given."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.browser.open(server_url)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])

    def test_a_conversation_is_held(self):
        browser = self.browser
        browser.wait("document.querySelector('#server-state').dataset.state === 'ready'")
        self.assertNotEqual(browser.text("#model-name"), "…")
        for number in range(1, 3):
            browser.fill("#prompt", "Who's there?")
            browser.press("Enter")
            browser.wait(f"document.querySelectorAll('.turn.assistant .stats:not(:empty)').length === {number}")
            self.assertTrue(browser.text(".turn.assistant:last-child .body").strip())
            self.assertRegex(browser.text(".turn.assistant:last-child .stats"), r"^[\d,]+ tokens?")
        self.assertIsNone(browser.text(".end-note.failed"))
        browser.wait("document.querySelector('#gauge-ttft').textContent !== '–'")
        if screenshots:
            browser.screenshot(f"{screenshots}/real.png")

    def test_settings_that_are_refused_are_named(self):
        self.browser.fill("#settings [name=temperature]", "-1")
        self.browser.fill("#prompt", "Hi")
        self.browser.press("Enter")
        self.browser.wait("document.querySelector('.end-note.failed')?.innerText.includes('temperature')")
        self.browser.click("#reset-settings")

    def test_stop_ends_an_answer(self):
        browser = self.browser
        browser.click("#new-chat")
        browser.fill("#prompt", "Tell me everything.")
        browser.press("Enter")
        browser.press("Escape")
        browser.wait("document.querySelector('#stop').hidden")
        browser.wait("document.querySelector('#gauge-running').textContent === '0'")


@contextlib.contextmanager
def started(binary, model):
    """The URL of a server of this model; afterwards it is asked to end, and must do so in peace."""
    process = subprocess.Popen([binary, "serve", model, "--port", "0"], stderr=subprocess.PIPE, text=True)
    log = []
    for line in process.stderr:
        log.append(line)
        if ready := re.match(r" *ready +(http\S+)", line):
            break
    else:
        sys.exit("".join(log))
    threading.Thread(target=log.extend, args=[process.stderr], daemon=True).start()  # or its pipe would fill
    yield ready[1] + "/"
    process.terminate()
    if process.wait() != 0:
        sys.exit("".join(log))


def main():
    global screenshots, server_url
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots")
    parser.add_argument("--server")
    parser.add_argument("--heed", nargs=2)
    options, rest = parser.parse_known_args()
    screenshots = options.screenshots
    if not find_browser():
        print(f"skipped: none of {', '.join(browsers.NAMES)} is installed; run ./setup.sh --test")
        sys.exit(77)
    real = started(*options.heed) if options.heed else contextlib.nullcontext(options.server)
    with real as server_url:
        if not any(name.startswith(("Page", "RealServer")) for name in rest):
            rest += ["RealServer"] if server_url else ["Page", "Page.look"] if screenshots else ["Page"]
        result = unittest.main(argv=[sys.argv[0], *rest], verbosity=2, exit=False).result
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
