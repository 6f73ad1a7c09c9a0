// Checkpoints that are wrong in one way each: every one ends in a one-line error that names the thing, and
// never in a crash or a hang. Runs in the sanitizer builds too.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "cli/conversation.h"
#include "engine/runner.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

constexpr int kVocab = 6;

Json good_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 8},
          {"vocab_size", kVocab},
          {"intermediate_size", 16},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"max_position_embeddings", 32},
          {"eos_token_id", 1},
          {"torch_dtype", "float32"}};
}

Json good_tokenizer() {
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"pre_tokenizer", {{"type", "Whitespace"}}},
          {"model",
           {{"type", "WordLevel"},
            {"unk_token", "?"},
            {"vocab", {{"?", 0}, {"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}}}}}};
}

// A checkpoint folder that loads; each test breaks one thing in it.
class Folder {
 public:
  Folder() : path(fs::temp_directory_path() / ("heed_bad_checkpoint_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
    write("config.json", good_config().dump());
    write("tokenizer.json", good_tokenizer().dump());
    const ModelSpec spec = read_spec(good_config(), "config.json").value();
    Weights weights;
    std::vector<std::vector<float>> values;
    for (const TensorNeed& need : needed_tensors(spec, weights)) {
      int64_t n = 1;
      for (const int64_t s : need.shape) n *= s;
      values.emplace_back(n, 0.01F);
      Tensor t(values.back().data(), DType::kF32, {n});
      if (need.shape.size() == 2)
        t = Tensor(values.back().data(), DType::kF32, {need.shape[0], need.shape[1]});
      tensors.push_back({need.name, t});
    }
    memory_ = std::move(values);
    save();
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
  }
  std::string read(const std::string& name) const { return read_file((path / name).string()).value(); }
  void save() const { ASSERT_TRUE(write_safetensors((path / "model.safetensors").string(), tensors).ok()); }
  void config(const char* field, const Json& value) const {
    Json c = good_config();
    c[field] = value;
    write("config.json", c.dump());
  }
  void tokenizer(const std::function<void(Json&)>& change) const {
    Json t = good_tokenizer();
    change(t);
    write("tokenizer.json", t.dump());
  }
  // Rewrites the header of model.safetensors, the data staying as it is.
  void header(const std::function<void(Json&)>& change) const {
    const std::string file = read("model.safetensors");
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    Json header = Json::parse(file.substr(8, length));
    change(header);
    raw_header(header.dump(), file.substr(8 + length));
  }
  void raw_header(std::string header, const std::string& data) const {
    while (header.size() % 8 != 0) header += ' ';
    const uint64_t length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    write("model.safetensors", file + header + data);
  }
  void header_length(uint64_t length) const {
    std::string file = read("model.safetensors");
    std::memcpy(file.data(), &length, 8);
    write("model.safetensors", file);
  }

  fs::path path;
  std::vector<NamedTensor> tensors;

 private:
  std::vector<std::vector<float>> memory_;
};

// Opens, loads and answers one prompt, as the commands do.
Status use(const std::string& folder) {
  Checkpoint checkpoint = TRY(open_checkpoint(folder));
  const TextSide text = TRY(load_text_side(folder));
  const auto runner = TRY(Runner::load(std::move(checkpoint), {.threads = 1}));
  Sequence sequence{.tokens = TRY(text.tokenizer->encode("a b e"))};
  TRY(runner->prefill(sequence, 1));
  return {};
}

struct Bad {
  const char* kind;
  std::function<void(Folder&)> break_it;
  const char* names;  // the error must say this
};

const char* const kQ = "model.layers.0.self_attn.q_proj.weight";

std::vector<Bad> bad_files() {
  return {
      {"no config", [](Folder& f) { fs::remove(f.path / "config.json"); }, "config.json"},
      {"config is a folder",
       [](Folder& f) {
         fs::remove(f.path / "config.json");
         fs::create_directory(f.path / "config.json");
       },
       "config.json"},
      {"empty config", [](Folder& f) { f.write("config.json", ""); }, "config.json: not valid JSON"},
      {"config cut short", [](Folder& f) { f.write("config.json", good_config().dump().substr(0, 40)); },
       "config.json: not valid JSON"},
      {"NaN in config",
       [](Folder& f) {
         f.write("config.json", R"({"architectures":["LlamaForCausalLM"],"rms_norm_eps":NaN})");
       },
       "config.json: not valid JSON"},
      {"invalid UTF-8 in config", [](Folder& f) { f.write("config.json", "{\"a\xff\": 1}"); },
       "config.json: not valid JSON"},
      {"number out of range", [](Folder& f) { f.write("config.json", R"({"hidden_size": 1e999})"); },
       "config.json"},
      {"deep JSON", [](Folder& f) { f.write("config.json", std::string(100000, '[')); }, "nested deeper"},
      {"config is a list", [](Folder& f) { f.write("config.json", "[]"); }, "a JSON object is expected"},
      {"unknown architecture", [](Folder& f) { f.config("architectures", {"Nope"}); }, "Nope"},
      {"zero heads", [](Folder& f) { f.config("num_attention_heads", 0); }, "num_attention_heads"},
      {"heads not divisible", [](Folder& f) { f.config("num_key_value_heads", 3); },
       "num_key_value_heads (3)"},
      {"too many layers", [](Folder& f) { f.config("num_hidden_layers", 2000000000); }, "num_hidden_layers"},
      {"one layer too many", [](Folder& f) { f.config("num_hidden_layers", 2); }, "model.layers.1"},
      {"head larger than any kernel", [](Folder& f) { f.config("head_dim", 16777216); }, "q_proj"},
      {"size as text", [](Folder& f) { f.config("hidden_size", "8"); }, "hidden_size"},
      {"infinite rope", [](Folder& f) { f.config("rope_theta", -1); }, "rope_theta"},
      {"negative eos", [](Folder& f) { f.config("eos_token_id", -1); }, "eos_token_id"},
      {"eos outside the vocabulary", [](Folder& f) { f.config("eos_token_id", kVocab); }, "eos_token_id 6"},
      {"wrong generation config",
       [](Folder& f) { f.write("generation_config.json", R"({"temperature": "hot"})"); }, "temperature"},
      {"no weights", [](Folder& f) { fs::remove(f.path / "model.safetensors"); }, "model.safetensors"},
  };
}

std::vector<Bad> bad_windows() {
  const auto mistral = [](Folder& f, const Json& window) {
    Json c = good_config();
    c.update({{"architectures", {"MistralForCausalLM"}}, {"sliding_window", window}});
    f.write("config.json", c.dump());
  };
  return {
      {"negative window", [=](Folder& f) { mistral(f, -4); }, "sliding_window is -4"},
      {"zero window", [=](Folder& f) { mistral(f, 0); }, "sliding_window is 0"},
      {"window of another type", [=](Folder& f) { mistral(f, Json::array({4})); }, "sliding_window is [4]"},
  };
}

std::vector<Bad> bad_tensors() {
  return {
      {"empty weights", [](Folder& f) { f.write("model.safetensors", ""); }, "model.safetensors"},
      {"header length past the file", [](Folder& f) { f.header_length(1 << 20); }, "model.safetensors"},
      {"header length 2^63", [](Folder& f) { f.header_length(uint64_t{1} << 63); }, "model.safetensors"},
      {"header length 2^64-1", [](Folder& f) { f.header_length(~uint64_t{0}); }, "model.safetensors"},
      {"header not JSON", [](Folder& f) { f.raw_header("{\"a\": ", ""); }, "model.safetensors"},
      {"deep header", [](Folder& f) { f.raw_header("{\"a\":" + std::string(5000, '['), ""); },
       "model.safetensors"},
      {"overlapping tensors", [](Folder& f) { f.header([](Json& h) {
                                                h[kQ]["data_offsets"] = {0, 256};
                                              }); },
       "model.safetensors"},
      {"offsets reversed", [](Folder& f) { f.header([](Json& h) {
                                             h[kQ]["data_offsets"] = {256, 0};
                                           }); },
       kQ},
      {"offsets past the end",
       [](Folder& f) { f.header([](Json& h) {
                         h[kQ]["data_offsets"] = {1 << 30, (1 << 30) + 256};
                       }); },
       "model.safetensors: tensor"},
      {"negative offset", [](Folder& f) { f.header([](Json& h) {
                                            h[kQ]["data_offsets"] = {-256, 0};
                                          }); },
       kQ},
      {"unknown dtype", [](Folder& f) { f.header([](Json& h) { h[kQ]["dtype"] = "F31"; }); }, kQ},
      {"integer weights", [](Folder& f) { f.header([](Json& h) { h[kQ]["dtype"] = "I32"; }); },
       "F32, BF16 or F16"},
      {"shape overflow",
       [](Folder& f) { f.header([](Json& h) {
                         h[kQ]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
                       }); },
       kQ},
      {"negative shape", [](Folder& f) { f.header([](Json& h) {
                                           h[kQ]["shape"] = {-8, -8};
                                         }); }, kQ},
      {"another shape", [](Folder& f) { f.header([](Json& h) {
                                          h[kQ]["shape"] = {4, 16};
                                        }); },
       "config.json asks for [8, 8]"},
      {"data cut short",
       [](Folder& f) {
         const std::string s = f.read("model.safetensors");
         f.write("model.safetensors", s.substr(0, s.size() - 4));
       },
       "model.safetensors"},
      {"missing tensor",
       [](Folder& f) {
         f.tensors.pop_back();
         f.save();
       },
       "is missing"},
      {"left-over tensor",
       [](Folder& f) {
         f.tensors.push_back({"model.extra.weight", f.tensors[0].tensor});
         f.save();
       },
       "model.extra.weight"},
      {"vocabulary larger than the embedding", [](Folder& f) { f.config("vocab_size", 100); },
       "embed_tokens"},
  };
}

const char* const kIndex = "model.safetensors.index.json";

void shard(Folder& f, const Json& weight_map) {
  fs::rename(f.path / "model.safetensors", f.path / "part.safetensors");
  f.write(kIndex, Json{{"weight_map", weight_map}}.dump());
}

Json full_map(const Folder& f) {
  Json map = Json::object();
  for (const NamedTensor& t : f.tensors) map[t.name] = "part.safetensors";
  return map;
}

std::vector<Bad> bad_shards() {
  return {
      {"missing shard",
       [](Folder& f) {
         Json m = full_map(f);
         m[kQ] = "gone.safetensors";
         shard(f, m);
       },
       "gone.safetensors"},
      {"shard outside the folder",
       [](Folder& f) {
         Json m = full_map(f);
         m[kQ] = "../part.safetensors";
         shard(f, m);
       },
       "not a plain file name"},
      {"index promises too much",
       [](Folder& f) {
         Json m = full_map(f);
         m["x"] = "part.safetensors";
         shard(f, m);
       },
       "tensor x"},
      {"index promises too little",
       [](Folder& f) {
         Json m = full_map(f);
         m.erase(kQ);
         shard(f, m);
       },
       kQ},
      {"index without a map", [](Folder& f) { shard(f, 3); }, "weight_map"},
  };
}

std::vector<Bad> bad_text() {
  return {
      {"truncated tokenizer",
       [](Folder& f) { f.write("tokenizer.json", good_tokenizer().dump().substr(0, 100)); },
       "tokenizer.json"},
      {"tokenizer without a model", [](Folder& f) { f.tokenizer([](Json& t) { t.erase("model"); }); },
       "model"},
      {"tokenizer of unknown type",
       [](Folder& f) { f.tokenizer([](Json& t) { t["model"]["type"] = "Magic"; }); }, "Magic"},
      {"negative id", [](Folder& f) { f.tokenizer([](Json& t) { t["model"]["vocab"]["a"] = -1; }); },
       "tokenizer.json"},
      {"huge id",
       [](Folder& f) { f.tokenizer([](Json& t) { t["model"]["vocab"]["a"] = int64_t{1} << 40; }); },
       "tokenizer.json"},
      {"invalid UTF-8 in the vocabulary",
       [](Folder& f) { f.write("tokenizer.json", "{\"model\":{\"vocab\":{\"\xc3\x28\":0}}}"); },
       "tokenizer.json"},
      {"deep tokenizer", [](Folder& f) { f.write("tokenizer.json", std::string(200000, '{')); },
       "tokenizer.json"},
      {"token outside the model's vocabulary",
       [](Folder& f) { f.tokenizer([](Json& t) { t["model"]["vocab"]["e"] = 77; }); }, "token id 77"},
      {"template with a syntax error", [](Folder& f) { f.write("chat_template.jinja", "{% if %}"); },
       "chat_template.jinja"},
      {"tokenizer_config is a list", [](Folder& f) { f.write("tokenizer_config.json", "[1]"); },
       "tokenizer_config.json"},
  };
}

TEST(BadCheckpoint, the_good_one_works) {
  const Folder folder;
  const Status status = use(folder.path.string());
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
}

TEST(BadCheckpoint, a_path_that_is_no_folder_is_named) {
  EXPECT_NE(use("/no/such/folder").error().message.find("/no/such/folder"), std::string::npos);
}

TEST(BadCheckpoint, every_kind_gives_one_line_that_names_the_thing) {
  int kinds = 0;
  for (const auto& group : {bad_files(), bad_windows(), bad_tensors(), bad_shards(), bad_text()}) {
    for (const Bad& bad : group) {
      Folder folder;
      bad.break_it(folder);
      const Status status = use(folder.path.string());
      ++kinds;
      ASSERT_FALSE(status.ok()) << bad.kind;
      const std::string& message = status.error().message;
      EXPECT_NE(message.find(bad.names), std::string::npos) << bad.kind << ": " << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << bad.kind << ": " << message;
      EXPECT_LT(message.size(), 1000) << bad.kind;
    }
  }
  std::printf("%d kinds of bad checkpoint refused\n", kinds);
  EXPECT_GE(kinds, 30);
}

}  // namespace
}  // namespace heed
