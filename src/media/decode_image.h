// Picture files to pixels, in this process: what the decoder's child runs (image_decoder.h), and tests.
//
// The pixels are those of Pillow's Image.open(file).convert("RGB") after ImageOps.exif_transpose, which is
// what transformers' image processors see: alpha, a transparent colour of a palette and colour profiles are
// left away, not blended or applied; CMYK is converted by Pillow's formula; of an animation the first frame
// is taken, on its canvas. One difference: 16-bit grey is scaled to 8 bits as other 16-bit pictures are,
// where Pillow cuts everything off above 255.
#pragma once
#include <string_view>

#include "base/result.h"
#include "media/image.h"

namespace heed {

// JPEG, PNG, WebP or GIF, told by the first bytes. The size in the file's header is held to the limits before
// anything is decoded or allocated for it. Errors: kInvalid, also for a file that is cut short; kLimit.
Result<Image> decode_image(std::string_view bytes, const ImageLimits& limits);

// Bytes that decoding within these limits may take, beside the program.
int64_t decoding_memory(const ImageLimits& limits);

}  // namespace heed
