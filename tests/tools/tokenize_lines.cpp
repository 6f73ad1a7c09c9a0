// Encodes and decodes records from standard input with a tokenizer.json, for tools/tokenizer_diff.py to
// compare.
//   tokenize_lines FILE          records, each answered at once
//   tokenize_lines --time FILE   all of standard input as one text: seconds to load and to encode it
// A record is 'T' (text) or 'I' (ids), a uint32 length in bytes, and the bytes; ids are int32. The answer to
// 'T' is two arrays, of the ids with special tokens added and parsed, and without either, and the texts that
// the first decodes to without and with special tokens; the answer to 'I' is those two texts. Each array or
// text is a uint32 length in elements and the elements; a length of 2^32-1 is an error, whose message goes to
// standard error.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <iterator>

#include "text/tokenizer.h"

namespace heed {
namespace {

void write_bytes(const void* data, size_t size) {
  std::cout.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

void write_text(const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  write_bytes(&size, sizeof size);
  write_bytes(text.data(), text.size());
}

void write_ids(const Result<std::vector<int>>& ids) {
  const uint32_t size = ids.ok() ? static_cast<uint32_t>(ids->size()) : UINT32_MAX;
  write_bytes(&size, sizeof size);
  if (ids.ok()) {
    write_bytes(ids->data(), ids->size() * sizeof(int));
  } else {
    std::cerr << ids.error().message << "\n";
  }
}

void write_decoded(const Tokenizer& tokenizer, const std::vector<int>& ids) {
  write_text(tokenizer.decode(ids, true));
  write_text(tokenizer.decode(ids, false));
}

void answer_records(const Tokenizer& tokenizer) {
  char kind = 0;
  while (std::cin.get(kind)) {
    uint32_t size = 0;
    std::cin.read(reinterpret_cast<char*>(&size), sizeof size);
    std::string bytes(size, '\0');
    std::cin.read(bytes.data(), static_cast<std::streamsize>(size));
    std::vector<int> ids;
    if (kind == 'I') {
      ids.resize(size / sizeof(int));
      if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int));
    } else {
      const Result<std::vector<int>> encoded = tokenizer.encode(bytes);
      write_ids(encoded);
      write_ids(tokenizer.encode(bytes, {.add_special = false, .parse_special = false}));
      if (encoded.ok()) ids = *encoded;
    }
    write_decoded(tokenizer, ids);
  }
}

void time_encoding(const Tokenizer& tokenizer, double load_seconds) {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  const auto begin = std::chrono::steady_clock::now();
  const Result<std::vector<int>> ids = tokenizer.encode(text);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::cout << "load " << load_seconds << " s, encode " << seconds.count() << " s for " << text.size()
            << " bytes, " << (ids.ok() ? std::to_string(ids->size()) + " ids" : ids.error().message) << "\n";
}

int run(int num_arguments, char** arguments) {
  const bool timing = num_arguments == 3 && std::string_view(arguments[1]) == "--time";
  if (num_arguments != 2 && !timing) {
    std::cerr << "usage: tokenize_lines [--time] tokenizer.json\n";
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  const Result<Tokenizer> tokenizer = Tokenizer::load_json(arguments[num_arguments - 1]);
  const std::chrono::duration<double> load = std::chrono::steady_clock::now() - begin;
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.error().message << "\n";
    return 1;
  }
  if (timing) {
    time_encoding(*tokenizer, load.count());
  } else {
    answer_records(*tokenizer);
  }
  return 0;
}

}  // namespace
}  // namespace heed

int main(int num_arguments, char** arguments) { return heed::run(num_arguments, arguments); }
