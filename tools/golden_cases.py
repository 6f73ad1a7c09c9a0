"""The checkpoints that tools/golden.py makes: configurations of transformers' classes, and how their files differ.

Between them they vary in what a loader must cope with: stored dtype, shards, older forms of config.json, the layout of
multimodal checkpoints, tensors that a text model ignores, experts in one tensor, in one tensor each or as MXFP4.
"""
import dataclasses
import typing

import torch
from transformers import DeepseekV3Config, Gemma4TextConfig, GptOssConfig, Llama4TextConfig, LlamaConfig, \
    MiniMaxConfig, MistralConfig, MixtralConfig, PreTrainedConfig, Qwen2Config, Qwen3_5Config, \
    Qwen3_5ForConditionalGeneration, Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration, Qwen3_5MoeTextConfig, \
    Qwen3NextConfig
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from golden_common import random_weight

SMALL = dict(hidden_size=64, intermediate_size=144, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=512, initializer_range=0.02)


@dataclasses.dataclass
class Case:
    config: PreTrainedConfig
    dtype: torch.dtype = torch.bfloat16  # of the stored weights
    shards: int = 1
    kind: type | None = None  # of the model, where it is not the AutoModelForCausalLM of the configuration
    change: typing.Callable | None = None  # of config.json
    pack: typing.Callable | None = None  # (model, generator) -> tensors; sets weights that are stored in another form
    rewrite: typing.Callable | None = None  # (tensors, packed) -> the tensors to store


def cases():
    yield from dense()
    yield from experts()
    yield from gated_delta()
    yield from latent()
    yield from other_attention()


def rope(kind, theta=10000.0, **values):
    return {"rope_type": kind, "rope_theta": theta, **values}


def old_form(config):
    """The form of config.json before transformers 5."""
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    kind = parameters.pop("rope_type")
    if "partial_rotary_factor" in parameters:
        config["partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **parameters}
    config["torch_dtype"] = config.pop("dtype")
    return config


def dense():
    yield "qwen2", Case(Qwen2Config(**SMALL, vocab_size=311, tie_word_embeddings=True, use_sliding_window=True,
                                    sliding_window=40, max_window_layers=1))
    yield "mistral", Case(MistralConfig(**SMALL, vocab_size=307, sliding_window=50, head_dim=24), shards=2)
    yield "llama_linear", Case(LlamaConfig(**SMALL, vocab_size=313, attention_bias=True, mlp_bias=True,
                                           rope_parameters=rope("linear", factor=4.0)), change=old_form)
    yield "llama_yarn", Case(LlamaConfig(**SMALL, vocab_size=317, rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=64, truncate=False, mscale=0.9, mscale_all_dim=0.6)),
        dtype=torch.float16)


def experts():
    mixtral = {**SMALL, "intermediate_size": 80}
    yield "mixtral", Case(MixtralConfig(**mixtral, vocab_size=331, num_local_experts=5, num_experts_per_tok=2),
                          change=old_form)
    yield "mixtral_sliding", Case(
        MixtralConfig(**{**mixtral, "num_hidden_layers": 2}, vocab_size=337, sliding_window=50, head_dim=24,
                      num_local_experts=6, num_experts_per_tok=3), shards=2)
    yield "gpt_oss_mxfp4", Case(
        GptOssConfig(**{**SMALL, "hidden_size": 96, "intermediate_size": 64}, head_dim=24, vocab_size=347,
                     num_local_experts=5, num_experts_per_tok=2, sliding_window=44,
                     layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                     rope_parameters=rope("yarn", 150000.0, factor=8.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                                          original_max_position_embeddings=64)),
        change=gpt_oss_published, pack=mxfp4, rewrite=mxfp4_instead)


def mxfp4(model, generator):
    """Experts from random blocks: 4-bit floats, two a byte, low half first; each 32 of them times 2^(scale - 127)."""
    magnitudes = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    values = torch.cat([magnitudes, -magnitudes])
    packed = {}
    for i, layer in enumerate(model.model.layers):
        for name in ("gate_up_proj", "down_proj"):
            weight = getattr(layer.mlp.experts, name)  # [experts, in, out]
            count, width, rows = weight.shape
            blocks = torch.randint(0, 256, (count, rows, width // 32, 16), generator=generator, dtype=torch.uint8)
            scales = torch.randint(121, 125, (count, rows, width // 32), generator=generator, dtype=torch.uint8)
            halves = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)  # [.., 32]
            unpacked = values[halves.long()] * 2.0 ** (scales.float() - 127)[..., None]
            unpacked = unpacked.flatten(-2).transpose(1, 2)
            assert torch.equal(unpacked, convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
            weight.data.copy_(unpacked)
            packed[f"model.layers.{i}.mlp.experts.{name}_blocks"] = blocks
            packed[f"model.layers.{i}.mlp.experts.{name}_scales"] = scales
    return packed


def mxfp4_instead(tensors, packed):
    unpacked = {name.removesuffix("_blocks") for name in packed}
    return {**{name: tensor for name, tensor in tensors.items() if name not in unpacked}, **packed}


def gpt_oss_published(config):
    parameters = config.pop("rope_parameters")
    config.update(rope_theta=parameters.pop("rope_theta"), rope_scaling=parameters, swiglu_limit=7.0,
                  experts_per_token=config["num_experts_per_tok"], initial_context_length=64)
    config["quantization_config"] = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                                   "lm_head"]}
    return config


GATED_DELTA = dict(hidden_size=64, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                   linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
                   max_position_embeddings=512, partial_rotary_factor=0.25)
MOE = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=40, shared_expert_intermediate_size=48)


def gated_delta():
    ratio = {**GATED_DELTA, "num_hidden_layers": 5, "linear_num_value_heads": 6}
    yield "qwen3_next_ratio3", Case(
        Qwen3NextConfig(**ratio, **MOE, intermediate_size=112, vocab_size=349, full_attention_interval=2,
                        norm_topk_prob=False, mlp_only_layers=[1], decoder_sparse_step=1,
                        rope_parameters=rope("default", partial_rotary_factor=0.25)), change=qwen3_next_published)
    yield "qwen3_5_moe", Case(Qwen3_5MoeTextConfig(**GATED_DELTA, **MOE, vocab_size=353))
    mrope = rope("default", partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True)
    vision = dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, patch_size=4, out_hidden_size=64,
                  num_position_embeddings=16)
    text = {**GATED_DELTA, "linear_value_head_dim": 24, "rope_parameters": mrope}
    yield "qwen3_5_vl", Case(
        Qwen3_5Config(text_config={**text, "intermediate_size": 144, "vocab_size": 359, "full_attention_interval": 2},
                      vision_config=vision),
        kind=Qwen3_5ForConditionalGeneration, change=qwen3_5_published, rewrite=with_qwen_mtp)
    yield "qwen3_5_moe_vl", Case(
        Qwen3_5MoeConfig(text_config={**text, **MOE, "vocab_size": 367}, vision_config=vision), shards=2,
        kind=Qwen3_5MoeForConditionalGeneration, change=qwen3_5_published, rewrite=fused_experts)


def qwen3_next_published(config):
    config["full_attention_interval"] = 2
    del config["layer_types"]
    return old_form(config)


def qwen3_5_published(config):
    text = config["text_config"]
    text.update(attn_output_gate=True, output_gate_type="swish", mamba_ssm_dtype="float32", mtp_num_hidden_layers=1,
                mtp_use_dedicated_embeddings=False,
                full_attention_interval=text["layer_types"].index("full_attention") + 1)
    return config


def fused_experts(tensors, _):
    """All experts of a layer in two tensors: [experts, 2 * width, hidden] of gates, then ups, and the downs."""
    rest = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for at in {name.split(".experts.")[0] + ".experts." for name in tensors if ".experts." in name}:
        gate, up, down = (torch.stack([tensors[f"{at}{e}.{name}_proj.weight"] for e in range(MOE["num_experts"])])
                          for name in ("gate", "up", "down"))
        rest |= {at + "gate_up_proj": torch.cat([gate, up], 1), at + "down_proj": down}
    return rest


def with_qwen_mtp(tensors, _):
    """Beside the model, a layer that predicts the token after the next. A_log and the norm after it are float32."""
    generator = torch.Generator().manual_seed(77)
    attention = {name.replace("model.language_model.layers.3.", "mtp.layers.0."): tensor.shape
                 for name, tensor in tensors.items() if name.startswith("model.language_model.layers.3.")}
    norms = ("mtp.norm.weight", "mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight")
    shapes = {"mtp.fc.weight": (64, 128), **dict.fromkeys(norms, (64,)), **attention}
    mtp = {name: random_weight(name, shape, generator).bfloat16() for name, shape in shapes.items()}
    wide = ("A_log", "linear_attn.norm.weight")
    return {**{name: tensor.float() if name.endswith(wide) else tensor for name, tensor in tensors.items()}, **mtp}


LATENT = {**SMALL, "num_key_value_heads": 4, "num_hidden_layers": 4, "kv_lora_rank": 24, "qk_nope_head_dim": 16,
          "qk_rope_head_dim": 8, "v_head_dim": 12, "moe_intermediate_size": 32, "n_routed_experts": 8,
          "rope_interleave": True}


def latent():
    yield "deepseek_v3", Case(
        DeepseekV3Config(**LATENT, vocab_size=373, q_lora_rank=32, n_group=2, topk_group=1, num_experts_per_tok=3,
                         first_k_dense_replace=1, n_shared_experts=1, routed_scaling_factor=2.5, num_mtp_layers=1,
                         rope_parameters=rope("yarn", factor=8.0, beta_fast=32, beta_slow=1, mscale=0.8,
                                              mscale_all_dim=1.0, original_max_position_embeddings=64)),
        change=deepseek_published, rewrite=with_deepseek_mtp)
    plain = {**LATENT, "num_hidden_layers": 3, "qk_nope_head_dim": 24, "v_head_dim": 32}
    yield "deepseek_v3_plain", Case(
        DeepseekV3Config(**plain, vocab_size=379, q_lora_rank=None, n_group=4, topk_group=2, num_experts_per_tok=2,
                         first_k_dense_replace=2, n_shared_experts=2, routed_scaling_factor=1.5, num_mtp_layers=0))


def deepseek_published(config):
    config.update(scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1, ep_size=1)
    for key in ("head_dim", "qk_head_dim", "rope_interleave"):  # of transformers alone
        config.pop(key, None)
    return old_form(config)


def with_deepseek_mtp(tensors, _):
    """Beside the model, the layer that predicts the token after the next: numbered on from the model's layers."""
    generator = torch.Generator().manual_seed(77)
    layer = {name.replace("layers.3.", "layers.4."): tensor for name, tensor in tensors.items() if ".layers.3." in name}
    head = {"embed_tokens.weight": (373, 64), "shared_head.head.weight": (373, 64), "shared_head.norm.weight": (64,),
            "enorm.weight": (64,), "hnorm.weight": (64,), "eh_proj.weight": (64, 128)}
    shapes = {**{name: tensor.shape for name, tensor in layer.items()},
              **{f"model.layers.4.{name}": shape for name, shape in head.items()}}
    mtp = {name: random_weight(name, shape, generator).bfloat16() for name, shape in shapes.items()}
    return {**tensors, **mtp}


def other_attention():
    yield "llama4_text", Case(
        Llama4TextConfig(**{**SMALL, "num_hidden_layers": 4, "intermediate_size": 72}, intermediate_size_mlp=112,
                         head_dim=24, vocab_size=383, num_local_experts=4, num_experts_per_tok=1,
                         interleave_moe_layer_step=2, no_rope_layers=[1, 0, 1, 0], attention_chunk_size=32,
                         use_qk_norm=True, attn_temperature_tuning=True, floor_scale=16, attn_scale=0.4,
                         rope_parameters=rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0,
                                              high_freq_factor=4.0, original_max_position_embeddings=64)))
    yield "minimax_factors", Case(
        MiniMaxConfig(**{**SMALL, "num_hidden_layers": 6, "intermediate_size": 48}, head_dim=24, vocab_size=389,
                      num_local_experts=4, num_experts_per_tok=2, block_size=32,
                      layer_types=["linear_attention", "linear_attention", "full_attention"] * 2,
                      linear_attn_alpha_factor=1.3, linear_attn_beta_factor=0.9, full_attn_alpha_factor=1.2,
                      full_attn_beta_factor=0.7, mlp_alpha_factor=1.1, mlp_beta_factor=0.8))
    yield "gemma4_published", Case(
        Gemma4TextConfig(**{**SMALL, "num_hidden_layers": 6, "intermediate_size": 112}, head_dim=24, global_head_dim=48,
                         num_global_key_value_heads=1, attention_k_eq_v=True, vocab_size=397, sliding_window=40,
                         hidden_size_per_layer_input=0, final_logit_softcapping=30.0), change=gemma4_published)


def gemma4_published(config):
    """Full layers differ by fields of their own instead of `per_layer_config`."""
    del config["per_layer_config"]
    config.update(global_head_dim=48, num_global_key_value_heads=1)
    return config
