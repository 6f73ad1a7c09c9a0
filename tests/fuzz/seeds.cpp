// Writes the first inputs of the fuzz targets: small files of each format, one folder per target.
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/file.h"
#include "dialects/dialect.h"
#include "formats/safetensors.h"
#include "tests/formats/gguf_model.h"
#include "tests/formats/sentencepiece_bytes.h"
#include "tests/media/pictures.h"
#include "text/vocabulary_files.h"

namespace heed {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& root, const char* target) {
  std::filesystem::create_directories(root / target);
  return root / target;
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  const Status written = write_file(path, bytes);
  CHECK(written.ok(), written.error().message);
}

void write_safetensors_seeds(const std::filesystem::path& folder) {
  float values[6] = {1, 2, 3, 4, 5, 6};
  uint8_t bytes[3] = {1, 2, 3};
  const Status written = write_safetensors(
      folder / "two.safetensors",
      {{"a.weight", Tensor(values, DType::kF32, {2, 3})}, {"b", Tensor(bytes, DType::kU8, {3})}});
  CHECK(written.ok(), written.error().message);
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})";
  write(folder / "metadata.safetensors", raw(static_cast<uint64_t>(header.size())) + header + "x");
}

GgufBytes vocabulary(const char* model, const std::vector<std::string>& tokens,
                     const std::vector<int32_t>& types) {
  GgufBytes file;
  file.key("tokenizer.ggml.model", model).key("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.scores", GgufType::kFloat32, std::vector<float>(tokens.size(), -1));
  file.numbers("tokenizer.ggml.token_type", GgufType::kInt32, types);
  for (const char* key : {"bos_token_id", "seperator_token_id", "unknown_token_id"}) {
    file.key("tokenizer.ggml." + std::string(key), GgufType::kUint32, raw(uint32_t{0}));
  }
  return file;
}

std::vector<std::pair<std::string, GgufBytes>> vocabularies() {
  std::vector<std::pair<std::string, GgufBytes>> files;
  const std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 4};
  files.emplace_back("llama", vocabulary("llama", {"<unk>", "<s>", "</s>", "a", "b", "ab", "<x>"}, types));
  files.emplace_back("t5", vocabulary("t5", {"<pad>", "</s>", "<unk>", "a", "b", "ab", "<x>"}, types));
  files.emplace_back(
      "bert", vocabulary("bert", {"[UNK]", "[CLS]", "[SEP]", "\u2581a", "b", "\u2581ab", "[x]"}, types));
  for (const char* pre : {"gpt-2", "llama-bpe", "qwen2", "deepseek-coder", "gpt-4o"}) {
    GgufBytes file = vocabulary("gpt2", {"<end>", "<s>", "</s>", "a", "b", "ab", "<x>"}, types);
    file.key("tokenizer.ggml.pre", pre).key("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
    files.emplace_back(pre, file);
  }
  GgufBytes gemma4 = vocabulary("gemma4", {"<unk>", "<s>", "</s>", "a", "b", "ab", "<x>"}, types);
  gemma4.key("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  files.emplace_back("gemma4", gemma4);
  return files;
}

void write_gguf_seeds(const std::filesystem::path& gguf_folder, const std::filesystem::path& json_folder) {
  GgufBytes tensors;
  tensors.key("general.alignment", GgufType::kUint32, raw(uint32_t{32}))
      .key("n", GgufType::kArray, gguf_array(GgufType::kArray, 1) + gguf_array(GgufType::kBool, 1) + "\1");
  tensors.tensor("w", {32, 2}, 8, 0).tensor("v", {3}, 0, 96).data = std::string(108, 'd');
  write(gguf_folder / "tensors.gguf", tensors.bytes());
  write(gguf_folder / "model.gguf", GgufModelBytes().bytes());
  write(gguf_folder / "qwen35.gguf", GgufModelBytes::qwen35().bytes());
  write(gguf_folder / "llama4.gguf", GgufModelBytes::llama4().bytes());
  for (const auto& [name, file] : vocabularies()) {
    const std::string bytes = file.bytes();
    write(gguf_folder / (name + ".gguf"), bytes);
    const auto gguf = Gguf::parse(std::as_bytes(std::span(bytes)), name);
    CHECK(gguf.ok(), gguf.error().message);
    const auto document = tokenizer_json_of_gguf(*gguf);
    CHECK(document.ok(), document.error().message);
    write(json_folder / (name + ".json"), to_text(*document));
  }
}

void write_sentencepiece_seeds(const std::filesystem::path& folder) {
  const std::string pieces =
      piece_bytes("<unk>", 0, PieceType::kUnknown) + piece_bytes("<s>", 0, PieceType::kControl) +
      piece_bytes("</s>", 0, PieceType::kControl) + piece_bytes("a", -1) + piece_bytes("b", -2) +
      piece_bytes("ab", -3) + piece_bytes("<x>", 0, PieceType::kUserDefined);
  write(folder / "bpe.model",
        pieces + proto_bytes(2, proto_number(3, 2)) + proto_bytes(3, proto_number(4, 0)));
  write(folder / "unigram.model",
        pieces + proto_bytes(3, proto_bytes(2, "map")) + proto_bytes(5, proto_number(9, 1)));
  write(folder / "bytes.model",
        pieces + all_byte_pieces() + proto_bytes(2, proto_number(3, 2) + proto_number(35, 1)));
}

// Two bytes that choose the route and how the client leaves, then a body.
void write_api_seeds(const std::filesystem::path& folder) {
  const std::string user = R"("messages":[{"role":"user","content":"Who?"}])";
  const std::string tool =
      R"({"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}})";
  const std::vector<std::string> chats = {
      "{" + user + R"(,"stream":true,"n":2,"logprobs":true,"top_logprobs":2,"seed":1})",
      "{" + user + R"(,"tools":[)" + tool + R"(],"tool_choice":"required","parallel_tool_calls":false})",
      "{" + user +
          R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}})",
      R"({"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"x"}]}]})",
      "{" + user + R"(,"chat_template_kwargs":{"a":1},"reasoning_effort":"low","stop":["a","b"]})"};
  const std::vector<std::string> completions = {
      R"({"prompt":"To be","echo":true,"logprobs":1,"max_tokens":0})",
      R"({"prompt":[[5,6],[7]],"stream":true,"stream_options":{"include_usage":true},"n":2})",
      R"({"prompt":["a","b"],"logit_bias":{"5":-100},"bad_words":["a"],"allowed_token_ids":[5,6],"min_tokens":2})",
      R"({"prompt":"x","guided_regex":"(ab)+c?","temperature":1.5,"top_k":3,"top_p":0.5,"min_p":0.1})",
      R"({"prompt":"x","structured_outputs":{"choice":["yes","no"]},"stop_token_ids":[9],"prompt_logprobs":1})"};
  for (size_t i = 0; i < chats.size(); ++i)
    write(folder / ("chat" + std::to_string(i)), std::string(1, '\0') + static_cast<char>(i) + chats[i]);
  for (size_t i = 0; i < completions.size(); ++i)
    write(folder / ("completion" + std::to_string(i)),
          "\1" + std::string(1, static_cast<char>(i)) + completions[i]);
  write(folder / "tokenize", std::string("\2\0{\"prompt\":\"To be\",\"return_token_strs\":true}", 45));
  write(folder / "detokenize", std::string("\3\0{\"tokens\":[5,6]}", 18));
}

void write_multipart_seeds(const std::filesystem::path& folder) {
  const std::string purpose = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";
  const std::string file =
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in \\\"1\\\".jsonl\"\r\n"
      "Content-Type: application/octet-stream\r\n\r\n{}\n\r\n--b";
  const std::string type = "multipart/form-data; boundary=\"b\"\n";
  write(folder / "upload", type + purpose + file + "--\r\n");
  write(folder / "cut", type + purpose + file);
}

void write_http_seeds(const std::filesystem::path& folder) {
  write(folder / "get",
        "\x40GET /v1//models/?a=%20 HTTP/1.1\r\nHost: [::1]:80\r\nAuthorization: Basic OmE=\r\n\r\n");
  write(folder / "post",
        "\x80POST http://h/a%2Fb HTTP/1.0\r\nContent-Length: 3\r\nx-api-key: k\r\n\r\nabcGET /");
  write(folder / "chunked",
        "\xc0POST /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        "3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\n");
}

// A byte that picks the form and one for the cuts, then an answer.
void write_dialect_seeds(const std::filesystem::path& folder) {
  const std::vector<std::pair<std::string, std::string>> answers = {
      {"hermes",
       "<think>\nHm\n</think>\n\nA <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": "
       "\"}\\\"\"}}\n</tool_call> b"},
      {"hermes", "<tool_call>{\"arguments\":\"{\\\"a\\\":1}\",\"name\":\"f\"}<tool_call>[{}]"},
      {"llama3_json",
       "{\"name\": \"f\", \"parameters\": {}}; {\"type\": \"function\", \"name\": \"f\", \"parameters\": "
       "{}}"},
      {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": [1]}}]"},
      {"mistral_args", "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]f[CALL_ID]1[ARGS]{\"a\":1}"},
      {"qwen3_coder",
       "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n[1]\n</parameter>\n</"
       "function>\n</tool_call>"},
      {"glm45", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>"},
      {"minimax_m2",
       "<minimax:tool_call><invoke name=\"f\"><parameter "
       "name=\"b\">3</parameter></invoke></minimax:tool_call>"},
      {"gemma", "<|tool_call>call:f{a:<|\"|>x<|\"|>,b:[1,{c:\"\\u00e9\"}]}<tool_call|>"},
      {"functiongemma",
       "<start_function_call>call:f{a:<escape>x<escape>,b:<escape>3<escape>}<end_function_call>"},
      {"pythonic", "[f(a='x\\'', b=[1, {'c': None}]), f()]"},
      {"deepseek_v3",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<"
       "｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {"kimi_k2",
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_"
       "call_end|><|tool_calls_section_end|>"},
      {"harmony", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"}};
  const std::vector<std::string> forms = tool_form_names();
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto form = std::find(forms.begin(), forms.end(), answers[i].first);
    CHECK(form != forms.end(), answers[i].first);
    write(folder / std::to_string(i),
          std::string(1, static_cast<char>(form - forms.begin())) + "\4" + answers[i].second);
  }
}

void write_picture_seeds(const std::filesystem::path& folder) {
  for (const std::string& name : picture_names()) write(folder / name, picture(name));
}

void write_media_url_seeds(const std::filesystem::path& folder) {
  const std::vector<std::string> references = {"data:image/png;base64,iVBORw0KGgo=",
                                               "data:,%41b",
                                               "http://good.example/a%20b.png?x=1",
                                               "https://a.sub.example:443/",
                                               "http://[::ffff:127.0.0.1]:80/x",
                                               "http://127.0.0.1/",
                                               "http://0x7f.1",
                                               "http://localhost:8080?x",
                                               "file:///nowhere/%2e%2e/a.png",
                                               "file://localhost/nowhere/x"};
  for (size_t i = 0; i < references.size(); ++i) write(folder / std::to_string(i), references[i]);
}

}  // namespace
}  // namespace heed

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  const std::filesystem::path root = argv[1];
  heed::write_safetensors_seeds(heed::folder_of(root, "fuzz_safetensors"));
  heed::write_gguf_seeds(heed::folder_of(root, "fuzz_gguf"), heed::folder_of(root, "fuzz_tokenizer_json"));
  heed::write_sentencepiece_seeds(heed::folder_of(root, "fuzz_sentencepiece"));
  heed::write_api_seeds(heed::folder_of(root, "fuzz_api"));
  heed::write_multipart_seeds(heed::folder_of(root, "fuzz_multipart"));
  heed::write_http_seeds(heed::folder_of(root, "fuzz_http"));
  heed::write_dialect_seeds(heed::folder_of(root, "fuzz_dialects"));
  heed::write_picture_seeds(heed::folder_of(root, "fuzz_pictures"));
  heed::write_media_url_seeds(heed::folder_of(root, "fuzz_media_url"));
  return 0;
}
