#!/usr/bin/env python3
"""Compares Heed's chat-template engine with jinja2: equal text, or an error where Python raises.

  chat_template_diff.py RENDER_TEMPLATES [--shared FOLDER] [--seed N] [--random N]

Runs every template of the shared corpus on every conversation, then random templates. Exit status 77, which ctest
counts as skipped, where jinja2 3.1.6 is missing (./setup.sh --test installs it).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

VENV_PYTHON = pathlib.Path(__file__).resolve().parent.parent / ".venv/bin/python"
# What Python has and this engine refuses on purpose: longer integers, texts that differ from run to run; and slices of
# what has none, which are undefined in constants that Jinja folds, and errors everywhere else.
REFUSED = ("beyond 64 bits", "has no text that is the same every time", "is not supported in chat templates",
           "complex numbers are not supported", "expected a string or list to slice", "as a bound of a slice",
           "got LoopContext")
UNSTABLE = (" object at 0x", "<function ", "<built-in method", "<bound method", "<class ", "Cycler object", "_iterator object")


def require_jinja():
    try:
        import jinja2
        if jinja2.__version__ == "3.1.6":
            return
    except ImportError:
        pass
    if VENV_PYTHON.exists() and pathlib.Path(sys.executable).resolve().parent != VENV_PYTHON.parent.resolve() \
            and os.environ.get("HEED_ORACLE") is None:
        os.environ["HEED_ORACLE"] = "1"
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])
    print("skipped: jinja2 3.1.6 is missing; ./setup.sh --test installs it")
    sys.exit(77)


def rendered_by_heed(program, cases):
    lines = "".join(json.dumps({"template": t, "variables": v}) + "\n" for _, t, v in cases)
    done = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, check=False)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    if done.returncode != 0 or len(answers) != len(cases):
        name = cases[len(answers)][0] if len(answers) < len(cases) else "the last one"
        sys.exit(f"render_templates stopped with status {done.returncode} at {name}")
    return answers


class Comparison:
    def __init__(self, env, oracle_render):
        self.env = env
        self.oracle_render = oracle_render
        self.counts = {"equal": 0, "both raise": 0, "refused": 0, "unstable": 0, "DIFFERENT": 0}

    def run(self, program, cases, show):
        for (name, template, variables), ours in zip(cases, rendered_by_heed(program, cases)):
            text, error = self.oracle_render(self.env, template, variables)
            verdict = self.judge(text, error, ours)
            self.counts[verdict] += 1
            if verdict == "DIFFERENT" and show > 0:
                show -= 1
                print(f"--- {name}\n    template: {template[:600]!r}\n    jinja2:   {text!r} {error!r}\n    heed:     {ours!r}")

    @staticmethod
    def judge(text, error, ours):
        if text is not None and any(mark in text for mark in UNSTABLE):
            return "unstable"
        if error is not None:
            return "both raise" if "error" in ours else "DIFFERENT"
        if "error" in ours:
            return "refused" if any(reason in ours["error"] for reason in REFUSED) else "DIFFERENT"
        return "equal" if ours["text"] == text else "DIFFERENT"


def main():
    require_jinja()
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import chat_template_corpus as corpus
    import chat_template_oracle as oracle

    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--shared")
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--random", type=int, default=3000)
    arguments.add_argument("--show", type=int, default=10)
    options = arguments.parse_args()

    env = oracle.environment()
    different = 0
    templates = corpus.real_templates(options.shared) if options.shared else []
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    real = [(f"{name} on {title}", template, {**variables, **tokens})
            for name, template in templates for title, variables in corpus.conversations()]
    if not real:
        print("no shared corpus: only random templates are compared")
    grammar = corpus.Grammar(options.seed)
    drawn = [("random expression", grammar.expression_template(), corpus.VARIABLES) for _ in range(options.random)]
    drawn += [("random statements", grammar.statement_template(), corpus.VARIABLES) for _ in range(options.random)]
    for title, cases in ((f"{len(templates)} real templates x {len(corpus.conversations())} conversations", real),
                         (f"random templates, seed {options.seed}", drawn)):
        comparison = Comparison(env, oracle.render)
        comparison.run(options.program, cases, options.show)
        print(f"{title}: " + ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts.items()))
        different += comparison.counts["DIFFERENT"]
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
