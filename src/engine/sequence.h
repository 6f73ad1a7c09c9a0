// One sequence being generated: its tokens and the pages that hold its keys and values.
#pragma once
#include <climits>
#include <memory>
#include <vector>

#include "attention/mask.h"
#include "base/siphash.h"
#include "media/image_prep.h"
#include "model/vision.h"

namespace heed {

// A sequence's part of one cache group. Blocks are those of the group's block_tokens.
struct HeldPages {
  std::vector<int> pages;  // of each block; -1 where it was never needed or has been freed
  int freed = 0;           // blocks before this one (sinks apart) cannot be read again
  int keyed = 0;           // blocks before this one have been made findable
};

// A snapshot of a sequence's recurrent state that the step under way makes.
struct PendingSnapshot {
  int length = 0;  // tokens
  int slot = -1;
};

// A picture in a sequence.
struct SequenceImage {
  Hash128 content;  // of its pixels and shape
  std::shared_ptr<const ImagePatches> patches;
  std::shared_ptr<const EncodedImage> encoded =
      nullptr;  // from when it is there until its tokens are computed
};

struct Sequence {
  std::vector<int> tokens;
  std::vector<Span> media;            // the tokens of each picture, ascending
  std::vector<SequenceImage> images;  // as many
  int drafted = 0;  // the last so many tokens are guesses, which the next step confirms or drops
  // The last so many tokens have been drawn on a device and are not known here yet. The newest of them is in
  // row `drawn_row` of what the last step drew.
  int unknown = 0, drawn_row = 0;
  int computed = 0;  // tokens whose keys and values are in the cache, and that its state has seen

  // ---- Kept by Cache. ----
  int table_row = -1;             // of its block tables; -1 while it holds nothing
  int room = 0;                   // there are pages for positions below this one in every group
  int next_death = 0;             // no page can be freed while `computed` is below
  int next_key = 0;               // no page can be made findable while `computed` is below
  std::vector<HeldPages> held;    // per cache group; empty while it holds nothing
  std::vector<Hash128> prefixes;  // of the first 1, 2, ... hash blocks of tokens
  int state_slot = -1;  // of its recurrent state, where the model has any; -1 while it holds nothing
  std::vector<PendingSnapshot> snapshots;  // under way
  std::vector<int> draft_slots;            // for its state before each guess
  std::vector<int> wanted_snapshots;       // lengths worth one: where its prompt ends or leaves another's
  int answer_from = 0;                     // tokens when it was last admitted
  int last_snapshot = 0;  // length of the newest one of its answer, which the next one replaces

  // Keeps prefixes of different tenants apart; the empty salt is the common one.
  Hash128 salt;

  int known() const { return static_cast<int>(tokens.size()) - unknown; }
  SeqFacts facts() const {
    return {.length = static_cast<int>(tokens.size()),
            .media = media.data(),
            .num_media = static_cast<int>(media.size())};
  }
  // Tokens below this one can be run: there the first picture begins that is needed and not encoded.
  int ready() const {
    for (size_t i = 0; i < images.size(); ++i) {
      if (media[i].hi > computed && images[i].encoded == nullptr) return larger(media[i].lo, computed);
    }
    return INT_MAX;
  }
  // Encoded pictures are held no longer than they are needed.
  void drop_encoded() {
    for (size_t i = 0; i < images.size() && media[i].hi <= computed; ++i) images[i].encoded.reset();
  }
};

}  // namespace heed
