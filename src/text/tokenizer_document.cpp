#include "text/tokenizer_document.h"

#include <utf8proc.h>

namespace heed {
namespace {

Json parts_around(const std::vector<PlacedToken>& before, int sequences,
                  const std::vector<PlacedToken>& after) {
  Json parts = Json::array();
  for (int i = 0; i < sequences; ++i) {
    for (const PlacedToken& token : before)
      parts.push_back({{"SpecialToken", {{"id", token.text}, {"type_id", i}}}});
    parts.push_back({{"Sequence", {{"id", i == 0 ? "A" : "B"}, {"type_id", i}}}});
    for (const PlacedToken& token : after)
      parts.push_back({{"SpecialToken", {{"id", token.text}, {"type_id", i}}}});
  }
  return parts;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(bytes.data());
  auto left = static_cast<utf8proc_ssize_t>(bytes.size());
  while (left > 0) {
    utf8proc_int32_t ignored = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(at, left, &ignored);
    if (length <= 0) return false;
    at += length;
    left -= length;
  }
  return true;
}

Json added_token(int64_t id, std::string_view content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

Json around_text(const std::vector<PlacedToken>& before, const std::vector<PlacedToken>& after) {
  if (before.empty() && after.empty()) return nullptr;
  Json tokens = Json::object();
  for (const auto* side : {&before, &after}) {
    for (const PlacedToken& token : *side) {
      tokens[token.text] = {{"id", token.text}, {"ids", {token.id}}, {"tokens", {token.text}}};
    }
  }
  return {{"type", "TemplateProcessing"},
          {"single", parts_around(before, 1, after)},
          {"pair", parts_around(before, 2, after)},
          {"special_tokens", std::move(tokens)}};
}

Json tokenizer_document(Json added_tokens, Json normalizer, Json pre_tokenizer, Json post_processor,
                        Json decoder, Json model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added_tokens)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", std::move(post_processor)},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

Json sequence(std::string_view member, std::vector<Json> parts) {
  if (parts.empty()) return nullptr;
  return {{"type", "Sequence"}, {std::string(member), std::move(parts)}};
}

Json replace_part(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

}  // namespace heed
