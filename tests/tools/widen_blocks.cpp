// Rows of blocks on standard input as float32 on standard output, for tools/block_formats_diff.py.
//   widen_blocks FORMAT ELEMENTS
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensor/blocks.h"

int main(int argc, char** argv) {
  using heed::DType;
  if (argc != 3) return 2;
  const std::string name = argv[1];
  const int64_t elements = std::atoll(argv[2]);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(std::cin), {}};
  for (int d = static_cast<int>(DType::kQ40); d <= static_cast<int>(heed::kLastDType); ++d) {
    const auto dtype = static_cast<DType>(d);
    if (heed::name_of(dtype) != name || std::ssize(bytes) != heed::bytes_of(dtype, elements)) continue;
    std::vector<float> out(static_cast<size_t>(elements));
    heed::widen_blocks(dtype, bytes.data(), elements, out.data());
    return std::fwrite(out.data(), sizeof(float), out.size(), stdout) == out.size() ? 0 : 1;
  }
  std::fprintf(stderr, "no format %s with %zu bytes\n", name.c_str(), bytes.size());
  return 1;
}
