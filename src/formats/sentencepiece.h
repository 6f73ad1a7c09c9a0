// SentencePiece models (`.model`): a protocol-buffers message of pieces and settings, read by our own wire
// reader.
//
// Only the wire format of the fields that tokenising needs is understood; all others are skipped. Strings are
// not checked to be UTF-8 here. Source: github.com/google/sentencepiece, src/sentencepiece_model.proto;
// protobuf.dev, "Encoding".
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

// The numbers are those of the file.
enum class PieceType : int { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SentencePieceModel {
  enum class Kind : int { kUnigram = 1, kBpe, kWord, kChar };

  std::vector<SentencePiece> pieces;  // by id
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  // Ids of the special pieces; -1 where the model has none. They are ids of `pieces` or -1.
  int unk_id = 0;
  int bos_id = 1;
  int eos_id = 2;
  int pad_id = -1;
  // How text is normalised before, by the settings of the normaliser; the map is the compiled one, empty for
  // none.
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string denormalizer_charsmap;
};

// Errors name `name` and the piece. A model without pieces, with an empty, repeated or unusable piece,
// without exactly one unknown piece, or with byte fallback but not all 256 byte pieces is an error.
Result<SentencePieceModel> parse_sentencepiece(std::span<const std::byte> bytes, const std::string& name);
Result<SentencePieceModel> read_sentencepiece(const std::string& path);

// "<0x0A>" for 10: how a byte piece is written.
std::string byte_piece(int byte);

}  // namespace heed
