// Writes the bytes of SentencePiece models for tests.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "formats/sentencepiece.h"

namespace heed {

inline std::string proto_varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value % 128 + 128);
  return bytes + static_cast<char>(value);
}

inline std::string proto_number(int field, uint64_t value) {
  return proto_varint(static_cast<uint64_t>(field) << 3) + proto_varint(value);
}

inline std::string proto_bytes(int field, std::string_view bytes) {
  return proto_varint(static_cast<uint64_t>(field) << 3 | 2) + proto_varint(bytes.size()) +
         std::string(bytes);
}

inline std::string proto_float(int field, float value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return proto_varint(static_cast<uint64_t>(field) << 3 | 5) + bytes;
}

// One piece of a model, as the model's first field.
inline std::string piece_bytes(std::string_view text, float score = 0, int type = 1) {
  return proto_bytes(1,
                     proto_bytes(1, text) + proto_float(2, score) + (type == 1 ? "" : proto_number(3, type)));
}
inline std::string piece_bytes(std::string_view text, float score, PieceType type) {
  return piece_bytes(text, score, static_cast<int>(type));
}

inline std::string all_byte_pieces() {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += piece_bytes(byte_piece(byte), 0, PieceType::kByte);
  return bytes;
}

}  // namespace heed
