#!/usr/bin/env python3
"""Clients that go away: what they held is free again, and the answers of others are not touched."""
import json
import socket

from server import ServerCase, main, wait_until

LONG = {"max_tokens": 1900, "temperature": 0, "extra_body": {"ignore_eos": True}}


class Cancel(ServerCase):
    def aborted(self):
        return self.server.metric("heed:request_success_total", finished_reason="abort") or 0

    def wait_aborted(self, count):
        self.server.wait_idle()
        wait_until(lambda: self.aborted() >= count, f"{count} requests to count as aborted")

    def test_closing_a_stream_frees_the_request(self):
        before, generated = self.aborted(), self.server.metric("heed:generation_tokens_total")
        stream = self.client.completions.create(model=self.model, prompt="ROMEO:", stream=True, **LONG)
        for _, chunk in zip(range(5), stream):
            self.assertTrue(chunk.choices)
        self.assertEqual(self.server.metric("heed:num_requests_running"), 1)
        stream.close()
        self.wait_aborted(before + 1)
        self.assertLess(self.server.metric("heed:generation_tokens_total") - generated, 1900)

    def test_leaving_during_an_answer_that_is_not_streamed_frees_it_too(self):
        before = self.aborted()
        body = json.dumps({"model": self.model, "prompt": "ROMEO:", "max_tokens": 1900, "ignore_eos": True}).encode()
        with socket.create_connection(("127.0.0.1", self.server.port)) as raw:
            raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: self.server.metric("heed:num_requests_running") == 1, "the request to run")
        self.wait_aborted(before + 1)

    def test_all_choices_and_prompts_of_a_request_are_freed(self):
        before = self.aborted()
        stream = self.client.completions.create(model=self.model, prompt=["a", "b"], n=3, stream=True, **LONG)
        next(iter(stream))
        stream.close()
        self.wait_aborted(before + 6)

    def test_the_neighbours_of_one_who_leaves_notice_nothing(self):
        ask = {"model": self.model, "prompt": "JULIET:", "max_tokens": 300, "temperature": 0, "extra_body": {"ignore_eos": True}}
        alone = self.client.completions.create(**ask).choices[0].text
        stayer = self.client.completions.create(stream=True, **ask)
        text = next(iter(stayer)).choices[0].text
        for _ in range(5):
            leaver = self.client.completions.create(model=self.model, prompt="ROMEO:", stream=True, **LONG)
            next(iter(leaver))
            leaver.close()
        text += "".join(chunk.choices[0].text for chunk in stayer)
        self.assertEqual(text, alone)
        self.server.wait_idle()
        self.assertEqual(self.server.metric("heed:kv_cache_usage_perc"), 0)


if __name__ == "__main__":
    main()
