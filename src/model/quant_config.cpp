// quantization_config of config.json: which forms quantised matrices have.
#include "model/config.h"
#include "model/quantised.h"

namespace heed {
namespace {

using Schemes = std::vector<QuantScheme>;

constexpr const char* kMethods =
    "gptq, awq, compressed-tensors, fp8 or, for gpt-oss, mxfp4 is accepted; other checkpoints can be had as "
    "GGUF "
    "files, or plain with --quantize";

// -1 or absent: all inputs share a scale.
int64_t group_size(const Config& c) {
  const float size = c.number("group_size", -1);
  if (size == -1) return 0;
  if (size >= 1 && size <= 65536 && size == static_cast<float>(static_cast<int>(size)))
    return static_cast<int64_t>(size);
  c.fail("group_size is neither -1 nor a whole number from 1 to 65536");
  return 0;
}

int bits_of(const Config& c, std::string_view key, bool eight) {
  const int bits = c.size(key);
  if (bits != 4 && !(eight && bits == 8)) {
    c.fail(std::string(key) + " is " + std::to_string(bits) + "; " + (eight ? "4 or 8 is" : "4 is") +
           " accepted");
  }
  return bits;
}

void expect_text(const Config& c, std::string_view key, const std::string& fallback,
                 std::initializer_list<std::string_view> accepted) {
  const std::string value = c.text(key, fallback);
  std::string names;
  for (const std::string_view name : accepted) {
    if (value == name) return;
    names += (names.empty() ? "" : " or ") + std::string(name);
  }
  c.fail(std::string(key) + " is \"" + value + "\"; " + names + " is accepted");
}

void refuse(const Config& c, const Json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null() || (found->is_object() && found->empty())) return;
  c.fail(std::string(key) + " is not supported; none is accepted");
}

Schemes gptq(const Config& c, const Json& object) {
  QuantScheme s = {.kind = QuantScheme::kGptq, .bits = bits_of(c, "bits", true), .columns = group_size(c)};
  s.symmetric = c.flag("sym", true);
  const std::string format = c.text("checkpoint_format", c.text("format", "gptq"));
  if (format != "gptq" && format != "gptq_v2")
    c.fail("checkpoint_format is \"" + format + "\"; gptq or gptq_v2 is accepted");
  s.stored_zero_less = format == "gptq" ? 1 : 0;
  if (c.flag("is_marlin_format", false)) c.fail("is_marlin_format is true; gptq is accepted");
  expect_text(c, "pack_dtype", "int32", {"int32"});
  const auto dynamic = object.find("dynamic");
  if (dynamic != object.end() && dynamic->is_object()) {
    for (const auto& [pattern, change] : dynamic->items()) {
      if (pattern.starts_with("-:")) continue;  // these modules are plain, as their tensors show
      c.fail("dynamic quantises modules like " + pattern.substr(0, 60) +
             " in another way; one way for all is accepted");
    }
  }
  return {s};
}

Schemes awq(const Config& c) {
  expect_text(c, "version", "gemm", {"gemm", "GEMM"});
  if (!c.flag("zero_point", true)) c.fail("zero_point is false; true is accepted");
  QuantScheme s = {.kind = QuantScheme::kAwq, .bits = bits_of(c, c.has("bits") ? "bits" : "w_bit", false)};
  s.columns = c.has("q_group_size") ? c.size("q_group_size") : group_size(c);
  s.symmetric = false;
  return {s};
}

// Squares of outputs and inputs that share a scale.
void read_square(const Config& c, const Json& square, QuantScheme& s) {
  const auto side = [](const Json& v) { return v.is_number_integer() && v >= 1 && v <= 65536; };
  if (!square.is_array() || square.size() != 2 || !side(square[0]) || !side(square[1])) {
    c.fail("the size of blocks is not two whole numbers up to 65536");
    return;
  }
  s.rows = square[0].get<int64_t>();
  s.columns = square[1].get<int64_t>();
}

Schemes fp8(const Config& c, const Json& object) {
  QuantScheme s = {.kind = QuantScheme::kFp8, .bits = 8, .rows = 0, .columns = 0};
  expect_text(c, "fmt", "e4m3", {"e4m3"});
  const auto square = object.find("weight_block_size");
  if (square != object.end() && !square->is_null()) read_square(c, *square, s);
  return {s};
}

// weights of a config group of compressed-tensors.
QuantScheme group_scheme(const Config& c, const Json& weights, const std::string& format) {
  QuantScheme s;
  const std::string type = c.text("type", "int");
  const std::string strategy = c.text("strategy", "tensor");
  s.symmetric = c.flag("symmetric", true);
  if (format == "pack-quantized") {
    s.kind = QuantScheme::kPacked;
    s.bits = bits_of(c, "num_bits", true);
    expect_text(c, "type", "int", {"int"});
    if (strategy != "channel" && strategy != "group")
      c.fail("strategy of packed weights is \"" + strategy + "\"; channel or group is accepted");
  } else {
    s.kind = type == "float" ? QuantScheme::kFp8 : QuantScheme::kInt8;
    s.bits = c.size("num_bits", 8);
    if (s.bits != 8 || (type != "int" && type != "float")) {
      c.fail("weights are " + std::to_string(s.bits) + "-bit " + type + " in format " + format +
             "; int or float of 8 bits, or pack-quantized int of 4 or 8, is accepted");
    }
    if (s.kind == QuantScheme::kFp8 && !s.symmetric)
      c.fail("float weights that are not symmetric are not accepted");
  }
  if (strategy == "tensor") {
    s.rows = 0;
  } else if (strategy == "group") {
    s.columns = group_size(c);
    if (s.columns == 0) c.fail("group_size is missing where the strategy is group");
  } else if (strategy == "block" && s.kind == QuantScheme::kFp8) {
    const auto square = weights.find("block_structure");
    read_square(c, square == weights.end() ? Json() : *square, s);
  } else if (strategy != "channel") {
    c.fail("strategy of weights is \"" + strategy +
           "\"; tensor, channel, group or, for float, block is accepted");
  }
  return s;
}

// Of the cache: fp8 with scales of tensors or heads, which are used where it is asked for (--kv-cache-dtype).
void check_cache_scheme(const Config& c, const Json& object) {
  const auto found = object.find("kv_cache_scheme");
  if (found == object.end() || !found->is_object()) return refuse(c, object, "kv_cache_scheme");
  const Config scheme = c.at("kv_cache_scheme");
  const std::string strategy = scheme.text("strategy", "tensor");
  if (scheme.size("num_bits", 8) != 8 || scheme.text("type", "int") != "float" ||
      !scheme.flag("symmetric", true) || scheme.flag("dynamic", false) ||
      (strategy != "tensor" && strategy != "attn_head")) {
    c.fail(
        "kv_cache_scheme is not known; symmetric float of 8 bits with strategy tensor or attn_head, not "
        "dynamic, is accepted");
  }
}

Schemes compressed_tensors(const Config& c, const Json& object) {
  Schemes all;
  check_cache_scheme(c, object);
  refuse(c, object, "transform_config");
  const Config sparsity = c.at("sparsity_config");
  const std::string sparse = sparsity.text("format", "dense");
  if (sparse != "dense") c.fail("sparsity_config is \"" + sparse + "\"; dense is accepted");
  const Config groups = c.at("config_groups");
  if (!c.is_object("config_groups") || object.at("config_groups").empty()) {
    c.fail("config_groups is missing");
    return all;
  }
  for (const auto& [name, value] : object.at("config_groups").items()) {
    const Config group = groups.at(name);
    const std::string format = group.text("format", c.text("format", ""));
    if (format != "pack-quantized" && format != "int-quantized" && format != "float-quantized" &&
        format != "naive-quantized") {
      c.fail("format is \"" + format +
             "\"; pack-quantized, int-quantized, float-quantized or naive-quantized is accepted");
    }
    if (group.has("output_activations")) c.fail("output_activations are not supported");
    if (!group.is_object("weights")) {
      c.fail("config group " + name + " has no weights that are quantised");
      return all;
    }
    all.push_back(group_scheme(group.at("weights"), value.at("weights"), format));
  }
  return all;
}

}  // namespace

Result<Schemes> read_quant_schemes(const Json& config, const std::string& what) {
  const Config whole(config, what);
  const auto named = [](const Json& in, const char* key) {
    return in.contains(key) && !in.at(key).is_null();
  };
  const Json* owner = &config;
  const auto text = config.find("text_config");
  if (!named(config, "quantization_config") && text != config.end() && text->is_object()) owner = &*text;
  const char* key = named(*owner, "quantization_config") ? "quantization_config" : "compression_config";
  if (!named(*owner, key)) return Schemes();
  const Json& object = owner->at(key);
  const Config c(object, what + ": " + key);
  if (c.error()) return *c.error();
  const std::string method = c.text("quant_method", "");
  Schemes all;
  if (method == "gptq") {
    all = gptq(c, object);
  } else if (method == "awq") {
    all = awq(c);
  } else if (method == "fp8") {
    all = fp8(c, object);
  } else if (method == "compressed-tensors") {
    all = compressed_tensors(c, object);
  } else if (method != "mxfp4") {
    return unsupported(what + ": quant_method of quantization_config is \"" + method + "\"; " + kMethods);
  }
  if (c.error()) return *c.error();
  return all;
}

}  // namespace heed
