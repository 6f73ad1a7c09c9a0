#!/usr/bin/env python3
"""/v1/completions with the openai package: what the answers say, not only that there are some."""
import concurrent.futures
import json
import math
import random

from server import BARD, ServerCase, heed, main

# Greedily, the model goes on from both without an end.
PROMPT = "JULIET:\nO Romeo"
OTHER = "Once upon a time the king"


def whole(stream):
    """The choices' texts and the last usage of a stream."""
    texts, usage, reasons = {}, None, {}
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    return texts, usage, reasons


class Completions(ServerCase):
    def complete(self, prompt=PROMPT, **options):
        options = {"temperature": 0, "max_tokens": 40, **options}
        return self.client.completions.create(model=self.model, prompt=prompt, **options)

    def test_greedy_text_is_that_of_heed_complete(self):
        told = json.loads(heed("complete", BARD, PROMPT, "--temperature", "0", "--max-tokens", "40", "--json"))
        answer = self.complete()
        self.assertEqual(answer.choices[0].text, told["text"])
        self.assertEqual(answer.choices[0].finish_reason, told["finish_reason"])
        self.assertEqual(answer.usage.prompt_tokens, told["usage"]["prompt_tokens"])
        self.assertEqual(answer.usage.completion_tokens, told["usage"]["completion_tokens"])
        self.assertEqual(answer.object, "text_completion")
        self.assertEqual(answer.model, self.model)

    def test_prompts_as_text_ids_and_lists_of_either_agree(self):
        ids, other_ids = self.server.tokens(PROMPT), self.server.tokens(OTHER)
        one, two = self.complete().choices[0].text, self.complete(OTHER).choices[0].text
        self.assertNotEqual(one, two)
        self.assertEqual(self.complete(ids).choices[0].text, one)
        for prompts in ([PROMPT, OTHER], [ids, other_ids]):
            answer = self.complete(prompts)
            self.assertEqual([(c.index, c.text) for c in answer.choices], [(0, one), (1, two)])
            self.assertEqual(answer.usage.prompt_tokens, len(ids) + len(other_ids))
        texts, _, _ = whole(self.complete([PROMPT, OTHER], stream=True))
        self.assertEqual(texts, {0: one, 1: two})

    def test_a_stream_says_the_same_as_the_whole_answer(self):
        for options in ({}, {"temperature": 1, "seed": 7}, {"temperature": 1, "seed": 8, "n": 3}):
            answer = self.complete(**options)
            texts, usage, reasons = whole(self.complete(stream=True, stream_options={"include_usage": True}, **options))
            self.assertEqual([texts[c.index] for c in answer.choices], [c.text for c in answer.choices])
            self.assertEqual([reasons[c.index] for c in answer.choices], [c.finish_reason for c in answer.choices])
            self.assertEqual(usage.completion_tokens, answer.usage.completion_tokens)
            self.assertEqual(usage.prompt_tokens, answer.usage.prompt_tokens)

    def test_usage_comes_in_the_last_chunk_and_only_if_asked_for(self):
        chunks = list(self.complete(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 40)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))
        self.assertTrue(all(chunk.usage is None and chunk.choices for chunk in self.complete(stream=True)))
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)

    def test_usage_counts_tokens(self):
        usage = self.complete(max_tokens=17).usage
        self.assertEqual(usage.prompt_tokens, len(self.server.tokens(PROMPT)))
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertLessEqual(usage.completion_tokens, 17)

    def test_echo_puts_the_prompt_before_the_answer(self):
        answer = self.complete().choices[0].text
        self.assertEqual(self.complete(echo=True).choices[0].text, PROMPT + answer)
        texts, _, _ = whole(self.complete(echo=True, stream=True))
        self.assertEqual(texts[0], PROMPT + answer)

    def test_logprobs_belong_to_the_tokens_of_the_text(self):
        answer = self.complete(logprobs=4)
        choice, told = answer.choices[0], answer.choices[0].logprobs
        self.assertEqual("".join(told.tokens), choice.text)
        self.assertEqual(len(told.tokens), answer.usage.completion_tokens)
        self.assertEqual(len(told.token_logprobs), len(told.tokens))
        offset = told.text_offset[0]
        for token, logprob, top, at in zip(told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True):
            self.assertLessEqual(logprob, 0)
            self.assertEqual(at, offset)
            offset += len(token)
            # Greedy: the chosen one is the likeliest.
            self.assertAlmostEqual(logprob, max(top.values()), places=5)
            self.assertAlmostEqual(top[token], logprob, places=5)
            self.assertIn(len(top), (4, 5))
            self.assertLessEqual(sum(map(math.exp, top.values())), 1 + 1e-4)

    def test_logprobs_of_a_prompt_are_those_of_the_same_text_as_an_answer(self):
        answer = self.complete(logprobs=0)
        ids = self.server.tokens(PROMPT)
        generated = self.complete(extra_body={"return_token_ids": True}).choices[0].token_ids
        scored = self.complete(ids + generated, echo=True, max_tokens=0, logprobs=0)
        told = scored.choices[0].logprobs
        self.assertIsNone(told.token_logprobs[0])
        self.assertEqual(len(told.tokens), len(ids) + len(generated))
        self.assertEqual(scored.usage.completion_tokens, 0)
        for one, other in zip(told.token_logprobs[len(ids):], answer.choices[0].logprobs.token_logprobs, strict=True):
            self.assertAlmostEqual(one, other, places=4)

    def test_n_answers_are_told_apart_and_counted_together(self):
        answer = self.complete(n=4, temperature=1.2, seed=11, max_tokens=20)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2, 3])
        self.assertGreater(len({c.text for c in answer.choices}), 1)
        self.assertGreater(answer.usage.completion_tokens, 20)
        self.assertLessEqual(answer.usage.completion_tokens, 80)
        self.assertEqual(answer.usage.prompt_tokens, len(self.server.tokens(PROMPT)))

    def test_a_seed_gives_the_same_answer_again(self):
        texts = {seed: self.complete(temperature=1, seed=seed).choices[0].text for seed in range(4)}
        self.assertGreater(len(set(texts.values())), 1)
        for seed, text in texts.items():
            self.assertEqual(self.complete(temperature=1, seed=seed).choices[0].text, text)
        unseeded = {self.complete(temperature=1).choices[0].text for _ in range(4)}
        self.assertGreater(len(unseeded), 1)

    def test_a_seeded_answer_does_not_depend_on_what_runs_beside_it(self):
        alone = [self.complete(temperature=1, seed=seed).choices[0].text for seed in range(16)]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda seed: self.complete(temperature=1, seed=seed).choices[0].text, range(16)))
        self.assertEqual(together, alone)

    def test_stop_strings_end_the_text_and_never_show(self):
        full = self.complete(max_tokens=120, extra_body={"ignore_eos": True}).choices[0].text
        seed = random.randrange(1 << 30)
        rng = random.Random(seed)
        for _ in range(12):
            begin = rng.randrange(len(full) - 8)
            stop = full[begin:begin + rng.randint(1, 6)]
            stops = [stop, "never in any text", full[-1] * 30]
            options = {"max_tokens": 120, "stop": stops, "extra_body": {"ignore_eos": True}}
            with self.subTest(stop=stop, seed=seed):
                choice = self.complete(**options).choices[0]
                self.assertEqual(choice.text, full[:full.find(stop)])
                self.assertEqual(choice.finish_reason, "stop")
                self.assertEqual(choice.stop_reason, stop)
                texts, _, reasons = whole(self.complete(stream=True, **options))
                self.assertEqual((texts[0], reasons[0]), (choice.text, "stop"))
                kept = self.complete(**{**options, "extra_body": {"ignore_eos": True, "include_stop_str_in_output": True}})
                self.assertEqual(kept.choices[0].text, choice.text + stop)

    def test_a_stop_token_ends_the_answer(self):
        ids = self.complete(extra_body={"return_token_ids": True}).choices[0].token_ids
        stop = ids[10]
        answer = self.complete(extra_body={"stop_token_ids": [stop], "return_token_ids": True})
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.completion_tokens, ids.index(stop) + 1)

    def test_lengths_are_kept(self):
        for count in (1, 2, 33):
            answer = self.complete(max_tokens=count, extra_body={"ignore_eos": True})
            self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (count, "length"))
        least = self.complete(max_tokens=60, temperature=1.5, extra_body={"min_tokens": 50})
        self.assertGreaterEqual(least.usage.completion_tokens, 50)

    def test_logit_bias_and_allowed_ids_decide_what_can_come(self):
        token = self.server.tokens("king")[-1]
        forced = self.complete(max_tokens=5, logit_bias={str(token): 100}, extra_body={"return_token_ids": True})
        self.assertEqual(forced.choices[0].token_ids, [token] * 5)
        usual = self.complete(max_tokens=20, extra_body={"return_token_ids": True}).choices[0].token_ids
        banned = self.complete(max_tokens=20, logit_bias={str(usual[0]): -100}, extra_body={"return_token_ids": True})
        self.assertNotIn(usual[0], banned.choices[0].token_ids)
        allowed = self.complete(max_tokens=6, temperature=2, extra_body={"allowed_token_ids": [token, usual[0]],
                                                                         "return_token_ids": True})
        self.assertLessEqual(set(allowed.choices[0].token_ids), {token, usual[0]})

    def test_penalties_make_repetition_rarer(self):
        token = self.server.tokens("king")[-1]
        bias = {str(token): 30}
        plain = self.complete(max_tokens=30, logit_bias=bias, extra_body={"return_token_ids": True, "ignore_eos": True})
        penalised = self.complete(max_tokens=30, logit_bias=bias, frequency_penalty=2,
                                  extra_body={"return_token_ids": True, "ignore_eos": True})
        self.assertGreater(plain.choices[0].token_ids.count(token), penalised.choices[0].token_ids.count(token))

    def test_tokenize_and_detokenize_are_each_others_inverse(self):
        text = "What, ho! naïve — “quoted” 🙂\n\tEnd."
        ids = self.server.json("/tokenize", {"prompt": text, "add_special_tokens": False})
        self.assertEqual(ids["count"], len(ids["tokens"]))
        self.assertEqual(self.server.json("/detokenize", {"tokens": ids["tokens"]})["prompt"], text)


if __name__ == "__main__":
    main()
