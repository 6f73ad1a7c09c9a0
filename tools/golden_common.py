"""What the makers of goldens share: random weights, distance from ties in routers, answers, files.

golden.safetensors holds `input_ids` [T], `logits` [96, V] of the last positions, `greedy` [48] continuation tokens and
`margin` [48], top-1 minus top-2 logit at each greedy step. Nothing is cached: each greedy step runs the whole text.
"""
import itertools
import json
import math

import torch
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

TOKENS, LAST, GREEDY = 180, 96, 48
TIE = 1e-3


def random_weight(name, shape, generator, transposed=False, zero_centred=False):
    """Large enough that attention and routers are far from uniform.

    `transposed` weights are [.., in, out]; to `zero_centred` norms the model adds 1.
    """
    noise = torch.randn(shape, generator=generator)
    if "norm" in name:
        return 0.2 * noise + (not zero_centred)
    if name.endswith("A_log"):  # states that decay at once beside states that last
        return noise - 1
    if name.endswith("layer_scalar"):
        return 1 + 0.2 * noise
    if name.endswith("sinks"):
        return noise
    if "bias" in name:
        return 0.3 * noise
    scale = 3.0 if "embed" in name or "lm_head" in name else 1.6
    return noise * scale / shape[-2 if transposed else -1] ** 0.5


class Routing(TorchFunctionMode):
    """The least distance from a tie of all choices of experts made inside: last chosen score minus first not chosen.

    Scores of tokens are 2-D wherever a choice is made; probabilities are compared by their logarithms.
    """

    def __init__(self):
        super().__init__()
        self.margin = math.inf

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.topk, torch.Tensor.topk) and args[0].dim() == 2:
            scores, k = args[0], args[1] if len(args) > 1 else kwargs["k"]
            if torch.allclose(scores.sum(-1), torch.ones((), dtype=scores.dtype)):
                scores = scores.log()
            if k < scores.shape[-1]:
                ordered = scores.sort(dim=-1, descending=True).values
                self.margin = min(self.margin, float((ordered[:, k - 1] - ordered[:, k]).min()))
        return func(*args, **kwargs)


def prompt(vocab, count):
    return torch.randint(0, vocab, (count,), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def answers(logits_of, ids):
    """`logits_of` maps tokens [T] to logits [T, V]."""
    logits = logits_of(ids)[-LAST:].float()
    tokens, greedy, margin = ids.clone(), [], []
    for _ in range(GREEDY):
        top = logits_of(tokens)[-1].topk(2)
        greedy.append(int(top.indices[0]))
        margin.append(float(top.values[0] - top.values[1]))
        tokens = torch.cat([tokens, top.indices[:1]])
    return {"input_ids": ids, "logits": logits.contiguous(), "greedy": torch.tensor(greedy),
            "margin": torch.tensor(margin)}


@torch.no_grad()
def settle(fill, logits_of, ids):
    """Fills weights from the first seed for which no router comes near a tie; the answers, and a line about them."""
    for seed in itertools.count(1234):
        fill(torch.Generator().manual_seed(seed))
        with Routing() as routing:
            logits_of(ids)
            if routing.margin < TIE:
                continue
            golden = answers(logits_of, ids)
        if routing.margin >= TIE:
            return golden, f"seed {seed}, routers {routing.margin:.1e} from a tie, greedy tokens " \
                           f"{float(golden['margin'].min()):.1e}"


def write_json(path, document):
    path.write_text(json.dumps(document, indent=1))


def write_weights(folder, tensors, shards=1):
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
