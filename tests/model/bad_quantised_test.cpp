// Quantised checkpoints that are wrong in one way each: every one ends in a one-line error that names the
// thing.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "model/weights.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

struct Stored {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

int64_t size_of_dtype(const std::string& dtype) {
  if (dtype == "I64") return 8;
  if (dtype == "I32" || dtype == "F32") return 4;
  return dtype == "F16" || dtype == "BF16" ? 2 : 1;
}

// Zeros, or the 32-bit numbers given.
Stored stored(const std::string& dtype, const std::vector<int64_t>& shape,
              const std::vector<int32_t>& words = {}) {
  int64_t bytes = size_of_dtype(dtype);
  for (const int64_t size : shape) bytes *= size;
  Stored s = {dtype, shape, std::string(static_cast<size_t>(bytes), '\0')};
  if (!words.empty()) std::memcpy(s.bytes.data(), words.data(), words.size() * sizeof(int32_t));
  return s;
}

const std::string kQ = "model.layers.0.self_attn.q_proj";

// One layer of 64 by 64 matrices; that of queries is in the form of the test, its others are plain.
struct Folder {
  Folder() : path(fs::temp_directory_path() / ("heed_bad_quantised_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
    config = {{"architectures", {"LlamaForCausalLM"}},
              {"hidden_size", 64},
              {"vocab_size", 6},
              {"intermediate_size", 64},
              {"num_hidden_layers", 1},
              {"num_attention_heads", 2},
              {"num_key_value_heads", 2},
              {"torch_dtype", "float32"}};
    Weights unused;
    for (const TensorNeed& need : needed_tensors(read_spec(config, "config.json").value(), unused))
      tensors[need.name] = stored("F32", need.shape);
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  Json& quantisation() { return config["quantization_config"]; }
  Json& weights() { return quantisation()["config_groups"]["group_0"]["weights"]; }
  Stored& q(const std::string& ending) { return tensors[kQ + ending]; }
  void drop(const std::string& ending) { tensors.erase(kQ + ending); }

  void gptq() {
    quantisation() = {
        {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"sym", false}, {"desc_act", true}};
    drop(".weight");
    q(".qweight") = stored("I32", {8, 64});
    q(".qzeros") = stored("I32", {2, 8});
    q(".scales") = stored("F16", {2, 64});
    std::vector<int32_t> order(64);
    for (int i = 0; i < 64; ++i) order[i] = i % 2;
    q(".g_idx") = stored("I32", {64}, order);
  }
  void awq() {
    quantisation() = {{"quant_method", "awq"}, {"bits", 4}, {"group_size", 32}, {"zero_point", true}};
    drop(".weight");
    q(".qweight") = stored("I32", {64, 8});
    q(".qzeros") = stored("I32", {2, 8});
    q(".scales") = stored("F16", {2, 64});
  }
  void compressed(const std::string& format, const Json& group) {
    quantisation() = {{"quant_method", "compressed-tensors"},
                      {"format", format},
                      {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", group}}}}}};
  }
  void packed() {
    compressed(
        "pack-quantized",
        {{"num_bits", 4}, {"type", "int"}, {"symmetric", false}, {"strategy", "group"}, {"group_size", 32}});
    drop(".weight");
    q(".weight_packed") = stored("I32", {64, 8});
    q(".weight_scale") = stored("BF16", {64, 2});
    q(".weight_zero_point") = stored("I32", {8, 2});
    q(".weight_shape") = stored("I64", {2}, {64, 0, 64, 0});
  }
  void int8() {
    compressed("int-quantized",
               {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "channel"}});
    q(".weight") = stored("I8", {64, 64});
    q(".weight_scale") = stored("F32", {64, 1});
  }
  void fp8() {
    quantisation() = {{"quant_method", "fp8"}, {"weight_block_size", {48, 48}}};
    q(".weight") = stored("F8_E4M3", {64, 64});
    q(".weight_scale_inv") = stored("F32", {2, 2});
  }

  void save() const {
    std::ofstream(path / "config.json") << config.dump();
    Json header = Json::object();
    std::string data;
    for (const int64_t size : {8, 4, 2, 1}) {
      for (const auto& [name, tensor] : tensors) {
        if (size_of_dtype(tensor.dtype) != size) continue;
        header[name] = {{"dtype", tensor.dtype},
                        {"shape", tensor.shape},
                        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
        data += tensor.bytes;
      }
    }
    std::string text = header.dump();
    while (text.size() % 8 != 0) text += ' ';
    const uint64_t length = text.size();
    std::ofstream out(path / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << text << data;
  }

  fs::path path;
  Json config;
  std::map<std::string, Stored> tensors;
};

Status use(const Folder& folder) {
  folder.save();
  const Checkpoint checkpoint = TRY(open_checkpoint(folder.path.string()));
  TRY(check_tensors(checkpoint));
  TRY(load_weights(checkpoint, {}));
  return {};
}

using Change = std::function<void(Folder&)>;
struct Bad {
  const char* kind;
  Change form, break_it;
  const char* names;  // the error must say this
};

const Change kGptq = [](Folder& f) { f.gptq(); };
const Change kAwq = [](Folder& f) { f.awq(); };
const Change kPacked = [](Folder& f) { f.packed(); };
const Change kInt8 = [](Folder& f) { f.int8(); };
const Change kFp8 = [](Folder& f) { f.fp8(); };

std::vector<Bad> bad_configs() {
  const auto set = [](const char* key, const Json& value) {
    return [=](Folder& f) { f.quantisation()[key] = value; };
  };
  const auto weights = [](const char* key, const Json& value) {
    return [=](Folder& f) { f.weights()[key] = value; };
  };
  return {
      {"unknown method", kGptq, set("quant_method", "bitsandbytes"),
       "\"bitsandbytes\"; gptq, awq, compressed-tensors"},
      {"no method", kGptq, [](Folder& f) { f.quantisation().erase("quant_method"); }, "quant_method"},
      {"config is a list", kGptq, [](Folder& f) { f.quantisation() = Json::array(); },
       "a JSON object is expected"},
      {"three bits", kGptq, set("bits", 3), "bits is 3; 4 or 8"},
      {"no bits", kGptq, [](Folder& f) { f.quantisation().erase("bits"); }, "bits is missing"},
      {"group size 0", kGptq, set("group_size", 0), "group_size is neither"},
      {"group size as text", kGptq, set("group_size", "32"), "group_size is \"32\""},
      {"Marlin", kGptq, set("checkpoint_format", "marlin"), "\"marlin\"; gptq or gptq_v2"},
      {"words of 64 bits", kGptq, set("pack_dtype", "int64"), "pack_dtype is \"int64\""},
      {"modules in other ways", kGptq, set("dynamic", {{"+:.*[.]q_proj", {{"bits", 8}}}}), "dynamic"},
      {"AWQ for another kernel", kAwq, set("version", "gemv"), "version is \"gemv\"; gemm"},
      {"AWQ without zero points", kAwq, set("zero_point", false), "zero_point is false"},
      {"AWQ of 8 bits", kAwq, set("bits", 8), "bits is 8; 4 is"},
      {"sparse", kPacked, set("sparsity_config", {{"format", "sparse-24-bitmask"}}), "sparse-24-bitmask"},
      {"cache in int8", kPacked, set("kv_cache_scheme", {{"num_bits", 8}}), "kv_cache_scheme is not known"},
      {"cache in fp8 of each token", kPacked,
       set("kv_cache_scheme", {{"num_bits", 8}, {"type", "float"}, {"strategy", "token"}, {"dynamic", true}}),
       "kv_cache_scheme is not known"},
      {"turned", kPacked, set("transform_config", {{"config_groups", {{"u", 1}}}}), "transform_config"},
      {"no groups", kPacked, set("config_groups", Json::object()), "config_groups is missing"},
      {"unknown format", kPacked, set("format", "nvfp4-pack-quantized"),
       "\"nvfp4-pack-quantized\"; pack-quantized"},
      {"packed numbers of a tensor", kPacked, weights("strategy", "tensor"), "\"tensor\"; channel or group"},
      {"packed floats", kPacked, weights("type", "float"), "type is \"float\"; int"},
      {"groups of no size", kPacked, weights("group_size", nullptr), "group_size is missing"},
      {"only activations", kPacked,
       [](Folder& f) { f.quantisation()["config_groups"]["group_0"]["weights"] = nullptr; }, "group_0"},
      {"outputs rounded", kInt8,
       [](Folder& f) {
         f.quantisation()["config_groups"]["group_0"]["output_activations"] = {{"num_bits", 8}};
       },
       "output_activations"},
      {"four bits not packed", kInt8, weights("num_bits", 4), "4-bit int in format int-quantized"},
      {"squares of whole numbers", kInt8, weights("strategy", "block"), "\"block\""},
      {"another fp8", kFp8, set("fmt", "e5m2"), "fmt is \"e5m2\"; e4m3"},
      {"squares of nothing", kFp8, set("weight_block_size", {0, 128}), "size of blocks"},
  };
}

std::vector<Bad> bad_tensors() {
  return {
      {"other bits than it says", kGptq, [](Folder& f) { f.quantisation()["bits"] = 8; },
       "q_proj.scales has shape [2, 64]; [1, 64]"},
      {"group that does not divide", kGptq, [](Folder& f) { f.quantisation()["group_size"] = 48; },
       "group_size 48 does not divide its 64 inputs"},
      {"input in no group", kGptq, [](Folder& f) { f.q(".g_idx").bytes[4 * 7] = 2; },
       "puts input 7 into group 2; there are 2"},
      {"input in a negative group", kGptq, [](Folder& f) { f.q(".g_idx").bytes[4 * 7 + 3] = '\x80'; },
       "puts input 7 into group -"},
      {"groups of other sizes", kGptq, [](Folder& f) { f.q(".g_idx").bytes[4 * 7] = 0; },
       "puts 33 inputs into group 0"},
      {"codes of another matrix", kGptq,
       [](Folder& f) {
         f.q(".qweight") = stored("I32", {16, 64});
       },
       "[4, 64] is expected of GPTQ int4 [64, 128]"},
      {"codes of another shape", kGptq,
       [](Folder& f) {
         f.q(".qweight") = stored("I32", {8, 8, 8});
       },
       "not that of a matrix"},
      {"outputs that fill no word", kGptq,
       [](Folder& f) {
         f.q(".qweight") = stored("I32", {8, 60});
       },
       "60 outputs are no multiple of the 8"},
      {"no scales", kGptq, [](Folder& f) { f.drop(".scales"); }, "q_proj.scales, which belongs to"},
      {"no zero points", kGptq, [](Folder& f) { f.drop(".qzeros"); }, "q_proj.qzeros"},
      {"scales of whole numbers", kGptq,
       [](Folder& f) {
         f.q(".scales") = stored("I32", {2, 64});
       },
       "has dtype I32; F16 or BF16 or F32"},
      {"zero points of another shape", kAwq,
       [](Folder& f) {
         f.q(".qzeros") = stored("I32", {2, 64});
       },
       "q_proj.qzeros has shape [2, 64]; [2, 8]"},
      {"no matrix", kAwq, [](Folder& f) { f.drop(".qweight"); }, "q_proj.weight [64, 64] is missing"},
      {"both forms", kAwq,
       [](Folder& f) {
         f.q(".weight") = stored("F32", {64, 64});
       },
       "is there as well as"},
      {"a bias that is none", kGptq, [](Folder& f) { f.q(".bias") = stored("F16", {64}, {1}); },
       "q_proj.bias is not used"},
      {"packed in another shape", kPacked,
       [](Folder& f) {
         f.q(".weight_packed") = stored("I32", {64, 16});
       },
       "4-bit numbers are said to be in it"},
      {"a shape that is not its own", kPacked, [](Folder& f) { f.q(".weight_shape").bytes[8] = 32; },
       "weight_shape says [64, 32]"},
      {"a shape beyond all memory", kPacked, [](Folder& f) { f.q(".weight_shape").bytes[15] = 0x7f; },
       "weight_shape says"},
      {"a negative shape", kPacked, [](Folder& f) { f.q(".weight_shape").bytes[15] = '\x80'; },
       "weight_shape says"},
      {"no shape", kPacked, [](Folder& f) { f.drop(".weight_shape"); }, "q_proj.weight_shape"},
      {"no zero points beside packed ones", kPacked, [](Folder& f) { f.drop(".weight_zero_point"); },
       "q_proj.weight_zero_point"},
      {"scales of other groups", kPacked,
       [](Folder& f) {
         f.q(".weight_scale") = stored("BF16", {64, 4});
       },
       "[64, 2] is expected of packed int4 [64, 64], scales for 1 x 32"},
      {"another model's matrix", kInt8,
       [](Folder& f) {
         f.q(".weight") = stored("I8", {32, 64});
         f.q(".weight_scale") = stored("F32", {32, 1});
       },
       "config.json asks for [64, 64]"},
      {"scales of columns", kInt8,
       [](Folder& f) {
         f.q(".weight_scale") = stored("F32", {1, 64});
       },
       "[64, 1] or [64]"},
      {"whole numbers that nothing announces", kInt8,
       [](Folder& f) { f.config.erase("quantization_config"); }, "has dtype I8"},
      {"no scales of squares", kFp8, [](Folder& f) { f.drop(".weight_scale_inv"); },
       "q_proj.weight_scale_inv"},
      {"scales in powers of two", kFp8,
       [](Folder& f) {
         f.q(".weight_scale_inv") = stored("F8_E8M0", {2, 2});
       },
       "has dtype F8_E8M0"},
  };
}

TEST(BadQuantised, the_good_ones_work) {
  for (const Change& form : {kGptq, kAwq, kPacked, kInt8, kFp8}) {
    Folder folder;
    form(folder);
    const Status status = use(folder);
    EXPECT_TRUE(status.ok()) << status.error().message;
  }
  for (const char* strategy : {"tensor", "attn_head"}) {  // of the cache
    Folder folder;
    kPacked(folder);
    folder.quantisation()["kv_cache_scheme"] = {
        {"num_bits", 8}, {"type", "float"}, {"strategy", strategy}, {"dynamic", false}};
    EXPECT_TRUE(use(folder).ok()) << strategy;
  }
  Folder zeros;
  zeros.gptq();
  zeros.q(".bias") = stored("F16", {64});
  EXPECT_TRUE(use(zeros).ok());
}

TEST(BadQuantised, every_kind_gives_one_line_that_names_the_thing) {
  int kinds = 0;
  for (const auto& group : {bad_configs(), bad_tensors()}) {
    for (const Bad& bad : group) {
      Folder folder;
      bad.form(folder);
      bad.break_it(folder);
      const Status status = use(folder);
      ++kinds;
      ASSERT_FALSE(status.ok()) << bad.kind;
      const std::string& message = status.error().message;
      EXPECT_NE(message.find(bad.names), std::string::npos) << bad.kind << ": " << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << bad.kind << ": " << message;
      EXPECT_LT(message.size(), 600) << bad.kind;
    }
  }
  std::printf("%d kinds of bad quantised checkpoint refused\n", kinds);
  EXPECT_GE(kinds, 50);
}

}  // namespace
}  // namespace heed
