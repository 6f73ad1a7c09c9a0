#!/usr/bin/env python3
"""Compares the text of Heed's metrics with prometheus_client: the same random metrics made with both must read alike.

  metrics_diff.py EXPOSE_METRICS [--rounds N] [--seed N]

Also reads the metrics of a served model and holds their names and types to a list.
"""
import argparse
import json
import math
import random
import subprocess
import sys

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

TEXTS = ["", "plain", "two words", 'say "x"', "back\\slash", "line\nbreak", "\\n", "é ☃ 𝄞", "{a=\"b\"}", ",", "#", " "]

SERVING = {
    "gauge": """num_requests_running num_requests_waiting kv_cache_usage_perc cache_config_info""",
    "counter": """prefix_cache_queries prefix_cache_hits mm_cache_queries mm_cache_hits num_preemptions prompt_tokens generation_tokens
        request_success""",
    "histogram": """request_prompt_tokens request_generation_tokens iteration_tokens_total request_params_n
        request_params_max_tokens time_to_first_token_seconds inter_token_latency_seconds
        request_time_per_output_token_seconds e2e_request_latency_seconds request_queue_time_seconds
        request_inference_time_seconds request_prefill_time_seconds request_decode_time_seconds""",
}


def random_number(rng, least=-math.inf):
    kinds = [0.0, float(rng.randrange(10**6)), rng.random(), rng.uniform(-1, 1) * 10.0 ** rng.randrange(-300, 300),
             math.inf, -math.inf, math.nan, 1e15, 123456789012345678.0]
    number = rng.choice(kinds)
    return abs(number) if least == 0 and not math.isnan(number) else number if least != 0 else 1.5


def random_families(rng):
    families = []
    for i in range(rng.randrange(1, 6)):
        kind = rng.choice(["counter", "gauge", "histogram"])
        family = {"name": f"heed:m{i}" + ("_total" if kind == "counter" else ""), "type": kind,
                  "help": rng.choice(TEXTS) + rng.choice(TEXTS), "series": []}
        if kind == "histogram":
            # No negative ones: the client then leaves the sum out.
            family["bounds"] = sorted({round(rng.uniform(0, 50), rng.randrange(4)) for _ in range(rng.randrange(1, 6))})
        names = rng.sample(["a", "b_c", "D", "finished_reason"], rng.randrange(4))
        for values in {tuple(rng.choice(TEXTS) for _ in names) for _ in range(3)}:
            series = {"labels": list(zip(names, values))}
            if kind == "histogram":
                series["values"] = [random_number(rng) for _ in range(rng.randrange(20))]
            else:
                series["value"] = random_number(rng, 0 if kind == "counter" else -math.inf)
            family["series"].append(series)
        families.append(family)
    return families


def made_with_the_client(common, families):
    registry = prometheus_client.CollectorRegistry()
    for family in families:
        names = [name for name, _ in common + family["series"][0]["labels"]]
        make = {"counter": prometheus_client.Counter, "gauge": prometheus_client.Gauge,
                "histogram": prometheus_client.Histogram}[family["type"]]
        more = {"buckets": family["bounds"]} if family["type"] == "histogram" else {}
        metric = make(family["name"], family["help"], labelnames=names, registry=registry, **more)
        for series in family["series"]:
            labels = [value for _, value in common + series["labels"]]
            child = metric.labels(*labels) if labels else metric
            if family["type"] == "counter":
                child.inc(series["value"])
            elif family["type"] == "gauge":
                child.set(series["value"])
            else:
                for value in series["values"]:
                    # The client counts what is not a number in no bucket at all.
                    child.observe(math.inf if math.isnan(value) else value)
    return prometheus_client.generate_latest(registry).decode()


def read(text):
    """{(family, type, help): {(sample name, labels): value}}; without the times of creation, which Heed leaves out."""
    families = {}
    for family in text_string_to_metric_families(text):
        samples = {}
        for sample in family.samples:
            labels = dict(sample.labels)
            if "le" in labels:
                labels["le"] = float(labels["le"])
            key = (sample.name, tuple(sorted(labels.items())))
            assert key not in samples, f"twice: {key}"
            samples[key] = repr(float(sample.value))
        if not family.name.endswith("_created"):
            assert family.name not in families, f"twice: {family.name}"
            families[family.name] = (family.type, family.documentation, samples)
    return families


def as_json(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def expose(tool, *arguments, **options):
    return subprocess.run([tool, *arguments], check=True, capture_output=True, **options).stdout.decode()


def compare_random(tool, rounds, seed):
    rng = random.Random(seed)
    for number in range(rounds):
        common = rng.choice([[], [("model_name", rng.choice(TEXTS)), ("engine", "0")]])
        families = random_families(rng)
        described = json.dumps(as_json({"common": common, "families": families}))
        ours = read(expose(tool, input=described.encode()))
        theirs = read(made_with_the_client(common, families))
        for family in families:  # a sum that is not a number: Heed adds what was observed, as the Go client does
            if family["type"] == "histogram" and any(math.isnan(v) for s in family["series"] for v in s["values"]):
                for side in (ours, theirs):
                    samples = side[family["name"]][2]
                    for key in [key for key in samples if key[0].endswith("_sum")]:
                        del samples[key]
        if ours != theirs:
            name = next(name for name in theirs if ours.get(name) != theirs[name])
            sys.exit(f"round {number} of seed {seed}: {name}\nours: {ours.get(name)}\ntheirs: {theirs[name]}")


def check_serving(tool):
    families = read(expose(tool, "--serving"))
    found = {name: kind for name, (kind, _, _) in families.items() if name.startswith("heed:")}
    wanted = {f"heed:{name}": kind for kind, names in SERVING.items() for name in names.split()}
    if found != wanted:
        sys.exit(f"metrics of a served model: {sorted(found.items() ^ wanted.items())}")
    for name in wanted:
        for _, labels in families[name][2]:
            assert dict(labels)["model_name"] == "bard" and dict(labels)["engine"] == "0", (name, labels)
    reasons = {dict(labels)["finished_reason"] for _, labels in families["heed:request_success"][2]}
    assert reasons == {"stop", "length", "abort"}, reasons
    return len(families)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    compare_random(options.tool, options.rounds, options.seed)
    print(f"{options.rounds} rounds alike; {check_serving(options.tool)} families of a served model")


if __name__ == "__main__":
    main()
