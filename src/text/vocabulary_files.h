// Vocabularies in other files than tokenizer.json, turned into what such a file would say.
//
// A GGUF vocabulary or a SentencePiece model becomes the Json document of a tokenizer.json, so that one
// tokenizer serves them all. Merges of SentencePiece BPE, which the file holds as scores, are written out as
// pairs. Source: the conversions of github.com/huggingface/transformers,
// src/transformers/convert_slow_tokenizer.py; what GGUF keys mean, github.com/ggml-org/llama.cpp,
// src/llama-vocab.cpp.
#pragma once
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "formats/gguf.h"
#include "formats/sentencepiece.h"
#include "text/tokenizer.h"

namespace heed {

// Reads `tokenizer.ggml.*`. Models "llama" (SentencePiece BPE), "gemma4" (the same with merges of its own),
// "t5" (SentencePiece Unigram), "gpt2" (byte-level BPE) and "bert" (WordPiece) are known; others, and unknown
// pre-tokenizers of "gpt2", are errors that list what is.
Result<Json> tokenizer_json_of_gguf(const Gguf& gguf);

// What the file of a SentencePiece model leaves open.
struct SentencePieceOptions {
  bool add_bos = false;
  bool add_eos = false;
  Json merges = nullptr;  // of BPE, as pairs; null: they follow from the scores
};

// BPE and Unigram models. `name` stands for the file in errors.
Result<Json> tokenizer_json_of_sentencepiece(const SentencePieceModel& model, SentencePieceOptions options,
                                             const std::string& name);

// The tokenizer.json, or what stands for it, of a file (.json, .gguf, .model) or of a folder: its
// tokenizer.json, tokenizer.model or spiece.model, or its one *.gguf file, in this order.
Result<Json> read_tokenizer_json(const std::string& path);

// The tokenizer of such a file or folder.
Result<Tokenizer> load_tokenizer(const std::string& path);

}  // namespace heed
