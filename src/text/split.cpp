#include "text/split.h"

#include <algorithm>

namespace heed {
namespace {

struct Part {
  ByteSpan span;
  bool match;
};

// The whole of [0, size) as matches and what lies between them.
void cover(const std::vector<ByteSpan>& matches, size_t size, bool invert, std::vector<Part>& parts) {
  parts.clear();
  size_t done = 0;
  for (const ByteSpan& match : matches) {
    if (done != match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done != size) parts.push_back({{done, size}, invert});
}

// Joins neighbours, in place: a part joins the one before it if `joins(part, match flag of the one before)`.
template <class Joins>
void join(std::vector<Part>& parts, Joins joins) {
  size_t kept = 0;
  bool previous_match = false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part part = parts[i];
    if (kept > 0 && joins(part.match, previous_match)) {
      parts[kept - 1].span.begin = std::min(parts[kept - 1].span.begin, part.span.begin);
      parts[kept - 1].span.end = std::max(parts[kept - 1].span.end, part.span.end);
    } else {
      parts[kept++] = part;
    }
    previous_match = part.match;
  }
  parts.resize(kept);
}

void arrange(std::vector<Part>& parts, SplitBehavior behavior) {
  const auto lone_match = [](bool match, bool previous) { return match && !previous; };
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.match; });
      break;
    case SplitBehavior::kContiguous:
      join(parts, [](bool match, bool previous) { return match == previous; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      join(parts, lone_match);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      join(parts, lone_match);
      std::reverse(parts.begin(), parts.end());
      break;
  }
}

}  // namespace

Piece part_of(const Piece& piece, size_t begin, size_t end) {
  const size_t origin_bytes = begin < piece.origin_bytes ? std::min(end, piece.origin_bytes) - begin : 0;
  return {piece.begin + begin, piece.begin + end, origin_bytes};
}

Status split_pieces(PieceList& list, SplitBehavior behavior, bool invert, const FindMatches& find) {
  std::vector<Piece> pieces;
  pieces.reserve(list.pieces.size());
  std::vector<ByteSpan> matches;
  std::vector<Part> parts;
  for (const Piece& piece : list.pieces) {
    if (piece.token >= 0) {
      pieces.push_back(piece);
      continue;
    }
    matches.clear();
    TRY(find(list.view(piece), matches));
    cover(matches, piece.end - piece.begin, invert, parts);
    arrange(parts, behavior);
    for (const Part& part : parts) {
      if (part.span.begin < part.span.end) pieces.push_back(part_of(piece, part.span.begin, part.span.end));
    }
  }
  list.pieces = std::move(pieces);
  return {};
}

}  // namespace heed
