#!/usr/bin/env python3
"""How well models/pictures answers: held-out pictures, asked of a server or of transformers.

    tools/pictures_score.py --held-out FOLDER [--count 200]                  writes PNGs and questions.json
    tools/pictures_score.py --score URL --pictures FOLDER                    a running OpenAI-compatible server
    tools/pictures_score.py --score-transformers MODEL --pictures FOLDER [--causal] [--answers OUT.json [--logits N]]

A server is asked with nothing but Python; --held-out needs torch and pillow, --score-transformers transformers 5.17.
With --causal the pictures are seen causally as well, to tell what seeing them both ways is worth.
"""
import argparse
import base64
import collections
import json
import pathlib
import urllib.request


def add_arguments(parser):
    parser.add_argument("--held-out", type=pathlib.Path, metavar="FOLDER", help="write PNGs and questions.json there")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--score", metavar="URL", help="of an OpenAI-compatible server, such as http://localhost:8000")
    parser.add_argument("--model", default="", help="the name that the server knows")
    parser.add_argument("--score-transformers", type=pathlib.Path, metavar="MODEL")
    parser.add_argument("--pictures", type=pathlib.Path, metavar="FOLDER", help="made by --held-out")
    parser.add_argument("--causal", action="store_true", help="with --score-transformers: pictures seen causally, too")
    parser.add_argument("--answers", type=pathlib.Path, help="with --score-transformers: where to write the answers")
    parser.add_argument("--logits", type=int, default=0, help="with --answers: of the first N, the last position's")


def run(args):
    """Whether there was something to do."""
    if args.held_out:
        write_held_out(args.held_out, args.count)
    if args.score or args.score_transformers:
        if not args.pictures:
            raise SystemExit("--pictures FOLDER is needed, made by --held-out")
        asked = json.loads((args.pictures / "questions.json").read_text())
        if args.score:
            answers = [ask_server(args.score, args.model, args.pictures / q["picture"], q["question"]) for q in asked]
            print_scores("server", asked, answers)
        if args.score_transformers:
            score_transformers(args, asked)
    return bool(args.held_out or args.score or args.score_transformers)


def write_held_out(folder, count):
    import torch
    from PIL import Image
    import pictures_data as data
    folder.mkdir(parents=True, exist_ok=True)
    asked = []
    for i, (scene, kind, question, answer) in enumerate(data.held_out(count)):
        pixels = data.render(torch.tensor([data.pack(scene)], dtype=torch.float64), scene.width, scene.height)[0]
        name = f"{i:03d}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / name, optimize=True)
        asked.append({"picture": name, "kind": kind, "question": question, "answer": answer})
    lines = ",\n".join(json.dumps(q) for q in asked)
    (folder / "questions.json").write_text(f"[\n{lines}\n]\n")


def normal(answer):
    return answer.strip().lower().rstrip(".")


def print_scores(who, asked, answers):
    right = collections.defaultdict(list)
    for q, answer in zip(asked, answers):
        right[q["kind"]].append(normal(answer) == normal(q["answer"]))
    every = [r for kind in right.values() for r in kind]
    print(f"{who}: {sum(every)} of {len(every)} right, {100 * sum(every) / len(every):.1f} %")
    print("  " + ", ".join(f"{kind} {sum(r)}/{len(r)}" for kind, r in sorted(right.items())))


def ask_server(url, model, path, question):
    image = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": question}]
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 48}
    if model:
        body["model"] = model
    request = urllib.request.Request(url.rstrip("/") + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)["choices"][0]["message"]["content"] or ""


class Transformers:
    """One question at a time, in float32, greedily."""

    def __init__(self, folder):
        import torch
        from transformers import AutoProcessor, Gemma4ForConditionalGeneration
        self.torch = torch
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()

    def inputs(self, path, question, causal):
        content = [{"type": "image", "path": str(path)}, {"type": "text", "text": question}]
        inputs = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True,
                                                    tokenize=True, return_dict=True, return_tensors="pt")
        if causal:
            inputs["mm_token_type_ids"].zero_()
        return inputs

    def answer(self, path, question, causal=False):
        with self.torch.no_grad():
            inputs = self.inputs(path, question, causal)
            out = self.model.generate(**inputs, max_new_tokens=48, do_sample=False)
        ids = out[0, inputs["input_ids"].shape[1]:].tolist()
        return ids, self.processor.tokenizer.decode(ids, skip_special_tokens=True)

    def logits(self, path, question):
        with self.torch.no_grad():
            inputs = self.inputs(path, question, False)
            out = self.model(**inputs).logits[0, -1]
        return inputs["input_ids"][0].tolist(), [round(float(x), 5) for x in out]


def score_transformers(args, asked):
    model = Transformers(args.score_transformers)
    for causal in [False, True] if args.causal else [False]:
        answers = [model.answer(args.pictures / q["picture"], q["question"], causal) for q in asked]
        print_scores("transformers, pictures seen " + ("causally" if causal else "both ways"), asked,
                     [text for _, text in answers])
        if args.answers and not causal:
            write_answers(args, asked, answers, model)


def write_answers(args, asked, answers, model):
    lines = []
    for i, (q, (ids, text)) in enumerate(zip(asked, answers)):
        line = {"picture": q["picture"], "question": q["question"], "answer": text, "ids": ids}
        if i < args.logits:
            line["prompt"], line["logits"] = model.logits(args.pictures / q["picture"], q["question"])
        lines.append(json.dumps(line))
    args.answers.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    if not run(parser.parse_args()):
        parser.error("--held-out, --score or --score-transformers is needed")


if __name__ == "__main__":
    main()
