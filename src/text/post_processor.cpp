#include "text/post_processor.h"

#include "text/sequence.h"

namespace heed {

Result<PostProcessor> PostProcessor::of(const Json& json, const std::string& place) {
  PostProcessor processor;
  const auto add = [&](const JsonFields& fields) { return processor.add(fields); };
  TRY(for_each_in_sequence(json, place, "processors", add));
  return processor;
}

Status PostProcessor::add(const JsonFields& fields) {
  const std::string type = TRY(fields.text("type"));
  if (type == "ByteLevel") return {};  // it adjusts offsets only
  const bool pair = type == "BertProcessing" || type == "RobertaProcessing";
  if (type != "TemplateProcessing" && !pair) {
    return unsupported(
        fields.place() + ".type " + quoted_text(type) +
        " is unknown; accepted: TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing or "
        "Sequence");
  }
  if (!parts_.empty()) return unsupported(fields.place() + ": a second post-processor that adds tokens");
  return pair ? add_pair(fields) : add_template(fields);
}

Status PostProcessor::add_template(const JsonFields& fields) {
  const Json* pieces = TRY(fields.array("single"));
  const Json* tokens = TRY(fields.require("special_tokens"));
  const JsonFields specials = TRY(JsonFields::of(*tokens, fields.place() + ".special_tokens"));
  for (size_t i = 0; i < pieces->size(); ++i) {
    const std::string place = fields.place() + ".single[" + std::to_string(i) + "]";
    const JsonFields piece = TRY(JsonFields::of((*pieces)[i], place));
    if (const Json* text = piece.find("Sequence")) {
      const JsonFields sequence = TRY(JsonFields::of(*text, place + ".Sequence"));
      if (TRY(sequence.text("id")) != "A") return sequence.error("id", "A, the one text");
      parts_.push_back({true, {}});
      continue;
    }
    const Json* special = TRY(piece.require("SpecialToken"));
    const JsonFields named = TRY(JsonFields::of(*special, place + ".SpecialToken"));
    const std::string name = TRY(named.text("id"));
    const Json* definition = TRY(specials.require(name.c_str()));
    const JsonFields token =
        TRY(JsonFields::of(*definition, specials.place() + "[" + quoted_text(name) + "]"));
    const Json* ids = TRY(token.array("ids"));
    Part part{false, {}};
    for (const Json& id : *ids) {
      const std::optional<int> value = token_id(id);
      if (!value) return token.error("ids", "token ids");
      part.ids.push_back(*value);
    }
    parts_.push_back(std::move(part));
  }
  return {};
}

// cls, the text, sep; each given as [text, id].
Status PostProcessor::add_pair(const JsonFields& fields) {
  const auto id_of = [&](const char* name) -> Result<int> {
    const Json* entry = TRY(fields.require(name));
    const std::optional<int> id =
        entry->is_array() && entry->size() == 2 ? token_id((*entry)[1]) : std::optional<int>();
    if (!id) return fields.error(name, "[token, id]");
    return *id;
  };
  const int cls = TRY(id_of("cls"));
  const int sep = TRY(id_of("sep"));
  parts_ = {{false, {cls}}, {true, {}}, {false, {sep}}};
  return {};
}

std::vector<int> PostProcessor::apply(std::vector<int> ids, bool add_special) const {
  if (parts_.empty()) return ids;
  std::vector<int> result;
  result.reserve(ids.size() + parts_.size());
  for (const Part& part : parts_) {
    if (part.is_text) {
      result.insert(result.end(), ids.begin(), ids.end());
    } else if (add_special) {
      result.insert(result.end(), part.ids.begin(), part.ids.end());
    }
  }
  return result;
}

}  // namespace heed
