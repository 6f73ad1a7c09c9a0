// Splitting the pieces of a text at matches, in the five ways that tokenizer.json knows.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/pre_tokenizer.h"

namespace heed {

using FindMatches = std::function<Status(std::string_view text, std::vector<ByteSpan>& matches)>;

// Splits every piece that has no token at the matches in it; `invert` makes what lies between the matches the
// matches.
//   "the-final--countdown" at "-":  removed              the final countdown
//                                   isolated             the - final - - countdown
//                                   merged with previous the- final- - countdown
//                                   merged with next     the -final - -countdown
//                                   contiguous           the - final -- countdown
Status split_pieces(PieceList& list, SplitBehavior behavior, bool invert, const FindMatches& find);

// The piece that is the part [begin, end) of `piece`, counted from its begin.
Piece part_of(const Piece& piece, size_t begin, size_t end);

}  // namespace heed
