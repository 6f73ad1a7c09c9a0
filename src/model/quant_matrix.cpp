// The numbers of quantised matrices: exact in blocks, or widened.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "base/thread_pool.h"
#include "model/checkpoint.h"
#include "model/quantised.h"

namespace heed {
namespace {

constexpr int kRun = 32;            // elements of a block
constexpr int64_t kTileRows = 128;  // of words that lie together across rows, a cache line is used whole

DType float_dtype(const std::string& name) {
  if (name == "F32") return DType::kF32;
  return name == "BF16" ? DType::kBF16 : DType::kF16;
}

// Reads codes, scales and zero points at [row, column] of the matrix, as whole numbers from 0.
class Reader {
 public:
  Reader(const Checkpoint& checkpoint, const QuantMatrix& matrix)
      : m_(matrix),
        per_word_(32 / matrix.scheme.bits),
        mask_((1U << matrix.scheme.bits) - 1U),
        middle_(1 << (matrix.scheme.bits - 1)),
        groups_(div_up(matrix.in, matrix.scheme.columns)) {
    const auto data = [&](const std::string& name) -> const void* {
      return name.empty() ? nullptr : bytes(checkpoint, name).first;
    };
    codes_ = data(m_.codes);
    const auto [scales, entry] = bytes(checkpoint, m_.scales);
    scales_ = Tensor(const_cast<void*>(scales), float_dtype(entry->dtype), {1});
    zeros_ = data(m_.zeros);
    if (zeros_ != nullptr) zeros_are_bytes_ = bytes(checkpoint, m_.zeros).second->dtype == "I8";
    order_ = static_cast<const int32_t*>(data(m_.order));
  }

  int64_t groups() const { return groups_; }
  int middle() const { return middle_; }
  bool by_group() const {  // scales of a group lie together, not those of a row
    return m_.scheme.kind == QuantScheme::kGptq || m_.scheme.kind == QuantScheme::kAwq;
  }
  int64_t group_of(int64_t column) const {
    return order_ != nullptr ? order_[column] : column / m_.scheme.columns;
  }

  float scale(int64_t row, int64_t group) const {
    const int64_t at = by_group() ? group * m_.out + row : row / m_.scheme.rows * groups_ + group;
    if (scales_.dtype == DType::kF32) return scales_.as<float>()[at];
    return scales_.dtype == DType::kBF16 ? to_float(scales_.as<bf16>()[at]) : to_float(scales_.as<f16>()[at]);
  }

  int zero(int64_t row, int64_t group) const {
    if (zeros_ == nullptr) return middle_;
    if (zeros_are_bytes_)
      return static_cast<const int8_t*>(zeros_)[row / m_.scheme.rows * groups_ + group] + middle_;
    const int64_t words = m_.out / per_word_;
    const int64_t at = by_group() ? group * words + row / per_word_ : row / per_word_ * groups_ + group;
    const auto lane = static_cast<int>(row % per_word_);
    const int place = m_.scheme.kind == QuantScheme::kAwq ? kAwqPlaces[lane] : lane;
    return static_cast<int>((word(zeros_, at) >> (place * m_.scheme.bits)) & mask_) +
           m_.scheme.stored_zero_less;
  }

  // Of `count` inputs from `column` on, a multiple of 32; at most 32.
  void codes(int64_t row, int64_t column, int count, uint8_t* out) const {
    switch (m_.scheme.kind) {
      case QuantScheme::kGptq:
        return words(m_.out, column / per_word_ * m_.out + row, count, out);
      case QuantScheme::kPacked:
        return words(1, row * div_up(m_.in, per_word_) + column / per_word_, count, out);
      case QuantScheme::kAwq: {
        const int shift = 4 * kAwqPlaces[row % 8];
        const int64_t stride = m_.out / 8;
        for (int i = 0; i < count; ++i)
          out[i] = static_cast<uint8_t>((word(codes_, (column + i) * stride + row / 8) >> shift) & 15U);
        return;
      }
      case QuantScheme::kInt8:
      case QuantScheme::kFp8:
        std::memcpy(out, static_cast<const uint8_t*>(codes_) + row * m_.in + column,
                    static_cast<size_t>(count));
        if (m_.scheme.kind == QuantScheme::kFp8) return;
        for (int i = 0; i < count; ++i) out[i] ^= 0x80U;  // from int8 to whole numbers from 0
        return;
    }
  }

 private:
  static constexpr std::array<int, 8> kAwqPlaces = {0, 4, 1, 5, 2, 6, 3, 7};  // of outputs, in a word

  static std::pair<const void*, const SafetensorsEntry*> bytes(const Checkpoint& checkpoint,
                                                               const std::string& name) {
    const Safetensors& shard = checkpoint.shards[checkpoint.folded.at(name)];
    const SafetensorsEntry& entry = shard.entries().at(name);
    return {shard.bytes(entry).data(), &entry};
  }
  static uint32_t word(const void* words, int64_t at) { return static_cast<const uint32_t*>(words)[at]; }
  // Codes of words that lie `stride` apart.
  void words(int64_t stride, int64_t at, int count, uint8_t* out) const {
    for (int i = 0; i < count; at += stride) {
      uint32_t rest = word(codes_, at);
      for (const int end = std::min(count, i + static_cast<int>(per_word_)); i < end;
           ++i, rest >>= m_.scheme.bits)
        out[i] = static_cast<uint8_t>(rest & mask_);
    }
  }

  const QuantMatrix& m_;
  int64_t per_word_;
  uint32_t mask_;
  int middle_;
  int64_t groups_;
  const void* codes_ = nullptr;
  Tensor scales_;
  const void* zeros_ = nullptr;
  bool zeros_are_bytes_ = false;
  const int32_t* order_ = nullptr;
};

void put_nibbles(const uint8_t* codes, uint8_t* out) {
  for (int i = 0; i < kRun / 2; ++i) out[i] = static_cast<uint8_t>(codes[i] | (codes[i + kRun / 2] << 4));
}

// tensor/blocks.h says what each holds.
void put_block(DType blocks, float scale, int zero, const uint8_t* codes, uint8_t* out) {
  const f16 half = from_float<f16>(scale);
  if (blocks == DType::kQ8F) {
    std::memcpy(out, &scale, sizeof scale);
    out += sizeof scale;
  } else {
    std::memcpy(out, &half, sizeof half);
    out += sizeof half;
  }
  if (blocks == DType::kQ4Z || blocks == DType::kQ8Z) *out++ = static_cast<uint8_t>(zero);
  if (blocks == DType::kQ4Z || blocks == DType::kQ40) return put_nibbles(codes, out);
  const int taken = blocks == DType::kQ8Z ? 128 : zero;
  for (int i = 0; i < kRun; ++i) out[i] = static_cast<uint8_t>(codes[i] - taken);
}

// What codes stand for, before scale and zero point.
std::array<float, 256> values_of(QuantScheme::Kind kind) {
  std::array<float, 256> values;
  for (int i = 0; i < 256; ++i) {
    const auto code = static_cast<uint8_t>(i);
    values[i] = kind == QuantScheme::kFp8 ? to_float(e4m3{code}) : static_cast<float>(i);
  }
  return values;
}

// FP8 codes as they are; a block with one that is no number has no number as its scale.
void fp8_rows(const Reader& read, const QuantMatrix& m, int64_t begin, int64_t end, uint8_t* out) {
  constexpr int64_t kSize = block_of(DType::kFp8).elements;
  for (int64_t row = begin; row < end; ++row) {
    uint8_t* block = out + row * bytes_of(DType::kFp8, m.in);
    for (int64_t column = 0; column < m.in; column += kSize, block += block_of(DType::kFp8).bytes) {
      float scale = read.scale(row, read.group_of(column));
      uint8_t* codes = block + sizeof scale;
      for (int64_t i = 0; i < kSize; i += kRun) read.codes(row, column + i, kRun, codes + i);
      if (std::any_of(codes, codes + kSize, [](uint8_t code) { return (code & 0x7fU) == 0x7fU; }))
        scale = NAN;
      std::memcpy(block, &scale, sizeof scale);
    }
  }
}

void block_rows(const Reader& read, const QuantMatrix& m, int64_t begin, int64_t end, uint8_t* out) {
  std::array<uint8_t, kRun> codes;
  const int64_t row_bytes = bytes_of(m.blocks, m.in);
  for (int64_t column = 0; column < m.in; column += kRun) {
    const int64_t group = read.group_of(column);
    for (int64_t row = begin; row < end; ++row) {
      read.codes(row, column, kRun, codes.data());
      put_block(m.blocks, read.scale(row, group), read.zero(row, group), codes.data(),
                out + row * row_bytes + bytes_of(m.blocks, column));
    }
  }
}

void wide_rows(const Reader& read, const QuantMatrix& m, int64_t begin, int64_t end, const Tensor& out) {
  const std::array<float, 256> values = values_of(m.scheme.kind);
  const bool is_float = m.scheme.kind == QuantScheme::kFp8;
  std::array<uint8_t, kRun> codes;
  for (int64_t column = 0; column < m.in; column += kRun) {
    const int count = static_cast<int>(std::min<int64_t>(kRun, m.in - column));
    for (int64_t row = begin; row < end; ++row) {
      read.codes(row, column, count, codes.data());
      int64_t group = -1;
      float scale = 0;
      float zero = 0;
      for (int i = 0; i < count; ++i) {
        if (const int64_t own = read.group_of(column + i); own != group) {
          group = own;
          scale = read.scale(row, group);
          zero = is_float ? 0 : static_cast<float>(read.zero(row, group));
        }
        const float value = scale * (values[codes[i]] - zero);
        const int64_t at = row * m.in + column + i;
        if (out.dtype == DType::kBF16) {
          out.as<bf16>()[at] = from_float<bf16>(value);
        } else {
          out.as<float>()[at] = value;
        }
      }
    }
  }
}

}  // namespace

DType exact_blocks(const Checkpoint& checkpoint, const QuantMatrix& m) {
  const bool is_fp8 = m.scheme.kind == QuantScheme::kFp8;
  const int64_t run = is_fp8 ? block_of(DType::kFp8).elements : kRun;
  const bool runs_share = m.in % run == 0 && (m.scheme.columns == m.in || m.scheme.columns % run == 0);
  if (!runs_share || !m.order.empty()) return DType::kF32;
  if (is_fp8) return DType::kFp8;
  const Reader read(checkpoint, m);
  bool half_scales = true;
  bool centred = true;
  bool byte_zeros = true;  // a zero point may be stored less 1, and be 256
  const auto look = [&](int64_t row, int64_t group) {
    const float scale = read.scale(row, group);
    half_scales = half_scales && to_float(from_float<f16>(scale)) == scale;
    const int zero = read.zero(row, group);
    centred = centred && zero == read.middle();
    byte_zeros = byte_zeros && zero <= UINT8_MAX;
  };
  const bool by_group = read.by_group();  // as they lie
  for (int64_t i = 0; i < (by_group ? read.groups() : m.out); ++i) {
    for (int64_t j = 0; j < (by_group ? m.out : read.groups()); ++j) by_group ? look(j, i) : look(i, j);
  }
  if (m.scheme.bits == 8 && !centred)  // codes less zero points need a ninth bit
    return half_scales && byte_zeros ? DType::kQ8Z : DType::kF32;
  if (!half_scales) return DType::kQ8F;
  if (m.scheme.bits == 8) return DType::kQ80;
  return centred ? DType::kQ40 : DType::kQ4Z;
}

Buffer make_matrix(const Checkpoint& checkpoint, const QuantMatrix& m, DType dtype, ThreadPool& pool) {
  Buffer memory(bytes_of(dtype, m.out * m.in));
  const Reader read(checkpoint, m);
  const Tensor wide(memory.data(), dtype, {m.out, m.in});
  pool.parallel_tasks(div_up(m.out, kTileRows), [&](int64_t tile) {
    const int64_t begin = tile * kTileRows;
    const int64_t end = std::min(begin + kTileRows, m.out);
    if (dtype == DType::kFp8) {
      fp8_rows(read, m, begin, end, static_cast<uint8_t*>(memory.data()));
    } else if (is_blocks(dtype)) {
      block_rows(read, m, begin, end, static_cast<uint8_t*>(memory.data()));
    } else {
      wide_rows(read, m, begin, end, wide);
    }
  });
  return memory;
}

}  // namespace heed
