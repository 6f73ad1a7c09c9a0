#!/usr/bin/env python3
"""Writes a checkpoint folder (config.json, safetensors, tokenizer.json) as a GGUF file.

  export_gguf.py FOLDER OUT.gguf [--type F32] [--split N] [--heads FOLDER]

--type is that of matrices whose rows hold whole blocks of it; others become F16, and vectors are F32. --split N writes
N files. --heads: a folder with Qwen3.5's mtp.* tensors, which become one more layer. Models: Llama and Mixtral, Llama 4 (text), Qwen2, Qwen3, Qwen3-MoE, Qwen3-Next, Qwen3.5 (text), Gemma 3 and 4
(text), gpt-oss, and Rnj-1 with chunked layers, for which this project has keys of its own ("rnj1", as gemma3, with
layers that slide being chunked). What llama.cpp does not read of Llama 4, since all published ones agree, is written
under the keys that other models have for it: the chunk, which layers have chunks and rope, and the temperature.
Vocabularies are those that a byte-level BPE tokenizer.json holds; without one the file has no tokenizer.

Names and layouts: github.com/ggml-org/ggml docs/gguf.md, github.com/ggml-org/llama.cpp gguf-py/gguf/constants.py,
conversion/qwen.py, conversion/llama4.py.
"""
import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

import block_formats

ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


# ---- reading a checkpoint ----

def read_safetensors(path):
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view(np.uint64)[0])
    header = json.loads(bytes(data[8:8 + size]))
    types = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        part = np.array(data[8 + size + begin:8 + size + end])
        if entry["dtype"] == "BF16":
            value = block_formats.to_float("BF16", part.reshape(1, -1))
        else:
            value = part.view(types[entry["dtype"]])
        tensors[name] = value.reshape(entry["shape"])
    return tensors


def read_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors.update(read_safetensors(path))
    return tensors


# ---- writing GGUF ----

def text_bytes(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(value):
    """A key's type and value, by the Python type: a list is an array of what its first element is."""
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text_bytes(value)
    if isinstance(value[0], str):
        kind, elements = STRING, map(text_bytes, value)
    else:
        kind, code = (BOOL, "<?") if isinstance(value[0], bool) else (INT32, "<i")
        elements = (struct.pack(code, v) for v in value)
    return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(elements)


def padded(raw):
    return raw + b"\0" * (-len(raw) % ALIGNMENT)


def write_gguf(path, keys, tensors):
    """tensors: name -> (type's name, shape outermost first, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        head += text_bytes(key) + value_bytes(value)
    offset = 0
    for name, (kind, shape, raw) in tensors.items():
        head += text_bytes(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", block_formats.FORMATS[kind][0], offset)
        offset += len(padded(raw))
    with open(path, "wb") as out:
        out.write(padded(head))
        for _, _, raw in tensors.values():
            out.write(padded(raw))


def widened_mxfp4(blocks, scales):
    """[..., rows, blocks, 16] bytes of neighbouring pairs, as [..., rows, columns]."""
    codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*scales.shape, 32)
    values = np.ldexp(block_formats.FP4_TABLE[codes], scales[..., None].astype(np.int32) - 127)
    return values.reshape(*scales.shape[:-1], -1).astype(np.float32)


# ---- names ----

LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.sinks": "attn_sinks.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "linear_attn.in_proj_ba": "ssm_ba", "linear_attn.out_proj": "ssm_out", "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.in_proj_qkv": "attn_qkv", "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_a": "ssm_alpha", "linear_attn.in_proj_b": "ssm_beta",
    "feed_forward.router": "ffn_gate_inp",
}
for part in ("gate", "up", "down"):
    LAYER_NAMES[f"feed_forward.{part}_proj"] = f"ffn_{part}"
    LAYER_NAMES[f"feed_forward.shared_expert.{part}_proj"] = f"ffn_{part}_shexp"
SANDWICH_NAMES = {
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight", "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight", "layer_scalar": "layer_output_scale.weight",
    "router.proj": "ffn_gate_inp", "router.scale": "ffn_gate_inp.scale",
    "router.per_expert_scale": "ffn_down_exps.scale", "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj", "post_per_layer_input_norm.weight": "post_norm.weight",
}
OWN_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight", "model.embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
             "model.per_layer_model_projection.weight": "per_layer_model_proj.weight",
             "model.per_layer_projection_norm.weight": "per_layer_proj_norm.weight"}
ARCHITECTURES = {"LlamaForCausalLM": "llama", "MixtralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2",
                 "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe", "Qwen3NextForCausalLM": "qwen3next",
                 "Qwen3_5ForCausalLM": "qwen35", "Qwen3_5MoeForCausalLM": "qwen35moe", "Llama4ForCausalLM": "llama4",
                 "Gemma3ForCausalLM": "gemma3", "Gemma4ForCausalLM": "gemma4", "GptOssForCausalLM": "gpt-oss",
                 "Rnj1ForCausalLM": "rnj1"}
QWEN35 = ("qwen35", "qwen35moe")


class Model:
    def __init__(self, folder, heads=None):
        self.folder = folder
        self.c = json.loads((folder / "config.json").read_text())
        self.tensors = read_tensors(folder)
        self.arch = ARCHITECTURES[self.c["architectures"][0]]
        self.layers = self.c["num_hidden_layers"]
        self.heads_of = self.layer_of_heads(read_tensors(heads)) if heads else {}
        self.heads = self.c["num_attention_heads"]
        self.kv_heads = self.c.get("num_key_value_heads", self.heads)
        self.head_dim = self.c.get("head_dim") or self.c["hidden_size"] // self.heads
        self.sandwich = self.arch in ("gemma3", "gemma4", "rnj1")
        self.types = self.c.get("layer_types") or []

    def rope(self, layer_type="full_attention"):
        r = self.c.get("rope_parameters") or dict(self.c.get("rope_scaling") or {},
                                                  rope_theta=self.c.get("rope_theta", 10000.0))
        return r.get(layer_type, r)

    # ---- tensors ----

    def layer_of_heads(self, tensors):
        """mtp.* as the tensors of the layer behind the last one."""
        own = {"mtp.fc.weight": "nextn.eh_proj.weight", "mtp.norm.weight": "nextn.shared_head_norm.weight",
               "mtp.pre_fc_norm_embedding.weight": "nextn.enorm.weight",
               "mtp.pre_fc_norm_hidden.weight": "nextn.hnorm.weight"}
        layer = f"model.layers.{self.layers}."
        out = {}
        for name, value in tensors.items():
            if name in own:
                out[f"blk.{self.layers}.{own[name]}"] = value + np.float32(1) if value.ndim == 1 else value
            else:
                self.tensors[name.replace("mtp.layers.0.", layer)] = value
        return out

    def new_name(self, rest):
        names = dict(LAYER_NAMES, **SANDWICH_NAMES) if self.sandwich else dict(LAYER_NAMES)
        if self.arch in ("qwen3next", "gpt-oss", *QWEN35):
            names["post_attention_layernorm.weight"] = "post_attention_norm.weight"
        if rest in names:
            return names[rest]
        stem, _, ending = rest.rpartition(".")
        return f"{names[stem]}.{ending}"

    def converted(self, rest, value):
        """(name, value) of a tensor of a layer, as the format stores it."""
        if self.arch == "llama" and rest.startswith(("self_attn.q_proj", "self_attn.k_proj")):
            heads = self.heads if "q_proj" in rest else self.kv_heads
            value = value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        if self.plus_one(rest):
            value = value + np.float32(1)
        if self.arch in QWEN35 and rest.startswith("linear_attn."):
            value = self.in_turns(rest, value)
        if rest == "linear_attn.A_log":
            return [("ssm_a", -np.exp(value))]
        if rest == "linear_attn.conv1d.weight":
            return [("ssm_conv1d.weight", value[:, 0])]
        if rest == "linear_attn.in_proj_qkvz.weight":
            return self.apart(value)
        if rest == "mlp.shared_expert_gate.weight":
            return [("ffn_gate_inp_shexp.weight", value[0])]
        return [(self.new_name(rest), value)]

    def plus_one(self, rest):
        return self.arch in ("gemma3", "rnj1", "qwen3next", *QWEN35) and rest.endswith("norm.weight") and \
            not rest.startswith("linear_attn")

    def in_turns(self, rest, value):
        """A delta net's tensor with the value heads taking turns with the key heads."""
        k_heads, v_heads = self.c["linear_num_key_heads"], self.c["linear_num_value_heads"]
        keys, dim = 2 * k_heads * self.c["linear_key_head_dim"], self.c["linear_value_head_dim"]

        def turned(x):  # along the first axis
            return x.reshape(k_heads, v_heads // k_heads, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)

        if rest.startswith(("linear_attn.in_proj_qkv", "linear_attn.conv1d")):
            return np.concatenate([value[:keys], turned(value[keys:])])
        if rest.startswith("linear_attn.out_proj"):
            assert value.shape[1] == v_heads * dim
            return turned(value.T).T
        return value if rest.startswith("linear_attn.norm") else turned(value)

    def apart(self, value):
        """[q | k | v | z] by key head, as all q, all k, all v, and z."""
        k_heads, v_heads = self.c["linear_num_key_heads"], self.c["linear_num_value_heads"]
        k, v = self.c["linear_key_head_dim"], self.c["linear_value_head_dim"] * v_heads // k_heads
        parts = np.split(value.reshape(k_heads, -1, value.shape[1]), [k, 2 * k, 2 * k + v], axis=1)
        q, key, val, z = (part.reshape(-1, value.shape[1]) for part in parts)
        return [("attn_qkv.weight", np.concatenate([q, key, val])), ("attn_gate.weight", z)]

    def experts(self, prefix):
        """The experts of a layer, one tensor for all of them."""
        t = {name[len(prefix):]: value for name, value in self.tensors.items() if name.startswith(prefix)}
        out = {}
        if self.arch == "gpt-oss":
            for key in ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"):
                if f"{key}_blocks" in t:
                    t[key] = widened_mxfp4(t[f"{key}_blocks"], t[f"{key}_scales"]).swapaxes(1, 2)
            for key, ending in (("mlp.experts.gate_up_proj", "weight"), ("mlp.experts.gate_up_proj_bias", "bias")):
                value = t[key] if ending == "bias" else t[key].swapaxes(1, 2)
                out[f"ffn_gate_exps.{ending}"], out[f"ffn_up_exps.{ending}"] = value[:, ::2], value[:, 1::2]
            out["ffn_down_exps.weight"] = t["mlp.experts.down_proj"].swapaxes(1, 2)
            out["ffn_down_exps.bias"] = t["mlp.experts.down_proj_bias"]
            return out
        if self.arch == "llama4":
            if "feed_forward.experts.gate_up_proj" in t:
                both = t["feed_forward.experts.gate_up_proj"].swapaxes(1, 2)
                half = both.shape[1] // 2
                out["ffn_gate_exps.weight"], out["ffn_up_exps.weight"] = both[:, :half], both[:, half:]
                out["ffn_down_exps.weight"] = t["feed_forward.experts.down_proj"].swapaxes(1, 2)
            return out
        fused = "experts" if self.arch == "gemma4" else "mlp.experts"
        if f"{fused}.gate_up_proj" in t:
            both, half = t[f"{fused}.gate_up_proj"], t[f"{fused}.gate_up_proj"].shape[1] // 2
            if self.arch == "gemma4":
                out["ffn_gate_up_exps.weight"] = both
            else:
                out["ffn_gate_exps.weight"], out["ffn_up_exps.weight"] = both[:, :half], both[:, half:]
            out["ffn_down_exps.weight"] = t[f"{fused}.down_proj"]
            return out
        mixtral = any("block_sparse_moe" in name for name in t)
        where, names = ("block_sparse_moe.experts", ("w1", "w3", "w2")) if mixtral else \
            ("mlp.experts", ("gate_proj", "up_proj", "down_proj"))
        count = sum(name.startswith(where) and name.endswith(f"{names[0]}.weight") for name in t)
        for old, new in zip(names, ("gate", "up", "down")):
            if count:
                out[f"ffn_{new}_exps.weight"] = np.stack([t[f"{where}.{e}.{old}.weight"] for e in range(count)])
        return out

    def all_tensors(self):
        out = {}
        for name, value in self.tensors.items():
            if name in OWN_NAMES:
                shifted = self.plus_one(name) if "model.norm" in name else False
                if name != "lm_head.weight" or not self.c.get("tie_word_embeddings"):
                    out[OWN_NAMES[name]] = value + np.float32(1) if shifted else value
                continue
            _, _, number, rest = name.split(".", 3)
            if ".experts." in name:
                continue
            for new, converted in self.converted(rest, value):
                out[f"blk.{number}.{new}"] = converted
        out.update(self.heads_of)
        for i in range(self.layers + bool(self.heads_of)):
            for new, value in self.experts(f"model.layers.{i}.").items():
                out[f"blk.{i}.{new}"] = value
        divisors = self.divisors()
        if divisors is not None:
            out["rope_freqs.weight"] = divisors
        return out

    def divisors(self):
        """Llama 3 and Gemma 4 store what each pair's frequency is divided by."""
        r = self.rope()
        if self.arch == "gemma4":
            dims = max(c["head_dim"] for c in self.c["per_layer_config"].values()) if "per_layer_config" in self.c \
                else self.c.get("global_head_dim", 512)
            turning = int(dims * r["partial_rotary_factor"] / 2)
            return np.where(np.arange(dims // 2) < turning, 1, 1e30).astype(np.float32)
        if r.get("rope_type", r.get("type")) != "llama3":
            return None
        wave = 2 * np.pi * np.float64(r["rope_theta"]) ** (np.arange(0, self.head_dim, 2) / self.head_dim)
        context, low, high = r["original_max_position_embeddings"], r["low_freq_factor"], r["high_freq_factor"]
        smooth = (context / wave - low) / (high - low)
        between = 1 / ((1 - smooth) / r["factor"] + smooth)
        return np.select([wave < context / high, wave > context / low], [1, r["factor"]], between).astype(np.float32)

    # ---- keys ----

    def keys(self):
        c, a = self.c, self.arch
        keys = {"general.architecture": a, "general.alignment": ALIGNMENT, f"{a}.block_count": self.layers,
                f"{a}.context_length": c["max_position_embeddings"], f"{a}.embedding_length": c["hidden_size"],
                f"{a}.vocab_size": c["vocab_size"], f"{a}.attention.head_count": self.heads,
                f"{a}.attention.head_count_kv": self.kv_heads, f"{a}.attention.key_length": self.head_dim,
                f"{a}.attention.value_length": self.head_dim,
                f"{a}.attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]),
                f"{a}.rope.freq_base": float(self.rope()["rope_theta"])}
        inner = c["intermediate_size_mlp"] if a == "llama4" else c.get("intermediate_size")
        if inner:
            keys[f"{a}.feed_forward_length"] = inner
        partial = c.get("partial_rotary_factor") or self.rope().get("partial_rotary_factor") or 1
        keys[f"{a}.rope.dimension_count"] = int(self.head_dim * partial)
        if self.heads_of:
            keys.update({f"{a}.block_count": self.layers + 1, f"{a}.nextn_predict_layers": 1})
        for key, field in (("final_logit_softcapping", "final_logit_softcapping"),):
            if c.get(field):
                keys[f"{a}.{key}"] = float(c[field])
        self.add_window(keys)
        self.add_scaling(keys)
        self.add_experts(keys)
        if a == "llama4":
            keys.update({f"{a}.interleave_moe_layer_step": c["interleave_moe_layer_step"],
                         f"{a}.attention.sliding_window": c["attention_chunk_size"],
                         f"{a}.attention.sliding_window_pattern": [bool(flag) for flag in c["no_rope_layers"]],
                         f"{a}.attention.temperature_scale": float(c["attn_scale"]),
                         f"{a}.attention.temperature_length": int(c["floor_scale"])})
        if a in ("qwen3next", *QWEN35):
            keys.update({f"{a}.ssm.conv_kernel": c["linear_conv_kernel_dim"], f"{a}.ssm.state_size": c["linear_key_head_dim"],
                         f"{a}.ssm.group_count": c["linear_num_key_heads"],
                         f"{a}.ssm.time_step_rank": c["linear_num_value_heads"],
                         f"{a}.ssm.inner_size": c["linear_value_head_dim"] * c["linear_num_value_heads"],
                         f"{a}.full_attention_interval": c.get("full_attention_interval") or
                         self.types.index("full_attention") + 1})
        if a == "gemma4":
            self.add_gemma4(keys)
        return keys

    def add_window(self, keys):
        slides = [t in ("sliding_attention", "chunked_attention") for t in self.types]
        if self.c.get("sliding_window") and any(slides):
            keys[f"{self.arch}.attention.sliding_window"] = self.c["sliding_window"]
            keys[f"{self.arch}.attention.sliding_window_pattern"] = slides
        if self.sandwich:
            local = self.rope("chunked_attention" if self.arch == "rnj1" else "sliding_attention")
            keys[f"{self.arch}.rope.freq_base_swa"] = float(local["rope_theta"])

    def add_scaling(self, keys):
        r, a = self.rope(), self.arch
        kind = r.get("rope_type", r.get("type", "default"))
        if kind not in ("linear", "yarn"):
            return
        keys[f"{a}.rope.scaling.type"] = kind
        keys[f"{a}.rope.scaling.factor"] = float(r["factor"])
        if kind == "yarn":
            keys[f"{a}.rope.scaling.original_context_length"] = r["original_max_position_embeddings"]
            for field in ("beta_fast", "beta_slow"):
                if field in r:
                    keys[f"{a}.rope.scaling.yarn_{field}"] = float(r[field])

    def add_experts(self, keys):
        c, a = self.c, self.arch
        count = c.get("num_local_experts") or c.get("num_experts")
        if not count:
            return
        keys[f"{a}.expert_count"] = count
        if a in ("qwen3moe", "qwen3next"):
            keys[f"{a}.expert_weights_norm"] = c.get("norm_topk_prob", a == "qwen3next")
        keys[f"{a}.expert_used_count"] = c.get("num_experts_per_tok") or c["top_k_experts"]
        keys[f"{a}.expert_feed_forward_length"] = c.get("moe_intermediate_size") or c["intermediate_size"]
        if c.get("shared_expert_intermediate_size"):
            keys[f"{a}.expert_shared_feed_forward_length"] = c["shared_expert_intermediate_size"]

    def add_gemma4(self, keys):
        c, full = self.c, [t == "full_attention" for t in self.types]
        own = c.get("per_layer_config") or {}
        whole = max((p["head_dim"] for p in own.values()), default=c.get("global_head_dim", 512))
        shared = c.get("num_kv_shared_layers") or 0
        inner = [c["intermediate_size"] * (2 if c.get("use_double_wide_mlp") and i >= self.layers - shared else 1)
                 for i in range(self.layers)]
        kv = [own.get(str(i), {}).get("num_key_value_heads", self.kv_heads) for i in range(self.layers)]
        keys.update({"gemma4.attention.shared_kv_layers": shared, "gemma4.feed_forward_length": inner,
                     "gemma4.attention.head_count_kv": kv, "gemma4.attention.key_length": whole,
                     "gemma4.attention.value_length": whole, "gemma4.attention.key_length_swa": self.head_dim,
                     "gemma4.attention.value_length_swa": self.head_dim, "gemma4.rope.dimension_count": whole,
                     "gemma4.rope.dimension_count_swa": self.head_dim,
                     "gemma4.attention.sliding_window_pattern": [not f for f in full]})
        if c.get("hidden_size_per_layer_input"):
            keys["gemma4.embedding_length_per_layer_input"] = c["hidden_size_per_layer_input"]

    def vocabulary(self):
        path = self.folder / "tokenizer.json"
        if not path.exists():
            return {}
        document = json.loads(path.read_text())
        added = {t["id"]: t for t in document["added_tokens"]}
        vocab = {i: t for t, i in document["model"]["vocab"].items()} | {i: t["content"] for i, t in added.items()}
        size = self.c["vocab_size"]
        keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe",
                "tokenizer.ggml.tokens": [vocab.get(i, f"[UNUSED_{i}]") for i in range(size)],
                "tokenizer.ggml.token_type": [(3 if added[i]["special"] else 4) if i in added else 1 if i in vocab else 5
                                              for i in range(size)],
                "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in document["model"]["merges"]],
                "tokenizer.ggml.add_bos_token": "bos" in json.dumps(document.get("post_processor"))}
        generation = self.folder / "generation_config.json"
        g = json.loads(generation.read_text()) if generation.exists() else self.c
        ends = g.get("eos_token_id")
        for key, token in zip(("eos_token_id", "eot_token_id"), ends if isinstance(ends, list) else [ends]):
            if token is not None:
                keys[f"tokenizer.ggml.{key}"] = token
        if g.get("bos_token_id") is not None:
            keys["tokenizer.ggml.bos_token_id"] = g["bos_token_id"]
        config = self.folder / "tokenizer_config.json"
        template = self.folder / "chat_template.jinja"
        source = template.read_text() if template.exists() else \
            json.loads(config.read_text()).get("chat_template") if config.exists() else None
        if source:
            keys["tokenizer.chat_template"] = source
        return keys


def stored(name, value, kind):
    value = np.ascontiguousarray(value, np.float32)
    width = value.shape[-1]
    if value.ndim < 2 or name.endswith(("conv1d.weight", ".bias", "_exps.scale")):
        kind = "F32"
    elif width % block_formats.FORMATS[kind][1] != 0:
        kind = "F16"
    raw = block_formats.from_float(kind, value.reshape(-1, width)).tobytes()
    return kind, value.shape, raw


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", default="F32", choices=[name for name, of in block_formats.FORMATS.items() if of[0] is not None])
    parser.add_argument("--split", type=int, default=1)
    parser.add_argument("--heads", type=Path)
    args = parser.parse_args()
    model = Model(args.folder, args.heads)
    keys = {**model.keys(), **model.vocabulary()}
    tensors = {name: stored(name, value, args.type) for name, value in model.all_tensors().items()}
    if args.split == 1:
        write_gguf(args.out, keys, tensors)
        return 0
    names = list(tensors)
    for i in range(args.split):
        own = {name: tensors[name] for name in names[i::args.split]}
        split = {"split.no": i, "split.count": args.split, "split.tensors.count": len(names)}
        path = args.out.with_name(f"{args.out.stem}-{i + 1:05}-of-{args.split:05}.gguf")
        write_gguf(path, {**keys, **split} if i == 0 else split, own)
    return 0


if __name__ == "__main__":
    sys.exit(main())
