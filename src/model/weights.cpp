#include "model/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/checked.h"
#include "model/synthetic.h"
#include "model/weight_mover.h"

namespace heed {
namespace {

// '*' in the pattern stands for any text.
bool matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= name.size(); ++at) {
    if (matches(rest, name.substr(at))) return true;
  }
  return false;
}

bool is_ignored(const ModelSpec& spec, std::string_view name) {
  return std::any_of(spec.ignored.begin(), spec.ignored.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Status check_need(const Checkpoint& checkpoint, const TensorNeed& need) {
  const auto found = checkpoint.shard_of.find(need.name);
  if (found == checkpoint.shard_of.end()) {
    return invalid(checkpoint.folder + ": tensor " + need.name + " " + shape_text(need.shape) +
                   " is missing");
  }
  const SafetensorsEntry& entry = checkpoint.entry(need.name);
  const std::string where = checkpoint.shards[found->second].path() + ": tensor " + need.name;
  if (entry.shape != need.shape) {
    return invalid(where + " has shape " + shape_text(entry.shape) + "; config.json asks for " +
                   shape_text(need.shape));
  }
  const auto expect = [&](const char* accepted, bool fits) -> Status {
    if (fits) return {};
    return invalid(where + " has dtype " + entry.dtype + "; " + accepted + " is expected");
  };
  if (need.kind == TensorNeed::kMx4 || need.kind == TensorNeed::kMx4Scales)
    return expect("U8", entry.dtype == "U8");
  if (need.kind == TensorNeed::kIds) return expect("I64", entry.dtype == "I64");
  return expect("F32, BF16 or F16", entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16");
}

std::function<bool(std::string_view)> names_of(const Checkpoint& checkpoint) {
  return [&checkpoint](std::string_view name) { return checkpoint.shard_of.contains(std::string(name)); };
}

Result<Tensor> stored_tensor(const Checkpoint& checkpoint, const std::string& name) {
  return checkpoint.shards[checkpoint.shard_of.at(name)].tensor(name);
}

// Converts any strided float tensor to `to`, which is contiguous, adding `offset` in float32.
void convert(const Tensor& from, const Tensor& to, float offset) {
  std::array<int64_t, Tensor::kMaxRank> size = {1, 1, 1, 1};
  std::array<int64_t, Tensor::kMaxRank> stride = {0, 0, 0, 0};
  for (int i = 0; i < from.rank; ++i) {
    size[Tensor::kMaxRank - from.rank + i] = from.size[i];
    stride[Tensor::kMaxRank - from.rank + i] = from.stride[i];
  }
  const auto each = [&](auto read) {
    int64_t n = 0;
    for (int64_t a = 0; a < size[0]; ++a) {
      for (int64_t b = 0; b < size[1]; ++b) {
        for (int64_t c = 0; c < size[2]; ++c) {
          const auto* row = from.as<const decltype(read)>() + a * stride[0] + b * stride[1] + c * stride[2];
          for (int64_t d = 0; d < size[3]; ++d, ++n) {
            const float value = to_float(row[d * stride[3]]) + offset;
            if (to.dtype == DType::kBF16) {
              to.as<bf16>()[n] = from_float<bf16>(value);
            } else {
              to.as<float>()[n] = value;
            }
          }
        }
      }
    }
  };
  if (from.dtype == DType::kF32) each(float{});
  if (from.dtype == DType::kBF16) each(bf16{});
  if (from.dtype == DType::kF16) each(f16{});
}

// MXFP4 (OCP Microscaling Formats 1.0): a byte holds two E2M1 numbers, the first in its low half; each block
// of 32 numbers has a scale of 2^(byte - 127). blocks: [..., blocks, 16]; scales: [..., blocks].
void widen_mx4(const Tensor& blocks, const Tensor& scales, bf16* out) {
  constexpr float kValues[8] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  constexpr int kBytes = 16;
  const auto value = [&](unsigned code, float scale) {
    return from_float<bf16>((code >= 8 ? -kValues[code - 8] : kValues[code]) * scale);
  };
  const auto* bytes = blocks.as<const uint8_t>();
  for (int64_t block = 0; block < scales.elements(); ++block) {
    const float scale = std::ldexp(1.0F, scales.as<const uint8_t>()[block] - 127);
    for (int i = 0; i < kBytes; ++i) {
      const unsigned byte = bytes[block * kBytes + i];
      *out++ = value(byte & 15U, scale);
      *out++ = value(byte >> 4, scale);
    }
  }
}

// Token ids and their differences; those beyond an int become one that no vocabulary holds.
void narrow(const Tensor& from, const Tensor& to) {
  for (int64_t i = 0; i < from.elements(); ++i) {
    to.as<int32_t>()[i] =
        static_cast<int32_t>(std::clamp<int64_t>(from.as<const int64_t>()[i], INT32_MIN, INT32_MAX));
  }
}

// Has the kernel read mapped pages ahead of their first use, so that the first answer does not wait for them.
void prefault(const Tensor& tensor) {
  constexpr uintptr_t kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(tensor.data) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(tensor.data) + static_cast<uintptr_t>(tensor.bytes());
#ifdef MADV_POPULATE_READ
  if (::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ) == 0) return;  // NOLINT
#endif
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);  // NOLINT(performance-no-int-to-ptr)
}

// Whether a part is used where it lies, or else the dtype that it is converted to.
struct Placement {
  bool in_place = false;
  DType dtype = DType::kF32;
};

Placement placement(const TensorNeed& need, const TensorNeed::Part& part, const Tensor& view, DType compute) {
  if (need.kind == TensorNeed::kMx4) return {.in_place = false, .dtype = DType::kBF16};
  if (need.kind == TensorNeed::kIds) return {.in_place = false, .dtype = DType::kI32};
  if (need.kind != TensorNeed::kMatrix) return {.in_place = false, .dtype = DType::kF32};
  const bool computes = compute == DType::kF32 || view.dtype == DType::kBF16;
  const bool lies_right =
      view.rank == static_cast<int>(part.shape.size()) && (view.rank == 0 || view.stride[view.rank - 1] == 1);
  if (computes && lies_right) return {.in_place = true, .dtype = view.dtype};
  // What is copied for its layout alone keeps its numbers.
  const bool keeps = computes && view.dtype != DType::kF16;
  return {.in_place = false, .dtype = keeps ? view.dtype : compute};
}

Tensor reshaped(void* data, DType dtype, const std::vector<int64_t>& shape) {
  CHECK(shape.size() <= Tensor::kMaxRank, shape.size());
  Tensor t(data, dtype, {1});
  t.rank = static_cast<int>(shape.size());
  int64_t step = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.size[i] = shape[i];
    t.stride[i] = step;
    step *= shape[i];
  }
  return t;
}

Tensor part_of(const Tensor& stored, const TensorNeed::Part& part) {
  return part.view ? part.view(stored) : stored;
}

void bind(const ModelSpec& spec, const TensorNeed& need, const Tensor& stored, DType compute,
          Weights& weights) {
  for (const TensorNeed::Part& part : need.parts) {
    const Tensor view = part_of(stored, part);
    const Placement place = placement(need, part, view, compute);
    if (place.in_place) {
      prefault(view);
      part.target() = view;
      weights.mapped_bytes += view.bytes();
      continue;
    }
    weights.owned.emplace_back(view.elements() * size_of(place.dtype));
    weights.owned_bytes += weights.owned.back().bytes();
    const Tensor copy = reshaped(weights.owned.back().data(), place.dtype, part.shape);
    CHECK(copy.elements() == view.elements(), need.name, describe(copy), describe(view));
    if (need.kind == TensorNeed::kIds) {
      narrow(view, copy);
    } else {
      convert(view, copy, need.kind == TensorNeed::kNorm && spec.norm_plus_one ? 1.0F : 0.0F);
    }
    part.target() = copy;
  }
}

// An MXFP4 tensor as the bfloat16 one it stands for, in `memory`.
Result<Tensor> widened(const Checkpoint& checkpoint, const TensorNeed& need, const Tensor& blocks,
                       Buffer& memory) {
  const Tensor scales = TRY(stored_tensor(checkpoint, need.scales));
  memory = Buffer(2 * blocks.elements() * size_of(DType::kBF16));
  widen_mx4(blocks, scales, static_cast<bf16*>(memory.data()));
  std::vector<int64_t> shape(need.shape.begin(), need.shape.end() - 2);
  shape.push_back(need.shape[need.shape.size() - 2] * 2 * need.shape.back());
  return reshaped(memory.data(), DType::kBF16, shape);
}

}  // namespace

Footprint footprint(const TensorNeed& need, const Tensor& stored, DType compute) {
  Footprint bytes;
  if (need.kind == TensorNeed::kMx4)
    return {.mapped = 0, .owned = 2 * stored.elements() * size_of(DType::kBF16)};
  for (const TensorNeed::Part& part : need.parts) {
    const Tensor view = part_of(stored, part);
    const Placement place = placement(need, part, view, compute);
    (place.in_place ? bytes.mapped : bytes.owned) += view.elements() * size_of(place.dtype);
  }
  return bytes;
}

Footprint expected_footprint(const ModelSpec& spec, DType compute) {
  Footprint bytes;
  Weights unused;
  for (const TensorNeed& need : needed_tensors(spec, unused)) {
    int64_t elements = 1;
    for (const int64_t size : need.shape) elements = checked_mul(elements, size).value_or(INT64_MAX / 8);
    const bool matrix = need.kind == TensorNeed::kMatrix;
    int64_t& sum = matrix ? bytes.mapped : bytes.owned;
    const int64_t size =
        checked_mul(elements, size_of(matrix ? compute : DType::kF32)).value_or(INT64_MAX / 2);
    sum = checked_add(sum, size).value_or(INT64_MAX / 2);
  }
  return bytes;
}

Status check_tensors(const Checkpoint& checkpoint) {
  Weights unused;
  std::set<std::string, std::less<>> wanted;
  for (const TensorNeed& need : needed_tensors(checkpoint.spec, unused, names_of(checkpoint))) {
    TRY(check_need(checkpoint, need));
    wanted.insert(need.name);
  }
  for (const auto& [name, shard] : checkpoint.shard_of) {
    if (wanted.contains(name) || is_ignored(checkpoint.spec, name)) continue;
    return invalid(checkpoint.shards[shard].path() + ": tensor " + name + " is not used by " +
                   checkpoint.architecture + " as config.json describes it");
  }
  return {};
}

Result<Weights> load_weights(const Checkpoint& checkpoint, DType compute, const Progress& progress,
                             Device& device) {
  Weights weights;
  const auto tie = [&] {
    if (!checkpoint.spec.tied_embeddings || checkpoint.spec.draft) return;
    weights.own.resize(std::max<size_t>(weights.own.size(), kHead + 1));
    weights.own[kHead] = weights.own[kEmbed];
  };
  if (checkpoint.synthetic) {
    weights = synthetic_weights(checkpoint.spec, compute, progress, device);
    tie();
    return weights;
  }
  TRY(check_tensors(checkpoint));
  std::optional<WeightMover> mover;
  if (!device.is_host()) mover.emplace(device);
  const std::vector<TensorNeed> needs = needed_tensors(checkpoint.spec, weights, names_of(checkpoint));
  int64_t total = 0;
  int64_t done = 0;
  for (const TensorNeed& need : needs) {
    total += checkpoint.entry(need.name).end - checkpoint.entry(need.name).begin;
    if (mover) mover->expect(footprint(need, TRY(stored_tensor(checkpoint, need.name)), compute), need);
  }
  for (const TensorNeed& need : needs) {
    Tensor stored = TRY(stored_tensor(checkpoint, need.name));
    done += stored.bytes();
    Buffer memory;
    if (need.kind == TensorNeed::kMx4) stored = TRY(widened(checkpoint, need, stored, memory));
    bind(checkpoint.spec, need, stored, compute, weights);
    if (mover) mover->move(need, weights);
    if (progress) progress(done, total);
  }
  tie();
  if (mover) weights.on_device = mover->finish();
  return weights;
}

}  // namespace heed
