// Tail: what may stand between the calls of a region and behind the last: whitespace and fixed texts.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dialects/json_text.h"

namespace heed {

struct TailText {
  enum class Then { kGoOn, kNextCall, kDone };
  std::string text;  // none is the beginning of another
  Then then = Then::kDone;
};

class Tail {
 public:
  enum class Found { kNothingYet, kText, kOther };

  explicit Tail(const std::vector<TailText>& texts) : texts_(&texts) {}

  // kText: this byte completes one, see then(). kOther: no text goes on with this byte.
  Found push(char byte) {
    if (held_.empty() && is_space(byte)) return Found::kNothingYet;
    held_ += byte;
    const auto found = std::find_if(texts_->begin(), texts_->end(),
                                    [&](const TailText& one) { return one.text.starts_with(held_); });
    if (found == texts_->end()) return Found::kOther;
    if (found->text.size() > held_.size()) return Found::kNothingYet;
    text_ = std::exchange(held_, {});
    then_ = found->then;
    return Found::kText;
  }
  TailText::Then then() const { return then_; }
  bool is_empty() const { return held_.empty(); }
  const std::string& text() const { return text_; }  // the one that was complete last

 private:
  const std::vector<TailText>* texts_;
  std::string held_, text_;
  TailText::Then then_ = TailText::Then::kDone;
};

}  // namespace heed
