#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>

#include "base/checked.h"
#include "formats/in_quotes.h"

namespace heed {
namespace {

constexpr int kMaxArrayDepth = 4;
constexpr int64_t kMaxKeyBytes = 65535;
constexpr int64_t kMaxNameBytes = 255;  // the format says 64; some writers go further
constexpr uint32_t kMaxDimensions = 4;
constexpr int64_t kDefaultAlignment = 32;
// The fewest bytes that each of these takes in a file: what a count can be checked against before it is
// believed.
constexpr int64_t kStringBytes = 8;
constexpr int64_t kArrayBytes = 12;
constexpr int64_t kKeyAndValueBytes = 13;
constexpr int64_t kTensorBytes = 24;

// Source: ggml/include/ggml.h (numbers), ggml/src/ggml-common.h (blocks).
constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36}};

const GgmlType* find_ggml_type(uint32_t number) {
  for (const GgmlType& type : kGgmlTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

// The bytes of one element, for the types that have a fixed width.
std::optional<int64_t> width_of(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

static_assert(std::endian::native == std::endian::little);

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::optional<int64_t> as_integer(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kBool:
      return load<uint8_t>(at);
    case GgufType::kInt8:
      return load<int8_t>(at);
    case GgufType::kUint16:
      return load<uint16_t>(at);
    case GgufType::kInt16:
      return load<int16_t>(at);
    case GgufType::kUint32:
      return load<uint32_t>(at);
    case GgufType::kInt32:
      return load<int32_t>(at);
    case GgufType::kInt64:
      return load<int64_t>(at);
    case GgufType::kUint64: {
      const auto value = load<uint64_t>(at);
      if (value > uint64_t{INT64_MAX}) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

// Walks the bytes once; every read is checked against what is left. Errors say what is wrong, callers say
// where.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  int64_t position() const { return position_; }
  int64_t left() const { return std::ssize(bytes_) - position_; }

  Result<std::span<const std::byte>> take(int64_t count) {
    if (count > left()) {
      return invalid("the file ends " + std::to_string(left()) + " bytes into " + std::to_string(count));
    }
    const auto part = bytes_.subspan(static_cast<size_t>(position_), static_cast<size_t>(count));
    position_ += count;
    return part;
  }

  template <class T>
  Result<T> fixed() {
    return load<T>(TRY(take(sizeof(T))).data());
  }

  // A count of things that take at least `least_bytes` each, so that no more are promised than there is room
  // for.
  Result<int64_t> count(int64_t least_bytes, std::string_view what) {
    const auto value = TRY(fixed<uint64_t>());
    if (value > static_cast<uint64_t>(left() / least_bytes)) {
      return invalid(std::to_string(value) + " " + std::string(what) + " do not fit into the " +
                     std::to_string(left()) + " bytes that are left");
    }
    return static_cast<int64_t>(value);
  }

  Result<std::string_view> text() {
    const int64_t length = TRY(count(1, "bytes of text"));
    const auto part = TRY(take(length));
    return std::string_view(reinterpret_cast<const char*>(part.data()), part.size());
  }

  Result<GgufType> type() {
    const auto number = TRY(fixed<uint32_t>());
    if (number > static_cast<uint32_t>(GgufType::kFloat64)) {
      return invalid("value type " + std::to_string(number) + ", known are 0 to 12");
    }
    return static_cast<GgufType>(number);
  }

 private:
  std::span<const std::byte> bytes_;
  int64_t position_ = 0;
};

Result<GgufArray> read_array(Reader& in, int depth) {
  if (depth > kMaxArrayDepth) {
    return limit_reached("arrays nested deeper than " + std::to_string(kMaxArrayDepth) + " levels");
  }
  GgufArray array;
  array.element = TRY(in.type());
  if (const std::optional<int64_t> width = width_of(array.element)) {
    array.count = TRY(in.count(*width, "array elements"));
    array.packed = TRY(in.take(array.count * *width));
    return array;
  }
  const bool of_texts = array.element == GgufType::kString;
  array.count = TRY(in.count(of_texts ? kStringBytes : kArrayBytes, "array elements"));
  if (of_texts) array.texts.reserve(static_cast<size_t>(array.count));
  for (int64_t i = 0; i < array.count; ++i) {
    if (of_texts) {
      array.texts.push_back(TRY(in.text()));
    } else {
      array.arrays.push_back(TRY(read_array(in, depth + 1)));
    }
  }
  return array;
}

Result<GgufValue> read_value(Reader& in) {
  GgufValue value;
  value.type = TRY(in.type());
  if (value.type == GgufType::kString) {
    value.held = TRY(in.text());
    return value;
  }
  if (value.type == GgufType::kArray) {
    value.held = TRY(read_array(in, 1));
    return value;
  }
  const std::byte* at = TRY(in.take(*width_of(value.type))).data();
  if (value.type == GgufType::kFloat32) {
    value.held = double{load<float>(at)};
  } else if (value.type == GgufType::kFloat64) {
    value.held = load<double>(at);
  } else if (value.type == GgufType::kBool) {
    const auto byte = load<uint8_t>(at);
    if (byte > 1) return invalid("a bool of " + std::to_string(byte) + ", not 0 or 1");
    value.held = byte == 1;
  } else if (const std::optional<int64_t> integer = as_integer(value.type, at)) {
    value.held = *integer;
  } else {
    value.held = load<uint64_t>(at);
  }
  return value;
}

// The tensor's place is still relative to the start of the data.
Result<GgufTensor> read_tensor(Reader& in) {
  GgufTensor tensor;
  const auto dimensions = TRY(in.fixed<uint32_t>());
  if (dimensions > kMaxDimensions) {
    return invalid(std::to_string(dimensions) + " dimensions, at most " + std::to_string(kMaxDimensions) +
                   " are accepted");
  }
  int64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = TRY(in.fixed<int64_t>());
    const std::optional<int64_t> product = checked_mul(elements, size);
    if (size < 1 || !product) return invalid("sizes must be 1 or more and their product must not overflow");
    elements = *product;
    tensor.sizes.push_back(size);
  }
  const auto number = TRY(in.fixed<uint32_t>());
  tensor.type = find_ggml_type(number);
  if (tensor.type == nullptr) return unsupported("tensor type " + std::to_string(number) + " is not known");
  tensor.begin = TRY(in.fixed<int64_t>());
  const int64_t row = tensor.sizes.empty() ? 1 : tensor.sizes[0];
  if (row % tensor.type->block_elements != 0) {
    return invalid("rows of " + std::to_string(row) + " elements are not whole blocks of " +
                   std::string(tensor.type->name) + " (" + std::to_string(tensor.type->block_elements) + ")");
  }
  const std::optional<int64_t> bytes =
      checked_mul(elements / tensor.type->block_elements, tensor.type->block_bytes);
  const std::optional<int64_t> end = bytes ? checked_add(tensor.begin, *bytes) : std::nullopt;
  if (tensor.begin < 0 || !end) return invalid("its offset or its size overflows");
  tensor.end = *end;
  return tensor;
}

Result<int64_t> alignment_of(const std::map<std::string, GgufValue, std::less<>>& values) {
  const auto found = values.find("general.alignment");
  if (found == values.end()) return kDefaultAlignment;
  const auto* held = std::get_if<int64_t>(&found->second.held);
  if (held == nullptr || *held < 8 || !std::has_single_bit(static_cast<uint64_t>(*held)) ||
      *held > (1 << 30)) {
    return invalid("general.alignment is not a power of two from 8 to 2^30");
  }
  return *held;
}

// Moves the tensors to their place in the file; they must be aligned, apart from each other and inside the
// file.
Status place_tensors(std::map<std::string, GgufTensor, std::less<>>& tensors, int64_t header_bytes,
                     int64_t alignment, int64_t file_bytes) {
  const int64_t data_begin = round_up(header_bytes, alignment);
  std::vector<std::pair<const std::string, GgufTensor>*> order;
  order.reserve(tensors.size());
  for (auto& named : tensors) order.push_back(&named);
  std::ranges::sort(order, {}, [](const auto* named) { return named->second.begin; });
  int64_t free_from = 0;
  for (auto* named : order) {
    GgufTensor& tensor = named->second;
    const std::string what = "tensor " + in_quotes(named->first) + ": ";
    if (tensor.begin % alignment != 0) {
      return invalid(what + "offset " + std::to_string(tensor.begin) +
                     " is not a multiple of the alignment " + std::to_string(alignment));
    }
    if (tensor.begin < free_from) return invalid(what + "overlaps another");
    if (tensor.end > file_bytes - data_begin) {
      return invalid(what + "ends at byte " + std::to_string(tensor.end) + " of " +
                     std::to_string(std::max<int64_t>(file_bytes - data_begin, 0)) +
                     " bytes of data (is the file cut short?)");
    }
    free_from = tensor.end;
    tensor.begin += data_begin;
    tensor.end += data_begin;
  }
  return {};
}

// The version, after the magic number.
Result<int> read_start(Reader& in) {
  const Result<uint32_t> magic = in.fixed<uint32_t>();
  if (!magic.ok() || *magic != 0x46554747u)
    return invalid("not a GGUF file: it does not start with \"GGUF\"");
  const auto version = TRY(in.fixed<uint32_t>());
  if (version == 2 || version == 3) return static_cast<int>(version);
  if ((version & 0xffffu) == 0 && version != 0)
    return unsupported("a big-endian GGUF file; little-endian is read");
  return unsupported("GGUF version " + std::to_string(version) + ", known are 2 and 3");
}

}  // namespace

std::optional<DType> dtype_of(const GgmlType& type) {
  constexpr DType kAll[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kQ40,   DType::kQ41,
                            DType::kQ50, DType::kQ51,  DType::kQ80, DType::kQ2K,   DType::kQ3K,
                            DType::kQ4K, DType::kQ5K,  DType::kQ6K, DType::kIq4Nl, DType::kMxfp4};
  for (const DType dtype : kAll) {
    const bool plain = (dtype == DType::kF32 && type.name == "F32") ||
                       (dtype == DType::kBF16 && type.name == "BF16") ||
                       (dtype == DType::kF16 && type.name == "F16");
    if (plain || name_of(dtype) == type.name) return dtype;
  }
  return std::nullopt;
}

std::string_view name_of(GgufType type) {
  constexpr std::string_view kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                         "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<size_t>(type)];
}

Result<Gguf> Gguf::parse(std::span<const std::byte> bytes, const std::string& name) {
  Gguf result;
  result.path_ = name;
  result.bytes_ = bytes;
  Status read = result.read();
  if (!read.ok()) return std::move(read).error().within(name);
  return result;
}

Status Gguf::read() {
  Reader in(bytes_);
  version_ = TRY(read_start(in));
  const int64_t num_tensors = TRY(in.count(kTensorBytes, "tensors"));
  const int64_t num_values = TRY(in.count(kKeyAndValueBytes, "keys"));
  for (int64_t i = 0; i < num_values; ++i) {
    Result<std::string_view> key = in.text();
    if (!key.ok()) return std::move(key).error().within("key number " + std::to_string(i));
    const std::string what = "key " + in_quotes(*key);
    if (key->empty() || std::ssize(*key) > kMaxKeyBytes) return invalid(what + ": not 1 to 65535 bytes long");
    Result<GgufValue> value = read_value(in);
    if (!value.ok()) return std::move(value).error().within(what);
    if (!values_.emplace(*key, std::move(*value)).second) return invalid(what + ": appears twice");
  }
  for (int64_t i = 0; i < num_tensors; ++i) {
    Result<std::string_view> name = in.text();
    if (!name.ok()) return std::move(name).error().within("tensor number " + std::to_string(i));
    const std::string what = "tensor " + in_quotes(*name);
    if (std::ssize(*name) > kMaxNameBytes) return invalid(what + ": a name of more than 255 bytes");
    Result<GgufTensor> tensor = read_tensor(in);
    if (!tensor.ok()) return std::move(tensor).error().within(what);
    if (!tensors_.emplace(*name, std::move(*tensor)).second) return invalid(what + ": appears twice");
  }
  const int64_t alignment = TRY(alignment_of(values_));
  return place_tensors(tensors_, in.position(), alignment, std::ssize(bytes_));
}

Result<Gguf> Gguf::open(const std::string& path) {
  MappedFile file = TRY(MappedFile::open(path));
  Gguf result = TRY(parse(file.bytes(), path));
  result.file_.push_back(std::move(file));
  return result;
}

std::span<const std::byte> Gguf::bytes(const GgufTensor& tensor) const {
  CHECK(0 <= tensor.begin && tensor.begin <= tensor.end && tensor.end <= std::ssize(bytes_), tensor.begin,
        tensor.end);
  return bytes_.subspan(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
}

Result<const GgufValue*> Gguf::find(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return not_found(path_ + ": key " + in_quotes(key) + " is missing");
  return &found->second;
}

Error Gguf::other_type(std::string_view key, std::string_view wanted) const {
  const GgufValue& value = values_.find(key)->second;
  std::string found(name_of(value.type));
  if (const auto* array = std::get_if<GgufArray>(&value.held))
    found += " of " + std::string(name_of(array->element));
  return invalid(path_ + ": key " + in_quotes(key) + " is " + found + ", not " + std::string(wanted));
}

Result<Tensor> Gguf::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return not_found(path_ + ": tensor " + in_quotes(name) + " is missing");
  const GgufTensor& entry = found->second;
  const std::optional<DType> dtype = dtype_of(*entry.type);
  if (!dtype) {
    return unsupported(path_ + ": tensor " + in_quotes(name) + " has type " + std::string(entry.type->name) +
                       ", which cannot be computed with");
  }
  // Nothing is written through it: the pages are mapped read-only.
  Tensor t(const_cast<std::byte*>(bytes(entry).data()), *dtype, {1});
  t.rank = std::max<int>(static_cast<int>(entry.sizes.size()), 1);
  int64_t step = 1;
  for (int i = 0; i < std::ssize(entry.sizes); ++i) {
    t.size[t.rank - 1 - i] = entry.sizes[i];
    t.stride[t.rank - 1 - i] = step;
    step *= entry.sizes[i];
  }
  return t;
}

Result<std::string_view> Gguf::text(std::string_view key) const {
  const GgufValue* value = TRY(find(key));
  if (const auto* held = std::get_if<std::string_view>(&value->held)) return *held;
  return other_type(key, "a string");
}

Result<int64_t> Gguf::integer(std::string_view key) const {
  const GgufValue* value = TRY(find(key));
  if (const auto* held = std::get_if<int64_t>(&value->held)) return *held;
  return other_type(key, "an integer below 2^63");
}

Result<double> Gguf::number(std::string_view key) const {
  const GgufValue* value = TRY(find(key));
  if (const auto* held = std::get_if<double>(&value->held)) return *held;
  if (const auto* held = std::get_if<int64_t>(&value->held)) return static_cast<double>(*held);
  if (const auto* held = std::get_if<uint64_t>(&value->held)) return static_cast<double>(*held);
  return other_type(key, "a number");
}

Result<bool> Gguf::boolean(std::string_view key) const {
  const GgufValue* value = TRY(find(key));
  if (const auto* held = std::get_if<bool>(&value->held)) return *held;
  return other_type(key, "a bool");
}

Result<const GgufArray*> Gguf::array(std::string_view key) const {
  const GgufValue* value = TRY(find(key));
  if (const auto* held = std::get_if<GgufArray>(&value->held)) return held;
  return other_type(key, "an array");
}

Result<std::span<const std::string_view>> Gguf::texts(std::string_view key) const {
  const GgufArray* held = TRY(array(key));
  if (held->element != GgufType::kString) return other_type(key, "an array of strings");
  return std::span<const std::string_view>(held->texts);
}

Result<std::vector<int64_t>> Gguf::integers(std::string_view key) const {
  const GgufArray* held = TRY(array(key));
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < held->count; ++i) {
    const std::optional<int64_t> width = width_of(held->element);
    const std::optional<int64_t> number =
        width ? as_integer(held->element, held->packed.data() + i * *width) : std::nullopt;
    if (!number) return other_type(key, "an array of integers below 2^63");
    numbers.push_back(*number);
  }
  return numbers;
}

Result<std::vector<float>> Gguf::floats(std::string_view key) const {
  const GgufArray* held = TRY(array(key));
  std::vector<float> numbers;
  for (int64_t i = 0; i < held->count; ++i) {
    const std::byte* packed = held->packed.data();
    if (held->element == GgufType::kFloat32) {
      numbers.push_back(load<float>(packed + i * 4));
    } else if (held->element == GgufType::kFloat64) {
      numbers.push_back(static_cast<float>(load<double>(packed + i * 8)));
    } else {
      for (const int64_t number : TRY(integers(key))) numbers.push_back(static_cast<float>(number));
      return numbers;
    }
  }
  return numbers;
}

}  // namespace heed
