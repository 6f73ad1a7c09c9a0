#!/usr/bin/env python3
"""/v1/chat/completions with the openai package."""
import asyncio
import json
import math

from server import BARD, ServerCase, heed, main

QUESTION = "What says the king of love?"
MESSAGES = [{"role": "user", "content": QUESTION}]


class Chat(ServerCase):
    def chat(self, messages=None, **options):
        options = {"temperature": 0, "max_tokens": 60, **options}
        return self.client.chat.completions.create(model=self.model, messages=messages or MESSAGES, **options)

    def test_greedy_text_is_that_of_heed(self):
        told = json.loads(heed("complete", BARD, QUESTION, "--chat", "--temperature", "0", "--max-tokens", "60", "--json"))
        answer = self.chat()
        message = answer.choices[0].message
        self.assertEqual((message.role, message.content), ("assistant", told["text"]))
        self.assertEqual(answer.choices[0].finish_reason, told["finish_reason"])
        self.assertEqual(answer.usage.prompt_tokens, len(told["prompt_token_ids"]))
        self.assertEqual(self.server.tokens(MESSAGES), told["prompt_token_ids"])
        in_chat = heed("chat", BARD, "--temperature", "0", "--max-tokens", "60", stdin=QUESTION + "\n")
        self.assertEqual(in_chat, told["text"] + "\n")

    def test_a_stream_says_the_same_as_the_whole_answer(self):
        for options in ({}, {"temperature": 1, "seed": 3}):
            whole = self.chat(**options)
            chunks = list(self.chat(stream=True, stream_options={"include_usage": True}, **options))
            deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
            self.assertEqual("".join(delta.content or "" for delta in deltas), whole.choices[0].message.content)
            self.assertEqual(deltas[0].role, "assistant")
            self.assertEqual([d.role for d in deltas[1:] if d.role], [])
            reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
            self.assertEqual(reasons[-1], whole.choices[0].finish_reason)
            self.assertEqual([reason for reason in reasons[:-1] if reason], [])
            self.assertEqual(chunks[-1].usage.total_tokens, whole.usage.total_tokens)
            self.assertGreater(len(deltas), 10)
        self.assertTrue(all(chunk.usage is None for chunk in self.chat(stream=True)))

    def test_a_stream_helper_of_the_client_reads_it(self):
        with self.client.chat.completions.stream(model=self.model, messages=MESSAGES, temperature=0, max_tokens=60) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_completion().choices[0].message.content, self.chat().choices[0].message.content)

    def test_a_conversation_goes_on(self):
        first = self.chat().choices[0].message.content
        longer = [*MESSAGES, {"role": "assistant", "content": first}, {"role": "user", "content": "And what then?"}]
        answer = self.chat(longer)
        self.assertEqual(answer.usage.prompt_tokens, len(self.server.tokens(longer)))
        self.assertNotEqual(answer.choices[0].message.content, first)

    def test_parts_of_text_are_one_text(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "What says the "}, {"type": "text", "text": "king of love?"}]}]
        joined = self.chat(parts).choices[0].message.content
        # Templates of text join parts, with or without a line break between them.
        texts = [QUESTION, "What says the \nking of love?"]
        self.assertIn(joined, [self.chat([{"role": "user", "content": t}]).choices[0].message.content for t in texts])

    def test_logprobs_belong_to_the_tokens_of_the_content(self):
        answer = self.chat(logprobs=True, top_logprobs=3)
        content = answer.choices[0].logprobs.content
        said = b"".join(bytes(token.bytes) for token in content).decode()
        self.assertEqual(said, answer.choices[0].message.content)
        for token in content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            values = [top.logprob for top in token.top_logprobs]
            self.assertEqual(values, sorted(values, reverse=True))
            self.assertEqual(token.top_logprobs[0].token, token.token)
            self.assertLessEqual(sum(map(math.exp, values)), 1 + 1e-4)
        streamed = [token for chunk in self.chat(logprobs=True, top_logprobs=3, stream=True) if chunk.choices
                    for token in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])]
        self.assertEqual([(t.token, round(t.logprob, 4)) for t in streamed], [(t.token, round(t.logprob, 4)) for t in content])
        self.assertEqual(self.chat(logprobs=True).choices[0].logprobs.content[0].top_logprobs, [])
        self.assertIsNone(self.chat().choices[0].logprobs)

    def test_n_seed_and_stop_work_in_chats(self):
        answer = self.chat(n=3, temperature=1, seed=5, max_tokens=20)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2])
        again = self.chat(n=3, temperature=1, seed=5, max_tokens=20)
        self.assertEqual([c.message.content for c in again.choices], [c.message.content for c in answer.choices])
        full = self.chat().choices[0].message.content
        stop = full[len(full) // 2:len(full) // 2 + 3]
        stopped = self.chat(stop=stop).choices[0]
        self.assertEqual((stopped.message.content, stopped.finish_reason), (full[:full.find(stop)], "stop"))
        self.assertEqual(self.chat(max_completion_tokens=4, max_tokens=None).usage.completion_tokens, 4)

    def test_many_at_once_say_what_one_says(self):
        alone = self.chat().choices[0].message.content

        async def all_of_them():
            async with self.server.async_openai() as client:
                answers = await asyncio.gather(*[client.chat.completions.create(
                    model=self.model, messages=MESSAGES, temperature=0, max_tokens=60) for _ in range(24)])
            return [answer.choices[0].message.content for answer in answers]
        self.assertEqual(set(asyncio.run(all_of_them())), {alone})

    def test_the_model_is_listed(self):
        models = self.client.models.list().data
        self.assertEqual([model.id for model in models], [self.model])
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)


if __name__ == "__main__":
    main()
