// Any bytes as a SentencePiece model: an error, or a model that may become a tokenizer document.
#include "formats/sentencepiece.h"
#include "text/vocabulary_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto model = heed::parse_sentencepiece(std::as_bytes(std::span(data, size)), "input");
  if (!model.ok()) return 0;
  for (const bool add : {false, true}) {
    const auto document = heed::tokenizer_json_of_sentencepiece(*model, {add, add}, "input");
    if (document.ok() && document->size() != 9) __builtin_trap();
  }
  return 0;
}
