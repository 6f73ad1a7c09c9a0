// WebP with libwebp: lossy, lossless, or the first frame of an animation.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "media/decoders.h"

namespace heed {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

int webp_orientation(const WebPDemuxer* file) {
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(file, "EXIF", 1, &chunk) == 0) return 1;
  const int orientation =
      exif_orientation({reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

// The first frame, which nothing lies under, into its place on the canvas.
Status draw_frame(const WebPDemuxer* file, Image& image) {
  WebPIterator frame;
  if (WebPDemuxGetFrame(file, 1, &frame) == 0) return broken("WebP", "it has no frame");
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(&frame,
                                                                                   WebPDemuxReleaseIterator);
  const bool fits = frame.width >= 1 && frame.height >= 1 && frame.x_offset >= 0 && frame.y_offset >= 0 &&
                    frame.width <= image.width - frame.x_offset &&
                    frame.height <= image.height - frame.y_offset;
  if (!fits) return broken("WebP", "a frame lies outside of the picture");
  // The bitstream has a size of its own, which is held against the container's before anything is allocated.
  int width = 0, height = 0;
  if (WebPGetInfo(frame.fragment.bytes, frame.fragment.size, &width, &height) == 0 || width != frame.width ||
      height != frame.height) {
    return broken("WebP", "a frame is of another size than announced");
  }
  const size_t stride = 3 * static_cast<size_t>(image.width);
  const size_t first = stride * static_cast<size_t>(frame.y_offset) + 3 * static_cast<size_t>(frame.x_offset);
  const uint8_t* decoded =
      WebPDecodeRGBInto(frame.fragment.bytes, frame.fragment.size, image.rgb.data() + first,
                        image.rgb.size() - first, static_cast<int>(stride));
  if (!decoded) return broken("WebP", "the data are damaged or cut short");
  return {};
}

}  // namespace

Result<Image> decode_webp(std::string_view bytes, const ImageLimits& limits) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const Demuxer file(WebPDemux(&data), WebPDemuxDelete);
  if (!file) return broken("WebP", "the file is damaged or cut short");
  Image image = TRY(blank_image(WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_WIDTH),
                                WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_HEIGHT), limits));
  TRY(draw_frame(file.get(), image));
  return upright(std::move(image), webp_orientation(file.get()));
}

}  // namespace heed
