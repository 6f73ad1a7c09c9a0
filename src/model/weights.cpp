#include "model/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "base/checked.h"
#include "base/thread_pool.h"
#include "model/synthetic.h"
#include "model/weight_mover.h"
#include "tensor/blocks.h"

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

std::string names_of_blocks() {
  std::string text;
  for (int d = static_cast<int>(DType::kQ40); d <= static_cast<int>(DType::kMxfp4); ++d)
    text += (text.empty() ? "" : ", ") + std::string(name_of(static_cast<DType>(d)));
  return text;
}

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t all = 1;
  for (const int64_t size : shape) all = checked_mul(all, size).value_or(INT64_MAX);
  return all;
}

Status check_need(const Checkpoint& checkpoint, const TensorNeed& need) {
  const auto found = checkpoint.shard_of.find(need.name);
  if (found == checkpoint.shard_of.end()) {
    return invalid(checkpoint.folder + ": tensor " + need.name + " " + shape_text(need.shape) +
                   " is missing");
  }
  const StoredTensor stored = checkpoint.stored(need.name);
  const std::string where = checkpoint.path_of(need.name) + ": tensor " + need.name;
  const bool one = need.kind == TensorNeed::kScale && elements_of(stored.shape) == 1;
  std::vector<int64_t> shape = stored.shape;
  if (need.kind == TensorNeed::kScale && shape.size() > 1) std::erase(shape, 1);
  if (!one && !checkpoint.fits(shape, need.shape)) {
    return invalid(where + " has shape " + shape_text(stored.shape) + "; " + checkpoint.config_name() +
                   " asks for " + shape_text(need.shape) +
                   (need.kind == TensorNeed::kScale ? " or one number" : ""));
  }
  const bool bytes = need.kind == TensorNeed::kMx4 || need.kind == TensorNeed::kMx4Scales;
  const bool ids = need.kind == TensorNeed::kIds;
  const bool matrix = need.kind == TensorNeed::kMatrix;
  const bool plain = stored.dtype == "F32" || stored.dtype == "BF16" || stored.dtype == "F16";
  if (bytes ? stored.dtype == "U8"
      : ids ? stored.dtype == "I64"
            : plain || (matrix && stored.in_known_blocks))
    return {};
  std::string accepted = bytes ? "U8" : ids ? "I64" : "F32, BF16 or F16";
  if (matrix && checkpoint.is_gguf()) accepted += ", or blocks: " + names_of_blocks();
  return invalid(where + " has dtype " + stored.dtype + "; " + accepted + " is expected");
}

// Writers of GPTQ give every matrix a bias, of zeros where the model has none.
bool is_zero_bias(const Checkpoint& checkpoint, const std::string& name) {
  constexpr std::string_view kEnding = ".bias";
  if (!name.ends_with(kEnding)) return false;
  const QuantMatrix* matrix =
      checkpoint.quantised_matrix(name.substr(0, name.size() - kEnding.size()) + ".weight");
  if (matrix == nullptr || matrix->scheme.kind != QuantScheme::kGptq) return false;
  const Result<Tensor> bias = checkpoint.tensor(name, {});
  if (!bias.ok() || bias->dtype != DType::kF16) return false;
  const auto* values = bias->as<const f16>();
  return std::all_of(values, values + bias->elements(), [](f16 x) { return (x.bits & 0x7fffU) == 0; });
}

std::function<bool(std::string_view)> names_of(const Checkpoint& checkpoint) {
  return [&checkpoint](std::string_view name) { return checkpoint.has(name); };
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

// Rows of blocks to `to`, which is contiguous.
void convert_blocks(const Tensor& from, const Tensor& to) {
  const int64_t width = from.size[from.rank - 1];
  CHECK(from.stride[from.rank - 1] == 1 && from.rank <= 3, describe(from));
  std::vector<float> row(static_cast<size_t>(width));
  int64_t n = 0;
  const int64_t outer = from.rank == 3 ? from.size[0] : 1;
  const int64_t rows = from.rank >= 2 ? from.size[from.rank - 2] : 1;
  for (int64_t a = 0; a < outer; ++a) {
    for (int64_t b = 0; b < rows; ++b, n += width) {
      const int64_t at =
          (from.rank == 3 ? a * from.stride[0] : 0) + b * from.stride[std::max(from.rank - 2, 0)];
      widen_blocks(from.dtype, from.at(from.rank == 1 ? 0 : at), width, row.data());
      for (int64_t i = 0; i < width; ++i) {
        if (to.dtype == DType::kBF16) {
          to.as<bf16>()[n + i] = from_float<bf16>(row[i]);
        } else {
          to.as<float>()[n + i] = row[i];
        }
      }
    }
  }
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
  if (is_blocks(from.dtype)) convert_blocks(from, to);
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

// Where the stored tensor is a matrix, too.
bool narrows(const TensorNeed& need, const TensorNeed::Part& part, const Tensor& view,
             const WeightOptions& options) {
  return view.rank == 2 && narrows(need, part, options);
}

Placement placement(const TensorNeed& need, const TensorNeed::Part& part, const Tensor& view,
                    const WeightOptions& options) {
  const DType compute = options.compute;
  if (need.kind == TensorNeed::kMx4) return {.in_place = false, .dtype = DType::kBF16};
  if (need.kind == TensorNeed::kIds) return {.in_place = false, .dtype = DType::kI32};
  if (need.kind != TensorNeed::kMatrix) return {.in_place = false, .dtype = DType::kF32};
  if (is_blocks(view.dtype)) {  // linear layers read matrices so, and nothing else
    const bool stays = options.blocks && view.rank == 2 && part.shape.size() == 2 && view.stride[1] == 1;
    return {.in_place = stays, .dtype = stays ? view.dtype : compute};
  }
  if (narrows(need, part, view, options)) return {.in_place = false, .dtype = options.narrow};
  const bool computes = compute == DType::kF32 || view.dtype == DType::kBF16;
  const bool lies_right =
      view.rank == static_cast<int>(part.shape.size()) && (view.rank == 0 || view.stride[view.rank - 1] == 1);
  if (computes && lies_right) return {.in_place = true, .dtype = view.dtype};
  // What is copied for its layout alone keeps its numbers.
  const bool keeps = computes && view.dtype != DType::kF16;
  return {.in_place = false, .dtype = keeps ? view.dtype : compute};
}

// Rounds a matrix, whose rows may lie anywhere, to blocks.
void narrow(ThreadPool& pool, const std::string& name, const Tensor& from, const Tensor& to,
            Narrowed& report) {
  const int64_t width = from.size[1];
  std::vector<double> errors(static_cast<size_t>(from.size[0]));
  std::vector<double> squares(errors.size());
  pool.parallel_for(from.size[0], 16, [&](int64_t begin, int64_t end) {
    std::vector<float> plain(static_cast<size_t>(width));
    std::vector<float> back(plain.size());
    for (int64_t row = begin; row < end; ++row) {
      convert(from.slice(row, row + 1), Tensor(plain.data(), DType::kF32, {1, width}), 0);
      void* blocks = to.at(row * width);
      narrow_blocks(to.dtype, plain.data(), width, blocks);
      widen_blocks(to.dtype, blocks, width, back.data());
      for (int64_t i = 0; i < width; ++i) {
        errors[row] += (double{back[i]} - plain[i]) * (double{back[i]} - plain[i]);
        squares[row] += double{plain[i]} * plain[i];
      }
    }
  });
  const double error = std::accumulate(errors.begin(), errors.end(), 0.0);
  const double square = std::accumulate(squares.begin(), squares.end(), 0.0);
  const double relative = square > 0 ? std::sqrt(error / square) : 0;
  report.tensors += 1;
  report.bytes_before += from.elements() * size_of(from.dtype);
  report.bytes_after += to.bytes();
  report.error += error;  // divided by the squares when all are there
  report.squares += square;
  if (relative <= report.largest_error) return;
  report.largest_error = relative;
  report.largest = name;
}

Tensor part_of(const Tensor& stored, const TensorNeed::Part& part) {
  return part.view ? part.view(stored) : stored;
}

// `memory`: that of the stored tensor, where it was made; kept if a part is used in place.
void bind(const ModelSpec& spec, const TensorNeed& need, const Tensor& stored, const WeightOptions& options,
          ThreadPool& pool, Buffer memory, Weights& weights) {
  const bool stored_is_made = memory.data() != nullptr;
  bool is_kept = false;
  for (const TensorNeed::Part& part : need.parts) {
    const Tensor view = part_of(stored, part);
    const Placement place = placement(need, part, view, options);
    if (place.in_place) {
      part.target() = view;
      if (stored_is_made) {
        is_kept = true;
        weights.owned_bytes += view.bytes();
        continue;
      }
      prefault(view);
      weights.mapped_bytes += view.bytes();
      continue;
    }
    weights.owned.emplace_back(bytes_of(place.dtype, view.elements()));
    weights.owned_bytes += weights.owned.back().bytes();
    const Tensor copy = reshaped(weights.owned.back().data(), place.dtype, part.shape);
    CHECK(copy.elements() == view.elements(), need.name, describe(copy), describe(view));
    part.target() = copy;
    if (narrows(need, part, view, options)) {
      narrow(pool, need.name, view, copy, weights.narrowed);
      continue;
    }
    if (need.kind == TensorNeed::kIds) {
      narrow(view, copy);
      continue;
    }
    convert(view, copy, need.kind == TensorNeed::kNorm && spec.norm_plus_one ? 1.0F : 0.0F);
    for (int64_t i = 0; need.kind == TensorNeed::kDecay && i < copy.elements(); ++i)
      copy.as<float>()[i] = std::log(-copy.as<float>()[i]);
  }
  if (is_kept) weights.owned.push_back(std::move(memory));
}

Status check_scales(const Checkpoint& checkpoint, const TensorNeed& need) {
  const Tensor& scales = need.parts[0].target();
  for (int64_t i = 0; i < scales.elements(); ++i) {
    const float scale = scales.f32()[i];
    if (scale > 0 && std::isfinite(scale)) continue;
    return invalid(checkpoint.path_of(need.name) + ": tensor " + need.name + " has a scale of " +
                   std::to_string(scale) + "; numbers above 0 are expected");
  }
  return {};
}

// An MXFP4 tensor as the bfloat16 one it stands for, in `memory`.
Result<Tensor> widened(const Checkpoint& checkpoint, const TensorNeed& need, const Tensor& blocks,
                       Buffer& memory) {
  const Tensor scales = TRY(checkpoint.tensor(need.scales, {}));
  memory = Buffer(2 * blocks.elements() * size_of(DType::kBF16));
  widen_mx4(blocks, scales, static_cast<bf16*>(memory.data()));
  std::vector<int64_t> shape(need.shape.begin(), need.shape.end() - 2);
  shape.push_back(need.shape[need.shape.size() - 2] * 2 * need.shape.back());
  return reshaped(memory.data(), DType::kBF16, shape);
}

}  // namespace

bool narrows(const TensorNeed& need, const TensorNeed::Part& part, const WeightOptions& options) {
  return options.narrow != DType::kF32 && options.blocks && !need.exact && part.shape.size() == 2 &&
         part.shape[1] % block_of(options.narrow).elements == 0;
}

std::string describe(const Narrowed& n) {
  std::array<char, 200> text;
  std::snprintf(text.data(), text.size(),
                "%lld matrices rounded from %.1f to %.1f MB, relative error %.4f, at most %.4f",
                static_cast<long long>(n.tensors), static_cast<double>(n.bytes_before) / 1e6,
                static_cast<double>(n.bytes_after) / 1e6, n.error, n.largest_error);
  return text.data() + (n.largest.empty() ? std::string() : " (" + n.largest + ")");
}

Result<StoredView> stored_view(const Checkpoint& checkpoint, const TensorNeed& need,
                               const WeightOptions& options) {
  const QuantMatrix* matrix = checkpoint.quantised_matrix(need.name);
  if (matrix == nullptr) return StoredView{TRY(checkpoint.tensor(need.name, need.shape))};
  DType dtype = matrix->blocks;
  const bool narrows = options.narrow != DType::kF32 && options.blocks;
  // Widened for what computes, or to be rounded to other blocks.
  if (!is_blocks(dtype) || (dtype == DType::kFp8 && (narrows || !options.fp8)))
    dtype = narrows ? DType::kF32 : options.compute;
  static std::byte nowhere[1];  // views of parts are taken of it, and nothing is read
  return StoredView{Tensor(nowhere, dtype, {matrix->out, matrix->in}), true};
}

Footprint footprint(const TensorNeed& need, const StoredView& stored, const WeightOptions& options) {
  Footprint bytes;
  if (need.kind == TensorNeed::kMx4)
    return {.mapped = 0, .owned = 2 * stored.tensor.elements() * size_of(DType::kBF16)};
  for (const TensorNeed::Part& part : need.parts) {
    const Tensor view = part_of(stored.tensor, part);
    const Placement place = placement(need, part, view, options);
    (place.in_place && !stored.is_made ? bytes.mapped : bytes.owned) +=
        bytes_of(place.dtype, view.elements());
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
    if (is_zero_bias(checkpoint, name)) continue;
    return invalid(checkpoint.path_of(name) + ": tensor " + name + " is not used by " +
                   checkpoint.architecture + " as " + checkpoint.config_name() + " describes it");
  }
  return {};
}

Result<Weights> load_weights(const Checkpoint& checkpoint, const WeightOptions& options,
                             const Progress& progress, Device& device) {
  Weights weights;
  const auto tie = [&] {
    if (!checkpoint.spec.tied_embeddings || checkpoint.spec.draft) return;
    weights.own.resize(std::max<size_t>(weights.own.size(), kHead + 1));
    weights.own[kHead] = weights.own[kEmbed];
  };
  if (checkpoint.synthetic) {
    weights = synthetic_weights(checkpoint.spec, options, progress, device);
    tie();
    return weights;
  }
  TRY(check_tensors(checkpoint));
  std::optional<WeightMover> mover;
  if (!device.is_host()) mover.emplace(device);
  const std::vector<TensorNeed> needs = needed_tensors(checkpoint.spec, weights, names_of(checkpoint));
  const bool converts = options.narrow != DType::kF32 || !checkpoint.quantised.empty();
  ThreadPool pool(converts ? options.workers : Workers{.count = 1});
  int64_t total = 0;
  int64_t done = 0;
  for (const TensorNeed& need : needs) {
    total += checkpoint.stored(need.name).bytes;
    if (mover) mover->expect(footprint(need, TRY(stored_view(checkpoint, need, options)), options), need);
  }
  for (const TensorNeed& need : needs) {
    StoredView stored = TRY(stored_view(checkpoint, need, options));
    Buffer memory;
    if (stored.is_made) {
      memory = make_matrix(checkpoint, *checkpoint.quantised_matrix(need.name), stored.tensor.dtype, pool);
      stored.tensor.data = memory.data();
    }
    if (need.kind == TensorNeed::kMx4) stored.tensor = TRY(widened(checkpoint, need, stored.tensor, memory));
    bind(checkpoint.spec, need, stored.tensor, options, pool, std::move(memory), weights);
    if (need.kind == TensorNeed::kScale) TRY(check_scales(checkpoint, need));
    if (mover) mover->move(need, weights);
    done += checkpoint.stored(need.name).bytes;
    if (progress) progress(done, total);
  }
  Narrowed& narrowed = weights.narrowed;
  narrowed.error = narrowed.squares > 0 ? std::sqrt(narrowed.error / narrowed.squares) : 0;
  tie();
  if (mover) weights.on_device = mover->finish();
  return weights;
}

}  // namespace heed
