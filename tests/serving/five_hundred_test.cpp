// Everything at once: guesses, shared prefixes, prefill in parts, preemption, cancelled requests and JSON
// schemas, whose masks a thread of their own finds. Answers are those without guesses; nothing is left
// behind.
#include <cstdlib>

#include "serving/structured_output.h"
#include "tests/engine/drafters.h"
#include "tests/grammar/vocabulary.h"
#include "text/unicode.h"

namespace heed {
namespace {

// Under sanitizers fewer, or HEED_REQUESTS of them.
const int kRequests = std::getenv("HEED_REQUESTS") != nullptr ? std::atoi(std::getenv("HEED_REQUESTS"))
                                                              : (kSanitized ? 100 : 500);
constexpr int kStopToken = 1;
const std::string kModel = "rnj1";  // chunked attention; its last tokens are in no vocabulary

// All bytes and some longer pieces of JSON.
Tokenizer tokenizer_of_bytes() {
  std::vector<std::string> byte_text(256);
  const std::vector<int> bytes = byte_of_character();
  for (size_t c = 0; c < bytes.size(); ++c) {
    if (bytes[c] >= 0) append_utf8(byte_text[static_cast<size_t>(bytes[c])], static_cast<char32_t>(c));
  }
  Json vocabulary = {{"<none>", 0}, {"<end>", kStopToken}};
  for (const std::string& token : small_vocabulary()) {
    std::string text;
    for (const unsigned char byte : token) text += byte_text[byte];
    if (!text.empty() && !vocabulary.contains(text)) vocabulary.emplace(text, vocabulary.size());
  }
  Json added = Json::array();
  for (const auto& [text, id] : {std::pair("<none>", 0), std::pair("<end>", kStopToken)})
    added.push_back({{"id", id}, {"content", text}, {"special", true}});
  const Json document = {{"added_tokens", added},
                         {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                         {"decoder", {{"type", "ByteLevel"}}},
                         {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  return Tokenizer::from_json(document, "made.json").value();
}

struct Schema {
  std::string text;
  bool (*holds)(const Json& answer);
};
const std::vector<Schema> kSchemas = {
    {R"({"type":"boolean"})", [](const Json& a) { return a.is_boolean(); }},
    {R"({"enum":["yes","no",3,null]})",
     [](const Json& a) { return a == "yes" || a == "no" || a == 3 || a.is_null(); }},
    {R"({"type":"object","properties":{"a":{"type":"boolean"},"b":{"enum":[1,2]}},"required":["a"],
         "additionalProperties":false})",
     [](const Json& a) {
       return a.is_object() && a.contains("a") && a["a"].is_boolean() && a.size() == 1 + a.count("b") &&
              (!a.contains("b") || a["b"] == 1 || a["b"] == 2);
     }},
    {R"({"type":"array","items":{"type":"integer","minimum":0,"maximum":99},"minItems":1,"maxItems":3})",
     [](const Json& a) {
       return a.is_array() && !a.empty() && a.size() <= 3 &&
              std::all_of(a.begin(), a.end(),
                          [](const Json& n) { return n.is_number_integer() && n >= 0 && n <= 99; });
     }},
    {R"({"type":"object","properties":{"name":{"type":"string","maxLength":4}},"required":["name"],
         "additionalProperties":false})",
     [](const Json& a) {
       return a.is_object() && a.size() == 1 && a.contains("name") && a["name"].is_string();
     }}};

bool is_constrained(int request) { return request % 5 == 0; }
const Schema& schema_of(int request) { return kSchemas[static_cast<size_t>(request) / 5 % kSchemas.size()]; }
bool is_cancelled(int request) { return request % 13 == 0; }

struct Heard {
  std::vector<std::vector<int>> answers;  // of those cancelled: none
  std::vector<Finish> ends;
  EngineStats stats;
};

class FiveHundred : public testing::Test {
 protected:
  Request request(int i) {
    const auto length = static_cast<int>(1 + random_() % 120);
    Request r{.prompt = {golden_.input.begin(), golden_.input.begin() + length},
              .max_tokens = static_cast<int>(1 + random_() % 24)};
    r.sampling = {.temperature = i % 2 == 0 ? 0.0F : 1.1F, .seed = static_cast<uint64_t>(i)};
    if (i % 3 == 0) r.sampling.repetition_penalty = 1.3F;
    if (i % 7 == 0) r.sampling.top_p = 0.9F;
    if (i % 11 == 0) r.priority = 1;
    if (is_constrained(i)) {
      const OutputFormat format = {.kind = OutputFormat::Kind::kJsonSchema,
                                   .schema = parse_ordered_json(schema_of(i).text, "schema").value()};
      r.constraint = structured_.constrain(structured_.compile(format).value(), "");
      r.stop_ids = {kStopToken};
      r.max_tokens += 8;
    }
    return r;
  }

  Heard run(const EngineOptions& options) {
    const auto engine = start(golden_folder(kModel), options);
    random_.seed(4);
    std::vector<Listener> listeners(static_cast<size_t>(kRequests));
    for (int i = 0; i < kRequests; ++i) {
      Request r = request(i);
      r.on_event = listeners[static_cast<size_t>(i)].callback();
      const uint64_t id = engine->submit(std::move(r)).value();
      if (is_cancelled(i)) engine->cancel(id);
    }
    Heard heard;
    for (int i = 0; i < kRequests; ++i) {
      Listener& listener = listeners[static_cast<size_t>(i)];
      const Finish end = listener.promise.get_future().get();
      heard.ends.push_back(is_cancelled(i) ? Finish::kCancelled : end);
      heard.answers.push_back(is_cancelled(i) ? std::vector<int>() : listener.ids);
    }
    engine->drain();
    heard.stats = engine->stats();
    EXPECT_EQ(heard.stats.held_pages, 0);
    return heard;
  }

  // Those that ended by themselves are what their schemas ask for. Returns how many did.
  int expect_valid(const Heard& heard) {
    int ended = 0;
    for (int i = 0; i < kRequests; ++i) {
      const size_t at = static_cast<size_t>(i);
      if (!is_constrained(i) || heard.ends[at] != Finish::kStop) continue;
      ++ended;
      const std::string text = tokenizer_.decode(heard.answers[at]);
      const Result<Json> answer = parse_json(text, "answer");
      EXPECT_TRUE(answer.ok() && schema_of(i).holds(*answer)) << schema_of(i).text << "\n" << text;
    }
    return ended;
  }

  const Golden golden_ = read_golden(kModel);
  const Tokenizer tokenizer_ = tokenizer_of_bytes();
  StructuredOutput structured_{tokenizer_, {kStopToken}};
  std::mt19937 random_;
};

TEST_F(FiveHundred, requests_of_every_kind_are_as_without_guesses) {
  EngineOptions plain;
  plain.runner.max_len = 160;
  const Heard want = run(plain);
  EXPECT_GT(expect_valid(want), kRequests / 13);
  const RandomDrafter drafter(open_checkpoint(golden_folder(kModel)).value().spec,
                              {.block = 6, .taps = {1, 2}, .window = 20});
  EngineOptions options = with_drafter(drafter.folder());
  options.runner.max_len = 160;
  options.runner.step_tokens = 48;
  options.max_sequences = 24;
  const auto probe = start(golden_folder(kModel), options);
  options.cache_bytes = probe->plan().sequence_pages * probe->plan().run.layout.page_bytes * 3 / 2;
  for (const bool adaptive : {false, true}) {
    options.speculative.adaptive = adaptive;
    const Heard heard = run(options);
    EXPECT_EQ(heard.answers, want.answers);
    EXPECT_EQ(heard.ends, want.ends);
    EXPECT_GT(heard.stats.preemptions, 0U);
    EXPECT_GT(heard.stats.prefix_hits, 0U);
    EXPECT_GT(heard.stats.draft_tokens, 0U);
  }
}

}  // namespace
}  // namespace heed
