// Pictures of a request in its prompt: which tokens stand for which picture.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "model/vision_spec.h"

namespace heed {

// To be said of pictures where there is no ModelSpec::vision.
inline constexpr const char* kReadsTextOnly = "this model reads text only: it takes no pictures";

using ImageList = std::vector<std::shared_ptr<const ImagePatches>>;

// Makes room in the prompt for the soft tokens of all pictures, which take its places in order. A place is
//   a placeholder                         becomes `begin`, as many `image` as the picture has soft tokens,
//   `end` a run of `image`, with the marks      stays; its length must be the picture's number of soft tokens
//   a run without them                    likewise, unless `image` is the placeholder and all such runs
//                                         together have as many ids as there are pictures without a place
// Errors where places and pictures differ in number, or a run and its picture in length: whatever text got
// into the prompt, no picture takes a place that was not meant for one. Linear in the prompt's new length.
Result<std::vector<RequestImage>> place_images(const ImageTokens& tokens, std::vector<int>& prompt,
                                               const ImageList& images);

int count_soft_tokens(const ImageList& images);

// Puts `around` on both sides of every `placeholder` in the text, but for those that a run of `image`
// follows.
std::string surround_placeholders(const std::string& text, std::string_view placeholder,
                                  std::string_view image, std::string_view around);

}  // namespace heed
