#!/usr/bin/env python3
"""Tool calls with the openai package: forced calls have arguments that validate, whatever the model would like."""
import json

import jsonschema
import openai
import pydantic
from server import ServerCase, main

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather at a place", "parameters": {
        "type": "object", "properties": {
            "city": {"enum": ["Paris", "Verona", "Elsinore"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "units": {"type": "string", "enum": ["celsius", "kelvin"]}},
        "required": ["city", "days"], "additionalProperties": False}}}
PLAY = {"type": "function", "function": {
    "name": "play", "parameters": {
        "type": "object", "properties": {
            "act": {"type": "integer", "minimum": 1, "maximum": 5},
            "roles": {"type": "array", "items": {"enum": ["king", "fool"]}, "minItems": 1, "maxItems": 3}},
        "required": ["act", "roles"], "additionalProperties": False}}}
TOOLS = [WEATHER, PLAY]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}


class Tools(ServerCase):
    options = ("--tool-call-parser", "hermes")

    def ask(self, tool_choice, **options):
        options = {"temperature": 1, "max_tokens": 300, "tools": TOOLS, **options}
        return self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": "Shall it rain on the king?"}],
            tool_choice=tool_choice, **options)

    def check_calls(self, calls):
        self.assertTrue(calls)
        self.assertEqual(len({call.id for call in calls}), len(calls))
        for call in calls:
            self.assertEqual(call.type, "function")
            jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])

    def test_a_required_call_is_made_and_its_arguments_validate(self):
        for seed in range(12):
            with self.subTest(seed=seed):
                choice = self.ask("required", seed=seed, parallel_tool_calls=False).choices[0]
                self.check_calls(choice.message.tool_calls)
                self.assertEqual(len(choice.message.tool_calls), 1)
                self.assertIn(choice.finish_reason, ("tool_calls", "stop"))
                self.assertFalse(choice.message.content)

    def test_a_named_call_is_of_that_tool(self):
        for name in SCHEMAS:
            for seed in range(6):
                with self.subTest(name=name, seed=seed):
                    choice = self.ask({"type": "function", "function": {"name": name}}, seed=seed).choices[0]
                    self.assertEqual([call.function.name for call in choice.message.tool_calls], [name])
                    self.check_calls(choice.message.tool_calls)

    def test_several_calls_may_be_made_at_once(self):
        most = 0
        for seed in range(8):
            choice = self.ask("required", seed=seed, parallel_tool_calls=True, max_tokens=200).choices[0]
            calls = choice.message.tool_calls
            # An answer cut by its length may end within a call.
            self.check_calls(calls if choice.finish_reason != "length" else calls[:-1] or calls)
            most = max(most, len(calls))
        print(f"\n  most calls in one answer: {most}")

    def test_streamed_arguments_are_those_of_the_whole_answer(self):
        for choice in ("required", {"type": "function", "function": {"name": "play"}}):
            for seed in range(4):
                with self.subTest(choice=choice, seed=seed):
                    options = {"seed": seed, "parallel_tool_calls": False}
                    whole = self.ask(choice, **options).choices[0].message.tool_calls
                    calls, reasons, content = {}, [], ""
                    for chunk in self.ask(choice, stream=True, **options):
                        delta = chunk.choices[0].delta
                        content += delta.content or ""
                        reasons += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
                        for part in delta.tool_calls or []:
                            call = calls.setdefault(part.index, {"id": part.id, "name": "", "arguments": "", "parts": 0})
                            if call["parts"] > 0:
                                self.assertFalse(part.function.name)
                            call["name"] += part.function.name or ""
                            call["arguments"] += part.function.arguments or ""
                            call["parts"] += 1
                    self.assertEqual([(c["name"], c["arguments"]) for _, c in sorted(calls.items())],
                                     [(c.function.name, c.function.arguments) for c in whole])
                    self.assertEqual(content, "")
                    self.assertEqual(len(reasons), 1)
                    self.assertTrue(all(c["id"] for c in calls.values()))
                    self.assertGreater(calls[0]["parts"], 1)

    def test_without_a_choice_of_tools_the_answer_is_text(self):
        plain = self.ask("none", seed=1).choices[0]
        self.assertFalse(plain.message.tool_calls)
        self.assertTrue(plain.message.content)
        auto = self.ask("auto", seed=1).choices[0]
        self.assertTrue(auto.message.content or auto.message.tool_calls)

    def test_the_parsing_helper_of_the_client_reads_a_call(self):
        class Scene(pydantic.BaseModel):
            act: int
            outdoors: bool

        answer = self.client.chat.completions.parse(
            model=self.model, messages=[{"role": "user", "content": "Which scene?"}], max_tokens=300, seed=3,
            tools=[openai.pydantic_function_tool(Scene)], tool_choice="required", parallel_tool_calls=False)
        self.assertIsInstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Scene)


if __name__ == "__main__":
    main()
