#!/usr/bin/env python3
"""Writes a plain checkpoint folder in forms of quantised safetensors that vLLM reads, and what they stand for.

  quantise_checkpoint.py FOLDER OUT FORM...      OUT/FORM is the checkpoint, OUT/FORM-plain the same as float32

Forms (FORMS below) are GPTQ, AWQ, compressed-tensors and fp8. An oracle for src/model/quant_*.cpp, written from the
formats' definitions and sharing nothing with it; rounding is plain. Matrices whose names end in _proj, or are experts',
are quantised; experts that lie in one tensor are taken apart first, as these forms want them.

Sources: github.com/vllm-project/compressed-tensors, github.com/casper-hansen/AutoAWQ, github.com/ModelCloud/GPTQModel,
OCP 8-bit Floating Point Specification 1.0.
"""
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np

import block_formats
from export_gguf import read_tensors

F32 = np.float32


# ---- numbers ----

def to_bf16(x):
    return block_formats.from_float("BF16", x.reshape(1, -1)).view(np.uint16).reshape(x.shape)


def rounded(x, dtype):
    if dtype == "BF16":
        return (to_bf16(x).astype(np.uint32) << 16).view(F32)
    return x.astype(np.float16).astype(F32) if dtype == "F16" else x.astype(F32)


def fp8_table():
    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, (codes & 7).astype(F32)
    values = np.where(exponent == 0, mantissa * F32(2.0 ** -9), (1 + mantissa / 8) * np.exp2(exponent - 7.0)).astype(F32)
    values[exponent * 8 + (codes & 7) == 127] = np.nan
    return np.where(codes >= 128, -values, values)


FP8 = fp8_table()


def to_fp8(x):
    finite = FP8[:127]  # positive, ascending
    middles = (finite[1:] + finite[:-1]) / 2
    return (np.searchsorted(middles, np.abs(x)) | (x < 0) * 128).astype(np.uint8)


# ---- matrices: codes from 0, scales and zero points [rows, groups] ----

class Quantised:
    def __init__(self, w, bits, group, symmetric, dtype, shrink=1.0, order=None):
        out, inputs = w.shape
        group = group or inputs
        self.order = np.arange(inputs) // group if order is None else order
        by_group = np.argsort(self.order, kind="stable")
        x = w[:, by_group].reshape(out, -1, group)
        middle, most = 1 << bits - 1, (1 << bits) - 1
        if symmetric:
            self.scale = np.abs(x).max(axis=2) / F32(middle - 0.5)
        else:
            self.scale = (np.maximum(x.max(axis=2), 0) - np.minimum(x.min(axis=2), 0)) / F32(most)
        self.scale = rounded(np.maximum(self.scale, F32(1e-9)) * F32(shrink), dtype)
        if symmetric:
            self.zero = np.full(self.scale.shape, middle, np.int32)
        else:
            self.zero = np.clip(np.rint(-np.minimum(x.min(axis=2), 0) / self.scale), 0, most).astype(np.int32)
        codes = np.clip(np.rint(x / self.scale[:, :, None]) + self.zero[:, :, None], 0, most).astype(np.int32)
        self.codes = np.empty_like(codes.reshape(out, inputs))
        self.codes[:, by_group] = codes.reshape(out, inputs)
        self.dtype = dtype

    def value(self):
        return self.scale[:, self.order] * (self.codes - self.zero[:, self.order]).astype(F32)


def words(codes, bits, axis, order=None):
    """Codes packed into int32 along an axis, the first one lowest; `order`: which of a word's codes come when."""
    codes = np.moveaxis(codes, axis, -1)
    per = 32 // bits
    short = -codes.shape[-1] % per
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, short)]).reshape(*codes.shape[:-1], -1, per)
    if order is not None:
        codes = codes[..., order]
    packed = (codes.astype(np.uint64) << (np.arange(per, dtype=np.uint64) * np.uint64(bits))).sum(-1, dtype=np.uint64)
    return np.ascontiguousarray(np.moveaxis(packed.astype(np.uint32).view(np.int32), -1, axis))


# ---- forms; each returns the tensors of a module, as (dtype, array), and the float32 matrix ----

def gptq(w, random, bits=4, group=None, symmetric=True, v2=False, act_order=False):
    order = None
    if act_order:
        order = random.permutation(w.shape[1]) // group
    q = Quantised(w, bits, group, symmetric, "F16", order=order)
    stored_zero = q.zero - (0 if v2 else 1)
    if not v2:
        # A zero point of 0 cannot be stored less 1.
        low = stored_zero < 0
        stored_zero[low], q.zero[low] = 0, 1
    return {"qweight": ("I32", words(q.codes, bits, 1).T), "qzeros": ("I32", words(stored_zero, bits, 0).T),
            "scales": ("F16", q.scale.T), "g_idx": ("I32", q.order.astype(np.int32))}, q.value()


def awq(w, random, group=None):
    q = Quantised(w, 4, group, False, "F16")
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {"qweight": ("I32", words(q.codes.T, 4, 1, order)), "qzeros": ("I32", words(q.zero.T, 4, 1, order)),
            "scales": ("F16", q.scale.T)}, q.value()


def packed(w, random, bits=4, group=None, symmetric=True, scale="BF16", shrink=1.0, act_order=False):
    order = random.permutation(w.shape[1]) // group if act_order else None
    q = Quantised(w, bits, group, symmetric, scale, shrink, order)
    tensors = {"weight_packed": ("I32", words(q.codes, bits, 1)), "weight_scale": (scale, q.scale),
               "weight_shape": ("I64", np.array(w.shape, np.int64))}
    if not symmetric:
        tensors["weight_zero_point"] = ("I32", words(q.zero, bits, 0))
    if act_order:
        tensors["weight_g_idx"] = ("I32", order.astype(np.int32))
    return tensors, q.value()


def int8(w, random, strategy="channel", symmetric=True, scale="F32"):
    q = Quantised(w if strategy == "channel" else w.reshape(1, -1), 8, None, symmetric, scale)
    codes = (q.codes - 128).astype(np.int8).reshape(w.shape)
    tensors = {"weight": ("I8", codes), "weight_scale": (scale, q.scale if strategy == "channel" else q.scale[0])}
    if not symmetric:
        tensors["weight_zero_point"] = ("I8", (q.zero - 128).astype(np.int8))
    return tensors, q.value().reshape(w.shape)


def fp8(w, random, rows=None, columns=None, scale="F32", name="weight_scale", static=False):
    out, inputs = w.shape
    rows, columns = rows or out, columns or inputs
    grid = np.zeros((-(-out // rows), -(-inputs // columns)), F32)
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            grid[i, j] = np.abs(w[i * rows:(i + 1) * rows, j * columns:(j + 1) * columns]).max() / F32(448)
    grid = rounded(grid, scale)
    wide = np.repeat(np.repeat(grid, rows, 0)[:out], columns, 1)[:, :inputs]
    codes = to_fp8(w / wide)
    tensors = {"weight": ("F8_E4M3", codes), name: (scale, grid[0, 0] if grid.size == 1 else grid)}
    if static:
        tensors["input_scale"] = ("F32", np.array(0.02, F32))
    return tensors, wide * FP8[codes]


def compressed(form, weights, **more):
    given = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "group_size": None, "dynamic": False}
    dynamic = {"num_bits": 8, "type": weights.get("type", "int"), "strategy": "token", "dynamic": True, "symmetric": True}
    return {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
            "ignore": ["lm_head", "re:.*mlp[.]gate$"], "kv_cache_scheme": None, "sparsity_config": {},
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {**given, **weights},
                                          "input_activations": None if form == "pack-quantized" else dynamic,
                                          "output_activations": None}}, **more}


def gptq_config(bits=4, group=None, symmetric=True, v2=False, act_order=False):
    return {"quant_method": "gptq", "bits": bits, "group_size": group or -1, "sym": symmetric, "desc_act": act_order,
            "checkpoint_format": "gptq_v2" if v2 else "gptq", "lm_head": False}


def awq_config(group=None):
    return {"quant_method": "awq", "bits": 4, "group_size": group or -1, "zero_point": True, "version": "gemm",
            "modules_to_not_convert": None}


def packed_config(bits=4, group=None, symmetric=True, scale="BF16", shrink=1.0, act_order=False):
    return compressed("pack-quantized", {"num_bits": bits, "symmetric": symmetric, "group_size": group,
                                         "strategy": "group" if group else "channel",
                                         "actorder": "group" if act_order else None})


def int8_config(strategy="channel", symmetric=True, scale="F32"):
    return compressed("int-quantized", {"strategy": strategy, "symmetric": symmetric})


def fp8_config(rows=None, columns=None, scale="F32", name="weight_scale", static=False):
    if name == "weight_scale_inv":
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                "weight_block_size": [rows, columns], "modules_to_not_convert": ["lm_head"]}
    if static:
        return {"quant_method": "fp8", "activation_scheme": "static"}
    weights = {"type": "float", "strategy": "channel" if rows else "tensor"}
    if columns:
        weights = {"type": "float", "strategy": "block", "block_structure": [rows, columns]}
    return compressed("float-quantized", weights)


FORMS = {
    "gptq4": (gptq, {}), "gptq4-g32-asym": (gptq, dict(group=32, symmetric=False)),
    "gptq4-g128": (gptq, dict(group=128)), "gptq4-g64-asym-v2": (gptq, dict(group=64, symmetric=False, v2=True)),
    "gptq4-g32-act": (gptq, dict(group=32, symmetric=False, act_order=True)),
    "gptq8-g32": (gptq, dict(bits=8, group=32)), "gptq8-asym": (gptq, dict(bits=8, symmetric=False)),
    "awq-g32": (awq, dict(group=32)), "awq-g128": (awq, dict(group=128)),
    "packed4": (packed, {}), "packed4-g128": (packed, dict(group=128)),
    "packed4-g32-asym": (packed, dict(group=32, symmetric=False)),
    "packed4-g16": (packed, dict(group=16)),
    "packed4-g32-tiny": (packed, dict(group=32, symmetric=False, shrink=1e-6)),
    "packed4-g32-act": (packed, dict(group=32, act_order=True)),
    "packed8": (packed, dict(bits=8)), "packed8-g32": (packed, dict(bits=8, group=32, scale="F32")),
    "packed8-g32-asym": (packed, dict(bits=8, group=32, symmetric=False)),
    "int8": (int8, {}), "int8-bf16": (int8, dict(scale="BF16")), "int8-tensor": (int8, dict(strategy="tensor")),
    "int8-asym": (int8, dict(symmetric=False)),
    "fp8": (fp8, {}), "fp8-channel": (fp8, dict(rows=1, scale="BF16")),
    "fp8-block": (fp8, dict(rows=128, columns=128, name="weight_scale_inv")),
    "fp8-block-ct": (fp8, dict(rows=32, columns=64, scale="BF16")), "fp8-static": (fp8, dict(static=True)),
}
CONFIGS = {gptq: gptq_config, awq: awq_config, packed: packed_config, int8: int8_config, fp8: fp8_config}


# ---- checkpoints ----

TYPES = {"F32": F32, "F16": np.float16, "I32": np.int32, "I64": np.int64, "I8": np.int8, "F8_E4M3": np.uint8}


def write_safetensors(path, tensors):
    header, parts, at = {}, [], 0
    order = sorted(tensors, key=lambda name: -{"I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2}.get(tensors[name][0], 1))
    for name in order:
        dtype, value = tensors[name]
        raw = to_bf16(np.asarray(value, F32)) if dtype == "BF16" else np.asarray(value).astype(TYPES[dtype])
        raw = np.ascontiguousarray(raw).tobytes()
        header[name] = {"dtype": dtype, "shape": list(np.shape(value)), "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def taken_apart(tensors):
    """Experts that share a tensor ([experts, 2 inner, hidden], [experts, hidden, inner]) as one matrix each."""
    plain = {}
    for name, value in tensors.items():
        match = re.fullmatch(r"(.*[.]experts)[.](gate_up_proj|down_proj)", name)
        if not match:
            plain[name] = value
            continue
        for i, expert in enumerate(value):
            if match[2] == "down_proj":
                plain[f"{match[1]}.{i}.down_proj.weight"] = expert
            else:
                plain[f"{match[1]}.{i}.gate_proj.weight"], plain[f"{match[1]}.{i}.up_proj.weight"] = np.split(expert, 2)
    return plain


def write_folder(folder, source, config, tensors):
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.name.endswith(".json") and path.name != "config.json" or path.suffix == ".jinja":
            shutil.copy(path, folder)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_safetensors(folder / "model.safetensors", tensors)


def write_form(source, out, name, config, tensors):
    form, how = FORMS[name]
    random = np.random.default_rng(5)
    stored, plain = {}, {}
    for tensor, value in tensors.items():
        value = np.asarray(value, F32)
        plain[tensor] = ("F32", value)
        if not re.search(r"_proj[.]weight$|experts[.]\d+[.]w\d[.]weight$", tensor) or value.ndim != 2:
            stored[tensor] = (config.get("dtype") == "bfloat16" and "BF16" or "F32", value)
            continue
        parts, dequantised = form(value, random, **how)
        stored.update({tensor[:-len("weight")] + part: entry for part, entry in parts.items()})
        plain[tensor] = ("F32", dequantised)
    write_folder(out / name, source, {**config, "quantization_config": CONFIGS[form](**how)}, stored)
    write_folder(out / (name + "-plain"), source, {**config, "dtype": "float32"}, plain)


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((source / "config.json").read_text())
    tensors = taken_apart(read_tensors(source))
    for name in sys.argv[3:]:
        write_form(source, out, name, config, tensors)


if __name__ == "__main__":
    main()
