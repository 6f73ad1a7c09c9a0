// Which tensors of a checkpoint make up each quantised matrix.
#include <algorithm>
#include <array>

#include "base/checked.h"
#include "model/checkpoint.h"
#include "model/quantised.h"
#include "tensor/blocks.h"

namespace heed {
namespace {

using Shape = std::vector<int64_t>;

// What the name of a matrix' codes ends in, and which dtype they have.
struct Codes {
  std::string_view ending, dtype;
};
Codes codes_of(QuantScheme::Kind kind) {
  switch (kind) {
    case QuantScheme::kGptq:
    case QuantScheme::kAwq:
      return {".qweight", "I32"};
    case QuantScheme::kPacked:
      return {".weight_packed", "I32"};
    case QuantScheme::kInt8:
      return {".weight", "I8"};
    case QuantScheme::kFp8:
      return {".weight", "F8_E4M3"};
  }
  return {};
}

bool is_gptq_or_awq(const QuantScheme& s) {
  return s.kind == QuantScheme::kGptq || s.kind == QuantScheme::kAwq;
}

// The tensors of one module.
class Module {
 public:
  Module(const Checkpoint& checkpoint, std::string name, QuantMatrix& matrix)
      : checkpoint_(checkpoint), name_(std::move(name)), matrix_(matrix) {}

  const SafetensorsEntry* find(std::string_view ending) const {
    const auto at = checkpoint_.shard_of.find(name_ + std::string(ending));
    return at == checkpoint_.shard_of.end() ? nullptr
                                            : &checkpoint_.shards[at->second].entries().at(at->first);
  }
  std::string name(std::string_view ending) const { return name_ + std::string(ending); }
  std::string where(std::string_view ending) const {
    return checkpoint_.path_of(name(ending)) + ": tensor " + name(ending);
  }
  // Takes a tensor that must be there, of one of these dtypes and shapes.
  Result<std::string> take(std::string_view ending, std::initializer_list<std::string_view> dtypes,
                           std::initializer_list<Shape> shapes) {
    const SafetensorsEntry* entry = find(ending);
    if (entry == nullptr)
      return invalid(checkpoint_.path_of(matrix_.codes) + ": tensor " + name(ending) + ", which belongs to " +
                     matrix_.codes + ", is missing");
    if (std::find(dtypes.begin(), dtypes.end(), entry->dtype) == dtypes.end()) {
      std::string accepted;
      for (const std::string_view dtype : dtypes)
        accepted += (accepted.empty() ? "" : " or ") + std::string(dtype);
      return invalid(where(ending) + " has dtype " + entry->dtype + "; " + accepted + " is expected");
    }
    if (shapes.size() > 0 && std::find(shapes.begin(), shapes.end(), entry->shape) == shapes.end()) {
      std::string accepted;
      for (const Shape& shape : shapes) accepted += (accepted.empty() ? "" : " or ") + shape_text(shape);
      return invalid(where(ending) + " has shape " + shape_text(entry->shape) + "; " + accepted +
                     " is expected of " + describe(matrix_));
    }
    matrix_.bytes += entry->end - entry->begin;
    return name(ending);
  }

 private:
  const Checkpoint& checkpoint_;
  std::string name_;
  QuantMatrix& matrix_;
};

// weight_shape: [out, in].
Result<Shape> read_shape(const Checkpoint& checkpoint, Module& module) {
  const std::string name = TRY(module.take(".weight_shape", {"I64", "I32"}, {Shape{2}}));
  const Tensor t = TRY(checkpoint.shards[checkpoint.shard_of.at(name)].tensor(name));
  Shape shape;
  for (int i = 0; i < 2; ++i)
    shape.push_back(t.dtype == DType::kI64 ? t.as<int64_t>()[i] : t.as<int32_t>()[i]);
  return shape;
}

// Sets out and in from the codes' shape.
Status read_size(const Checkpoint& checkpoint, Module& module, const Shape& shape, QuantMatrix& m) {
  const int64_t per = 32 / m.scheme.bits;
  const auto ending = codes_of(m.scheme.kind).ending;
  if (shape.size() != 2)
    return invalid(module.where(ending) + " has shape " + shape_text(shape) + ", not that of a matrix");
  std::optional<int64_t> out = shape[0];
  std::optional<int64_t> in = shape[1];
  if (is_gptq_or_awq(m.scheme)) {
    const bool gptq = m.scheme.kind == QuantScheme::kGptq;
    out = gptq ? shape[1] : checked_mul(shape[1], per);
    in = gptq ? checked_mul(shape[0], per) : shape[0];
  }
  if (m.scheme.kind == QuantScheme::kPacked) {
    const Shape plain = TRY(read_shape(checkpoint, module));
    out = plain[0];
    in = plain[1];
    if (*in < 0 || *in > INT64_MAX / 2 || shape != Shape{*out, div_up(*in, per)}) {
      return invalid(module.where(ending) + " has shape " + shape_text(shape) + ", but " +
                     std::to_string(m.scheme.bits) +
                     "-bit numbers are said to be in it, and weight_shape says " + shape_text(plain));
    }
  }
  const auto elements = out && in ? checked_mul(*out, *in) : std::nullopt;
  if (!elements || *elements < 1 || *elements > INT64_MAX / 16)
    return invalid(module.where(ending) + " has shape " + shape_text(shape) +
                   ", which is empty or too large");
  m.out = *out;
  m.in = *in;
  return {};
}

// A scale for how many outputs and inputs, and that these go into the matrix.
Status settle_groups(const Module& module, QuantMatrix& m) {
  const bool square = m.scheme.rows > 1;
  if (m.scheme.rows == 0) m.scheme.rows = m.out;
  if (m.scheme.columns == 0) m.scheme.columns = m.in;
  if (square || m.in % m.scheme.columns == 0) return {};
  return invalid(module.where(codes_of(m.scheme.kind).ending) + ": group_size " +
                 std::to_string(m.scheme.columns) + " does not divide its " + std::to_string(m.in) +
                 " inputs");
}

Status take_gptq_or_awq(Module& module, QuantMatrix& m) {
  const int64_t per = 32 / m.scheme.bits;
  const int64_t groups = m.in / m.scheme.columns;
  if (m.out % per != 0) {
    return invalid(module.where(".qweight") + ": " + std::to_string(m.out) +
                   " outputs are no multiple of the " + std::to_string(per) +
                   " that a word of zero points is for");
  }
  m.scales = TRY(module.take(".scales", {"F16", "BF16", "F32"}, {Shape{groups, m.out}}));
  const std::string zeros = TRY(module.take(".qzeros", {"I32"}, {Shape{groups, m.out / per}}));
  // Where all are the middle of the codes, other engines do not read them.
  if (!m.scheme.symmetric) m.zeros = zeros;
  if (m.scheme.kind == QuantScheme::kGptq && module.find(".g_idx") != nullptr)
    m.order = TRY(module.take(".g_idx", {"I32"}, {Shape{m.in}}));
  return {};
}

Status take_compressed(Module& module, QuantMatrix& m) {
  const int64_t rows = div_up(m.out, m.scheme.rows);
  const int64_t groups = div_up(m.in, m.scheme.columns);
  const std::string_view scales =
      m.scheme.kind == QuantScheme::kFp8 && module.find(".weight_scale") == nullptr ? ".weight_scale_inv"
                                                                                    : ".weight_scale";
  if (rows == 1 && groups == 1) {
    m.scales = TRY(module.take(scales, {"F32", "BF16", "F16"}, {Shape{}, Shape{1}, Shape{1, 1}}));
  } else if (groups == 1) {
    m.scales = TRY(module.take(scales, {"F32", "BF16", "F16"}, {Shape{rows, 1}, Shape{rows}}));
  } else {
    m.scales = TRY(module.take(scales, {"F32", "BF16", "F16"}, {Shape{rows, groups}}));
  }
  const bool has_zeros = module.find(".weight_zero_point") != nullptr;
  if (m.scheme.kind == QuantScheme::kFp8) return {};
  if (!m.scheme.symmetric || has_zeros) {
    const int64_t per = 32 / m.scheme.bits;
    const Shape packed = {div_up(m.out, per), groups};
    const Shape plain = {rows, groups};
    const SafetensorsEntry* entry = module.find(".weight_zero_point");
    const bool words = m.scheme.kind == QuantScheme::kPacked && (entry == nullptr || entry->dtype != "I8");
    m.zeros =
        words ? TRY(module.take(".weight_zero_point", {"I32"}, {packed}))
              : TRY(module.take(".weight_zero_point", {"I8"}, {plain, groups == 1 ? Shape{rows} : plain}));
  }
  if (m.scheme.kind == QuantScheme::kPacked && module.find(".weight_g_idx") != nullptr)
    m.order = TRY(module.take(".weight_g_idx", {"I32"}, {Shape{m.in}}));
  return {};
}

// Groups of inputs by number: each of them all there, and no others. In order, they need not be looked up.
Status check_order(const Checkpoint& checkpoint, QuantMatrix& m) {
  if (m.order.empty()) return {};
  const Tensor order = TRY(checkpoint.shards[checkpoint.shard_of.at(m.order)].tensor(m.order));
  const int64_t groups = m.in / m.scheme.columns;
  std::vector<int64_t> members(static_cast<size_t>(groups));
  bool sorted = true;
  for (int64_t i = 0; i < m.in; ++i) {
    const int64_t group = order.as<int32_t>()[i];
    if (group < 0 || group >= groups) {
      return invalid(checkpoint.path_of(m.order) + ": tensor " + m.order + " puts input " +
                     std::to_string(i) + " into group " + std::to_string(group) + "; there are " +
                     std::to_string(groups));
    }
    members[group] += 1;
    sorted = sorted && group == i / m.scheme.columns;
  }
  for (int64_t g = 0; g < groups; ++g) {
    if (members[g] == m.scheme.columns) continue;
    return invalid(checkpoint.path_of(m.order) + ": tensor " + m.order + " puts " +
                   std::to_string(members[g]) + " inputs into group " + std::to_string(g) + "; " +
                   std::to_string(m.scheme.columns) + " are expected");
  }
  if (sorted) m.order.clear();
  return {};
}

Result<QuantMatrix> read_matrix(const Checkpoint& checkpoint, const std::string& codes,
                                const QuantScheme& scheme) {
  QuantMatrix m;
  m.scheme = scheme;
  m.codes = codes;
  const Codes kind = codes_of(scheme.kind);
  Module module(checkpoint, codes.substr(0, codes.size() - kind.ending.size()), m);
  const Shape shape = module.find(kind.ending)->shape;
  TRY(read_size(checkpoint, module, shape, m));
  TRY(settle_groups(module, m));
  TRY(module.take(kind.ending, {kind.dtype}, {}));
  TRY(is_gptq_or_awq(scheme) ? take_gptq_or_awq(module, m) : take_compressed(module, m));
  TRY(check_order(checkpoint, m));
  return m;
}

// Blocks that hold what either holds; kF32: none do.
DType common_blocks(DType a, DType b) {
  if (a == b) return a;
  if (!has_byte_codes(a) || !has_byte_codes(b)) return DType::kF32;
  const auto plain_or_zeros = [](DType d) { return d == DType::kQ80 || d == DType::kQ8Z; };
  if (plain_or_zeros(a) && plain_or_zeros(b)) return DType::kQ8Z;
  if (a == DType::kQ8Z || b == DType::kQ8Z) return DType::kF32;
  const auto four_bits = [](DType d) { return d == DType::kQ40 || d == DType::kQ4Z; };
  return four_bits(a) && four_bits(b) ? DType::kQ4Z : DType::kQ8F;
}

// The name of an expert's matrix without the expert's number; "" of others.
std::string siblings_of(const std::string& name) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = name.find(kExperts);
  if (at == std::string::npos) return "";
  const size_t number = at + kExperts.size();
  const size_t end = name.find('.', number);
  return end == std::string::npos ? "" : name.substr(0, number) + name.substr(end);
}

// One product goes through all experts: their matrices are in the same blocks.
Status settle_experts(Checkpoint& checkpoint) {
  std::map<std::string, DType> common;
  for (const auto& [name, matrix] : checkpoint.quantised) {
    const std::string siblings = siblings_of(name);
    if (siblings.empty()) continue;
    const auto [at, is_first] = common.emplace(siblings, matrix.blocks);
    at->second = common_blocks(at->second, matrix.blocks);
  }
  for (auto& [name, matrix] : checkpoint.quantised) {
    if (const auto at = common.find(siblings_of(name)); at != common.end()) matrix.blocks = at->second;
  }
  for (const auto& [name, shard] : checkpoint.shard_of) {
    if (common.empty() || checkpoint.quantised.contains(name) || !common.contains(siblings_of(name)))
      continue;
    return unsupported(checkpoint.path_of(name) + ": tensor " + name +
                       " is plain, but other experts' are quantised; all or none of them is accepted");
  }
  return {};
}

// All that belongs to a matrix besides its codes. Scales of activations are left out: they are rounded as
// finely as they come (docs/quantisation.md).
constexpr std::array<std::string_view, 10> kParts = {
    ".qzeros",          ".scales",           ".g_idx",
    ".weight_scale",    ".weight_scale_inv", ".weight_zero_point",
    ".weight_shape",    ".weight_g_idx",     ".input_scale",
    ".input_zero_point"};

}  // namespace

std::string form_of(const QuantMatrix& m) {
  constexpr std::array<const char*, 5> kNames = {"GPTQ int", "AWQ int", "packed int", "int", "fp"};
  return kNames[m.scheme.kind] + std::to_string(m.scheme.bits);
}

std::string describe(const QuantMatrix& m) {
  std::string text = form_of(m) + " " + shape_text({m.out, m.in});
  if (m.scheme.columns != m.in || m.scheme.rows > 1)
    text += ", scales for " + std::to_string(m.scheme.rows) + " x " + std::to_string(m.scheme.columns);
  return text;
}

Status fold_quantised(Checkpoint& checkpoint, const std::vector<QuantScheme>& schemes) {
  std::map<std::string, QuantMatrix> found;
  for (const auto& [name, shard] : checkpoint.shard_of) {
    std::optional<Error> first;
    for (const QuantScheme& scheme : schemes) {
      const Codes kind = codes_of(scheme.kind);
      if (!name.ends_with(kind.ending) || checkpoint.shards[shard].entries().at(name).dtype != kind.dtype)
        continue;
      const Result<QuantMatrix> matrix = read_matrix(checkpoint, name, scheme);
      if (!matrix.ok()) {
        if (!first) first = matrix.error();
        continue;
      }
      first.reset();
      found.emplace(name.substr(0, name.size() - kind.ending.size()), *matrix);
      break;
    }
    if (first) return *first;
  }
  for (auto& [module, matrix] : found) {
    const std::string name = module + ".weight";
    const int shard = checkpoint.shard_of.at(matrix.codes);
    if (matrix.codes != name && checkpoint.has(name)) {
      return invalid(checkpoint.path_of(name) + ": tensor " + name + " is there as well as " + matrix.codes +
                     "; one of them is expected");
    }
    const auto fold = [&](const std::string& part) {
      const auto at = checkpoint.shard_of.find(part);
      if (at == checkpoint.shard_of.end()) return;
      checkpoint.folded.insert(*at);
      checkpoint.shard_of.erase(at);
    };
    fold(matrix.codes);
    for (const std::string_view part : kParts) fold(module + std::string(part));
    checkpoint.shard_of.emplace(name, shard);
    matrix.blocks = exact_blocks(checkpoint, matrix);
    checkpoint.quantised.emplace(name, std::move(matrix));
  }
  return settle_experts(checkpoint);
}

}  // namespace heed
