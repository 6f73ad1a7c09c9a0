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
