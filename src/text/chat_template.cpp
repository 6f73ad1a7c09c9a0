#include "text/chat_template.h"

#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"
#include "text/jinja_scope.h"

namespace heed {
namespace {

constexpr size_t kMaxSourceBytes = size_t{1} << 20;

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(const std::string& source, const std::string& what) {
  if (source.size() > kMaxSourceBytes) {
    return limit_reached(what + ": a chat template of more than " + std::to_string(kMaxSourceBytes) +
                         " bytes");
  }
  jinja::NodePtr root = TRY(jinja::parse_template(source, what));
  TRY(jinja::resolve_names(*root, what));
  return ChatTemplate(std::move(root), what);
}

ChatTemplate::ChatTemplate(std::unique_ptr<const jinja::Node> root, std::string what)
    : root_(std::move(root)), what_(std::move(what)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<std::string> ChatTemplate::render(const OrderedJson& variables, const TemplateLimits& limits) const {
  return jinja::Interpreter(*root_, limits).run(variables, what_);
}

}  // namespace heed
