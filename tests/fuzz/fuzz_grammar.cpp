// Grammars from any bytes: the first byte says of which kind. What compiles must hold its promises on a short
// walk: a mask and accept() agree, rollback restores, and there is always a way on or an end.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "grammar/matcher.h"

namespace {

using namespace heed;

const TokenTrie& vocabulary() {
  static const TokenTrie trie = [] {
    std::vector<std::string> tokens = {""};
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* piece : {"{\"", "\": ", "\", \"", "\"}", "]}", "true", "ab", "10", "\\u00", "é"})
      tokens.emplace_back(piece);
    return TokenTrie(std::move(tokens), {0});
  }();
  return trie;
}

Result<Grammar> compile(uint8_t kind, std::string_view text) {
  GrammarLimits limits;
  limits.max_states = 5'000;
  limits.max_steps = 200'000;
  limits.max_rules = 500;
  limits.max_depth = 40;
  if (kind % 3 == 0) return Grammar::from_regex(text, limits);
  if (kind % 3 == 1) return Grammar::from_ebnf(text, limits);
  return Grammar::from_json_schema(TRY(parse_ordered_json(text, "schema")), limits);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t steps = data[1] % 24;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Result<Grammar> grammar = compile(data[0], text);
  if (!grammar.ok()) return 0;
  MaskCache masks(*grammar, vocabulary());
  Matcher matcher(masks, 8);
  std::vector<uint32_t> mask(static_cast<size_t>(vocabulary().mask_words()));
  std::vector<uint32_t> again(mask.size());
  for (size_t step = 0; step < steps && !matcher.has_ended(); ++step) {
    CHECK(matcher.fill_mask(mask), "a dead end");
    int32_t chosen = -1;
    for (int32_t token = 0; token < vocabulary().vocabulary_size(); ++token) {
      const bool allowed = (mask[static_cast<size_t>(token / 32)] >> (token % 32) & 1) != 0;
      const bool accepted = matcher.accept(token);
      CHECK(allowed == accepted, token);
      if (accepted) matcher.rollback(1);
      if (accepted && (chosen < 0 || (data[(step + static_cast<size_t>(token)) % size] & 1) != 0))
        chosen = token;
    }
    matcher.fill_mask(again);
    CHECK(mask == again, "rollback changed a mask");
    matcher.forced_text();
    CHECK(matcher.accept(chosen), chosen);
  }
  return 0;
}
