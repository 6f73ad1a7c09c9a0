#include "attention/rows.h"

#include <algorithm>

namespace heed {
namespace {

std::string describe(const Term& term) {
  switch (term.kind) {
    case Term::kFull:
      return "full";
    case Term::kCausal:
      return "causal";
    case Term::kMedia:
      return "media";
    case Term::kPrefix:
      return "prefix";
    case Term::kChunk:
      return "chunk(" + std::to_string(term.a) + ", lookback " + std::to_string(term.b) + ")";
    case Term::kWindow:
      if (term.b >= kUnbounded) return "window(" + std::to_string(term.a + 1) + ")";
      return "around(" + std::to_string(term.a) + ", " + std::to_string(term.b) + ")";
  }
  return "?";
}

}  // namespace

void fill_rows(const Mask& mask, const SeqFacts& facts, int first, int count, RowMask* rows) {
  for (int i = 0; i < count; ++i) rows[i] = row_of(mask, facts, first + i);
}

int last_cut(const Mask& mask, const SeqFacts& facts, int from, int upto) {
  for (int cut = upto; cut > from; --cut) {
    if (can_cut(mask, facts, cut)) return cut;
  }
  return from;
}

int most_live_keys(const Mask& mask, int length, int step) {
  if (length <= 0) return 0;
  // Rows are monotone, so the live keys before a step at q are [lo(q), q) and the sinks; the step adds its
  // own.
  int most = 0;
  for (int q = 0; q < length; ++q) {
    const SeqFacts facts{.length = length};
    const RowMask row = row_of(mask, facts, q);
    most = std::max(most, std::min(q + step, length) - row.lo + row.sinks);
  }
  return std::min(most, length);
}

std::string why_not(const Mask& mask) {
  if (mask.has(Term::kChunk) && mask.has(Term::kWindow)) {
    return "a chunked layer cannot also have a sliding window: chunk(size, lookback) already bounds the "
           "past, and the "
           "published models define sliding_window = size * (lookback + 1) instead of a second bound";
  }
  return "";
}

std::string describe(const Mask& mask) {
  std::string text;
  for (int i = 0; i < mask.count; ++i) {
    const bool join = mask.terms[i].join;
    const bool mixed = i >= 2 && join != mask.terms[i - 1].join;
    if (mixed) text = "(" + text + ")";
    if (i > 0) text += join ? " | " : " & ";
    text += describe(mask.terms[i]);
  }
  if (mask.sinks > 0) text += " + " + std::to_string(mask.sinks) + " sinks";
  return text;
}

}  // namespace heed
