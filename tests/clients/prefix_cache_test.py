#!/usr/bin/env python3
"""The prefix cache as clients see it: tokens found again show in the usage, and never across salts."""
import http.client
import json
import random
import statistics
import time

from server import ServerCase, main

SHARED = 1500


class PrefixCache(ServerCase):
    def setUp(self):
        self.seed = random.randrange(1 << 30)
        self.rng = random.Random(self.seed)
        print(f"\n  seed {self.seed}")

    def ids(self, count):
        return [self.rng.randrange(10, 4000) for _ in range(count)]

    def ask(self, ids, **extra):
        """(cached tokens, text)."""
        cached, text = None, ""
        for chunk in self.client.completions.create(
                model=self.model, prompt=ids, max_tokens=4, temperature=0, stream=True,
                stream_options={"include_usage": True}, extra_body={"ignore_eos": True, **extra}):
            text += "".join(choice.text for choice in chunk.choices)
            if chunk.usage:
                cached = chunk.usage.prompt_tokens_details.cached_tokens
        return cached, text

    def time(self, ids):
        """(cached tokens, seconds to the first token), of the server alone: the openai package spends more on a prompt of
        1,500 ids than the server does where it finds them again."""
        body = json.dumps({"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0, "ignore_eos": True,
                           "stream": True, "stream_options": {"include_usage": True}}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        connection.connect()
        start = time.perf_counter()
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        self.assertIn("text", json.loads(response.readline().removeprefix(b"data: "))["choices"][0])
        first = time.perf_counter() - start
        events = response.read().decode().split("data: ")
        connection.close()
        usage = next(json.loads(event)["usage"] for event in events if '"usage":{' in event.replace(" ", ""))
        return usage["prompt_tokens_details"]["cached_tokens"], first

    def test_a_second_request_finds_what_it_shares(self):
        hits = self.server.metric("heed:prefix_cache_hits_total")
        pairs = []
        for _ in range(9):
            shared = self.ids(SHARED)
            cold = self.time(shared + self.ids(8))
            warm = self.time(shared + self.ids(8))
            self.assertEqual(cold[0], 0)
            self.assertGreaterEqual(warm[0], SHARED - 64)
            self.assertLessEqual(warm[0], SHARED)
            pairs.append((1000 * cold[1], 1000 * warm[1]))
        self.assertGreaterEqual(self.server.metric("heed:prefix_cache_hits_total") - hits, 9 * (SHARED - 64))
        ratios = [cold / warm for cold, warm in pairs]
        cold, warm = (statistics.median(times) for times in zip(*pairs))
        print(f"  time to the first token: medians {cold:.1f} ms cold, {warm:.1f} ms warm; "
              f"ratio median {statistics.median(ratios):.1f}, from {min(ratios):.1f} to {max(ratios):.1f}")

    def test_what_is_found_again_changes_no_answer(self):
        ids = self.ids(800)
        cold = self.ask(ids, cache_salt="one")
        warm = self.ask(ids, cache_salt="one")
        other = self.ask(ids, cache_salt="two")
        self.assertGreater(warm[0], 700)
        self.assertEqual((cold[0], other[0]), (0, 0))
        self.assertEqual({cold[1], warm[1], other[1]}, {cold[1]})

    def test_salts_keep_tenants_apart_on_every_route(self):
        question = " ".join(str(n) for n in self.ids(200))
        messages = [{"role": "user", "content": question}]

        def chat(**extra):
            answer = self.client.chat.completions.create(model=self.model, messages=messages, max_tokens=2, extra_body=extra)
            return answer.usage.prompt_tokens_details.cached_tokens

        self.assertEqual([chat(cache_salt="a"), chat(cache_salt="b"), chat()], [0, 0, 0])
        self.assertTrue(all(count > 300 for count in (chat(cache_salt="a"), chat(cache_salt="b"), chat())))


if __name__ == "__main__":
    main()
