// The pre-tokenizers of byte-level BPE vocabularies by the name that GGUF files give them
// (`tokenizer.ggml.pre`).
//
// A text is cut by each pattern in turn: what a pattern matches becomes a piece, and so does what lies
// between two matches. The patterns are those of the models' own tokenizer.json files, where they are known.
// Source of the names: github.com/ggml-org/llama.cpp, src/llama-vocab.cpp.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace heed {

struct SplitPatterns {
  std::span<const std::string_view> patterns;
  bool ignore_merges = false;  // a piece that is itself a token is not taken apart
  bool adds_bos = false;       // where the file does not say
};

// Null where the name is not known.
const SplitPatterns* find_split_patterns(std::string_view name);

// All names, for messages: "default, gpt-2, ...".
std::string known_split_patterns();

}  // namespace heed
