#include <unistd.h>

#include <cstdio>

#include "cli/commands.h"
#include "text/tokenizer.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

struct TokenizeOptions {
  std::string model, text;
  bool from_stdin = false, no_special = false, decode = false;
};

// Either a JSON array of ids, or an object that holds one under "ids", as this command prints it.
Result<std::vector<int>> parse_ids(const std::string& input) {
  const Json document = TRY(parse_json(input, "token ids"));
  const Json& list = document.is_object() && document.contains("ids") ? document["ids"] : document;
  const Error wrong =
      invalid("token ids: a JSON array of ids, or an object with one under \"ids\", is expected");
  if (!list.is_array()) return wrong;
  std::vector<int> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX) return wrong;
    ids.push_back(id.get<int>());
  }
  return ids;
}

Status tokenize(const TokenizeOptions& o) {
  const Tokenizer tokenizer = TRY(load_tokenizer(o.model));
  const std::string input = o.from_stdin ? read_stdin() : o.text;
  if (!o.decode) {
    const std::vector<int> ids = TRY(tokenizer.encode(input, {.add_special = !o.no_special}));
    std::printf("%s\n", to_text(Json{{"ids", ids}}).c_str());
    return {};
  }
  const std::vector<int> ids = TRY(parse_ids(input));
  for (const int id : ids) {
    if (id >= tokenizer.vocab_size()) {
      return invalid("token id " + std::to_string(id) + " is outside the vocabulary of " +
                     std::to_string(tokenizer.vocab_size()));
    }
  }
  const std::string text = tokenizer.decode(ids, /*skip_special=*/o.no_special);
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (isatty(STDOUT_FILENO) != 0) std::printf("\n");
  return {};
}

}  // namespace

Command add_tokenize(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  auto o = std::make_shared<TokenizeOptions>();
  command
      ->add_option("MODEL", o->model, "Checkpoint folder, tokenizer.json, SentencePiece .model or GGUF file")
      ->required();
  CLI::Option* text = command->add_option("TEXT", o->text, "The text, or with --decode a JSON array of ids");
  command->add_flag("--stdin", o->from_stdin, "Read standard input instead, exactly as it is")
      ->excludes(text);
  command->add_flag("--no-special", o->no_special,
                    "Do not add special tokens; with --decode, leave them out");
  command->add_flag("--decode", o->decode, "Print the text of token ids");
  return {command, [o, text]() -> Status {
            if (!o->from_stdin && text->count() == 0) return invalid("tokenize: TEXT or --stdin is expected");
            return tokenize(*o);
          }};
}

}  // namespace heed
