#!/usr/bin/env python3
"""Compares the grammars made of JSON schemas with a validator, in both directions, over generated schemas.

  grammar_diff.py SAMPLE_GRAMMAR VOCABULARY [--schemas N] [--seed N]

Answers that a random model writes under a schema's masks must validate against it, formats included; values that
validate, written by json.dumps in three styles, must be accepted.
"""
import argparse
import json
import pathlib
import random
import string
import subprocess
import sys

import jsonschema

# Patterns with texts that they match.
PATTERNS = {
    r"^[a-z]{2,5}$": ["ab", "hello"], r"^\d{3}-\d{4}$": ["555-1234"], r"foo|bar": ["a foo", "xbarx"],
    r"^(GET|POST) /\w*$": ["GET /", "POST /abc"], r"^[^\"\\]*$": ["it's", "a/b"], r"[A-Z]": ["xYz"],
    r"^(?:\+\d{1,3} )?\(?\d{2}\)?$": ["+49 (30)", "22"], r"^$": [""], r"é+$": ["café"], r'"': ['say "x"'],
}
FORMATS = {
    "date": ["2024-02-29", "1999-12-31"], "time": ["12:30:00Z", "01:02:03.5+02:00"],
    "date-time": ["2020-05-06T07:08:09Z"], "email": ["a.b@example.com"], "ipv4": ["10.0.0.1", "255.255.255.255"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"], "ipv6": ["::1", "2001:db8::1"], "hostname": ["a.example.org"],
    "uri": ["https://example.com/a?b=c#d"], "duration": ["P1Y2M", "PT5S", "P3W"],
}
NAMES = ["a", "b", "name", "value", "n_1", "é", "a b", "quote\"d", "tags", "next", "nam"]


class Schemas:
    """Random schemas, each with a function that makes values for it."""

    def __init__(self, rng):
        self.rng = rng
        self.defs = {}

    def make(self, depth):
        """(schema, make_value)."""
        kinds = [self.integer, self.number, self.text, self.text, self.pattern, self.format, self.word, self.values]
        if depth > 0:
            kinds += [self.object, self.object, self.object, self.array, self.array, self.tuple, self.any_of, self.all_of,
                      self.reference, self.anything, self.types]
        schema, value = self.rng.choice(kinds)(depth)
        if isinstance(schema, dict) and self.rng.random() < 0.2:
            schema = {"title": "T", "description": "d", **schema}
        return schema, value

    def integer(self, _):
        rng, schema = self.rng, {"type": "integer"}
        lo = rng.choice([0, 1, -5, -1000, rng.randint(-10**6, 10**6)])
        hi = lo + rng.choice([20, 99, 12345, 10**9])
        keys = rng.choice([[], ["lo"], ["hi"], ["lo", "hi"]])
        if "lo" in keys:
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = lo
        if "hi" in keys:
            schema[rng.choice(["maximum", "exclusiveMaximum"])] = hi
        step = rng.choice([1, 1, 1, 3, 5, 7])
        if step > 1:
            schema["multipleOf"] = step
        return schema, lambda: -(-rng.randint(lo + 1, hi - step - 1) // step) * step

    def number(self, _):
        rng, schema = self.rng, {"type": "number"}
        lo = rng.choice([0, -1.5, 0.001, -273.15, 99.99, rng.uniform(-100, 100)])
        hi = lo + rng.choice([0.5, 1, 12.25, 1000])
        if rng.random() < 0.5:
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = lo
        if rng.random() < 0.5:
            schema[rng.choice(["maximum", "exclusiveMaximum"])] = hi
        if len(schema) == 1:
            return schema, lambda: rng.choice([1e-7, 1.5e300, 0, -0.25, 1e16, rng.uniform(-1e6, 1e6), 12])
        return schema, lambda: round(rng.uniform(lo, hi), rng.randint(1, 12))

    def any_text(self, lo, hi):
        letters = string.ascii_letters + ' "\\/\n\t\x01é日😀{}[]:,'
        return "".join(self.rng.choice(letters) for _ in range(self.rng.randint(lo, hi)))

    def text(self, _):
        schema, lo, hi = {"type": "string"}, 0, 12
        if self.rng.random() < 0.4:
            schema["minLength"] = lo = self.rng.randint(0, 6)
        if self.rng.random() < 0.4:
            schema["maxLength"] = hi = lo + self.rng.randint(0, 30)
        return schema, lambda: self.any_text(lo, max(lo, hi))

    def pattern(self, _):
        pattern = self.rng.choice(list(PATTERNS))
        schema = {"type": "string", "pattern": pattern}
        if self.rng.random() < 0.3:
            schema["maxLength"] = 20
        return schema, lambda: self.rng.choice(PATTERNS[pattern])

    def format(self, _):
        name = self.rng.choice(list(FORMATS))
        return {"type": "string", "format": name}, lambda: self.rng.choice(FORMATS[name])

    def word(self, _):
        return self.rng.choice([({"type": "null"}, lambda: None), ({"type": "boolean"}, lambda: self.rng.random() < 0.5)])

    def values(self, _):
        values = [self.any_value(2) for _ in range(self.rng.randint(1, 5))]
        if self.rng.random() < 0.3:
            return {"const": values[0]}, lambda: values[0]
        return {"enum": values}, lambda: self.rng.choice(values)

    def any_value(self, depth):
        rng = self.rng
        kind = rng.randrange(8 if depth else 6)
        if kind < 6:
            return [None, True, rng.randint(-99, 99), rng.uniform(-9, 9), self.any_text(0, 8), "abc"][kind]
        if kind == 6:
            return [self.any_value(depth - 1) for _ in range(rng.randint(0, 3))]
        return {rng.choice(NAMES): self.any_value(depth - 1) for _ in range(rng.randint(0, 3))}

    def anything(self, _):
        return self.rng.choice([{}, True, {"description": "anything"}]), lambda: self.any_value(2)

    def types(self, _):
        return {"type": ["string", "null", "integer"]}, lambda: self.rng.choice(["x", None, 3])

    def object(self, depth):
        rng = self.rng
        names = rng.sample(NAMES, rng.randint(0, 4))
        members = {name: self.make(depth - 1) for name in names}
        required = [name for name in names if rng.random() < 0.6]
        schema = {"type": "object", "properties": {name: m[0] for name, m in members.items()}}
        if required:
            schema["required"] = required
        extra = rng.choice(["none", "none", "default", "typed"])
        if extra == "none":
            schema["additionalProperties"] = False
        if extra == "typed":
            schema["additionalProperties"] = {"type": "integer"}

        def value():
            result = {n: m[1]() for n, m in members.items() if n in required or rng.random() < 0.5}
            if extra != "none" and rng.random() < 0.5:
                result["other " + str(rng.randint(0, 9))] = rng.randint(0, 9)
            return result
        return schema, value

    def array(self, depth):
        rng = self.rng
        item = self.make(depth - 1)
        schema, lo, hi = {"type": "array", "items": item[0]}, 0, 3
        if rng.random() < 0.5:
            schema["minItems"] = lo = rng.randint(0, 2)
        if rng.random() < 0.5:
            schema["maxItems"] = hi = lo + rng.randint(0, 4)
        return schema, lambda: [item[1]() for _ in range(rng.randint(lo, max(lo, hi)))]

    def tuple(self, depth):
        items = [self.make(depth - 1) for _ in range(self.rng.randint(1, 3))]
        schema = {"type": "array", "prefixItems": [i[0] for i in items], "minItems": len(items), "items": False}
        return schema, lambda: [i[1]() for i in items]

    def any_of(self, depth):
        options = [self.make(depth - 1) for _ in range(self.rng.randint(1, 3))]
        return {"anyOf": [o[0] for o in options]}, lambda: self.rng.choice(options)[1]()

    def all_of(self, depth):
        first, second = self.make(depth - 1), self.make(depth - 1)
        schema = {"allOf": [{"type": "object", "properties": {"a": first[0]}, "required": ["a"]},
                            {"properties": {"b": second[0], "a": True}}]}
        return schema, lambda: {"a": first[1](), "b": second[1]()}

    def reference(self, depth):
        name = self.rng.choice(["tree", "list", "leaf"])
        self.defs[name] = {
            "tree": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {
                "$ref": "#/$defs/tree"}}}, "required": ["v", "kids"], "additionalProperties": False},
            "list": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"next": {"$ref": "#/$defs/list"}},
                                                  "required": ["next"], "additionalProperties": False}]},
            "leaf": {"type": "string", "maxLength": 5}}[name]
        value = {"tree": {"v": 1, "kids": [{"v": -2, "kids": []}]}, "list": {"next": {"next": None}}, "leaf": "abc"}[name]
        return {"$ref": "#/$defs/" + name}, lambda: value


def make_case(seed):
    schemas = Schemas(random.Random(seed))
    schema, value = schemas.make(3)
    if isinstance(schema, dict) and schemas.defs:
        schema = {**schema, "$defs": schemas.defs}
    return schema, [value() for _ in range(4)]


def texts_of(value):
    return [json.dumps(value, ensure_ascii=False), json.dumps(value, ensure_ascii=False, separators=(",", ":")),
            json.dumps(value, ensure_ascii=False, indent=2)]


def check(schema, values, reply, validator):
    """What is wrong, as lines."""
    if "error" in reply:
        return [] if "no finite text" in reply["error"] and not values else [reply["error"]]
    wrong = []
    for text in reply["samples"]:
        try:
            validator.validate(json.loads(text))
        except (ValueError, jsonschema.ValidationError) as error:
            wrong.append(f"written but not valid: {text!r}: {str(error).splitlines()[0]}")
    texts = [text for value in values for text in texts_of(value)]
    wrong += [f"valid but not accepted: {text!r}" for text, ok in zip(texts, reply["accepted"], strict=True) if not ok]
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("vocabulary")
    parser.add_argument("--schemas", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not pathlib.Path(args.vocabulary).exists():
        print(f"skipped: there is no {args.vocabulary}")
        return 77
    cases = []
    for seed in range(args.seed, args.seed + args.schemas):
        schema, values = make_case(seed)
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        cases.append((seed, schema, [v for v in values if validator.is_valid(v)], validator))
    requests = [json.dumps({"schema": schema, "samples": 10, "seed": seed,
                            "texts": [t for v in values for t in texts_of(v)]}) for seed, schema, values, _ in cases]
    result = subprocess.run([args.program, args.vocabulary], input="\n".join(requests) + "\n", capture_output=True, text=True)
    replies = [json.loads(line) for line in result.stdout.splitlines()]
    if result.returncode != 0 or len(replies) != len(cases):
        print(result.stderr, f"{len(replies)} replies to {len(cases)} requests")
        return 1
    failed, samples, texts, unfinished, mask_ns, compile_us = 0, 0, 0, 0, [], []
    for (seed, schema, values, validator), reply in zip(cases, replies):
        wrong = check(schema, values, reply, validator)
        failed += bool(wrong)
        for line in wrong[:3]:
            print(f"seed {seed}: {line}\n  {json.dumps(schema, ensure_ascii=False)[:600]}")
        samples += len(reply.get("samples", []))
        texts += len(reply.get("accepted", []))
        unfinished += reply.get("unfinished", 0)
        mask_ns += reply.get("mask_ns", [])
        compile_us.append(reply.get("compile_us", 0))
    mask_ns.sort()
    compile_us.sort()
    print(f"{len(cases)} schemas from seed {args.seed}: {samples} answers validated, {texts} texts accepted, "
          f"{unfinished} answers found no end, {failed} schemas wrong")
    shares = ", ".join(f"{share:g}% within {mask_ns[int((len(mask_ns) - 1) * share / 100)] / 1000:.1f} us"
                       for share in (50, 99, 99.9, 100))
    print(f"masks: {len(mask_ns)}: {shares}")
    print(f"compiling: median {compile_us[len(compile_us) // 2]:.0f} us, most {compile_us[-1]:.0f} us")
    return 1 if failed or samples < 5 * len(cases) else 0


if __name__ == "__main__":
    sys.exit(main())
