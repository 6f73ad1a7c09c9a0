// Proposers that answer what no proposer should, each in its own way, and one that cannot be made.
#include "engine/plugin.h"

namespace {

using namespace heed;

class Wild : public Proposer {
 public:
  explicit Wild(std::string way) : way_(std::move(way)) {}
  std::string_view name() const override { return "wild"; }
  void propose(const TextSoFar& text, int most, std::vector<int>& drafts) override {
    const int last = text.tokens.back();
    if (way_ == "negative") drafts = {last, -1, last};
    if (way_ == "beyond") drafts = {INT32_MAX};
    if (way_ == "many") drafts.assign(static_cast<size_t>(most) + 1000, last);
  }
  int64_t most_bytes(int /*sequences*/) const override { return way_ == "huge" ? INT64_MAX : -1; }

 private:
  std::string way_;
};

Result<std::unique_ptr<Proposer>> make(const Json& options) {
  const std::string way = options.value("way", "");
  if (way == "none") return std::unique_ptr<Proposer>();
  std::unique_ptr<Proposer> made = std::make_unique<Wild>(way);
  return made;
}

}  // namespace

HEED_PLUGIN("wild 1.0", [](const PluginHost& host) { host.add_proposer("wild", make); });
