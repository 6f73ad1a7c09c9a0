#include "cli/command_line.h"
#include "media/image_decoder.h"

int main(int argc, char** argv) {
  if (const auto status = heed::run_decoder_child(argc, argv)) return *status;
  return heed::run_command_line(argc, argv);
}
