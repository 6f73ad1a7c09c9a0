// The `heed` binary as a person or a script meets it: results on stdout, one line of error on stderr, exit
// statuses.
#include <cmath>

#include "formats/safetensors.h"
#include "tests/cli/running.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

const std::string kRnj1 = golden_folder("rnj1");

TEST(CommandLine, help_and_version_answer_and_exit_with_0) {
  EXPECT_EQ(heed("--version").out, "heed 0.1.0\n");
  const Ran help = heed("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* command : {"chat", "complete", "score", "tokenize", "inspect"}) {
    EXPECT_NE(help.out.find(command), std::string::npos);
    EXPECT_EQ(heed(std::string(command) + " --help").status, 0);
  }
}

TEST(CommandLine, options_come_from_a_file_and_from_the_environment_too) {
  const std::string file = temporary("settings.toml");
  const auto tokens = [&](const std::string& before, const std::string& options) {
    const Ran ran =
        heed_with(before, "complete " + kBard + " 'To be' --json --ignore-eos --temperature 0 " + options);
    return json_of(ran).at("usage").at("completion_tokens").get<int>();
  };
  ASSERT_TRUE(write_file(file, "max-tokens = 4\n").ok());
  EXPECT_EQ(tokens("HEED_MAX_TOKENS=3", ""), 3);
  EXPECT_EQ(tokens("HEED_MAX_TOKENS=3", "--config " + file), 4);
  EXPECT_EQ(tokens("HEED_MAX_TOKENS=3", "--max-tokens 5 --config " + file), 5);
  ASSERT_TRUE(write_file(file, "[complete]\nmax-tokens = 6\n").ok());
  EXPECT_EQ(tokens("", "--config " + file), 6);

  ASSERT_TRUE(write_file(file, "max-tokenz = 4\n").ok());
  const Ran wrong = heed("complete " + kBard + " x --config " + file);
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("max-tokenz"), std::string::npos) << wrong.err;
  EXPECT_NE(heed_with("HEED_MAX_TOKENS=many", "complete " + kBard + " x").status, 0);
  std::filesystem::remove(file);
}

TEST(CommandLine, wrong_usage_exits_with_2_and_one_line) {
  for (const char* wrong : {"", "fly", "complete", "complete m --dtype int7", "complete m --threads 0",
                            "complete m --cpu-affinity 0-x", "score m --last 0", "complete m p --token-ids f",
                            "complete m --no-such-option", "tokenize"}) {
    const Ran ran = heed(wrong);
    EXPECT_EQ(ran.status, 2) << wrong << ": " << ran.err;
    EXPECT_EQ(ran.out, "") << wrong;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << wrong << ": " << ran.err;
  }
}

TEST(CommandLine, failures_exit_with_1_and_one_line_that_names_the_thing) {
  const std::pair<std::string, std::string> cases[] = {
      {"inspect /no/such/model", "/no/such/model"},
      {"complete " + kBard + " hello --backend tpu", "\"tpu\""},
      {"complete " + kBard + " hello --attention cpu.magic", "ref.naive"},
      {"complete " + kBard + " hello --temperature -1", "temperature"},
      {"complete " + kBard + " hello --top-p 2", "top_p"},
      {"complete " + kRnj1 + " hello", "--token-ids"},
      {"chat " + kRnj1, "cannot chat"},
      {"tokenize " + kRnj1 + " hello", "tokenizer.json"},
      {"tokenize " + kBard + " --decode [9999999]", "9999999"},
      {"tokenize " + kBard + " --decode nonsense", "token ids"},
      {"score " + kBard, "--token-ids FILE or --text FILE"},
  };
  for (const auto& [arguments, names] : cases) {
    const Ran ran = heed(arguments, "hello\n");
    EXPECT_EQ(ran.status, 1) << arguments << ": " << ran.err;
    EXPECT_NE(ran.err.find(names), std::string::npos) << arguments << ": " << ran.err;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << arguments << ": " << ran.err;
    EXPECT_EQ(ran.out, "") << arguments;
  }
}

TEST(CommandLine, chat_answers_each_line_of_a_pipe) {
  const Ran ran = heed("chat " + kBard + " --temperature 0 --dtype float32",
                       "Who's there?\n\nDost thou love me?\n/exit\nmore\n");
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 2) << ran.out;
  EXPECT_TRUE(ran.out.starts_with("The king's, my lord.\n")) << ran.out;
  EXPECT_EQ(ran.err, "");
}

TEST(CommandLine, complete_gives_the_golden_answers_as_json) {
  int cases = 0;
  for (const Json& golden : read_json(kBard + "/golden.json").value()) {
    if (!golden.contains("user") || !golden["user"].is_string()) continue;
    const std::string prompt = temporary("prompt");
    const Ran ran =
        heed("complete " + kBard + " --chat --json --temperature 0 --dtype float32", golden["user"]);
    const Json result = json_of(ran);
    EXPECT_EQ(result["prompt_token_ids"], golden["prompt_ids"]);
    EXPECT_EQ(result["token_ids"], golden["greedy"]);
    EXPECT_EQ(result["text"], golden["text"]);
    EXPECT_EQ(result["finish_reason"], "stop");
    EXPECT_EQ(result["usage"]["completion_tokens"], golden["greedy"].size());
    EXPECT_TRUE(result["timings"].contains("decode_seconds"));
    ++cases;
  }
  EXPECT_GE(cases, 4);
}

TEST(CommandLine, a_model_without_a_tokenizer_is_driven_by_ids) {
  const Golden golden = read_golden("rnj1");
  const std::string file = file_with("ids", golden.input);
  const Json result = json_of(heed("complete " + kRnj1 + " --token-ids " + file +
                                   " --max-tokens 48 --temperature 0 --ignore-eos --json"));
  EXPECT_EQ(result["token_ids"].get<std::vector<int>>(), golden.greedy);
  EXPECT_EQ(result["finish_reason"], "length");
  std::filesystem::remove(file);
}

TEST(CommandLine, stop_strings_end_the_text_and_never_show) {
  const std::string common =
      "complete " + kBard + " \"Who's there?\" --chat --temperature 0 --dtype float32 ";
  EXPECT_EQ(heed(common + "--stop \"my lo\"").out, "The king's, \n");
  EXPECT_EQ(json_of(heed(common + "--stop \"my lo\" --json"))["finish_reason"], "stop");
  EXPECT_EQ(heed(common + "--stop nowhere").out, "The king's, my lord.\n");
  EXPECT_EQ(json_of(heed(common + "--max-tokens 3 --json"))["finish_reason"], "length");
}

TEST(CommandLine, a_seed_makes_sampling_repeatable) {
  const std::string common = "complete " + kBard + " Hello --max-tokens 20 --temperature 1.2 --seed ";
  EXPECT_EQ(heed(common + "7").out, heed(common + "7").out);
  EXPECT_NE(heed(common + "7").out, heed(common + "8").out);
}

TEST(CommandLine, score_gives_the_published_likelihood_and_the_logits) {
  const Json tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"];
  const std::vector<int> first(tokens.begin(), tokens.begin() + 1024);
  const std::string ids = file_with("ids", first), logits = temporary("logits");
  const Json result = json_of(
      heed("score " + kBard + " --token-ids " + ids + " --dtype float32 --last 5 --logits " + logits));
  EXPECT_EQ(result["tokens"], 1024);
  EXPECT_NEAR(result["nll_mean"].get<double>(), 4.1394, 0.0005);
  EXPECT_NEAR(result["perplexity"].get<double>(), std::exp(result["nll_mean"].get<double>()), 1e-9);
  const Safetensors file = Safetensors::open(logits).value();
  EXPECT_EQ(describe(file.tensor("logits").value()), "float32 [5, 4096]");
  std::filesystem::remove(ids);
  std::filesystem::remove(logits);
}

TEST(CommandLine, a_plug_in_s_proposer_guesses_and_changes_nothing) {
  const std::string modules = std::string(HEED_BINARY_DIR) + "/tests/";
  const std::string plain = "complete " + kBard + " 'To be' --json --temperature 0 --max-tokens 60 ";
  const auto ran = [&](const std::string& plugin, const std::string& config) {
    return heed(plain + "--speculative-config '" + config + "' --plugin " + modules + plugin);
  };
  const Ran guessed = ran("example_proposer.so", R"({"method": "pairs", "adaptive": false})");
  EXPECT_EQ(json_of(guessed)["token_ids"], json_of(heed(plain))["token_ids"]);
  EXPECT_NE(guessed.err.find("example_proposer.so): adds proposer pairs\n"), std::string::npos)
      << guessed.err;
  struct Wrong {
    const char *plugin, *config, *named;
    int status, lines;
  };
  for (const Wrong& wrong :
       {Wrong{"example_proposer.so", R"({"method": "pairs", "pears": 3})", "\"pears\"", 1, 2},
        Wrong{"example_proposer.so", R"({"method": "pears"})", "mtp, pairs is expected", 2, 2},
        Wrong{"wrong_plugin.so", R"({"method": "pairs"})", "version", 2, 1},
        Wrong{"taken_proposer.so", R"({"method": "ngram"})", "another name", 2, 1}}) {
    const Ran refused = ran(wrong.plugin, wrong.config);
    EXPECT_EQ(refused.status, wrong.status) << refused.err;
    EXPECT_EQ(refused.out, "");
    EXPECT_NE(refused.err.find(wrong.named), std::string::npos) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), wrong.lines) << refused.err;
  }
}

TEST(CommandLine, tokenize_and_back_keeps_every_byte) {
  const auto back = [](const std::string& text) {
    const Ran ids = heed("tokenize " + kBard + " --stdin --no-special", text);
    return heed("tokenize " + kBard + " --decode --stdin", ids.out).out;
  };
  for (const Json& golden : read_json(kBard + "/golden.json").value()) {
    if (!golden.contains("tokenize")) continue;
    const std::string text = golden["tokenize"];
    EXPECT_EQ(json_of(heed("tokenize " + kBard + " --stdin", text))["ids"], golden["ids"]);
    EXPECT_EQ(back(text), text);
  }
  EXPECT_EQ(back("line\r\n\tend with spaces  \n\n"), "line\r\n\tend with spaces  \n\n");
  EXPECT_EQ(heed("tokenize " + kBard + " --decode --no-special [1,3,204,5]").out, "\n")
      << "special tokens left out";
}

TEST(CommandLine, inspect_shows_masks_groups_and_the_plan) {
  const Ran ran = heed("inspect " + kBard + " --max-model-len 1000");
  EXPECT_EQ(ran.status, 0);
  for (const char* part : {"Rnj1ForCausalLM", "causal & chunk(64, lookback 1)", "yarn 4",
                           "group: layers 2, 5", "plan for one sequence of 1000 tokens", "cpu.flash"}) {
    EXPECT_NE(ran.out.find(part), std::string::npos) << part << "\n" << ran.out;
  }
}

}  // namespace
}  // namespace heed
