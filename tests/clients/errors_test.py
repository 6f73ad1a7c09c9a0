#!/usr/bin/env python3
"""What the server refuses: with the exception that the openai package has for it, and a message that names the field."""
import concurrent.futures
import http.client
import json

import openai
from server import ServerCase, main

MESSAGES = [{"role": "user", "content": "Speak."}]


class Refusals(ServerCase):
    def refuse(self, call, exception, *words, param=None):
        with self.assertRaises(exception) as caught:
            call()
        error = caught.exception
        for word in words:
            self.assertIn(word, error.message)
        body = error.body
        self.assertEqual(set(body), {"message", "type", "param", "code"})
        if param:
            self.assertEqual(error.param, param)
        return error

    def chat(self, **options):
        return self.client.chat.completions.create(**{"model": self.model, "messages": MESSAGES, "max_tokens": 4, **options})

    def complete(self, **options):
        return self.client.completions.create(**{"model": self.model, "prompt": "Speak.", "max_tokens": 4, **options})

    def test_values_out_of_range_name_their_field(self):
        for field, value in [("temperature", -1), ("temperature", "hot"), ("temperature", float("1e300")), ("top_p", 0),
                             ("top_p", 1.5), ("n", 0), ("n", 10**9), ("max_tokens", -1), ("presence_penalty", 3),
                             ("frequency_penalty", -3), ("seed", "x"), ("stop", [""] * 1000), ("stop", 7),
                             ("stop", ["x" * 100000]), ("stop", ["a"] * 1000), ("logit_bias", {"x": 1}),
                             ("logit_bias", {"999999": 1}), ("logit_bias", {"5": 1000}), ("stream", "yes"),
                             ("stream_options", {"include_usage": True})]:
            for call in (self.chat, self.complete):
                with self.subTest(field=field, value=str(value)[:40], call=call.__name__):
                    error = self.refuse(lambda: call(**{field: value}), openai.BadRequestError, field)
                    self.assertTrue(error.param.startswith(field), error.param)

    def test_values_of_one_route_name_their_field(self):
        cases = [(self.chat, "messages", []), (self.chat, "messages", "hello"), (self.chat, "messages", [{"role": "wizard"}]),
                 (self.chat, "top_logprobs", 1000), (self.chat, "response_format", {"type": "poem"}),
                 (self.chat, "response_format", {"type": "json_schema"}), (self.chat, "tools", [{"type": "hammer"}]),
                 (self.chat, "tool_choice", "required"), (self.complete, "prompt", []), (self.complete, "prompt", {"a": 1}),
                 (self.complete, "prompt", [1, "x"]), (self.complete, "prompt", [10**6]), (self.complete, "prompt", [-1]),
                 (self.complete, "logprobs", 1000), (self.complete, "suffix", "and so on"), (self.complete, "best_of", 0)]
        for call, field, value in cases:
            with self.subTest(field=field, value=str(value)[:40]):
                error = self.refuse(lambda: call(**{field: value}), openai.BadRequestError)
                self.assertTrue((error.param or "").startswith(field) or field in error.message, error.message)

    def test_unknown_fields_are_refused_by_name(self):
        for call in (self.chat, self.complete):
            self.refuse(lambda: call(extra_body={"temprature": 1}), openai.BadRequestError, "temprature", param="temprature")

    def test_a_prompt_beyond_the_context_says_how_long_it_may_be(self):
        error = self.refuse(lambda: self.complete(prompt=[7] * 5000), openai.BadRequestError, "2048")
        self.assertEqual(error.code, "context_length_exceeded")
        self.refuse(lambda: self.chat(max_tokens=5000), openai.BadRequestError, "max_tokens")
        self.refuse(lambda: self.complete(prompt=[7] * 2000, max_tokens=100), openai.BadRequestError, "2048")

    def test_another_model_is_not_found(self):
        self.refuse(lambda: self.chat(model="gpt-17"), openai.NotFoundError, "gpt-17", param="model")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-17")

    def test_what_the_template_refuses_is_the_clients_error(self):
        self.refuse(lambda: self.chat(messages=[{"role": "system", "content": "x"}, *MESSAGES]), openai.BadRequestError,
                    "Only user and assistant roles are supported")

    def test_paths_and_methods_that_are_not_there(self):
        for method, path, expected in [("GET", "/v1/nothing", 404), ("POST", "/", 405), ("GET", "/v1/chat/completions", 405),
                                       ("DELETE", "/v1/models", 405), ("GET", "/../../etc/passwd", 404), ("GET", "/%2e%2e/x", 404)]:
            with self.subTest(path=path):
                status, _, body = self.server.call(method, path)
                self.assertIn(status, (expected, 400, 404, 405))
                self.assertTrue(json.loads(body)["error"]["message"])

    def test_bodies_that_are_no_json_objects(self):
        for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 200, b"[" * 100000, b'{"model": "\xff"}', b'{"a":1}{"b":2}'):
            with self.subTest(body=body[:20]):
                status, _, answer = self.server.call("POST", "/v1/completions", body, {"Content-Type": "application/json"})
                self.assertEqual(status, 400)
                self.assertTrue(json.loads(answer)["error"]["message"])

    def test_requests_that_are_no_http(self):
        for text in (b"GARBAGE\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\n\r\n",
                     b"GET /health HTTP/1.1\r\nA: " + b"y" * 300000 + b"\r\n\r\n", b"\x00" * 1000,
                     b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with self.subTest(text=text[:40]):
                connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                connection.connect()
                try:
                    connection.sock.sendall(text)
                    connection.sock.shutdown(1)
                    answer = connection.sock.recv(65536)
                except ConnectionError:
                    answer = b""
                connection.close()
                self.assertTrue(answer == b"" or b" 4" in answer[:12] or b" 5" in answer[:12], answer[:80])
        self.assertEqual(self.server.get_status("/health"), 200)

    def test_errors_show_no_addresses(self):
        for body in ({"model": 3}, {"prompt": 3}, {"prompt": "x", "logit_bias": {"1": "y"}}):
            _, _, answer = self.server.call("POST", "/v1/completions", body)
            self.assertNotRegex(answer.decode(), r"0x[0-9a-f]{6,}|/src/|\.cpp")


class Keys(ServerCase):
    key = "correct-horse"

    def test_every_route_but_health_needs_the_key(self):
        wrong = self.server.openai(api_key="correct-hors")
        with self.assertRaises(openai.AuthenticationError):
            wrong.models.list()
        with self.assertRaises(openai.AuthenticationError):
            wrong.chat.completions.create(model="x", messages=MESSAGES)
        self.assertEqual(self.client.models.list().data[0].id, self.model)
        for path in ("/", "/v1/models", "/metrics", "/version", "/load", "/v1/nothing", "//v1/models", "/v1/../v1/models",
                     "/%76%31/models", "/V1/models", "/health/../v1/models", "/tokenize"):
            with self.subTest(path=path):
                for headers in ({"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"},
                                {"Authorization": "Basic correct-horse"}):
                    self.assertIn(self.server.call("GET", path, headers=headers)[0], (400, 401))
        self.assertEqual(self.server.call("GET", "/health", headers={"Authorization": ""})[0], 200)

    def test_the_anthropic_client_may_send_the_key_its_own_way(self):
        answer = self.server.anthropic().messages.create(model=self.model, max_tokens=4, messages=MESSAGES,
                                                        extra_body={"temperature": 0})
        self.assertEqual(answer.usage.output_tokens, 4)


class SmallQueue(ServerCase):
    options = ("--max-num-seqs", "1", "--max-queued-requests", "2")

    def test_a_full_queue_says_429_and_when_to_come_again(self):
        def ask(_):
            try:
                self.client.completions.create(model=self.model, prompt="x", max_tokens=400, extra_body={"ignore_eos": True})
            except openai.RateLimitError as error:
                return error.response.headers.get("retry-after")
            return None
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(ask, range(24)))
        self.assertTrue(any(answers), "none of 24 requests was refused")
        self.assertTrue(None in answers, "all were refused")


if __name__ == "__main__":
    main()
