// A proposer of somebody else's: after two tokens comes what came after them the last time, in whichever
// request that was. Built against an installed Heed as a shared library (CMakeLists.txt) and used with
// `--plugin libpairs_proposer.so --speculative-config '{"method": "pairs", "pairs": 65536}'`.
#include <unordered_map>

#include "engine/plugin.h"

namespace {

using namespace heed;

class PairsProposer : public Proposer {
 public:
  explicit PairsProposer(int64_t pairs) : table_(static_cast<size_t>(pairs)) {}
  std::string_view name() const override { return "pairs"; }

  void propose(const TextSoFar& text, int most, std::vector<int>& drafts) override {
    if (text.is_private || text.tokens.size() < 2) return;
    learn(text);
    int before = text.tokens[text.tokens.size() - 2];
    int last = text.tokens.back();
    while (static_cast<int>(drafts.size()) < most) {
      const Pair& pair = place_of(before, last);
      if (pair.before != before || pair.last != last) return;
      drafts.push_back(pair.next);
      before = last;
      last = pair.next;
    }
  }

  void finished(const TextSoFar& text) override { learnt_.erase(text.request); }

  int64_t most_bytes(int sequences) const override {
    constexpr int64_t kEntry = 64;  // of the map, about
    return static_cast<int64_t>(table_.size() * sizeof(Pair)) + sequences * kEntry;
  }

 private:
  struct Pair {
    int before = -1, last = -1, next = -1;
  };

  Pair& place_of(int before, int last) {
    const uint64_t mixed = (static_cast<uint64_t>(before) * 0x9e3779b97f4a7c15U) ^
                           (static_cast<uint64_t>(last) * 0xc2b2ae3d27d4eb4fU);
    return table_[(mixed >> 20) % table_.size()];
  }

  // What is new of the text.
  void learn(const TextSoFar& text) {
    size_t& end = learnt_[text.request];
    for (end = std::max<size_t>(end, 2); end < text.tokens.size(); ++end) {
      const int before = text.tokens[end - 2];
      const int last = text.tokens[end - 1];
      place_of(before, last) = {.before = before, .last = last, .next = text.tokens[end]};
    }
  }

  std::vector<Pair> table_;                      // a pair has one place, where the newest one stays
  std::unordered_map<uint64_t, size_t> learnt_;  // of running requests, how far
};

Result<std::unique_ptr<Proposer>> make_pairs(const Json& options) {
  constexpr int64_t kMost = 1 << 26;
  int64_t pairs = 1 << 16;
  for (const auto& [key, value] : options.items()) {
    if (key != "pairs") return unsupported("\"" + key + "\" is not known; known is pairs");
    if (!value.is_number_integer() || value < 1 || value > kMost)
      return invalid("pairs is " + to_text(value) + "; 1 to " + std::to_string(kMost) + " is expected");
    pairs = value.get<int64_t>();
  }
  std::unique_ptr<Proposer> made = std::make_unique<PairsProposer>(pairs);
  return made;
}

void install(const PluginHost& host) { host.add_proposer("pairs", make_pairs); }

}  // namespace

HEED_PLUGIN("pairs 1.0", install);
