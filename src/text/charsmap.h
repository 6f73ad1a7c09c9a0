// SentencePiece's precompiled character map: text rewritten piece by piece as the model's training did (NFKC
// and more).
//
// The map is a double-array trie (Darts-clone) from UTF-8 to offsets in a pool of zero-terminated
// replacements. The source bytes are a file's: every index is checked. Source: sentencepiece normalizer.cc,
// and the Rust crate spm_precompiled, whose rule it is to take the shortest prefix in the trie for a whole
// grapheme of up to 5 bytes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

class Charsmap {
 public:
  // `bytes`: uint32 size of the trie in bytes, the trie, the pool; all little-endian.
  static Result<Charsmap> from_bytes(std::string_view bytes);
  static Result<Charsmap> from_base64(std::string_view text);

  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view piece) const;

  std::vector<uint32_t> trie_;
  std::string pool_;
};

}  // namespace heed
