"""Pieces of the plain-torch references: text of one sequence, x [T, hidden], q/k/v [T, heads, dims], nothing cached.

The references (reference_bailing.py, reference_minimax.py) are of models that transformers lacks. They are written for
reading and compute in float64. Weights are drawn as in golden_common.py, exact in bfloat16.
"""
import math

import torch
from torch.nn.functional import silu
from safetensors.torch import save_file

from golden_common import prompt, random_weight, settle, write_json, write_weights


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def rotate(x, theta, dims, interleaved=False):
    """Rotary positions on the first `dims` dimensions. Interleaved pairs end up apart, the same way in q and k."""
    frequency = theta ** (-torch.arange(0, dims, 2, dtype=x.dtype) / dims)
    angle = torch.arange(len(x), dtype=x.dtype)[:, None, None] * frequency
    a, b = (x[..., 0:dims:2], x[..., 1:dims:2]) if interleaved else x[..., :dims].chunk(2, -1)
    turned = [a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()]
    return torch.cat([*turned, x[..., dims:]], -1)


def causal_attention(q, k, v, scale):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    future = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -math.inf).softmax(-1), v)


def slopes(heads):
    """2^(-8(h+1)/H). For H between two powers of two: those of the lower, then every second one of the higher."""
    def of_power(count):
        return 2.0 ** (-8 * torch.arange(1, count + 1, dtype=torch.float64) / count)

    lower = 2 ** int(math.log2(heads))
    return torch.cat([of_power(lower), of_power(2 * lower)[::2][:heads - lower]])


def recurrent(q, k, v, slope):
    """The definition of linear attention with decay: S = exp(-slope) S + k v', o = q' S."""
    state = torch.zeros(q.shape[1], q.shape[2], v.shape[2], dtype=q.dtype)
    out = []
    for t in range(len(q)):
        state = torch.exp(-slope)[:, None, None] * state + k[t][:, :, None] * v[t][:, None, :]
        out.append(torch.einsum("hk,hkv->hv", q[t], state))
    return torch.stack(out)


def chunked(size):
    """The same in chunks of `size` tokens: attention inside a chunk, a state between chunks."""
    def attention(q, k, v, slope):
        state = torch.zeros(q.shape[1], q.shape[2], v.shape[2], dtype=q.dtype)
        slope = slope[:, None, None]
        out = []
        for start in range(0, len(q), size):
            a, b, c = (x[start:start + size].transpose(0, 1) for x in (q, k, v))  # [heads, tokens, dims]
            count = a.shape[1]
            place = torch.arange(1, count + 1, dtype=q.dtype)[:, None]
            distance = place - place.T
            inside = torch.where(distance >= 0, torch.exp(-slope * distance.clamp(min=0)), 0)
            out.append(((a @ b.mT) * inside) @ c + torch.exp(-slope * place) * (a @ state))
            state = torch.exp(-slope * count) * state + (torch.exp(-slope * (count - place)) * b).mT @ c
        return torch.cat(out, 1).transpose(0, 1)

    return attention


def gated_mlp(x, gate, up, down):
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def mixture(x, chosen, weight, expert):
    """Sum of the chosen experts [T, k] by weight [T, k]; expert(e, rows) runs one."""
    out = torch.zeros_like(x)
    for e in chosen.unique().tolist():
        row, place = torch.where(chosen == e)
        out[row] += weight[row, place, None] * expert(e, x[row])
    return out


def draw(shapes, generator):
    return {name: random_weight(name, shape, generator).bfloat16().double() for name, shape in shapes.items()}


def make(folder, model, tokens, chunk, tolerance):
    """`model` has config, shapes, weights, logits(ids, linear_attention) and unused(generator), tensors beside it."""
    def fill(generator):
        model.weights = draw(model.shapes, generator)

    ids = prompt(model.config["vocab_size"], tokens)
    golden, line = settle(fill, lambda ids: model.logits(ids, chunked(chunk)), ids)
    with torch.no_grad():
        difference = (model.logits(ids, recurrent) - model.logits(ids, chunked(chunk))).abs().max()
    assert difference < tolerance, difference
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", model.config)
    tensors = {**model.weights, **model.unused(torch.Generator().manual_seed(77))}
    write_weights(folder, {name: tensor.float() if name.endswith("expert_bias") else tensor.bfloat16()
                           for name, tensor in tensors.items()})
    save_file(golden, folder / "golden.safetensors")
    print(f"{folder.name}: {line}; recurrent against chunks of {chunk}: {float(difference):.1e}", flush=True)
