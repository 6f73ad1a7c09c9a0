// A small GGUF model that loads, as keys and tensors that a test can change.
#pragma once
#include <map>

#include "tests/formats/gguf_bytes.h"

namespace heed {

struct GgufModelBytes {
  struct Entry {
    std::vector<uint64_t> sizes;  // innermost first
    uint32_t type;
    uint64_t bytes;
  };
  static constexpr uint32_t kF32 = 0, kF16 = 1, kQ40 = 2, kQ80 = 8, kBf16 = 30;

  std::map<std::string, std::pair<GgufType, std::string>> keys;
  std::map<std::string, Entry> tensors;

  // Llama: vocabulary 8, hidden 32, 2 heads over 1 of 16, inner 64, one layer; embeddings tied.
  GgufModelBytes() {
    text("general.architecture", "llama");
    number("llama.block_count", 1);
    number("llama.context_length", 64);
    number("llama.embedding_length", 32);
    number("llama.feed_forward_length", 64);
    number("llama.attention.head_count", 2);
    number("llama.attention.head_count_kv", 1);
    number("llama.attention.key_length", 16);
    number("llama.rope.dimension_count", 16);
    real("llama.attention.layer_norm_rms_epsilon", 1e-5F);
    real("llama.rope.freq_base", 10000);
    text("tokenizer.ggml.model", "gpt2");
    text("tokenizer.ggml.pre", "llama-bpe");
    texts("tokenizer.ggml.tokens", {"<s>", "</s>", "a", "b", "c", "ab", "d", "e"});
    numbers("tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 1, 1, 1});
    texts("tokenizer.ggml.merges", {"a b"});
    number("tokenizer.ggml.bos_token_id", 0);
    number("tokenizer.ggml.eos_token_id", 1);
    tensor("token_embd.weight", {32, 8}, kQ80);
    tensor("output_norm.weight", {32}, kF32);
    tensor("blk.0.attn_norm.weight", {32}, kF32);
    tensor("blk.0.ffn_norm.weight", {32}, kF32);
    tensor("blk.0.attn_q.weight", {32, 32}, kQ40);
    tensor("blk.0.attn_k.weight", {32, 16}, kF16);
    tensor("blk.0.attn_v.weight", {32, 16}, kF16);
    tensor("blk.0.attn_output.weight", {32, 32}, kF32);
    tensor("blk.0.ffn_gate.weight", {32, 64}, kQ80);
    tensor("blk.0.ffn_up.weight", {32, 64}, kQ80);
    tensor("blk.0.ffn_down.weight", {64, 32}, kBf16);
  }

  // Of another architecture, whose keys otherwise stay.
  void rename(const std::string& architecture) {
    std::map<std::string, std::pair<GgufType, std::string>> renamed;
    for (const auto& [key, value] : keys)
      renamed[key.starts_with("llama.") ? architecture + key.substr(5) : key] = value;
    keys = renamed;
    text("general.architecture", architecture);
  }

  // Qwen3.5: a delta net of one key head and two value heads of 16, a layer of gated attention, and one of
  // heads that guess.
  static GgufModelBytes qwen35() {
    GgufModelBytes m;
    m.rename("qwen35");
    m.number("qwen35.block_count", 3);
    m.number("qwen35.nextn_predict_layers", 1);
    m.numbers("qwen35.attention.recurrent_layers", {1, 0, 0});
    m.number("qwen35.ssm.conv_kernel", 4);
    m.number("qwen35.ssm.state_size", 16);
    m.number("qwen35.ssm.group_count", 1);
    m.number("qwen35.ssm.time_step_rank", 2);
    m.number("qwen35.ssm.inner_size", 32);
    m.tensors.erase("blk.0.ffn_norm.weight");
    m.tensor("blk.0.post_attention_norm.weight", {32}, kF32);
    const std::map<std::string, Entry> first = m.tensors;
    for (const std::string layer : {"blk.1.", "blk.2."}) {
      for (const auto& [name, entry] : first) {
        if (name.starts_with("blk.0.")) m.tensors[layer + name.substr(6)] = entry;
      }
      m.tensor(layer + "attn_q.weight", {32, 64}, kQ40);
      m.tensor(layer + "attn_q_norm.weight", {16}, kF32);
      m.tensor(layer + "attn_k_norm.weight", {16}, kF32);
    }
    m.tensor("blk.2.nextn.eh_proj.weight", {64, 32}, kQ80);
    for (const char* norm : {"enorm", "hnorm", "shared_head_norm"})
      m.tensor(std::string("blk.2.nextn.") + norm + ".weight", {32}, kF32);
    for (const char* own : {"attn_q", "attn_k", "attn_v", "attn_output"})
      m.tensors.erase(std::string("blk.0.") + own + ".weight");
    m.tensor("blk.0.attn_qkv.weight", {32, 64}, kQ80);
    m.tensor("blk.0.attn_gate.weight", {32, 32}, kQ40);
    m.tensor("blk.0.ssm_alpha.weight", {32, 2}, kF32);
    m.tensor("blk.0.ssm_beta.weight", {32, 2}, kF32);
    m.tensor("blk.0.ssm_conv1d.weight", {4, 64}, kF32);
    m.tensor("blk.0.ssm_dt.bias", {2}, kF32);
    m.tensor("blk.0.ssm_a", {2}, kF32);
    m.tensor("blk.0.ssm_norm.weight", {16}, kF32);
    m.tensor("blk.0.ssm_out.weight", {32, 32}, kQ80);
    return m;
  }

  // Llama 4: one layer of two experts and a shared one of 64.
  static GgufModelBytes llama4() {
    GgufModelBytes m;
    m.rename("llama4");
    m.number("llama4.expert_count", 2);
    m.number("llama4.expert_used_count", 1);
    m.number("llama4.expert_feed_forward_length", 64);
    m.number("llama4.interleave_moe_layer_step", 1);
    for (const char* part : {"gate", "up", "down"}) {
      const std::string ffn = std::string("blk.0.ffn_") + part;
      const std::vector<uint64_t> sizes = m.tensors[ffn + ".weight"].sizes;
      m.tensors.erase(ffn + ".weight");
      m.tensor(ffn + "_shexp.weight", sizes, kQ80);
      m.tensor(ffn + "_exps.weight", {sizes[0], sizes[1], 2}, kQ80);
    }
    m.tensor("blk.0.ffn_gate_inp.weight", {32, 2}, kF32);
    return m;
  }

  void text(const std::string& key, std::string_view value) {
    keys[key] = {GgufType::kString, gguf_text(value)};
  }
  void number(const std::string& key, uint32_t value) { keys[key] = {GgufType::kUint32, raw(value)}; }
  void real(const std::string& key, float value) { keys[key] = {GgufType::kFloat32, raw(value)}; }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = gguf_array(GgufType::kString, values.size());
    for (const std::string& value : values) bytes += gguf_text(value);
    keys[key] = {GgufType::kArray, bytes};
  }
  void numbers(const std::string& key, const std::vector<int32_t>& values) {
    std::string bytes = gguf_array(GgufType::kInt32, values.size());
    for (const int32_t value : values) bytes += raw(value);
    keys[key] = {GgufType::kArray, bytes};
  }
  // Of the types above.
  void tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type) {
    uint64_t elements = 1;
    for (const uint64_t size : sizes) elements *= size;
    const uint64_t bytes = type == kF32   ? 4 * elements
                           : type == kQ80 ? elements / 32 * 34
                           : type == kQ40 ? elements / 32 * 18
                                          : 2 * elements;
    tensors[name] = {sizes, type, bytes};
  }

  GgufBytes file() const {
    GgufBytes out;
    for (const auto& [key, value] : keys) out.key(key, value.first, value.second);
    uint64_t offset = 0;
    for (const auto& [name, entry] : tensors) {
      out.tensor(name, entry.sizes, entry.type, offset);
      offset += (entry.bytes + 31) / 32 * 32;
    }
    // Small numbers as f16 and as bfloat16: 0x2c2c, 0x2c2c2c2c.
    out.data = std::string(offset, '\x2c');
    return out;
  }
  std::string bytes() const { return file().bytes(); }
};

}  // namespace heed
