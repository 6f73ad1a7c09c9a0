#!/usr/bin/env python3
"""Trains an EAGLE-3 drafter for the bundled chat model, on what this model answers (drafting.py says how).

    tools/train_eagle3.py models/bard PLAYS.txt OUT [--minutes 5] [--device cuda]

Needs and takes the same as train_dflash.py. OUT gets a checkpoint folder in the authors' form: one layer, fed with the
target's hidden states where the text is known and with its own behind; no embedding and no head, for those are the target's.

As in the paper (arXiv 2503.01840) training unrolls what guessing does: the row of a place takes the token behind it and
a hidden state, the target's at the first place and the drafter's own of the row before at the others, and sees the keys
of the text up to the first place and of its own rows since.
"""
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from drafting import HEAD, HEADS, HIDDEN, KV_HEADS, ROTATION, Mlp, Norm, guesses_loss, heads, places, rotate, run, save

TAPS, INNER, STEPS, VOCAB = [1, 3, 5], 2048, 7, 4096


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(2 * HIDDEN, HEADS * HEAD, bias=False)
        self.k_proj = nn.Linear(2 * HIDDEN, KV_HEADS * HEAD, bias=False)
        self.v_proj = nn.Linear(2 * HIDDEN, KV_HEADS * HEAD, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD, HIDDEN, bias=False)

    def keys_values(self, x, positions):
        return rotate(heads(self.k_proj(x)), positions), heads(self.v_proj(x))

    def forward(self, x, positions, keys, values, seen):
        q = rotate(heads(self.q_proj(x)), positions)
        mixed = scaled_dot_product_attention(q, keys, values, attn_mask=seen[:, None], enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.hidden_norm, self.post_attention_layernorm = (Norm(HIDDEN) for _ in range(3))
        self.self_attn, self.mlp = Attention(), Mlp(INNER)

    def inputs(self, embedded, hidden):
        return torch.cat([self.input_layernorm(embedded), self.hidden_norm(hidden)], -1)


class Drafter(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(len(TAPS) * HIDDEN, HIDDEN, bias=False)
        self.midlayer, self.norm = Layer(), Norm(HIDDEN)

    def forward(self, taps, embedded, starts):
        """taps [batch, T, ..]; embedded [batch, T, hidden], of the token behind each place; starts [batch, N].
        Normed hidden states [batch, N, STEPS, hidden]: row j of a start is of the token at start + 2 + j."""
        batch, length, device = len(taps), taps.shape[1], taps.device
        layer, fused = self.midlayer, self.fc(taps)
        place = torch.arange(length, device=device).expand(batch, -1)
        keys, values = layer.self_attn.keys_values(layer.inputs(embedded, fused), place)
        seen = place[:, None] <= starts[:, :, None]
        own = torch.eye(starts.shape[1], dtype=torch.bool, device=device).expand(batch, -1, -1)
        pick = lambda of, at: of.gather(1, at[:, :, None].expand(-1, -1, of.shape[-1]))
        hidden, rows = pick(fused, starts), []
        for j in range(STEPS):
            at = starts + j
            x = layer.inputs(pick(embedded, at), hidden)
            if j:
                k, v = layer.self_attn.keys_values(x, at)
                keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
                seen = torch.cat([seen, own], 2)
            hidden = hidden + layer.self_attn(x, at, keys, values, seen)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            rows.append(self.norm(hidden))
        return torch.stack(rows, 2)


def step_loss(drafter, target, texts, answered):
    # The newest token, which the target has not run over, is the one behind `starts`.
    newest, texts = places(answered, 16, STEPS + 1).clamp(min=1), texts.long()
    with torch.no_grad():
        logits, taps = target(texts), target.taps()
        embedded = target.embed(texts.roll(-1, 1))
    with torch.autocast("cuda", torch.bfloat16):
        guess = target.model.lm_head(drafter(taps, embedded, newest - 1)).float().flatten(1, 2)
    return guesses_loss(guess, logits, texts, answered, newest, STEPS)


def save_drafter(out, drafter):
    save(out, {name: w.to(torch.bfloat16) for name, w in drafter.state_dict().items()}, {
        "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "dtype": "bfloat16",
        "eagle_config": {"eagle_aux_hidden_state_layer_ids": [tap + 1 for tap in TAPS], "use_aux_hidden_state": True},
        "hidden_size": HIDDEN, "target_hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 1,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "rms_norm_eps": 1e-6,
        "rope_theta": ROTATION, "max_position_embeddings": 2048, "vocab_size": VOCAB, "draft_vocab_size": VOCAB,
        "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False})


if __name__ == "__main__":
    run(__doc__, TAPS, Drafter, step_loss, save_drafter)
