#include "dialects/forms.h"

namespace heed {
namespace {

// Reads JSON or a form's own way, as the first bytes say.
class EitherReader final : public CallReader {
 public:
  EitherReader(const JsonCalls& json, bool in_list, const ToolTypes& tools, std::unique_ptr<CallReader> own)
      : json_(json, tools), in_list_(in_list), own_(std::move(own)) {}

  Reading push(char byte, CallSink& sink) override {
    if (chosen_ != nullptr) return chosen_->push(byte, sink);
    if (is_space(byte)) return Reading::kMore;
    first_ += byte;
    if (in_list_ && first_ == "[") return Reading::kMore;
    const bool is_json = byte == '{' || (byte == '[' && !in_list_);
    chosen_ = is_json ? static_cast<CallReader*>(&json_) : own_.get();
    Reading reading = Reading::kMore;
    for (const char one : first_) reading = chosen_->push(one, sink);
    return reading;
  }
  bool is_behind_call() const override { return chosen_ != nullptr && chosen_->is_behind_call(); }

 private:
  JsonCallReader json_;
  bool in_list_;  // either comes in [ ]
  std::unique_ptr<CallReader> own_;
  CallReader* chosen_ = nullptr;
  std::string first_;
};

// The marker has begun a name already.
bool begins_in_name(const ToolForm& form, int start) {
  return form.tags && start >= 0 && form.starts[static_cast<size_t>(start)] == form.tags->name_open;
}

std::unique_ptr<CallReader> own_reader(const ToolForm& form, int start, const ToolTypes& tools) {
  if (form.named) return std::make_unique<NamedCallReader>(*form.named);
  if (form.literals) return std::make_unique<LiteralCallReader>(*form.literals, tools);
  if (!form.tags) return nullptr;
  return std::make_unique<TagCallReader>(*form.tags, tools, begins_in_name(form, start));
}

}  // namespace

std::unique_ptr<CallReader> make_reader(const ToolForm& form, int start, const ToolTypes& tools) {
  std::unique_ptr<CallReader> own = own_reader(form, start, tools);
  if (!form.json || begins_in_name(form, start)) return own;
  if (!own) return std::make_unique<JsonCallReader>(*form.json, tools);
  const bool in_list = form.literals && form.literals->is_list;
  return std::make_unique<EitherReader>(*form.json, in_list, tools, std::move(own));
}

}  // namespace heed
