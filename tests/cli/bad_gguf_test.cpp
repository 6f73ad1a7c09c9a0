// GGUF models that are wrong in one way each: every one ends in a one-line error that names the thing, and
// never in a crash or a hang. Runs in the sanitizer builds too.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "cli/conversation.h"
#include "engine/runner.h"
#include "model/checkpoint.h"
#include "tests/formats/gguf_model.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// Opens, loads and answers one prompt, as the commands do.
Status use_gguf(const std::string& path) {
  Checkpoint checkpoint = TRY(open_checkpoint(path));
  const TextSide text = TRY(load_text_side(path));
  const auto runner = TRY(Runner::load(std::move(checkpoint), {.threads = 1}));
  if (!text.tokenizer) return invalid("no tokenizer");
  Sequence sequence{.tokens = TRY(text.tokenizer->encode("abcde"))};
  TRY(runner->prefill(sequence, 1));
  return {};
}

class BadGguf : public testing::Test {
 protected:
  BadGguf() : folder_(fs::temp_directory_path() / ("heed_bad_gguf_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~BadGguf() override { fs::remove_all(folder_); }
  std::string save(const std::string& name, const std::string& bytes) const {
    const std::string path = folder_ / name;
    EXPECT_TRUE(write_file(path, bytes).ok());
    return path;
  }
  void expect_error(const std::string& path, const std::string& kind, const std::string& names) const {
    SCOPED_TRACE(kind);
    const Status status = use_gguf(path);
    ASSERT_FALSE(status.ok());
    const std::string& message = status.error().message;
    EXPECT_NE(message.find(names), std::string::npos) << message;
    EXPECT_NE(message.find(".gguf"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 600U) << message;
  }
  fs::path folder_;
};

TEST_F(BadGguf, the_model_itself_is_right) {
  for (const GgufModelBytes& model : {GgufModelBytes(), GgufModelBytes::qwen35(), GgufModelBytes::llama4()}) {
    const Status status = use_gguf(save("good.gguf", model.bytes()));
    EXPECT_TRUE(status.ok()) << status.error().message;
  }
}

struct WrongGguf {
  const char* kind;
  std::function<void(GgufModelBytes&)> break_it;
  const char* names;  // the error must say this
};

std::vector<WrongGguf> bad_keys() {
  using M = GgufModelBytes;
  return {
      {"no architecture", [](M& m) { m.keys.erase("general.architecture"); }, "general.architecture"},
      {"unknown architecture", [](M& m) { m.text("general.architecture", "nope"); }, "nope"},
      {"architecture of another type", [](M& m) { m.number("general.architecture", 3); },
       "general.architecture"},
      {"no layers", [](M& m) { m.keys.erase("llama.block_count"); }, "llama.block_count"},
      {"zero layers", [](M& m) { m.number("llama.block_count", 0); }, "block_count"},
      {"four billion layers", [](M& m) { m.number("llama.block_count", ~0U); }, "block_count"},
      {"one layer too many", [](M& m) { m.number("llama.block_count", 2); }, "blk.1."},
      {"no width", [](M& m) { m.keys.erase("llama.embedding_length"); }, "hidden_size"},
      {"width as text", [](M& m) { m.text("llama.embedding_length", "32"); }, "embedding_length"},
      {"another width", [](M& m) { m.number("llama.embedding_length", 64); }, "token_embd.weight"},
      {"zero heads", [](M& m) { m.number("llama.attention.head_count", 0); }, "num_attention_heads"},
      {"heads that do not divide", [](M& m) { m.number("llama.attention.head_count_kv", 3); },
       "num_key_value_heads"},
      {"key heads by layer, too few",
       [](M& m) {
         m.numbers("llama.attention.head_count_kv", {1, 1});
       },
       "1 layers"},
      {"an odd number of rotated elements", [](M& m) { m.number("llama.rope.dimension_count", 15); },
       "rope.dimension_count"},
      {"more rotated elements than there are", [](M& m) { m.number("llama.rope.dimension_count", 18); },
       "rope.dimension_count"},
      {"a negative rope base", [](M& m) { m.real("llama.rope.freq_base", -1); }, "rope_theta"},
      {"a rope scaling that nobody knows", [](M& m) { m.text("llama.rope.scaling.type", "longrope"); },
       "longrope"},
      {"a scaling without its factor", [](M& m) { m.text("llama.rope.scaling.type", "linear"); },
       "rope.scaling.factor"},
      {"an epsilon that is not finite",
       [](M& m) { m.real("llama.attention.layer_norm_rms_epsilon", INFINITY); }, "rms_norm_eps"},
      {"sizes by layer of negative numbers", [](M& m) { m.numbers("llama.feed_forward_length", {-64}); },
       "intermediate_size"},
      {"vocabulary of an unknown kind", [](M& m) { m.text("tokenizer.ggml.model", "none"); }, "none"},
      {"a template that does not parse", [](M& m) { m.text("tokenizer.chat_template", "{% if %}"); },
       "tokenizer.chat_template"},
      {"an end of another type", [](M& m) { m.text("tokenizer.ggml.eos_token_id", "1"); }, "eos_token_id"},
      {"more experts than a model may have", [](M& m) { m.number("llama.expert_count", ~0U); },
       "num_local_experts"},
      {"as many heads that guess as layers", [](M& m) { m.number("llama.nextn_predict_layers", 1); },
       "llama.nextn_predict_layers is 1 of 1 layers"},
  };
}

// Of hybrids, and of Llama 4.
std::vector<WrongGguf> bad_qwen35() {
  using M = GgufModelBytes;
  return {
      {"kinds of layers, too few",
       [](M& m) {
         m.numbers("qwen35.attention.recurrent_layers", {1, 0});
       },
       "3 layers"},
      {"a layer of the other kind",
       [](M& m) {
         m.numbers("qwen35.attention.recurrent_layers", {0, 0, 0});
       },
       "blk.0.attn_q.weight"},
      {"value heads that are no multiple", [](M& m) { m.number("qwen35.ssm.group_count", 3); },
       "linear_num_value_heads"},
      {"no beta", [](M& m) { m.tensors.erase("blk.0.ssm_beta.weight"); }, "blk.0.ssm_beta.weight"},
      {"decays of the wrong number", [](M& m) { m.tensor("blk.0.ssm_a", {3}, M::kF32); }, "blk.0.ssm_a"},
  };
}

std::vector<WrongGguf> bad_llama4() {
  using M = GgufModelBytes;
  return {
      {"two experts a token", [](M& m) { m.number("llama4.expert_used_count", 2); }, "num_experts_per_tok"},
      {"no step between experts", [](M& m) { m.number("llama4.interleave_moe_layer_step", 0); },
       "interleave_moe_layer_step"},
      {"a chunk of less than nothing", [](M& m) { m.number("llama4.attention.sliding_window", ~0U); },
       "attention_chunk_size"},
      {"no router", [](M& m) { m.tensors.erase("blk.0.ffn_gate_inp.weight"); }, "blk.0.ffn_gate_inp.weight"},
  };
}

std::vector<WrongGguf> bad_gguf_tensors() {
  using M = GgufModelBytes;
  return {
      {"no embeddings", [](M& m) { m.tensors.erase("token_embd.weight"); }, "token_embd.weight"},
      {"embeddings of one dimension", [](M& m) { m.tensor("token_embd.weight", {256}, M::kQ80); },
       "token_embd.weight"},
      {"a tensor missing", [](M& m) { m.tensors.erase("blk.0.attn_q.weight"); }, "blk.0.attn_q.weight"},
      {"a tensor too many", [](M& m) { m.tensor("blk.0.extra.weight", {32}, M::kF32); },
       "blk.0.extra.weight"},
      {"a tensor of another shape",
       [](M& m) {
         m.tensor("blk.0.attn_q.weight", {32, 64}, M::kQ40);
       },
       "blk.0.attn_q.weight"},
      {"a norm in blocks", [](M& m) { m.tensor("output_norm.weight", {32}, M::kQ80); }, "output_norm.weight"},
      {"a type that is not computed with",
       [](M& m) {
         m.tensors["blk.0.attn_q.weight"] = {{32, 32}, 24, 1024};
       },
       "I8"},
      {"a type that nobody knows",
       [](M& m) {
         m.tensors["blk.0.attn_q.weight"] = {{32, 32}, 77, 1024};
       },
       "77"},
      {"rows that are no whole blocks",
       [](M& m) {
         m.tensors["blk.0.attn_q.weight"] = {{16, 64}, M::kQ40, 576};
       },
       "whole blocks"},
      {"sizes whose product overflows",
       [](M& m) {
         m.tensors["blk.0.attn_q.weight"] = {{uint64_t{1} << 62, 4}, M::kF32, 32};
       },
       "overflow"},
      {"a size of zero",
       [](M& m) {
         m.tensors["blk.0.attn_q.weight"] = {{0, 32}, M::kF32, 32};
       },
       "1 or more"},
      {"divisors of the wrong number", [](M& m) { m.tensor("rope_freqs.weight", {7}, M::kF32); },
       "rope_freqs.weight"},
      {"divisors in blocks", [](M& m) { m.tensor("rope_freqs.weight", {32}, M::kQ80); }, "rope_freqs.weight"},
  };
}

TEST_F(BadGguf, wrong_keys_are_one_line_errors) {
  for (const WrongGguf& bad : bad_keys()) {
    GgufModelBytes model;
    bad.break_it(model);
    expect_error(save("bad.gguf", model.bytes()), bad.kind, bad.names);
  }
}

TEST_F(BadGguf, wrong_keys_and_tensors_of_other_architectures_are_one_line_errors) {
  for (const WrongGguf& bad : bad_qwen35()) {
    GgufModelBytes model = GgufModelBytes::qwen35();
    bad.break_it(model);
    expect_error(save("bad.gguf", model.bytes()), bad.kind, bad.names);
  }
  for (const WrongGguf& bad : bad_llama4()) {
    GgufModelBytes model = GgufModelBytes::llama4();
    bad.break_it(model);
    expect_error(save("bad.gguf", model.bytes()), bad.kind, bad.names);
  }
}

TEST_F(BadGguf, wrong_tensors_are_one_line_errors) {
  for (const WrongGguf& bad : bad_gguf_tensors()) {
    GgufModelBytes model;
    bad.break_it(model);
    expect_error(save("bad.gguf", model.bytes()), bad.kind, bad.names);
  }
}

TEST_F(BadGguf, a_file_cut_anywhere_is_an_error) {
  const std::string whole = GgufModelBytes().bytes();
  for (size_t size = 0; size + 32 < whole.size(); size += size < 3000 ? 37 : 997)
    expect_error(save("cut.gguf", whole.substr(0, size)), "cut at " + std::to_string(size), "cut.gguf");
}

TEST_F(BadGguf, files_of_a_split_model_must_all_be_there_and_hold_different_tensors) {
  GgufModelBytes model;
  model.number("split.count", 2);
  const std::string bytes = model.bytes();
  expect_error(save("alone.gguf", bytes), "another name", "-00001-of-0000N.gguf");
  const std::string first = save("m-00001-of-00002.gguf", bytes);
  expect_error(first, "no second file", "m-00002-of-00002.gguf");
  save("m-00002-of-00002.gguf", "GGUF");
  expect_error(first, "a second file cut short", "m-00002-of-00002.gguf");
  save("m-00002-of-00002.gguf", bytes);
  expect_error(first, "the same tensors twice", "in another of its files");
  model.number("split.count", ~0U);
  expect_error(save("many.gguf", model.bytes()), "four billion files", "split.count");
}

TEST_F(BadGguf, a_model_in_two_files_is_read) {
  GgufModelBytes first;
  first.number("split.count", 2);
  GgufModelBytes second;
  second.keys.clear();
  second.number("split.no", 1);
  for (auto it = second.tensors.begin(); it != second.tensors.end();)
    it = it->first.starts_with("blk.0.ffn") ? std::next(it) : second.tensors.erase(it);
  for (const auto& [name, entry] : second.tensors) first.tensors.erase(name);
  save("m-00002-of-00002.gguf", second.bytes());
  const Status status = use_gguf(save("m-00001-of-00002.gguf", first.bytes()));
  EXPECT_TRUE(status.ok()) << status.error().message;
}

TEST_F(BadGguf, a_path_that_is_not_there_is_named) {
  expect_error((folder_ / "none.gguf").string(), "missing", "none.gguf: this file is missing");
}

}  // namespace
}  // namespace heed
