#include "serving/text_side.h"

#include "base/file.h"
#include "formats/gguf.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

// Special tokens are plain strings or objects with a "content"; a template may use any of them.
void add_special_tokens(const OrderedJson& config, OrderedJson& variables) {
  for (const char* key :
       {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}) {
    const auto found = config.find(key);
    if (found == config.end()) continue;
    if (found->is_string()) variables[key] = *found;
    if (found->is_object() && found->contains("content")) variables[key] = (*found)["content"];
  }
}

// chat_template is a string, or a list of named ones of which "default" is meant.
std::optional<std::string> template_of(const OrderedJson& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const OrderedJson& entry : *found) {
    const bool named = entry.is_object() && entry.contains("name") && entry.contains("template");
    if (named && entry["name"] == "default" && entry["template"].is_string())
      return entry["template"].get<std::string>();
  }
  return std::nullopt;
}

Status load_chat_template(const std::string& folder, TextSide& side) {
  OrderedJson config = OrderedJson::object();
  const std::string config_path = folder + "/tokenizer_config.json";
  if (file_exists(config_path)) {
    const std::string text = TRY(read_file(config_path));
    config = TRY(parse_ordered_json(text, config_path));
  }
  if (!config.is_object()) return invalid(config_path + ": a JSON object is expected");
  add_special_tokens(config, side.template_variables);

  std::string where = folder + "/chat_template.jinja";
  std::optional<std::string> source;
  if (file_exists(where)) {
    source = TRY(read_file(where));
  } else {
    source = template_of(config);
    where = config_path + ": chat_template";
  }
  if (!source) return {};
  side.chat_template = TRY(ChatTemplate::parse(*source, where));
  side.chat_template_source = *source;
  return {};
}

// A GGUF file holds all of it.
Status load_gguf_text(const std::string& path, TextSide& side) {
  const Gguf gguf = TRY(Gguf::open(path));
  if (!gguf.has("tokenizer.ggml.model")) return {};
  const Json document = TRY(tokenizer_json_of_gguf(gguf));
  side.tokenizer = TRY(Tokenizer::from_json(document, path));
  const auto tokens = TRY(gguf.texts("tokenizer.ggml.tokens"));
  const std::pair<const char*, const char*> named[] = {{"bos_token", "bos_token_id"},
                                                       {"eos_token", "eos_token_id"},
                                                       {"pad_token", "padding_token_id"},
                                                       {"unk_token", "unknown_token_id"}};
  for (const auto& [variable, key] : named) {
    const std::string full = std::string("tokenizer.ggml.") + key;
    if (!gguf.has(full)) continue;
    const int64_t id = TRY(gguf.integer(full));
    if (id >= 0 && id < std::ssize(tokens))
      side.template_variables[variable] = tokens[static_cast<size_t>(id)];
  }
  if (!gguf.has("tokenizer.chat_template")) return {};
  const std::string source(TRY(gguf.text("tokenizer.chat_template")));
  side.chat_template = TRY(ChatTemplate::parse(source, path + ": tokenizer.chat_template"));
  side.chat_template_source = source;
  return {};
}

bool has_tokenizer(const std::string& folder) {
  return file_exists(folder + "/tokenizer.json") || file_exists(folder + "/tokenizer.model");
}

}  // namespace

Result<TextSide> load_text_side(const std::string& folder) {
  TextSide side;
  side.folder = folder;
  if (folder.ends_with(".gguf") && !is_directory(folder)) {
    TRY(load_gguf_text(folder, side));
    return side;
  }
  if (!has_tokenizer(folder)) return side;
  side.tokenizer = TRY(load_tokenizer(folder));
  TRY(load_chat_template(folder, side));
  return side;
}

Result<std::string> render_chat(const TextSide& side, const OrderedJson& variables) {
  if (!side.tokenizer)
    return invalid(side.folder +
                   ": no tokenizer.json or tokenizer.model, nor a GGUF file's vocabulary, so it cannot chat");
  if (!side.chat_template)
    return invalid(
        side.folder +
        ": no chat_template.jinja, and no chat_template in tokenizer_config.json or in a GGUF file");
  OrderedJson all = side.template_variables;
  all.update(variables);
  return side.chat_template->render(all);
}

Result<std::vector<int>> encode_chat(const TextSide& side, const std::string& rendered) {
  return side.tokenizer->encode(rendered, {.add_special = false});
}

}  // namespace heed
