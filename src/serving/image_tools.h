// What an ImageLoader does its work with, outside of tests.
#pragma once
#include "serving/image_loader.h"

namespace heed {

// Pictures are decoded in child processes, which are this program again: its main() calls run_decoder_child()
// (media/image_decoder.h) before anything else. An error where the policy's own words are not understood.
Result<ImageTools> image_tools(const ImageOptions& options);

}  // namespace heed
