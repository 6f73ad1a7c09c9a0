#include "metrics/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <limits>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "base/json.h"

namespace heed {
namespace {

bool is_name(std::string_view name, bool with_colons) {
  const auto may_start = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (with_colons && c == ':');
  };
  const auto may_follow = [&](char c) { return may_start(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && may_start(name[0]) && std::all_of(name.begin(), name.end(), may_follow);
}

// One byte that is not UTF-8 would make a scraper refuse the whole page; a folder's name may well hold one.
std::string valid_utf8(const std::string& text) {
  return parse_json(to_text(Json(text)), "text").value().get<std::string>();
}

std::string escaped(const std::string& text, bool quoted) {
  std::string out;
  for (const char c : valid_utf8(text)) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || (quoted && c == '"')) out += '\\';
    out += c;
  }
  return out;
}

// The shortest digits that read back as the same number.
void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
    return;
  }
  char digits[32];
  char* const end = digits + sizeof(digits);
  // Whole numbers without an exponent: counts are read by people, too.
  const bool whole = value == std::trunc(value) && std::abs(value) < 1e15;
  const std::to_chars_result written =
      whole ? std::to_chars(digits, end, static_cast<int64_t>(value)) : std::to_chars(digits, end, value);
  out.append(digits, written.ptr);
}

// a="1",b="2": as it stands between the braces.
std::string label_text(const Labels& common, const Labels& own, bool is_histogram) {
  Labels all = common;
  all.insert(all.end(), own.begin(), own.end());
  std::string text;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& name = all[i].first;
    CHECK(is_name(name, false) && !name.starts_with("__"), name);
    CHECK(!is_histogram || name != "le", name);
    const auto same = [&](const auto& label) { return label.first == name; };
    CHECK(std::count_if(all.begin(), all.end(), same) == 1, name);
    text += (i == 0 ? "" : ",") + name + "=\"" + escaped(all[i].second, true) + "\"";
  }
  return text;
}

void append_sample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                   double value) {
  out.append(name).append(suffix);
  if (!labels.empty()) out.append("{").append(labels).append("}");
  out += ' ';
  append_number(out, value);
  out += '\n';
}

template <class Metric>
void append_samples(std::string& out, const std::string& name, const std::string& labels,
                    const Metric& metric) {
  append_sample(out, name, "", labels, metric.value());
}

void append_samples(std::string& out, const std::string& name, const std::string& labels,
                    const Histogram& histogram) {
  const std::vector<uint64_t> counts = histogram.counts();
  uint64_t cumulative = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    cumulative += counts[i];
    std::string with_bound = labels.empty() ? "le=\"" : labels + ",le=\"";
    append_number(with_bound, i < histogram.bounds().size() ? histogram.bounds()[i]
                                                            : std::numeric_limits<double>::infinity());
    append_sample(out, name, "_bucket", with_bound + '"', static_cast<double>(cumulative));
  }
  append_sample(out, name, "_sum", labels, histogram.sum());
  append_sample(out, name, "_count", labels, static_cast<double>(cumulative));
}

template <class Metric>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<Metric, Counter>) {
    return "counter";
  } else if constexpr (std::is_same_v<Metric, Gauge>) {
    return "gauge";
  } else {
    return "histogram";
  }
}

}  // namespace

void Counter::add(double amount) {
  CHECK(amount >= 0, amount);
  value_.fetch_add(amount, std::memory_order_relaxed);
}

double Counter::value() const { return value_.load(std::memory_order_relaxed); }

void Gauge::set(double value) { value_.store(value, std::memory_order_relaxed); }

void Gauge::add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }

double Gauge::value() const { return value_.load(std::memory_order_relaxed); }

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {
  for (size_t i = 0; i < bounds_.size(); ++i) {
    CHECK(std::isfinite(bounds_[i]), bounds_[i]);
    CHECK(i == 0 || bounds_[i - 1] < bounds_[i], bounds_[i]);
  }
}

void Histogram::observe(double value, uint64_t times) {
  if (times == 0) return;
  const auto bucket =
      std::isnan(value) ? bounds_.end() : std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<size_t>(bucket - bounds_.begin())].fetch_add(times, std::memory_order_relaxed);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::counts() const {
  std::vector<uint64_t> counts;
  counts.reserve(counts_.size());
  for (const auto& count : counts_) counts.push_back(count.load(std::memory_order_relaxed));
  return counts;
}

double Histogram::sum() const { return sum_.load(std::memory_order_relaxed); }

// All series of one name.
struct Registry::Family {
  struct Series {
    template <class Metric, class... Arguments>
    Series(std::string text, std::in_place_type_t<Metric> kind, Arguments... arguments)
        : labels(std::move(text)), metric(kind, std::move(arguments)...) {}
    std::string labels;  // as they stand between the braces
    std::variant<Counter, Gauge, Histogram> metric;
  };
  std::string name, help, type;
  std::deque<Series> series;  // which stay where they are
};

Registry::Registry(Labels common) : common_(std::move(common)) {}

Registry::~Registry() = default;

template <class Metric, class... Arguments>
Metric& Registry::make(const std::string& name, const std::string& help, const Labels& labels,
                       Arguments... arguments) {
  CHECK(is_name(name, true), name);
  const std::string type = type_name<Metric>();
  std::string text = label_text(common_, labels, type == "histogram");
  const std::scoped_lock lock(mutex_);
  auto found =
      std::find_if(families_.begin(), families_.end(), [&](const auto& f) { return f->name == name; });
  if (found == families_.end()) {
    families_.push_back(std::make_unique<Family>(Family{name, escaped(help, false), type, {}}));
    found = families_.end() - 1;
  }
  Family& family = **found;
  CHECK(family.type == type, name, family.type, type);
  CHECK(family.help == escaped(help, false), name, family.help, help);
  for (const Family::Series& series : family.series) CHECK(series.labels != text, name, text);
  family.series.emplace_back(std::move(text), std::in_place_type<Metric>, std::move(arguments)...);
  return std::get<Metric>(family.series.back().metric);
}

Counter& Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return make<Counter>(name, help, labels);
}

Gauge& Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return make<Gauge>(name, help, labels);
}

Histogram& Registry::histogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                               const Labels& labels) {
  return make<Histogram>(name, help, labels, std::move(bounds));
}

std::string Registry::expose() const {
  const std::scoped_lock lock(mutex_);
  std::string out;
  for (const auto& family : families_) {
    out += "# HELP " + family->name + ' ' + family->help + '\n';
    out += "# TYPE " + family->name + ' ' + family->type + '\n';
    for (const Family::Series& series : family->series) {
      std::visit([&](const auto& metric) { append_samples(out, family->name, series.labels, metric); },
                 series.metric);
    }
  }
  return out;
}

}  // namespace heed
