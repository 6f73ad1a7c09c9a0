// sample_grammar VOCABULARY: answers requests about JSON schemas, one JSON object a line, for
// tools/grammar_diff.py.
//
//   in    {"schema": ..., "samples": 5, "seed": 1, "texts": ["...", ...]}     or "ebnf" or "regex" in place
//   of "schema" out   {"error": "..."}  or  {"samples": ["..."], "unfinished": 0, "accepted": [true, ...],
//          "compile_us": 100, "states": 50, "mask_ns": [...]}
//
// A sample is what a model that draws tokens at random from the masks would say, with a bias to an end after
// a while. VOCABULARY is a byte-level tokenizer.json, or a file with the bytes of one token a line, in
// hexadecimal.
#include <chrono>
#include <iostream>
#include <random>

#include "base/file.h"
#include "grammar/matcher.h"
#include "tests/grammar/vocabulary.h"

namespace heed {
namespace {

constexpr int kLongAnswer = 40;  // tokens; from here on the answer looks for its end
constexpr int kEndlessAnswer = 600;

using Clock = std::chrono::steady_clock;

Result<std::vector<std::string>> read_tokens(const std::string& path) {
  if (path.ends_with(".json")) return read_vocabulary(path);
  const std::string text = TRY(read_file(path));
  std::vector<std::string> tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string token;
    for (size_t i = begin; i + 1 < end; i += 2) {
      token += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
    }
    tokens.push_back(token);
    begin = end + 1;
  }
  return tokens;
}

Result<Grammar> compile(const OrderedJson& request) {
  if (request.contains("ebnf")) return Grammar::from_ebnf(request["ebnf"].get<std::string>());
  if (request.contains("regex")) return Grammar::from_regex(request["regex"].get<std::string>());
  return Grammar::from_json_schema(request.at("schema"));
}

// How much a token helps to end the answer.
int closeness(std::string_view token) {
  if (token == "}" || token == "]") return 4;
  if (token == "\"") return 3;
  if (token == ":" || token == "0" || token == "1") return 2;
  return token.size() == 1 ? 1 : 0;
}

struct Sampler {
  const TokenTrie& trie;
  std::mt19937_64 random;
  std::vector<int64_t> mask_ns;
  bool is_broken = false;  // a mask and accept() disagreed, or nothing was allowed

  // Nothing if it found no end.
  std::optional<std::string> sample(MaskCache& masks) {
    Matcher matcher(masks);
    std::vector<uint32_t> mask(static_cast<size_t>(trie.mask_words()));
    std::string text;
    for (int step = 0; step < kEndlessAnswer; ++step) {
      const auto begin = Clock::now();
      const bool any = matcher.fill_mask(mask);
      mask_ns.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count());
      const bool wants_end = step >= kLongAnswer || random() % 4 == 0;
      if (matcher.can_end() && (wants_end || matcher.must_end())) return text;
      const int token = any ? draw(mask, step >= kLongAnswer) : -1;
      is_broken = is_broken || token < 0 || !matcher.accept(token);
      if (is_broken) return text;
      text += trie.bytes_of(token);
    }
    return std::nullopt;
  }

  int draw(const std::vector<uint32_t>& mask, bool towards_end) {
    std::vector<int> best;
    int most = 0;
    for (int token = 0; token < trie.vocabulary_size(); ++token) {
      if ((mask[static_cast<size_t>(token / 32)] >> (token % 32) & 1) == 0) continue;
      const int value = towards_end ? closeness(trie.bytes_of(token)) : 0;
      if (value > most) best.clear();
      most = std::max(most, value);
      if (value == most) best.push_back(token);
    }
    return best.empty() ? -1 : best[random() % best.size()];
  }
};

OrderedJson answer(const OrderedJson& request, const TokenTrie& trie) {
  const auto begin = Clock::now();
  const Result<Grammar> grammar = compile(request);
  const double compile_us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  if (!grammar.ok()) return {{"error", grammar.error().message}};
  MaskCache masks(*grammar, trie);
  Sampler sampler{trie, std::mt19937_64(request.value("seed", 1u)), {}};
  OrderedJson samples = OrderedJson::array();
  int unfinished = 0;
  for (int i = 0; i < request.value("samples", 0); ++i) {
    const std::optional<std::string> text = sampler.sample(masks);
    if (sampler.is_broken) return {{"error", "a mask and accept() disagree, or a dead end"}};
    text ? samples.push_back(*text) : static_cast<void>(++unfinished);
  }
  OrderedJson accepted = OrderedJson::array();
  for (const OrderedJson& text : request.value("texts", OrderedJson::array())) {
    Matcher matcher(masks);
    accepted.push_back(matcher.accept_bytes(text.get<std::string>()) && matcher.can_end());
  }
  return {{"samples", samples},       {"unfinished", unfinished},        {"accepted", accepted},
          {"compile_us", compile_us}, {"states", grammar->num_states()}, {"mask_ns", sampler.mask_ns}};
}

int run(const char* path) {
  Result<std::vector<std::string>> tokens = read_tokens(path);
  if (!tokens.ok()) {
    std::cerr << tokens.error().message << "\n";
    return 1;
  }
  const TokenTrie trie(std::move(*tokens));
  for (std::string line; std::getline(std::cin, line);) {
    const Result<OrderedJson> request = parse_ordered_json(line, "request");
    std::cout << to_text(request.ok() ? answer(*request, trie)
                                      : OrderedJson{{"error", request.error().message}})
              << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace heed

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: sample_grammar VOCABULARY\n";
    return 2;
  }
  return heed::run(argv[1]);
}
