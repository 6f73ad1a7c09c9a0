#include "serving/image_tools.h"

#include "media/image_decoder.h"

namespace heed {

Result<ImageTools> image_tools(const ImageOptions& options) {
  TRY(check_media_policy(options.media));
  const auto fetcher = std::make_shared<const MediaFetcher>(options.media);
  ImageDecoderOptions decoding;
  decoding.limits.bytes = options.media.bytes;
  decoding.children = options.decoders;
  const auto decoder = std::make_shared<const ImageDecoder>(decoding);
  return ImageTools{.fetch = [fetcher](std::string_view reference) { return fetcher->fetch(reference); },
                    .decode = [decoder](std::string_view file) { return decoder->decode(file); },
                    .prepare = prepare_image};
}

}  // namespace heed
