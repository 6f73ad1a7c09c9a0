// What towers' configurations share, and preprocessor_config.json, which says how pictures are prepared.
#include "model/vision_config.h"

#include <algorithm>

namespace heed {
namespace {

// One number for all channels or a list of three.
std::array<float, 3> channels(const Json& document, const Config& c, const char* key,
                              std::array<float, 3> fallback) {
  const auto found = document.find(key);
  if (found == document.end() || found->is_null()) return fallback;
  const bool list = found->is_array() && found->size() == 3 &&
                    std::all_of(found->begin(), found->end(), [](const Json& x) { return x.is_number(); });
  if (list) return {(*found)[0].get<float>(), (*found)[1].get<float>(), (*found)[2].get<float>()};
  if (found->is_number()) {
    const auto value = found->get<float>();
    return {value, value, value};
  }
  c.fail(std::string(key) + ": a number or a list of three is expected");
  return fallback;
}

void read_filter(const Config& c, ImagePrep& prep) {
  if (!c.has("resample")) return;
  const int filter = c.count("resample", 0);  // as Pillow numbers them
  if (filter == 2) {
    prep.filter = ImagePrep::Filter::kBilinear;
  } else if (filter == 3) {
    prep.filter = ImagePrep::Filter::kBicubic;
  } else {
    c.fail("resample is " + std::to_string(filter) + "; 2 (bilinear) or 3 (bicubic) is expected");
  }
}

void read_normalisation(const Json& document, const Config& c, ImagePrep& prep) {
  if (!c.flag("do_rescale", true)) c.fail("do_rescale false is not supported");
  prep.scale = c.positive("rescale_factor", prep.scale);
  if (!c.flag("do_normalize", true)) {
    prep.mean = {0, 0, 0};
    prep.deviation = {1, 1, 1};
    return;
  }
  prep.mean = channels(document, c, "image_mean", prep.mean);
  prep.deviation = channels(document, c, "image_std", prep.deviation);
  for (const float deviation : prep.deviation) {
    if (!(deviation > 0)) c.fail("image_std must be above 0");
  }
}

void expect_same(const Config& c, const char* key, int value) {
  const int given = c.size(key, value);
  if (given != value) {
    c.fail(std::string(key) + " is " + std::to_string(given) + "; config.json says " + std::to_string(value));
  }
}

}  // namespace

VisionSpec vision_tower(const Config& c) {
  VisionSpec v;
  v.hidden = c.size("hidden_size");
  v.layers = layer_count(c);
  v.heads = head_count(c);
  v.inner = c.size("intermediate_size");
  v.prep.patch = c.size("patch_size", 16);
  if (v.prep.patch > 1024) c.fail("patch_size is above 1024");
  return v;
}

Status read_image_prep(const Json& document, const std::string& what, ImagePrep& prep) {
  const Config c(document, what);
  if (!c.flag("do_resize", true)) c.fail("do_resize false is not supported");
  if (c.flag("do_pan_and_scan", false)) c.fail("do_pan_and_scan is not supported");
  read_filter(c, prep);
  read_normalisation(document, c, prep);
  if (prep.fit == ImagePrep::Fit::kBudget) {
    expect_same(c, "patch_size", prep.patch);
    expect_same(c, "pooling_kernel_size", prep.pool);
    prep.max_soft_tokens = c.size("max_soft_tokens", prep.max_soft_tokens);
    if (prep.max_soft_tokens > kMostSoftTokens)
      c.fail("max_soft_tokens is above " + std::to_string(kMostSoftTokens));
  } else if (c.is_object("size")) {
    expect_same(c.at("size"), "height", prep.size);
    expect_same(c.at("size"), "width", prep.size);
  }
  if (c.error()) return *c.error();
  return {};
}

}  // namespace heed
