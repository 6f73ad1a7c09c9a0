#include "text/vocabulary_files.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/file.h"

namespace heed {
namespace {

constexpr const char* kLookedFor = "tokenizer.json, tokenizer.model, spiece.model or one *.gguf";

// What tokenizer_config.json beside a SentencePiece model says of bos and eos; Llama's habit (bos, no eos)
// for BPE and T5's (eos, no bos) for Unigram where it says nothing.
Result<SentencePieceOptions> options_beside(const std::filesystem::path& model_path,
                                            const SentencePieceModel& model) {
  const bool is_bpe = model.kind == SentencePieceModel::Kind::kBpe;
  SentencePieceOptions options{is_bpe && model.bos_id >= 0, !is_bpe && model.eos_id >= 0};
  const std::string path = model_path.parent_path() / "tokenizer_config.json";
  if (!file_exists(path)) return options;
  const Json config = TRY(read_json(path));
  if (!config.is_object()) return invalid(path + ": not a JSON object");
  for (const auto& [key, option] :
       {std::pair("add_bos_token", &options.add_bos), {"add_eos_token", &options.add_eos}}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    if (!found->is_boolean()) return invalid(path + ": " + key + " is not true or false");
    *option = found->get<bool>();
  }
  return options;
}

Result<Json> read_sentencepiece_json(const std::string& path) {
  const SentencePieceModel model = TRY(read_sentencepiece(path));
  const SentencePieceOptions options = TRY(options_beside(path, model));
  return tokenizer_json_of_sentencepiece(model, options, path);
}

Result<Json> read_gguf_json(const std::string& path) {
  const Gguf gguf = TRY(Gguf::open(path));
  return tokenizer_json_of_gguf(gguf);
}

Result<Json> read_vocabulary_file(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension();
  if (extension == ".json") return read_json(path);
  if (extension == ".gguf") return read_gguf_json(path);
  if (extension == ".model") return read_sentencepiece_json(path);
  return invalid(path +
                 ": not a vocabulary file; a tokenizer.json, a .gguf or a SentencePiece .model is read");
}

// The vocabulary file of a folder.
Result<std::string> find_vocabulary_file(const std::string& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "spiece.model"}) {
    const std::string path = std::filesystem::path(folder) / name;
    if (file_exists(path)) return path;
  }
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator item(folder, error), end; !error && item != end;
       item.increment(error)) {
    if (item->path().extension() == ".gguf") found.push_back(item->path());
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) return not_found(folder + ": no vocabulary; looked for " + kLookedFor);
  std::ranges::sort(found);
  return invalid(folder + ": " + std::to_string(found.size()) + " *.gguf files, " + found[0] +
                 " the first; name the one to read");
}

// The file that a path names, itself or as a folder.
Result<std::string> vocabulary_file_at(const std::string& path) {
  if (is_directory(path)) return find_vocabulary_file(path);
  if (file_exists(path)) return path;
  return not_found(path + ": no such file or folder; looked for " + kLookedFor +
                   " or a folder with one of them");
}

}  // namespace

Result<Json> read_tokenizer_json(const std::string& path) {
  const std::string file = TRY(vocabulary_file_at(path));
  return read_vocabulary_file(file);
}

Result<Tokenizer> load_tokenizer(const std::string& path) {
  const std::string file = TRY(vocabulary_file_at(path));
  const Json document = TRY(read_vocabulary_file(file));
  return Tokenizer::from_json(document, file);
}

}  // namespace heed
