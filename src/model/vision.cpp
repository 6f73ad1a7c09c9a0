#include "model/vision.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/checked.h"
#include "model/forward.h"

namespace heed {
namespace {

using Kind = VisionSpec::Kind;

constexpr int64_t kMlpRows = 1024;  // patches that go through an MLP at a time: its rows are wide

float scalar(const Tensor& t, Device& device) {
  float value = 0;
  if (t.defined() && t.data != nullptr) device.download(&value, t.f32(), sizeof(value));
  return value;
}

// What the tower reads of each byte, by channel.
std::array<std::array<float, 256>, 3> byte_values(const VisionSpec& v) {
  std::array<std::array<float, 256>, 3> values{};
  for (int channel = 0; channel < 3; ++channel) {
    for (int byte = 0; byte < 256; ++byte) {
      float x = static_cast<float>(byte) * v.prep.scale;
      x = (x - v.prep.mean[channel]) / v.prep.deviation[channel];
      values[channel][byte] = v.kind == Kind::kGemma4 ? 2 * (x - 0.5F) : x;
    }
  }
  return values;
}

}  // namespace

Vision make_vision(const VisionSpec& spec, const VisionWeights& weights, Device& device) {
  Vision vision;
  const int half = spec.head_dim / 2;
  for (int i = 0; spec.kind == Kind::kGemma4 && i < half / 2; ++i) {
    vision.frequencies.push_back(
        1 / std::pow(spec.rope_theta, static_cast<float>(2 * i) / static_cast<float>(half)));
  }
  if (!spec.clipped) return vision;
  for (const Tensors& layer : weights.layers) {
    std::vector<ClipBounds>& bounds = vision.clips.emplace_back();
    for (int linear = 0; linear < kVisionLinears; ++linear) {
      const auto bound = [&](int i) { return scalar(weight_of(layer, vision_clip(linear) + i), device); };
      bounds.push_back({bound(0), bound(1), bound(2), bound(3)});
    }
  }
  return vision;
}

AttentionNeeds vision_attention_needs(const VisionSpec& spec, DType kv_dtype, int block) {
  return {.heads = spec.heads,
          .kv_heads = spec.heads,
          .head_dim = spec.head_dim,
          .v_dim = spec.head_dim,
          .kv_dtype = kv_dtype,
          .block = block};
}

int64_t most_patches(const VisionSpec& spec) {
  const ImagePrep& prep = spec.prep;
  if (prep.fit == ImagePrep::Fit::kBudget) return int64_t{prep.max_soft_tokens} * prep.pool * prep.pool;
  const int64_t side = prep.size / prep.patch;
  return side * side;
}

double vision_layer_flops(const VisionSpec& v, int64_t patches) {
  const double heads = static_cast<double>(v.heads) * v.head_dim;
  const double mlp = (v.kind == Kind::kGemma4 ? 3.0 : 2.0) * v.inner;
  return 2 * v.hidden * (4 * heads + mlp) + 4 * heads * static_cast<double>(patches);
}

ImageEncoding::ImageEncoding(const Model& model, std::vector<std::shared_ptr<const ImagePatches>> pictures,
                             int block)
    : pictures_(std::move(pictures)), block_(block), layers_(model.spec.vision->layers) {
  starts_ = {0};
  for (const auto& picture : pictures_) {
    const PatchGrid& grid = picture->grid;
    for (int row = 0; row < grid.rows; ++row) {
      for (int column = 0; column < grid.columns; ++column) {
        slots_.push_back(blocks_ * block + std::ssize(columns_) - starts_.back());
        ordinals_.push_back(static_cast<int32_t>(columns_.size()) - starts_.back());
        columns_.push_back(column);
        rows_.push_back(row);
      }
    }
    const auto patches = static_cast<int>(grid.patches());
    masks_.insert(masks_.end(), patches, RowMask{0, patches, 0});
    starts_.push_back(starts_.back() + patches);
    const int64_t blocks = div_up(patches, block);
    table_stride_ = std::max(table_stride_, blocks);
    blocks_ += blocks;
  }
  patches_ = starts_.back();
  tables_.assign(pictures_.size() * table_stride_, -1);
  int32_t next = 0;
  for (size_t i = 0; i < pictures_.size(); ++i) {
    const int64_t blocks = div_up(starts_[i + 1] - starts_[i], block);
    for (int64_t b = 0; b < blocks; ++b) tables_[i * table_stride_ + b] = next++;
  }
  hidden_ = Tensor(nullptr, DType::kF32, {patches_, model.spec.vision->hidden});
}

std::vector<std::shared_ptr<const EncodedImage>> ImageEncoding::take_results() {
  CHECK(done());
  return std::move(results_);
}

// One call of the tower.
class TowerPass {
 public:
  TowerPass(const Model& model, const ImageEncoding::Step& step, ImageEncoding& encoding)
      : m_(model),
        v_(*model.spec.vision),
        w_(model.weights.vision),
        s_(step),
        e_(encoding),
        x_(encoding.hidden_) {}

  // The arrays of the encoding, to where ops read them.
  void upload_arrays() const {
    const AttentionNeeds needs = vision_attention_needs(v_, m_.compute, e_.block_);
    e_.planned_ = s_.attention.plan_shape != nullptr;
    if (e_.planned_)
      e_.plan_ = plan_attention(e_.masks_, e_.starts_, s_.attention.plan_shape(needs, s_.stream));
    e_.upload_ = std::make_unique<Upload>(s_.device);
    Upload& upload = *e_.upload_;
    const int64_t each = std::ssize(e_.columns_) * int64_t{3 * sizeof(int32_t) + sizeof(int64_t)} +
                         std::ssize(e_.masks_) * int64_t{sizeof(RowMask)};
    const int64_t others = std::ssize(e_.starts_) + std::ssize(e_.tables_);
    constexpr int kArrays = 8;
    upload.begin(each + others * int64_t{sizeof(int32_t)} + e_.plan_.bytes() + kArrays * Upload::kAlign);
    e_.arrays_ = {.columns = upload.add(e_.columns_),
                  .rows = upload.add(e_.rows_),
                  .ordinals = upload.add(e_.ordinals_),
                  .starts = upload.add(e_.starts_),
                  .tables = upload.add(e_.tables_),
                  .slots = upload.add(e_.slots_),
                  .masks = upload.add(e_.masks_)};
    e_.plan_.device = upload.add(e_.plan_.packed);
    upload.send();
  }

  void embed_patches() const {
    const ArenaScope scope(s_.arena);
    const int64_t side = v_.prep.patch;
    const Tensor pixels = f32({e_.patches_, 3 * side * side});
    if (!s_.arena.measures()) upload_pixels(pixels);
    const Tensor in = input({e_.patches_, 3 * side * side});
    s_.kernels.copy(s_.stream, {.x = pixels, .out = in});
    s_.kernels.linear(
        s_.stream,
        {.x = in, .weight = weight_of(w_.own, kPatch), .bias = weight_of(w_.own, kPatchBias), .out = x_});
    if (v_.kind == Kind::kGemma4) {
      add_positions(kColumnEmbed, e_.arrays_.columns);
      add_positions(kRowEmbed, e_.arrays_.rows);
    } else {
      add_positions(kPatchEmbed, e_.arrays_.ordinals);
    }
  }

  void make_rope_tables() {
    const auto pairs = static_cast<int64_t>(m_.vision.frequencies.size());
    if (pairs == 0) return;
    for (int axis = 0; axis < 2; ++axis) {
      cos_[axis] = f32({e_.patches_, pairs});
      sin_[axis] = f32({e_.patches_, pairs});
      s_.kernels.rope_table(s_.stream, {.positions = axis == 0 ? e_.arrays_.columns : e_.arrays_.rows,
                                        .inverse_frequency = frequencies(),
                                        .cos = cos_[axis],
                                        .sin = sin_[axis]});
    }
  }

  void run_layer(int layer) {
    layer_ = layer;
    mix();
    // Where memory is only measured the first rows speak for all, and there is nothing to take a part of.
    const int64_t rows = s_.arena.measures() ? std::min(e_.patches_, kMlpRows) : e_.patches_;
    for (int64_t begin = 0; begin < rows; begin += kMlpRows)
      run_mlp(x_.slice(begin, std::min(begin + kMlpRows, e_.patches_)));
  }

  void project() const {
    const ArenaScope scope(s_.arena);
    const bool siglip = v_.kind == Kind::kSiglip;
    if (siglip) {
      s_.kernels.layer_norm(s_.stream, {.x = x_,
                                        .weight = weight_of(w_.own, kTowerNorm),
                                        .bias = weight_of(w_.own, kTowerNormBias),
                                        .eps = v_.norm_eps,
                                        .out = x_});
    }
    for (size_t i = 0; i < e_.pictures_.size(); ++i) {
      const PatchGrid& grid = e_.pictures_[i]->grid;
      const ArenaScope picture_scope(s_.arena);
      const Tensor pooled = f32({grid.soft_tokens, v_.hidden});
      s_.kernels.average_patches(s_.stream,
                                 {.x = x_.slice(e_.starts_[i], e_.starts_[i + 1]),
                                  .columns = grid.columns,
                                  .pool = v_.prep.pool,
                                  .scale = siglip ? 1.0F : std::sqrt(static_cast<float>(v_.hidden)),
                                  .out = pooled});
      if (v_.standardise) {
        s_.kernels.standardise(
            s_.stream,
            {.shift = weight_of(w_.own, kTowerShift), .scale = weight_of(w_.own, kTowerScale), .x = pooled});
      }
      const Tensor in = input({grid.soft_tokens, v_.hidden});
      rms_norm(pooled, weight_of(w_.own, kProjectorNorm), in);
      auto result = std::make_shared<EncodedImage>();
      result->rows = Tensor(nullptr, DType::kF32, {grid.soft_tokens, m_.spec.hidden});
      own_memory(result->rows, result->memory);
      s_.kernels.linear(s_.stream, {.x = in, .weight = weight_of(w_.own, kProjector), .out = result->rows});
      e_.results_.push_back(std::move(result));
    }
  }

  // Memory that outlives the call.
  void own_memory(Tensor& tensor, Buffer& memory) const {
    if (s_.arena.measures()) return;
    memory = s_.device.take(tensor.bytes());
    tensor.data = memory.data();
  }

 private:
  Tensor f32(std::initializer_list<int64_t> sizes) const { return s_.arena.take(DType::kF32, sizes); }
  Tensor input(std::initializer_list<int64_t> sizes) const { return s_.arena.take(m_.compute, sizes); }
  Tensor own(int number) const { return weight_of(w_.layers[layer_], number); }

  const float* frequencies() const {
    const std::vector<float>& values = m_.vision.frequencies;
    return s_.constants != nullptr ? s_.constants->at(values) : values.data();
  }

  void upload_pixels(const Tensor& pixels) const {
    if (s_.device.is_host()) return fill_pixels(pixels.mutable_f32());
    const Buffer here(pixels.bytes());
    fill_pixels(static_cast<float*>(here.data()));
    s_.device.upload(pixels.data, here.data(), pixels.bytes());
  }

  void fill_pixels(float* out) const {
    const auto values = byte_values(v_);
    const int64_t area = int64_t{v_.prep.patch} * v_.prep.patch;
    for (const auto& picture : e_.pictures_) {
      const std::vector<uint8_t>& bytes = picture->bytes;
      for (size_t i = 0; i < bytes.size(); ++i) {
        const auto channel = static_cast<int64_t>(i);
        *out++ = values[v_.prep.channel_last ? channel % 3 : channel / area % 3][bytes[i]];
      }
    }
  }

  void add_positions(VisionWeight table, const int32_t* ids) const {
    const ArenaScope scope(s_.arena);
    const Tensor rows = f32({e_.patches_, v_.hidden});
    s_.kernels.embed(s_.stream, {.table = weight_of(w_.own, table), .ids = ids, .out = rows});
    s_.kernels.add(s_.stream, {.x = rows, .out = x_});
  }

  void rms_norm(const Tensor& x, const Tensor& weight, const Tensor& out, bool accumulate = false) const {
    s_.kernels.rms_norm(s_.stream,
                        {.x = x, .weight = weight, .eps = v_.norm_eps, .accumulate = accumulate, .out = out});
  }

  // The norm that a half of a layer begins with.
  void norm(const Tensor& x, int weight, const Tensor& out) const {
    if (v_.kind == Kind::kGemma4) return rms_norm(x, own(weight), out);
    s_.kernels.layer_norm(
        s_.stream, {.x = x, .weight = own(weight), .bias = own(weight + 1), .eps = v_.norm_eps, .out = out});
  }

  void linear(VisionLinear number, Tensor x, const Tensor& out) const {
    const ClipBounds* clip = v_.clipped ? &m_.vision.clips[layer_][number] : nullptr;
    const ArenaScope scope(s_.arena);
    if (clip != nullptr) {
      const Tensor clipped = s_.arena.take(x.dtype, {x.size[0], x.size[1]});
      s_.kernels.copy(s_.stream, {.x = x, .out = clipped});
      s_.kernels.clamp(s_.stream, {.lowest = clip->in_lowest, .highest = clip->in_highest, .x = clipped});
      x = clipped;
    }
    s_.kernels.linear(s_.stream,
                      {.x = x, .weight = own(number), .bias = own(vision_bias(number)), .out = out});
    if (clip != nullptr)
      s_.kernels.clamp(s_.stream, {.lowest = clip->out_lowest, .highest = clip->out_highest, .x = out});
  }

  // x += what a half of the layer has made of it.
  void add(const Tensor& out, int post_norm, const Tensor& x) const {
    if (v_.kind == Kind::kGemma4) return rms_norm(out, own(post_norm), x, /*accumulate=*/true);
    s_.kernels.add(s_.stream, {.x = out, .out = x});
  }

  // Columns turn the first half of each head, rows the second.
  void rotate(const Tensor& x) const {
    const int64_t half = v_.head_dim / 2;
    for (int axis = 0; axis < 2; ++axis) {
      s_.kernels.rope(s_.stream,
                      {.cos = cos_[axis], .sin = sin_[axis], .x = x.columns(axis * half, (axis + 1) * half)});
    }
  }

  Tensor heads(VisionLinear number, const Tensor& h) const {
    const Tensor flat = f32({e_.patches_, int64_t{v_.heads} * v_.head_dim});
    linear(number, h, flat);
    return flat.split_last(v_.heads, v_.head_dim);
  }

  void mix() const {
    const ArenaScope scope(s_.arena);
    const Tensor h = input({e_.patches_, v_.hidden});
    norm(x_, kVisionMixerNorm, h);
    const Tensor q = heads(kVisionQ, h);
    const Tensor k = heads(kVisionK, h);
    const Tensor v = heads(kVisionV, h);
    if (v_.kind == Kind::kGemma4) {
      rms_norm(q, own(kVisionQNorm), q);
      rms_norm(k, own(kVisionKNorm), k);
      rms_norm(v, {}, v);
      rotate(q);
      rotate(k);
    }
    const Tensor mixed = input({e_.patches_, int64_t{v_.heads} * v_.head_dim});
    attend(q, k, v, mixed.split_last(v_.heads, v_.head_dim));
    const Tensor out = f32({e_.patches_, v_.hidden});
    linear(kVisionO, mixed, out);
    add(out, kVisionMixerPostNorm, x_);
  }

  // As the text model does it: keys and values go into blocks, and rows say which keys they see.
  void attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out) const {
    const ArenaScope scope(s_.arena);
    const auto blocks = [&] {
      return s_.arena.take(m_.compute, {e_.blocks_, v_.heads, e_.block_, v_.head_dim});
    };
    const PagedKv kv = {
        .k = blocks(), .v = blocks(), .table = e_.arrays_.tables, .table_stride = e_.table_stride_};
    s_.kernels.kv_write(s_.stream, {.k = k, .v = v, .slots = e_.arrays_.slots, .kv = kv});
    const float scale = v_.kind == Kind::kGemma4 ? 1.0F : 1 / std::sqrt(static_cast<float>(v_.head_dim));
    s_.attention.run(s_.stream, {.q = q,
                                 .kv = kv,
                                 .seq_start = e_.arrays_.starts,
                                 .sequences = static_cast<int>(e_.pictures_.size()),
                                 .rows = e_.arrays_.masks,
                                 .scale = scale,
                                 .out = out,
                                 .plan = e_.planned_ ? &e_.plan_ : nullptr});
  }

  void run_mlp(const Tensor& x) const {
    const ArenaScope scope(s_.arena);
    const int64_t rows = x.size[0];
    const Tensor h = input({rows, v_.hidden});
    norm(x, kVisionFfnNorm, h);
    const Tensor up = f32({rows, v_.inner});
    linear(kVisionUp, h, up);
    const Tensor mid = input({rows, v_.inner});
    if (v_.kind == Kind::kGemma4) {
      const Tensor gate = f32({rows, v_.inner});
      linear(kVisionGate, h, gate);
      s_.kernels.gated_act(s_.stream, {.act = v_.act, .gate = gate, .up = up, .out = mid});
    } else {
      s_.kernels.gated_act(s_.stream, {.act = v_.act, .gate = up, .up = {}, .out = mid});
    }
    const Tensor out = f32({rows, v_.hidden});
    linear(kVisionDown, mid, out);
    add(out, kVisionFfnPostNorm, x);
  }

  const Model& m_;
  const VisionSpec& v_;
  const VisionWeights& w_;
  const ImageEncoding::Step& s_;
  ImageEncoding& e_;
  const Tensor& x_;
  std::array<Tensor, 2> cos_, sin_;  // by axis: columns, rows
  int layer_ = 0;
};

void ImageEncoding::run(const Model& model, const Step& step, int layers) {
  const ArenaScope scope(step.arena);
  TowerPass pass(model, step, *this);
  if (!started_) pass.own_memory(hidden_, memory_);
  if (!started_) pass.upload_arrays();
  if (!started_) pass.embed_patches();
  started_ = true;
  pass.make_rope_tables();
  for (; layers > 0 && !done(); --layers, ++next_) {
    if (next_ < layers_) {
      pass.run_layer(next_);
    } else {
      pass.project();
    }
  }
}

}  // namespace heed
