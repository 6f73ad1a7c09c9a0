// Vocabularies for the grammar tests: the bundled checkpoint's, and a small one of single bytes and some
// longer tokens.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/code_points.h"

namespace heed {

// Byte-level BPE writes each byte as a printable character: those that print as themselves, the others as the
// characters from U+0100 on, in order.
inline std::vector<int> byte_of_character() {
  std::vector<int> bytes(0x200, -1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes[static_cast<size_t>(prints ? byte : next++)] = byte;
  }
  return bytes;
}

// The token bytes of a byte-level tokenizer.json by id, special tokens empty; an error if it cannot be read.
inline Result<std::vector<std::string>> read_vocabulary(const std::string& path) {
  const Json document = TRY(read_json(path));
  const std::vector<int> bytes = byte_of_character();
  const Json& vocabulary = document.at("model").at("vocab");
  std::vector<std::string> tokens(vocabulary.size());
  for (const auto& [text, id] : vocabulary.items()) {
    std::string& token = tokens.at(id.get<size_t>());
    const std::vector<int32_t> characters = grammar::code_points(text).value_or(std::vector<int32_t>());
    for (const int32_t c : characters) {
      const int byte = c < 0x200 ? bytes[static_cast<size_t>(c)] : -1;
      if (byte >= 0) token += static_cast<char>(byte);
    }
  }
  for (const Json& added : document.at("added_tokens")) tokens.at(added.at("id").get<size_t>()).clear();
  return tokens;
}

// Token 0 is special and ends answers; then all bytes; then pieces that cross the borders of JSON's parts.
inline std::vector<std::string> small_vocabulary() {
  std::vector<std::string> tokens = {""};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* piece :
       {"{\"",  "\":",      "\": ",     "\",",   "\", \"",   "\"}",      "\"]",      "]}",    "}}",
        "},",   "}, {",     "[{",       "[]",    "{}",       "[\"",      "true",     "false", "null",
        "tr",   "ue",       " \"",      ", ",    ": ",       "\n  ",     "\n    \"", "  ",    "   ",
        "10",   "-1",       "0.5",      "e+10",  "1e",       "\\n",      "\\\"",     "\\u00", "d83d\\ude",
        "ab",   "abc",      "name",     "a\":1", "value\":", "\",\"b\"", "é",        "\xC3",  "\xA9x",
        "日本", "\xF0\x9F", "\x98\x80", "2024-", "-01",      "1.",       "00",       "]]]",   "}}}",
        "a,b",  "root",     "aa",       "aaa",   "aaaa"}) {
    tokens.emplace_back(piece);
  }
  return tokens;
}

}  // namespace heed
