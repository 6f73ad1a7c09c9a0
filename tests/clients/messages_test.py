#!/usr/bin/env python3
"""/v1/messages with the anthropic package."""
import json

import anthropic
import jsonschema
from server import ServerCase, main, wait_until

QUESTION = "What says the king of love?"
MESSAGES = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"act": {"type": "integer", "minimum": 1, "maximum": 5}},
          "required": ["act"], "additionalProperties": False}
TOOL = {"name": "play", "input_schema": SCHEMA}
GREEDY = {"temperature": 0}


class Messages(ServerCase):
    options = ("--tool-call-parser", "hermes")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.claude = cls.server.anthropic()

    def ask(self, messages=None, extra_body=None, **options):
        options = {"max_tokens": 60, **options}
        return self.claude.messages.create(model=self.model, messages=messages or MESSAGES,
                                           extra_body={**GREEDY, **(extra_body or {})}, **options)

    def chat_choice(self, messages=None, **options):
        options = {"max_tokens": 60, "temperature": 0, **options}
        return self.client.chat.completions.create(model=self.model, messages=messages or MESSAGES, **options)

    def test_the_text_is_that_of_a_chat(self):
        chat = self.chat_choice()
        answer = self.ask()
        self.assertEqual([block.type for block in answer.content], ["text"])
        self.assertEqual(answer.content[0].text, chat.choices[0].message.content)
        self.assertEqual((answer.role, answer.type, answer.model), ("assistant", "message", self.model))
        self.assertEqual(answer.usage.output_tokens, chat.usage.completion_tokens)
        self.assertEqual(answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0), chat.usage.prompt_tokens)
        reason = {"stop": "end_turn", "length": "max_tokens"}[chat.choices[0].finish_reason]
        self.assertEqual(answer.stop_reason, reason)
        parts = self.ask([{"role": "user", "content": [{"type": "text", "text": QUESTION}]}])
        self.assertEqual(parts.content[0].text, answer.content[0].text)

    def test_a_conversation_goes_on(self):
        turns = [*MESSAGES, {"role": "assistant", "content": "Love is blind."}, {"role": "user", "content": "And then?"}]
        self.assertEqual(self.ask(turns).content[0].text, self.chat_choice(turns).choices[0].message.content)

    def test_a_stream_has_its_events_in_order_and_the_same_text(self):
        whole = self.ask()
        events = list(self.ask(stream=True))
        kinds = [event.type for event in events if event.type != "ping"]
        self.assertEqual(kinds[:2], ["message_start", "content_block_start"])
        self.assertEqual(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(set(kinds[2:-3]), {"content_block_delta"})
        text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
        self.assertEqual(text, whole.content[0].text)
        last = [event for event in events if event.type == "message_delta"][0]
        self.assertEqual((last.delta.stop_reason, last.usage.output_tokens), (whole.stop_reason, whole.usage.output_tokens))
        with self.claude.messages.stream(model=self.model, messages=MESSAGES, max_tokens=60, extra_body=GREEDY) as stream:
            self.assertEqual("".join(stream.text_stream), text)
            self.assertEqual(stream.get_final_message().content[0].text, text)

    def test_stop_sequences_are_told(self):
        full = self.ask().content[0].text
        stop = full[len(full) // 2:len(full) // 2 + 4]
        answer = self.ask(stop_sequences=[stop])
        self.assertEqual((answer.stop_reason, answer.stop_sequence), ("stop_sequence", stop))
        self.assertEqual(answer.content[0].text, full[:full.find(stop)])

    def test_tokens_are_counted(self):
        counted = self.claude.messages.count_tokens(model=self.model, messages=MESSAGES)
        self.assertEqual(counted.input_tokens, len(self.server.tokens(MESSAGES)))

    def test_a_forced_tool_call_has_input_that_validates(self):
        for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "play"}):
            for _ in range(3):
                with self.subTest(choice=choice):
                    answer = self.ask(tools=[TOOL], tool_choice=choice, max_tokens=300, extra_body={"temperature": 1})
                    uses = [block for block in answer.content if block.type == "tool_use"]
                    self.assertEqual(([use.name for use in uses], answer.stop_reason), (["play"], "tool_use"))
                    jsonschema.validate(uses[0].input, SCHEMA)
        greedy = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "play"}, "max_tokens": 300}
        whole = self.ask(**greedy)
        parts = [event.delta.partial_json for event in self.ask(stream=True, **greedy)
                 if event.type == "content_block_delta" and event.delta.type == "input_json_delta"]
        self.assertEqual(json.loads("".join(parts)), whole.content[0].input)

    def test_mistakes_are_anthropic_errors_that_name_the_field(self):
        for field, value in [("max_tokens", -1), ("messages", []), ("messages", [{"role": "user", "content": 7}]),
                             ("stop_sequences", [""] * 2), ("tools", [{"name": "x"}])]:
            with self.subTest(field=field), self.assertRaises(anthropic.BadRequestError) as caught:
                self.ask(**{field: value}) if field != "messages" else self.claude.messages.create(
                    model=self.model, max_tokens=4, messages=value)
            self.assertEqual(caught.exception.body["type"], "error")
            self.assertEqual(caught.exception.body["error"]["type"], "invalid_request_error")
            self.assertIn(field, caught.exception.body["error"]["message"])
        with self.assertRaises(anthropic.NotFoundError):
            self.claude.messages.create(model="claude-17", max_tokens=4, messages=MESSAGES)

    def test_closing_a_stream_frees_the_request(self):
        stream = self.ask(stream=True, max_tokens=1800)
        next(iter(stream))
        stream.close()
        wait_until(self.server.is_idle, "the request to be free")


if __name__ == "__main__":
    main()
