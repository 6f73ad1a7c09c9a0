// The tokens <0x00> to <0xFF> of vocabularies that fall back to bytes.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "text/vocabulary.h"

namespace heed {

// Their ids by byte; -1 where the vocabulary lacks one.
std::array<int, 256> byte_token_ids(const Vocabulary& vocabulary);
// The byte that a token of this form stands for.
std::optional<char> byte_of_token(std::string_view token);

}  // namespace heed
