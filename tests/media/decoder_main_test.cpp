// main() of these tests: they start themselves as decoders, some of which misbehave.
#include <gmock/gmock.h>

#include "tests/media/misbehave.h"

int main(int argc, char** argv) {
  using namespace heed;
  const bool is_child = argc == 5 && std::string_view(argv[1]) == kDecoderArgument;
  if (is_child && argv[2] == std::to_string(kOddChild)) be_odd(std::stoll(argv[3]));
  if (const auto status = run_decoder_child_with(argc, argv, decode_or_misbehave)) return *status;
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
