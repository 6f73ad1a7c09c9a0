#include "formats/sentencepiece.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/file.h"
#include "formats/in_quotes.h"

namespace heed {
namespace {

enum WireType : int { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// One field of a message: its number and its value, which is `bytes` for the wire type kBytes, else `number`.
struct Field {
  int number = 0;
  int wire = kVarint;
  uint64_t value = 0;
  std::string_view bytes;

  bool is(int wanted_number, int wanted_wire) const { return number == wanted_number && wire == wanted_wire; }
  int32_t as_int32() const { return static_cast<int32_t>(static_cast<uint32_t>(value)); }
  float as_float() const { return std::bit_cast<float>(static_cast<uint32_t>(value)); }
};

// Walks the fields of one message, checking each against the bytes that are left.
class Message {
 public:
  explicit Message(std::string_view bytes) : left_(bytes) {}

  bool done() const { return left_.empty(); }

  Result<Field> next() {
    const uint64_t tag = TRY(varint());
    const uint64_t number = tag >> 3;
    if (number == 0 || number >= (uint64_t{1} << 29))
      return invalid("not a protocol buffer: field number out of range");
    Field field;
    field.number = static_cast<int>(number);
    field.wire = static_cast<int>(tag & 7);
    switch (field.wire) {
      case kVarint:
        field.value = TRY(varint());
        break;
      case kFixed64:
        field.value = TRY(fixed<uint64_t>());
        break;
      case kFixed32:
        field.value = TRY(fixed<uint32_t>());
        break;
      case kBytes:
        field.value = TRY(varint());
        field.bytes = TRY(take(field.value));
        break;
      default:
        return invalid("not a protocol buffer: wire type " + std::to_string(field.wire));
    }
    return field;
  }

 private:
  Result<std::string_view> take(uint64_t count) {
    if (count > left_.size()) {
      return invalid("not a protocol buffer, or cut short: a field of " + std::to_string(count) +
                     " bytes where " + std::to_string(left_.size()) + " are left");
    }
    const std::string_view part = left_.substr(0, count);
    left_.remove_prefix(count);
    return part;
  }

  template <class T>
  Result<T> fixed() {
    T value;
    std::memcpy(&value, TRY(take(sizeof value)).data(), sizeof value);
    return value;
  }

  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = static_cast<unsigned char>(TRY(take(1))[0]);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    return invalid("not a protocol buffer: a number of more than 10 bytes");
  }

  std::string_view left_;
};

Result<SentencePiece> read_piece(std::string_view bytes) {
  SentencePiece piece;
  int type = 1;
  for (Message message(bytes); !message.done();) {
    const Field field = TRY(message.next());
    if (field.is(1, kBytes)) piece.text = field.bytes;
    if (field.is(2, kFixed32)) piece.score = field.as_float();
    if (field.is(3, kVarint)) type = field.as_int32();
  }
  if (piece.text.empty()) return invalid("its text is empty");
  if (!std::isfinite(piece.score)) return invalid("its score is not a finite number");
  if (type < 1 || type > 6) return invalid("type " + std::to_string(type) + ", known are 1 to 6");
  piece.type = static_cast<PieceType>(type);
  return piece;
}

Status read_trainer(std::string_view bytes, SentencePieceModel& model) {
  int kind = static_cast<int>(model.kind);
  for (Message message(bytes); !message.done();) {
    const Field field = TRY(message.next());
    if (field.is(3, kVarint)) kind = field.as_int32();
    if (field.is(24, kVarint)) model.treat_whitespace_as_suffix = field.value != 0;
    if (field.is(35, kVarint)) model.byte_fallback = field.value != 0;
    if (field.is(40, kVarint)) model.unk_id = field.as_int32();
    if (field.is(41, kVarint)) model.bos_id = field.as_int32();
    if (field.is(42, kVarint)) model.eos_id = field.as_int32();
    if (field.is(43, kVarint)) model.pad_id = field.as_int32();
  }
  if (kind < 1 || kind > 4) return invalid("model type " + std::to_string(kind) + ", known are 1 to 4");
  model.kind = static_cast<SentencePieceModel::Kind>(kind);
  return {};
}

Status read_normalizer(std::string_view bytes, SentencePieceModel& model) {
  for (Message message(bytes); !message.done();) {
    const Field field = TRY(message.next());
    if (field.is(2, kBytes)) model.precompiled_charsmap = field.bytes;
    if (field.is(3, kVarint)) model.add_dummy_prefix = field.value != 0;
    if (field.is(4, kVarint)) model.remove_extra_whitespaces = field.value != 0;
    if (field.is(5, kVarint)) model.escape_whitespaces = field.value != 0;
  }
  return {};
}

Status read_denormalizer(std::string_view bytes, SentencePieceModel& model) {
  for (Message message(bytes); !message.done();) {
    const Field field = TRY(message.next());
    if (field.is(2, kBytes)) model.denormalizer_charsmap = field.bytes;
  }
  return {};
}

Result<SentencePieceModel> read_model(std::string_view bytes) {
  SentencePieceModel model;
  for (Message message(bytes); !message.done();) {
    const Field field = TRY(message.next());
    if (field.is(1, kBytes)) {
      Result<SentencePiece> piece = read_piece(field.bytes);
      if (!piece.ok()) return std::move(piece).error().within("piece " + std::to_string(model.pieces.size()));
      model.pieces.push_back(std::move(*piece));
    }
    if (field.is(2, kBytes)) TRY(read_trainer(field.bytes, model));
    if (field.is(3, kBytes)) TRY(read_normalizer(field.bytes, model));
    if (field.is(5, kBytes)) TRY(read_denormalizer(field.bytes, model));
  }
  return model;
}

Status check_pieces(const SentencePieceModel& model) {
  std::unordered_map<std::string_view, PieceType> types;
  int unknown_pieces = 0;
  int byte_pieces = 0;
  for (const SentencePiece& piece : model.pieces) {
    const std::string what = "piece " + in_quotes(piece.text);
    if (!types.emplace(piece.text, piece.type).second) return invalid(what + " appears twice");
    if (piece.type == PieceType::kUnknown) ++unknown_pieces;
    if (piece.type == PieceType::kByte) ++byte_pieces;
  }
  if (unknown_pieces != 1) {
    return invalid(std::to_string(unknown_pieces) + " pieces are of type unknown, exactly one is needed");
  }
  for (int byte = 0; byte < 256 && (model.byte_fallback || byte_pieces > 0); ++byte) {
    const auto found = types.find(byte_piece(byte));
    if (found == types.end() || found->second != PieceType::kByte) {
      return invalid("the byte piece " + in_quotes(byte_piece(byte)) + " is missing, bytes need all 256");
    }
  }
  if (byte_pieces > 256) return invalid("more than 256 pieces are of type byte");
  return {};
}

// Models carry the defaults of bos and eos also where they have no such piece: only ids of the right type
// count.
void settle_special_ids(SentencePieceModel& model) {
  const auto keep = [&](int& id, PieceType type) {
    const bool exists = id >= 0 && id < std::ssize(model.pieces);
    if (!exists || model.pieces[static_cast<size_t>(id)].type != type) id = -1;
  };
  keep(model.bos_id, PieceType::kControl);
  keep(model.eos_id, PieceType::kControl);
  keep(model.pad_id, PieceType::kControl);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (model.pieces[id].type == PieceType::kUnknown) model.unk_id = static_cast<int>(id);
  }
}

}  // namespace

std::string byte_piece(int byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  CHECK(byte >= 0 && byte < 256, byte);
  return std::string("<0x") + kDigits[static_cast<size_t>(byte / 16)] +
         kDigits[static_cast<size_t>(byte % 16)] + ">";
}

Result<SentencePieceModel> parse_sentencepiece(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Result<SentencePieceModel> model = read_model(text);
  if (!model.ok()) return std::move(model).error().within(name + ": not a SentencePiece model");
  if (model->pieces.empty()) return invalid(name + ": not a SentencePiece model: no pieces");
  Status checked = check_pieces(*model);
  if (!checked.ok()) return std::move(checked).error().within(name);
  settle_special_ids(*model);
  return model;
}

Result<SentencePieceModel> read_sentencepiece(const std::string& path) {
  const MappedFile file = TRY(MappedFile::open(path));
  return parse_sentencepiece(file.bytes(), path);
}

}  // namespace heed
