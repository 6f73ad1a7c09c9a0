#!/usr/bin/env python3
"""/v1/responses with the openai package."""
import json

import jsonschema
import openai
from server import ServerCase, main

QUESTION = "What says the king of love?"
SCHEMA = {"type": "object", "properties": {"act": {"type": "integer", "minimum": 1, "maximum": 5}},
          "required": ["act"], "additionalProperties": False}
TOOL = {"type": "function", "name": "play", "parameters": SCHEMA, "strict": True}


class Responses(ServerCase):
    options = ("--tool-call-parser", "hermes")

    def respond(self, **options):
        options = {"input": QUESTION, "temperature": 0, "max_output_tokens": 60, **options}
        return self.client.responses.create(model=self.model, **options)

    def chat_text(self, messages):
        answer = self.client.chat.completions.create(model=self.model, messages=messages, temperature=0, max_tokens=60)
        return answer.choices[0].message.content, answer.usage

    def test_the_text_is_that_of_a_chat(self):
        text, usage = self.chat_text([{"role": "user", "content": QUESTION}])
        for given in (QUESTION, [{"role": "user", "content": QUESTION}],
                      [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]):
            answer = self.respond(input=given)
            self.assertEqual(answer.output_text, text)
            self.assertEqual((answer.usage.input_tokens, answer.usage.output_tokens), (usage.prompt_tokens, usage.completion_tokens))
            self.assertEqual((answer.object, answer.model, answer.output[0].role), ("response", self.model, "assistant"))

    def test_an_answer_cut_by_its_length_is_incomplete(self):
        answer = self.respond(max_output_tokens=3)
        self.assertEqual((answer.status, answer.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual(answer.usage.output_tokens, 3)

    def test_a_conversation_as_items(self):
        items = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Love is blind."},
                 {"role": "user", "content": "And then?"}]
        self.assertEqual(self.respond(input=items).output_text, self.chat_text(items)[0])

    def test_a_stream_has_its_events_in_order_and_the_same_text(self):
        whole = self.respond()
        events = list(self.respond(stream=True))
        kinds = [event.type for event in events]
        self.assertEqual(kinds[:2], ["response.created", "response.in_progress"])
        self.assertIn(kinds[-1], ("response.completed", "response.incomplete"))
        order = [kinds.index(kind) for kind in ("response.output_item.added", "response.content_part.added",
                                                "response.output_text.delta", "response.output_text.done",
                                                "response.content_part.done", "response.output_item.done")]
        self.assertEqual(order, sorted(order))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text, whole.output_text)
        self.assertEqual(events[-1].response.output_text, whole.output_text)
        self.assertEqual(events[-1].response.usage.output_tokens, whole.usage.output_tokens)
        self.assertGreater(kinds.count("response.output_text.delta"), 10)

    def test_the_stream_helper_of_the_client_reads_it(self):
        with self.client.responses.stream(model=self.model, input=QUESTION, temperature=0, max_output_tokens=60) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_response().output_text, self.respond().output_text)

    def test_a_forced_tool_call_has_arguments_that_validate(self):
        for seed in range(4):
            options = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "temperature": 1.2,
                       "max_output_tokens": 300, "extra_body": {"seed": seed}}
            answer = self.respond(**options)
            calls = [item for item in answer.output if item.type == "function_call"]
            self.assertEqual([call.name for call in calls], ["play"])
            jsonschema.validate(json.loads(calls[0].arguments), SCHEMA)
            events = list(self.respond(stream=True, **options))
            deltas = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
            done = [e for e in events if e.type == "response.function_call_arguments.done"]
            self.assertEqual((deltas, [e.arguments for e in done]), (calls[0].arguments, [calls[0].arguments]))

    def test_text_can_be_held_to_a_schema(self):
        answer = self.respond(temperature=1.5, max_output_tokens=300,
                              text={"format": {"type": "json_schema", "name": "act", "schema": SCHEMA, "strict": True}})
        jsonschema.validate(json.loads(answer.output_text), SCHEMA)

    def test_mistakes_name_their_field(self):
        for field, value in [("max_output_tokens", -1), ("temperature", 9e9), ("input", 7), ("tools", [{"type": "web_search"}]),
                             ("tool_choice", "required"), ("truncation", "sometimes")]:
            with self.subTest(field=field), self.assertRaises(openai.BadRequestError) as caught:
                self.respond(**{field: value})
            self.assertIn(field, (caught.exception.param or "") + caught.exception.message)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.create(model="gpt-17", input="x")


if __name__ == "__main__":
    main()
