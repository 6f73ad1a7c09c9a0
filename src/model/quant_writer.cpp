#include "model/quant_writer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include "base/checked.h"
#include "base/file.h"
#include "base/thread_pool.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// Scales below are no longer exact in float16, in which this program keeps them.
constexpr float kLeastScale = 0x1p-17F;

struct Rounding {
  int bits;
  DType scales;  // kBF16 or kF16
};

float stored_scale(float scale, DType dtype) {
  scale = std::max(scale, kLeastScale);
  return dtype == DType::kF16 ? to_float(from_float<f16>(scale)) : rounded_to_bf16(scale);
}

// The nearest whole number, ties to even, of one below 2^22.
float nearest(float x) {
  constexpr float kTurn = 0x1.8p23F;
  return (x + kTurn) - kTurn;
}

float rounded_code(float x, float inverse, float middle) {
  return nearest(std::min(std::max(x * inverse, -middle), middle - 1));
}

double error_of(const float* x, int64_t count, float scale, float middle) {
  const float inverse = 1 / scale;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float off = scale * rounded_code(x[i], inverse, middle) - x[i];
    sum += off * off;
  }
  return double{sum};
}

// The scale that rounds these with the least error, of those that map the largest to one code or another. Of
// 8 bits none is better than the one that maps it to the last.
float choose_scale(const float* x, int64_t count, const Rounding& how) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  if (how.bits == 8) return stored_scale(largest / 127, how.scales);
  constexpr int kTried = 15;
  float best = 0;
  double least = 0;
  for (int i = 0; i < kTried; ++i) {
    const float scale = stored_scale(largest / (5.5F + 0.25F * static_cast<float>(i)), how.scales);
    const double error = error_of(x, count, scale, 8);
    if (i > 0 && error >= least) continue;
    best = scale;
    least = error;
  }
  return best;
}

// A matrix as the form stores it.
struct Packed {
  std::vector<uint32_t> words;   // [out, in * bits / 32]
  std::vector<uint16_t> scales;  // [out, groups]
};

template <class T>
void widen(const Tensor& t, int64_t row, float* out) {
  const T* from = t.as<const T>() + row * t.size[1];
  for (int64_t i = 0; i < t.size[1]; ++i) out[i] = to_float(from[i]);
}

// One row; returns the squared error and the square.
std::pair<double, double> pack_row(const Tensor& t, int64_t row, int64_t group, const Rounding& how,
                                   Packed& out) {
  const int64_t in = t.size[1];
  std::vector<float> x(static_cast<size_t>(in));
  if (t.dtype == DType::kF32) widen<float>(t, row, x.data());
  if (t.dtype == DType::kBF16) widen<bf16>(t, row, x.data());
  if (t.dtype == DType::kF16) widen<f16>(t, row, x.data());
  const float middle = how.bits == 4 ? 8 : 128;
  const int64_t per = 32 / how.bits;
  uint32_t* words = out.words.data() + row * div_up(in, per);
  double error = 0;
  double square = 0;
  for (int64_t begin = 0; begin < in; begin += group) {
    const float scale = choose_scale(x.data() + begin, group, how);
    out.scales[row * (in / group) + begin / group] =
        how.scales == DType::kF16 ? from_float<f16>(scale).bits : from_float<bf16>(scale).bits;
    for (int64_t i = begin; i < begin + group; ++i) {
      const float code = rounded_code(x[i], 1 / scale, middle);
      words[i / per] |= static_cast<uint32_t>(code + middle) << (i % per * how.bits);
      const double off = double{scale * code} - x[i];
      error += off * off;
      square += double{x[i]} * x[i];
    }
  }
  return {error, square};
}

Packed pack(ThreadPool& pool, const std::string& name, const Tensor& t, int64_t group, const Rounding& how,
            Narrowed& report) {
  const int64_t out = t.size[0];
  const int64_t in = t.size[1];
  Packed packed;
  packed.words.resize(static_cast<size_t>(out * div_up(in, 32 / how.bits)));
  packed.scales.resize(static_cast<size_t>(out * (in / group)));
  std::vector<std::pair<double, double>> sums(static_cast<size_t>(out));
  pool.parallel_for(out, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) sums[row] = pack_row(t, row, group, how, packed);
  });
  double error = 0;
  double square = 0;
  for (const auto& [row_error, row_square] : sums) {
    error += row_error;
    square += row_square;
  }
  const double relative = square > 0 ? std::sqrt(error / square) : 0;
  report.tensors += 1;
  report.bytes_before += t.bytes();
  report.bytes_after += std::ssize(packed.words) * 4 + std::ssize(packed.scales) * 2;
  report.error += error;
  report.squares += square;
  if (relative > report.largest_error) {
    report.largest_error = relative;
    report.largest = name;
  }
  return packed;
}

// The matrices of layers' linear maps, but for routers.
std::set<std::string> matrices_of_layers(const Checkpoint& checkpoint) {
  Weights weights;
  std::set<std::string> names;
  const auto has = [&](std::string_view name) { return checkpoint.has(name); };
  const std::vector<TensorNeed> needs = needed_tensors(checkpoint.spec, weights, has);
  std::set<const Tensors*> lists;
  for (const LayerWeights& layer : weights.layers)
    lists.insert({&layer.own, &layer.mixer, &layer.mlp, &layer.moe});
  for (const TensorNeed& need : needs) {
    const bool whole = need.parts.size() == 1 && need.parts[0].view == nullptr && need.shape.size() == 2;
    if (need.kind == TensorNeed::kMatrix && whole && !need.exact && need.name.ends_with(".weight") &&
        lists.contains(need.parts[0].list))
      names.insert(need.name);
  }
  return names;
}

// A tensor to be written: copied, or part of one that is rounded.
struct Piece {
  enum What : uint8_t { kCopied, kWords, kScales, kShape } what = kCopied;
  std::string name, source;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  int64_t element = 1;  // bytes: what it is aligned to
};

class Writer {
 public:
  Writer(const Checkpoint& checkpoint, fs::path folder, const QuantTarget& target, const Progress& progress)
      : checkpoint_(checkpoint),
        folder_(std::move(folder)),
        target_(target),
        progress_(progress),
        rounded_(matrices_of_layers(checkpoint)) {
    for (const Safetensors& shard : checkpoint.shards) {
      for (const auto& [name, entry] : shard.entries()) total_ += entry.end - entry.begin;
    }
  }

  Result<Narrowed> run() {
    Json map = Json::object();
    int64_t size = 0;
    for (const Safetensors& shard : checkpoint_.shards) TRY(write_shard(shard, map, size));
    if (report_.tensors == 0) {
      return invalid(checkpoint_.folder + ": no matrix of its layers has rows of whole groups of " +
                     std::to_string(target_.group));
    }
    if (checkpoint_.shards.size() > 1) {
      const Json index = {{"metadata", {{"total_size", size}}}, {"weight_map", map}};
      TRY(write("model.safetensors.index.json", index.dump(2)));
    }
    TRY(write_config());
    TRY(copy_others());
    report_.error = report_.squares > 0 ? std::sqrt(report_.error / report_.squares) : 0;
    return report_;
  }

 private:
  int64_t group_of(const SafetensorsEntry& entry) const {
    return target_.group > 0 ? target_.group : entry.shape[1];
  }
  bool is_rounded(const std::string& name, const SafetensorsEntry& entry) const {
    const bool is_plain = entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16";
    return is_plain && rounded_.contains(name) && entry.shape[1] > 0 && entry.shape[1] % group_of(entry) == 0;
  }

  std::vector<Piece> pieces_of(const Safetensors& shard) {
    std::vector<Piece> all;
    for (const auto& [name, entry] : shard.entries()) {
      if (!is_rounded(name, entry)) {
        const int64_t elements = checked_product(entry.shape).value_or(0);
        const int64_t bytes = entry.end - entry.begin;
        all.push_back({Piece::kCopied, name, name, entry.dtype, entry.shape, bytes,
                       elements > 0 ? bytes / elements : 1});
        if (entry.shape.size() == 2 && name.ends_with(".weight"))
          plain_.push_back(name.substr(0, name.size() - std::string_view(".weight").size()));
        continue;
      }
      const std::string module = name.substr(0, name.size() - std::string_view("weight").size());
      const std::vector<int64_t> words = {entry.shape[0], div_up(entry.shape[1], 32 / target_.bits)};
      const std::vector<int64_t> scales = {entry.shape[0], entry.shape[1] / group_of(entry)};
      all.push_back({Piece::kShape, module + "weight_shape", name, "I64", {2}, 16, 8});
      all.push_back(
          {Piece::kWords, module + "weight_packed", name, "I32", words, words[0] * words[1] * 4, 4});
      all.push_back({Piece::kScales, module + "weight_scale", name, entry.dtype == "F16" ? "F16" : "BF16",
                     scales, scales[0] * scales[1] * 2, 2});
    }
    std::ranges::stable_sort(all, std::greater{}, &Piece::element);
    return all;
  }

  Status write_shard(const Safetensors& shard, Json& map, int64_t& size) {
    const std::string file = fs::path(shard.path()).filename();
    const std::vector<Piece> pieces = pieces_of(shard);
    Json header = {{"__metadata__", {{"format", "pt"}}}};
    int64_t end = 0;
    for (const Piece& piece : pieces) {
      header[piece.name] = {
          {"dtype", piece.dtype}, {"shape", piece.shape}, {"data_offsets", {end, end + piece.bytes}}};
      map[piece.name] = file;
      end += piece.bytes;
    }
    size += end;
    std::string text = to_text(header);
    text.resize(static_cast<size_t>(round_up(std::ssize(text), 8)), ' ');
    const auto length = static_cast<uint64_t>(text.size());
    NewFile out = TRY(NewFile::create((folder_ / file).string()));
    TRY(out.write(&length, sizeof length));
    TRY(out.write(text.data(), std::ssize(text)));
    for (const Piece& piece : pieces) TRY(write_piece(shard, piece, out));
    return out.finish();
  }

  Status write_piece(const Safetensors& shard, const Piece& piece, NewFile& out) {
    const SafetensorsEntry& entry = shard.entries().at(piece.source);
    if (piece.what == Piece::kCopied) {
      TRY(out.write(shard.bytes(entry).data(), piece.bytes));
      return advance(piece.bytes);
    }
    if (piece.what == Piece::kShape) return out.write(entry.shape.data(), piece.bytes);
    if (piece.what == Piece::kScales) {
      const std::vector<uint16_t> scales = std::move(scales_.at(piece.source));
      return out.write(scales.data(), piece.bytes);
    }
    const Tensor t = TRY(shard.tensor(piece.source));
    const Rounding how = {target_.bits, entry.dtype == "F16" ? DType::kF16 : DType::kBF16};
    Packed packed = pack(pool_, piece.source, t, group_of(entry), how, report_);
    TRY(out.write(packed.words.data(), piece.bytes));
    scales_[piece.source] = std::move(packed.scales);
    return advance(t.bytes());
  }

  Status advance(int64_t bytes) {
    done_ += bytes;
    if (progress_) progress_(done_, total_);
    return {};
  }

  Status write(const std::string& name, const std::string& text) const {
    NewFile out = TRY(NewFile::create((folder_ / name).string()));
    TRY(out.write(text.data(), std::ssize(text)));
    return out.finish();
  }

  Status write_config() {
    // By custom, also where it is the embedding.
    if (std::find(plain_.begin(), plain_.end(), "lm_head") == plain_.end()) plain_.emplace_back("lm_head");
    const std::string path = checkpoint_.folder + "/config.json";
    const std::string text = TRY(read_file(path));
    OrderedJson config = TRY(parse_ordered_json(text, path));
    const bool channel = target_.group == 0;
    OrderedJson weights = {{"num_bits", target_.bits},
                           {"type", "int"},
                           {"symmetric", true},
                           {"strategy", channel ? "channel" : "group"},
                           {"group_size", channel ? OrderedJson() : OrderedJson(target_.group)},
                           {"dynamic", false},
                           {"observer", "minmax"}};
    OrderedJson group = {{"targets", {"Linear"}},
                         {"weights", weights},
                         {"input_activations", nullptr},
                         {"output_activations", nullptr}};
    config["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                     {"format", "pack-quantized"},
                                     {"quantization_status", "compressed"},
                                     {"config_groups", {{"group_0", group}}},
                                     {"ignore", plain_},
                                     {"kv_cache_scheme", nullptr}};
    return write("config.json", config.dump(2) + "\n");
  }

  // Tokenizer, templates, defaults of sampling, licences; not other weights.
  Status copy_others() const {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint_.folder, error)) {
      const std::string name = entry.path().filename();
      const std::string extension = entry.path().extension();
      const bool belongs = extension == ".json" || extension == ".jinja" || extension == ".txt" ||
                           extension == ".model" || extension == ".md" || name.starts_with("LICENSE");
      if (!belongs || !entry.is_regular_file() || name == "config.json" || name.ends_with(".index.json"))
        continue;
      const std::string bytes = TRY(read_file(entry.path().string()));
      TRY(write(name, bytes));
    }
    if (error) return invalid(checkpoint_.folder + ": " + error.message());
    return {};
  }

  const Checkpoint& checkpoint_;
  fs::path folder_;
  QuantTarget target_;
  const Progress& progress_;
  std::set<std::string> rounded_;
  std::vector<std::string> plain_;                       // modules that stay as they are
  std::map<std::string, std::vector<uint16_t>> scales_;  // that are not yet written
  ThreadPool pool_{0};
  Narrowed report_;
  int64_t done_ = 0, total_ = 0;
};

Status check_source(const Checkpoint& checkpoint) {
  if (checkpoint.is_gguf() || checkpoint.shards.empty())
    return unsupported(checkpoint.folder + ": a folder with safetensors is expected, to be rounded");
  if (!checkpoint.quantised.empty())
    return unsupported(checkpoint.folder + ": its weights are quantised already (" +
                       describe(checkpoint.quantised.begin()->second) + "); plain ones are expected");
  return check_tensors(checkpoint);
}

// What stands where the folder is to be may be replaced: a checkpoint, and not the one that is read.
Status check_place(const fs::path& source, const fs::path& folder, bool replace) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return {};
  if (!replace) return invalid(folder.string() + " is there already; --force replaces it");
  if (!fs::is_directory(folder, error) || !fs::exists(folder / "config.json", error))
    return invalid(folder.string() + " is no checkpoint folder (it has no config.json); it is not replaced");
  const fs::path inner = fs::canonical(source, error);
  const fs::path outer = fs::canonical(folder, error);
  const auto [end, ignored] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  if (end == outer.end())
    return invalid(folder.string() + " holds the checkpoint that is read; it is not replaced");
  return {};
}

Status put_in_place(const fs::path& made, const fs::path& folder, const fs::path& old) {
  std::error_code error;
  const bool replaces = fs::exists(folder, error);
  if (replaces) fs::rename(folder, old, error);
  if (!error) fs::rename(made, folder, error);
  if (error) return invalid(folder.string() + ": " + error.message());
  if (replaces) fs::remove_all(old, error);
  return {};
}

}  // namespace

Result<Narrowed> write_quantised(const Checkpoint& checkpoint, const std::string& folder,
                                 const QuantTarget& target, bool replace, const Progress& progress) {
  TRY(check_source(checkpoint));
  fs::path place = fs::path(folder).lexically_normal();
  if (!place.has_filename()) place = place.parent_path();
  TRY(check_place(checkpoint.folder, place, replace));
  const std::string made = place.string() + ".partial-" + std::to_string(::getpid());
  std::error_code error;
  fs::create_directory(made, error);
  if (error) return invalid(made + ": " + error.message());
  Result<Narrowed> report = Writer(checkpoint, made, target, progress).run();
  if (report.ok()) {
    const Status placed = put_in_place(made, place, place.string() + ".old-" + std::to_string(::getpid()));
    if (!placed.ok()) report = placed.error();
  }
  if (!report.ok()) fs::remove_all(made, error);
  return report;
}

}  // namespace heed
