#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "base/checked.h"
#include "base/json.h"
#include "formats/in_quotes.h"

namespace heed {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr int kHeaderDepth = 3;                   // header > tensor > shape
constexpr size_t kMaxRank = 16;

struct FileDtype {
  std::string_view name;
  int bits;
};

constexpr FileDtype kDtypes[] = {
    {"F64", 64},    {"F32", 32},    {"F16", 16}, {"BF16", 16}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},   {"C64", 64},  {"I64", 64},    {"I32", 32},    {"I16", 16},
    {"I8", 8},      {"U64", 64},    {"U32", 32}, {"U16", 16},  {"U8", 8},      {"BOOL", 8}};

std::optional<int> bits_of(std::string_view dtype) {
  for (const FileDtype& known : kDtypes) {
    if (known.name == dtype) return known.bits;
  }
  return std::nullopt;
}

std::string known_dtypes() {
  std::string names;
  for (const FileDtype& known : kDtypes) names += (names.empty() ? "" : ", ") + std::string(known.name);
  return names;
}

std::optional<DType> computed_dtype(std::string_view dtype) {
  if (dtype == "F32") return DType::kF32;
  if (dtype == "BF16") return DType::kBF16;
  if (dtype == "F16") return DType::kF16;
  if (dtype == "I32") return DType::kI32;
  if (dtype == "I64") return DType::kI64;
  if (dtype == "U8") return DType::kU8;
  return std::nullopt;
}

std::string_view file_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
    default:
      break;
  }
  CHECK(false, name_of(dtype), "has no name in safetensors");
  return "?";
}

// The JSON library keeps one of two members of the same name without a word; this listener stops at the
// second.
class RepeatedKey : public nlohmann::json_sax<Json> {
 public:
  std::optional<std::string> found;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  bool start_object(size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    found = name;
    return false;
  }

 private:
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open, outermost first
};

std::optional<int64_t> non_negative(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return std::nullopt;
  const auto number = value.get<int64_t>();
  return number >= 0 ? std::optional(number) : std::nullopt;
}

// The text of the header, its length checked against the file.
Result<std::string_view> header_text(std::span<const std::byte> bytes, const std::string& file) {
  if (std::ssize(bytes) < kLengthBytes) {
    return invalid(file + ": " + std::to_string(bytes.size()) +
                   " bytes, too short for a safetensors file, which starts with an 8-byte header length");
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > uint64_t{kMaxHeaderBytes}) {
    return invalid(file + ": header length " + std::to_string(length) + ", at most " +
                   std::to_string(kMaxHeaderBytes) + " is accepted (is this a safetensors file?)");
  }
  if (static_cast<int64_t>(length) > std::ssize(bytes) - kLengthBytes) {
    return invalid(file + ": header length " + std::to_string(length) + " is more than the " +
                   std::to_string(bytes.size() - kLengthBytes) + " bytes that follow it");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (text.empty() || text[0] != '{') return invalid(file + ": the header does not start with '{'");
  return text;
}

Result<Json> parse_header(std::string_view text, const std::string& file) {
  Json header = TRY(parse_json(text, file + ": header", kHeaderDepth));
  RepeatedKey listener;
  Json::sax_parse(text, &listener);
  if (listener.found) return invalid(file + ": header: " + in_quotes(*listener.found) + " appears twice");
  return header;
}

Result<std::map<std::string, std::string>> parse_metadata(const Json& value, const std::string& file) {
  if (!value.is_object()) return invalid(file + ": __metadata__ is not an object of strings");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return invalid(file + ": __metadata__: " + in_quotes(key) + " is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

Result<std::vector<int64_t>> parse_shape(const Json& value, const std::string& what) {
  if (!value.is_array()) return invalid(what + ": shape is not an array of integers");
  if (value.size() > kMaxRank) {
    return invalid(what + ": shape has " + std::to_string(value.size()) + " dimensions, at most " +
                   std::to_string(kMaxRank) + " are accepted");
  }
  std::vector<int64_t> shape;
  for (const Json& size : value) {
    const std::optional<int64_t> number = non_negative(size);
    if (!number)
      return invalid(what + ": shape holds " + to_text(size) + ", not an integer from 0 to 2^63-1");
    shape.push_back(*number);
  }
  return shape;
}

// The bits that a shape takes; nothing where a product of its sizes (zeros left out) overflows.
std::optional<int64_t> bits_taken(const std::vector<int64_t>& shape, int bits) {
  std::vector<int64_t> factors;
  factors.reserve(shape.size());
  for (const int64_t size : shape) factors.push_back(std::max<int64_t>(size, 1));
  const std::optional<int64_t> elements = checked_product(factors);
  if (!elements || !checked_mul(*elements, bits)) return std::nullopt;
  return std::ranges::find(shape, 0) == shape.end() ? *elements * bits : 0;
}

std::string shape_text(const SafetensorsEntry& entry) {
  std::string text = entry.dtype + " [";
  for (size_t i = 0; i < entry.shape.size(); ++i) text += (i ? ", " : "") + std::to_string(entry.shape[i]);
  return text + "]";
}

// One tensor of the header, its offsets still relative to the data.
Result<SafetensorsEntry> parse_entry(const Json& value, const std::string& what) {
  if (!value.is_object()) return invalid(what + ": not an object of dtype, shape and data_offsets");
  for (const auto& [key, ignored] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return invalid(what + ": unknown member " + in_quotes(key) + " beside dtype, shape and data_offsets");
    }
  }
  if (value.size() != 3) return invalid(what + ": dtype, shape and data_offsets are all needed");
  SafetensorsEntry entry;
  if (!value.at("dtype").is_string()) return invalid(what + ": dtype is not a string");
  entry.dtype = value.at("dtype").get<std::string>();
  const std::optional<int> bits = bits_of(entry.dtype);
  if (!bits) return unsupported(what + ": dtype " + in_quotes(entry.dtype) + ", known are " + known_dtypes());
  entry.shape = TRY(parse_shape(value.at("shape"), what));
  const std::optional<int64_t> size = bits_taken(entry.shape, *bits);
  if (!size) return invalid(what + ": the size of " + shape_text(entry) + " overflows");
  if (*size % 8 != 0) return invalid(what + ": " + shape_text(entry) + " is not a whole number of bytes");

  const Json& offsets = value.at("data_offsets");
  const bool is_pair = offsets.is_array() && offsets.size() == 2;
  const std::optional<int64_t> begin = is_pair ? non_negative(offsets[0]) : std::nullopt;
  const std::optional<int64_t> end = is_pair ? non_negative(offsets[1]) : std::nullopt;
  if (!begin || !end || *begin > *end) {
    return invalid(what + ": data_offsets are not [begin, end] with 0 <= begin <= end");
  }
  if (*end - *begin != *size / 8) {
    return invalid(what + ": data_offsets hold " + std::to_string(*end - *begin) + " bytes, but " +
                   shape_text(entry) + " takes " + std::to_string(*size / 8));
  }
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

// The tensors must tile the data: each begins where the one before ends, and the last ends with the file.
Status check_layout(const std::map<std::string, SafetensorsEntry>& entries, int64_t data_bytes,
                    const std::string& file) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  order.reserve(entries.size());
  for (const auto& named : entries) order.push_back(&named);
  std::ranges::sort(order, {},
                    [](const auto* named) { return std::pair(named->second.begin, named->second.end); });
  int64_t covered = 0;
  for (const auto* named : order) {
    const auto& [name, entry] = *named;
    if (entry.begin != covered) {
      const char* fault = entry.begin < covered ? "overlaps another" : "a hole before it";
      return invalid(file + ": tensor " + in_quotes(name) + ": " + fault + ": begins at " +
                     std::to_string(entry.begin) + ", the one before ends at " + std::to_string(covered));
    }
    if (entry.end > data_bytes) {
      return invalid(file + ": tensor " + in_quotes(name) + ": ends at byte " + std::to_string(entry.end) +
                     " of " + std::to_string(data_bytes) + " bytes of data (is the file cut short?)");
    }
    covered = entry.end;
  }
  if (covered == data_bytes) return {};
  return invalid(file + ": " + std::to_string(data_bytes - covered) + " bytes of data after the last tensor");
}

// Kernels read the map in place, so each tensor must lie at a multiple of its element size. Published files
// do: their headers are padded to 8 bytes and their tensors ordered by falling element size.
Status check_alignment(std::span<const std::byte> bytes, const SafetensorsEntry& entry,
                       const std::string& what) {
  const auto size = static_cast<uintptr_t>(std::max(1, *bits_of(entry.dtype) / 8));
  if (entry.begin == entry.end) return {};
  if ((reinterpret_cast<uintptr_t>(bytes.data()) + static_cast<uintptr_t>(entry.begin)) % size == 0)
    return {};
  return unsupported(what + ": lies at byte " + std::to_string(entry.begin) +
                     " of the file, not at a multiple of its " + std::to_string(size) +
                     "-byte elements; write the file again with the safetensors package");
}

}  // namespace

Result<Safetensors> Safetensors::parse(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text = TRY(header_text(bytes, name));
  const Json header = TRY(parse_header(text, name));
  const int64_t data_begin = kLengthBytes + std::ssize(text);

  Safetensors result;
  result.path_ = name;
  result.bytes_ = bytes;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      result.metadata_ = TRY(parse_metadata(value, name));
    } else {
      result.entries_[key] = TRY(parse_entry(value, name + ": tensor " + in_quotes(key)));
    }
  }
  TRY(check_layout(result.entries_, std::ssize(bytes) - data_begin, name));
  for (auto& [key, entry] : result.entries_) {
    entry.begin += data_begin;
    entry.end += data_begin;
    TRY(check_alignment(bytes, entry, name + ": tensor " + in_quotes(key)));
  }
  return result;
}

Result<Safetensors> Safetensors::open(const std::string& path) {
  MappedFile file = TRY(MappedFile::open(path));
  Safetensors result = TRY(parse(file.bytes(), path));
  result.file_.push_back(std::move(file));
  return result;
}

std::span<const std::byte> Safetensors::bytes(const SafetensorsEntry& entry) const {
  CHECK(0 <= entry.begin && entry.begin <= entry.end && entry.end <= std::ssize(bytes_), entry.begin,
        entry.end);
  return bytes_.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
}

Result<Tensor> Safetensors::tensor(const std::string& name) const {
  const std::string what = path_ + ": tensor " + in_quotes(name);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return not_found(what + ": not in the file");
  const SafetensorsEntry& entry = found->second;
  const std::optional<DType> dtype = computed_dtype(entry.dtype);
  if (!dtype) {
    return unsupported(what + ": dtype " + entry.dtype + ", usable are F32, BF16, F16, I32, I64, U8");
  }
  if (entry.shape.size() > Tensor::kMaxRank) {
    return unsupported(what + ": " + shape_text(entry) + " has more than " +
                       std::to_string(Tensor::kMaxRank) + " dimensions");
  }
  Tensor view(const_cast<std::byte*>(bytes(entry).data()), *dtype, {1});
  if (!entry.shape.empty()) view.rank = static_cast<int>(entry.shape.size());
  int64_t step = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    if (!entry.shape.empty()) view.size[i] = entry.shape[i];
    view.stride[i] = step;
    step *= view.size[i];
  }
  return view;
}

Status write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> order;
  order.reserve(tensors.size());
  for (const NamedTensor& named : tensors) order.push_back(&named);
  std::ranges::stable_sort(order, std::greater{},
                           [](const NamedTensor* t) { return size_of(t->tensor.dtype); });

  Json header = Json::object();
  int64_t end = 0;
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    CHECK(tensor.contiguous(), named->name);
    if (named->name == "__metadata__" || header.contains(named->name)) {
      return invalid(path + ": tensor " + in_quotes(named->name) + ": the name is already taken");
    }
    const std::vector<int64_t> shape(tensor.size.begin(), tensor.size.begin() + tensor.rank);
    header[named->name] = {
        {"dtype", file_dtype(tensor.dtype)}, {"shape", shape}, {"data_offsets", {end, end + tensor.bytes()}}};
    end += tensor.bytes();
  }
  std::string text = to_text(header);
  text.resize(static_cast<size_t>(round_up(std::ssize(text), kLengthBytes)), ' ');
  const auto length = static_cast<uint64_t>(text.size());

  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(text.data(), std::ssize(text));
  for (const NamedTensor* named : order) out.write(named->tensor.as<const char>(), named->tensor.bytes());
  out.close();
  if (!out) return invalid(path + ": cannot be written");
  return {};
}

}  // namespace heed
