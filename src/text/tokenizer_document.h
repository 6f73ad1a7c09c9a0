// The parts of a tokenizer.json document that several vocabulary files need.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace heed {

// Whether the bytes are UTF-8: without overlong forms, surrogates or code points past U+10FFFF.
bool is_utf8(std::string_view bytes);

// A token that is cut out of the text before anything else. `special`: one that text from users must not
// spell.
Json added_token(int64_t id, std::string_view content, bool special);

struct PlacedToken {
  int64_t id;
  std::string text;
};

// A post-processor that puts tokens before and after the text; null where there are none.
Json around_text(const std::vector<PlacedToken>& before, const std::vector<PlacedToken>& after);

// All parts together.
Json tokenizer_document(Json added_tokens, Json normalizer, Json pre_tokenizer, Json post_processor,
                        Json decoder, Json model);

// One part of a list of parts: {"type": "Sequence", <member>: parts}, or null for none.
Json sequence(std::string_view member, std::vector<Json> parts);

// A normaliser or decoder that replaces every `from` by `to`.
Json replace_part(std::string_view from, std::string_view to);

}  // namespace heed
