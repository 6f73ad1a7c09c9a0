// How a checkpoint's pictures are prepared.
#pragma once
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "model/spec.h"

namespace heed {

inline constexpr int kMostSoftTokens = 1 << 14;  // of a picture

// preprocessor_config.json, or image_processor of processor_config.json, over what the model file has said.
// `what` names the document in errors.
Status read_image_prep(const Json& document, const std::string& what, ImagePrep& prep);

}  // namespace heed
