// The byte alphabet of byte-level BPE: every byte as one visible character, so that any bytes are a word.
//
// Bytes that are printable in Latin-1 stand for themselves, the other 68 are U+0100 and up in their order.
// Source: GPT-2's encoder.py, bytes_to_unicode.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace heed {

void append_byte_level(std::string& out, std::string_view bytes);
// The bytes that a token of the alphabet stands for; nothing if it has a character that is not of the
// alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace heed
