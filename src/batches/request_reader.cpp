#include "batches/request_reader.h"

#include <utility>

namespace heed {
namespace {

constexpr char kCustomId = 'c';
constexpr char kLineNumber = 'l';

}  // namespace

RequestReader::RequestReader(std::string path, LineReader lines, LineRules rules, const InputLimits& limits)
    : path_(std::move(path)),
      lines_(std::move(lines)),
      rules_(std::move(rules)),
      limits_(limits),
      keys_(2 * limits.max_requests) {}

Result<RequestReader> RequestReader::open(const std::string& path, LineRules rules,
                                          const InputLimits& limits) {
  LineReader lines = TRY(LineReader::open(path, limits.max_line_bytes));
  return RequestReader(path, std::move(lines), std::move(rules), limits);
}

Error RequestReader::too_many() const {
  return limit_reached(path_ + ": more requests than the " + std::to_string(limits_.max_requests) +
                       " a batch may have");
}

Status RequestReader::add_done(const ResultLine& result) {
  const Hash128 key = result.kind == LineKind::kRequest ? keys_.key(kCustomId, result.custom_id)
                                                        : keys_.key(kLineNumber, std::to_string(result.line));
  if (!keys_.add_done(key)) return too_many();
  return {};
}

Result<std::optional<BatchItem>> RequestReader::next() {
  std::optional<LineReader::Line> line;
  do {
    line = TRY(lines_.next());
    if (!line) return std::optional<BatchItem>();
    ++line_;
  } while (!line->too_long && line->text.find_first_not_of(" \t\r") == std::string_view::npos);
  if (++requests_ > limits_.max_requests) return too_many();

  BatchItem item;
  item.line = line_;
  if (line->too_long) {
    item.request.error =
        LineError{"line_too_long", "longer than " + std::to_string(limits_.max_line_bytes) + " bytes", ""};
  } else {
    item.request = read_request_line(line->text, rules_);
  }
  RequestLine& request = item.request;
  if (!request.custom_id.empty()) {
    const KeySet::Met met = keys_.meet(keys_.key(kCustomId, request.custom_id));
    if (met == KeySet::Met::kFull) return too_many();
    item.done = met == KeySet::Met::kDone;
    if (met == KeySet::Met::kAgain && !request.error) {
      request.error =
          LineError{"duplicate_custom_id", "the custom_id stands in a line before this one", "custom_id"};
    }
  }
  if (request.error) item.done = keys_.contains(keys_.key(kLineNumber, std::to_string(item.line)));
  return std::optional(std::move(item));
}

}  // namespace heed
