#!/usr/bin/env python3
"""Structured output with the openai package: at a temperature at which the model would write anything, every finished
answer is what was asked for. HEED_SCHEMAS: how many generated schemas (default 40)."""
import concurrent.futures
import json
import os
import re
import sys

import jsonschema
import openai
import pydantic
from server import ROOT, ServerCase, main

sys.path.insert(0, str(ROOT / "tools"))
from grammar_diff import make_case  # noqa: E402

NUM_SCHEMAS = int(os.environ.get("HEED_SCHEMAS", "40"))
FIRST_SEED = 1000
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER


class Structured(ServerCase):
    def ask(self, **options):
        options = {"temperature": 1.5, "max_tokens": 400, "seed": 1, **options}
        return self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": "Speak, in the form I like."}], **options)

    def ask_for(self, schema, **options):
        return self.ask(response_format={"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}, **options)

    def answer_to(self, seed):
        """("finished" or "cut" or "refused", what is wrong or None) for the schema of this seed."""
        schema, values = make_case(seed)
        validator = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
        try:
            choice = self.ask_for(schema, seed=seed).choices[0]
        except openai.BadRequestError as error:
            possible = any(validator.is_valid(value) for value in values)
            return "refused", str(error) if possible or "no finite text" not in str(error) else None
        if choice.finish_reason == "length":
            return "cut", None
        try:
            validator.validate(json.loads(choice.message.content))
        except (ValueError, jsonschema.ValidationError) as error:
            return "finished", f"{choice.message.content!r}: {str(error).splitlines()[0]}\n{json.dumps(schema)[:800]}"
        return "finished", None

    def test_every_finished_answer_validates_against_its_schema(self):
        seeds = range(FIRST_SEED, FIRST_SEED + NUM_SCHEMAS)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = dict(zip(seeds, pool.map(self.answer_to, seeds)))
        counts = {kind: sum(result[0] == kind for result in results.values()) for kind in ("finished", "cut", "refused")}
        print(f"\n  {NUM_SCHEMAS} schemas from seed {FIRST_SEED}: {counts}")
        self.assertEqual({seed: result[1] for seed, result in results.items() if result[1]}, {})
        self.assertGreater(counts["finished"], NUM_SCHEMAS // 2)

    def test_a_streamed_answer_validates_too(self):
        schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
                  "required": ["a", "b"], "additionalProperties": False}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in self.ask_for(schema, stream=True))
        jsonschema.validate(json.loads(text), schema)

    def test_the_parsing_helper_of_the_client_gets_its_object(self):
        class Play(pydantic.BaseModel):
            acts: int
            tragic: bool

        answer = self.client.chat.completions.parse(
            model=self.model, messages=[{"role": "user", "content": "A play?"}], temperature=1.5, seed=2,
            max_tokens=400, response_format=Play)
        self.assertIsInstance(answer.choices[0].message.parsed, Play)

    def test_any_json_object_is_one(self):
        finished = 0
        for seed in range(6):
            choice = self.ask(response_format={"type": "json_object"}, seed=seed).choices[0]
            if choice.finish_reason == "stop":
                finished += 1
                self.assertIsInstance(json.loads(choice.message.content), dict)
        print(f"\n  {finished} of 6 finished")

    def test_expressions_choices_and_grammars_hold(self):
        for seed in range(6):
            outputs = lambda form: self.ask(seed=seed, extra_body={"structured_outputs": form}).choices[0].message.content
            self.assertRegex(outputs({"regex": r"(King|Queen) [A-Z][a-z]{2,8} the \d"}), r"^(King|Queen) [A-Z][a-z]{2,8} the \d$")
            self.assertIn(outputs({"choice": ["to be", "not to be"]}), ("to be", "not to be"))
            self.assertTrue(re.fullmatch(r"(ha )+ha!", outputs({"grammar": 'root ::= ("ha "){1,5} "ha!"'})))

    def test_completions_can_be_held_to_a_schema_too(self):
        answer = self.client.completions.create(
            model=self.model, prompt="The year:", temperature=1.5, max_tokens=100,
            extra_body={"structured_outputs": {"json": {"type": "integer", "minimum": 1500, "maximum": 1699}}})
        self.assertTrue(1500 <= json.loads(answer.choices[0].text) <= 1699)

    def test_hostile_schemas_cost_one_400_and_nothing_else(self):
        nested = {"type": "integer"}
        for _ in range(90):
            nested = {"type": "array", "items": nested}
        hostile = [
            {"type": "string", "pattern": "(a{1,1000}){1,1000}"},
            {"type": "string", "pattern": "((((((((((a?){30}){30}){30}){30}){30}){30}){30}){30}"},
            {"type": "array", "items": {"type": "string", "maxLength": 100000}, "maxItems": 100000},
            {"$ref": "#/$defs/nothing"}, {"$ref": "#"}, {"type": "no such type"}, {"type": "object", "properties": 3},
            {"enum": []}, {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
            {"anyOf": [{"enum": [f"{i}-{j}" for j in range(300)]} for i in range(300)]}, nested,
            {"$ref": "https://example.com/schema.json"}, {"type": "integer", "minimum": 1e308}]
        for schema in hostile:
            with self.subTest(schema=json.dumps(schema)[:80]):
                try:
                    self.ask_for(schema, max_tokens=5)
                except openai.BadRequestError as error:
                    self.assertTrue(error.message)
        self.assertEqual(self.server.get_status("/health"), 200)
        self.assertIn(self.ask(extra_body={"structured_outputs": {"choice": ["yes"]}}).choices[0].message.content, ("yes",))


if __name__ == "__main__":
    main()
