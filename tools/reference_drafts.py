"""What the references of drafters that guess token by token share (reference_mtp.py, reference_eagle3.py).

A drafter has config, shapes(), weights, target_features(states) [T, hidden], rows(features, tokens) [n, hidden], the last
layer's output for n pairs of a feature and the token behind it, logits(row) over the target's ids, and feature(row), which
it goes on from. Nothing is cached: each guess runs all pairs. golden.safetensors holds `input_ids` [T], `contexts` [N] and
`logits` [N, GUESSES, V]: for each length P those of the guesses behind token P, greedily, when tokens 0 to P - 1 have run
through the target.
"""
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from golden_common import Routing, TIE, random_weight, write_json, write_weights

CONTEXTS, GUESSES = [1, 2, 17, 60, 130], 4


def load_target(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                experts_implementation="eager").eval()


def hidden_states(target, ids):
    """After 0, 1, ... layers, before the last norm: [layers + 1, T, hidden]."""
    states = []

    def keep(_, args, out):
        states.append(out[0] if isinstance(out, tuple) else out)

    hooks = [module.register_forward_hook(keep) for module in (target.model.embed_tokens, *target.model.layers)]
    target(input_ids=ids[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return [state.view(len(ids), -1) for state in states]


def rotate(x, positions, theta, dims):
    """Half-split rotation of the first `dims` of x [T, heads, head_dim]."""
    angle = positions.double()[:, None, None] * theta ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    a, b = x[..., :dims].chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin(), x[..., dims:]], -1)


def guesses(drafter, features, ids, length, shift=1):
    """Logits [GUESSES, V] behind token `length`; `shift` is how far behind its feature a pair's token stands."""
    features, tokens = list(features[:length]), list(ids[shift:length + shift])
    logits = []
    for _ in range(GUESSES):
        row = drafter.rows(torch.stack(features), torch.stack(tokens))[-1]
        logits.append(drafter.logits(row))
        features.append(drafter.feature(row))
        tokens.append(logits[-1].argmax())
    return torch.stack(logits)


@torch.no_grad()
def make(goldens, folder, target_name, drafter, extra=lambda drafter: {}, zero_centred=False):
    target = load_target(goldens / target_name)
    ids = load_file(goldens / target_name / "golden.safetensors")["input_ids"]
    drafter.target = target
    states = hidden_states(target, ids)
    for seed in range(7, 1000):
        generator = torch.Generator().manual_seed(seed)
        drafter.weights = {
            name: random_weight(name, shape, generator, zero_centred=zero_centred).bfloat16().double()
            for name, shape in drafter.shapes().items()}
        features = drafter.target_features(states).double()
        with Routing() as routing:
            logits = torch.stack([guesses(drafter, features, ids, p) for p in CONTEXTS])
        if routing.margin >= TIE:
            break
    finite = logits.isfinite()
    wrong = torch.stack([guesses(drafter, features, ids, p, shift=0) for p in CONTEXTS])
    off_by_one = float((logits - wrong)[finite].abs().max())
    assert off_by_one > 1, off_by_one
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", drafter.config)
    write_weights(folder, {name: tensor.bfloat16() for name, tensor in drafter.weights.items()} | extra(drafter))
    save_file({"input_ids": ids, "contexts": torch.tensor(CONTEXTS), "logits": logits.float()},
              folder / "golden.safetensors")
    print(f"{folder.name}: for {target_name}, seed {seed}, logits of {float(logits[finite].std()):.2f} deviation, "
          f"routers {routing.margin:.1e} from a tie; pairs one off: {off_by_one:.1f}", flush=True)
