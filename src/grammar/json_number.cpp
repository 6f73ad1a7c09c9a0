#include "grammar/json_number.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace heed::grammar {
namespace {

constexpr int kMaxShift = 400;  // a double's exponent is smaller

std::string text_of(const Decimal& d) {
  return (d.negative ? "-" : "") + (d.whole.empty() ? "0" : d.whole) +
         (d.fraction.empty() ? "" : "." + d.fraction);
}

int compare_magnitude(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int order = a.whole.compare(b.whole); order != 0) return order;
  return a.fraction.compare(b.fraction);
}

Decimal zero() { return {}; }
Decimal negated(Decimal d) {
  d.negative = !d.negative && !d.is_zero();
  return d;
}

std::string successor(std::string whole) {
  size_t i = whole.size();
  while (i > 0 && whole[i - 1] == '9') whole[--i] = '0';
  if (i == 0) {
    whole.insert(whole.begin(), '1');
  } else {
    ++whole[i - 1];
  }
  return whole;
}

std::string predecessor(std::string whole) {  // of more than zero
  size_t i = whole.size();
  while (whole[i - 1] == '0') whole[--i] = '9';
  --whole[i - 1];
  if (whole[0] == '0') whole.erase(0, 1);
  return whole;
}

Syntax digit(char lo, char hi) { return chars({{lo, hi}}); }

// Texts of as many digits as both: lo <= text <= hi. A bound that is no longer tight is empty.
Syntax same_length(std::string_view lo, std::string_view hi, int length) {
  if (length == 0) return sequence({});
  if (lo.empty() && hi.empty()) return digits(length, length);
  const char first = lo.empty() ? '0' : lo[0];
  const char last = hi.empty() ? '9' : hi[0];
  const std::string_view lo_rest = lo.empty() ? lo : lo.substr(1);
  const std::string_view hi_rest = hi.empty() ? hi : hi.substr(1);
  if (first == last) return sequence({digit(first, last), same_length(lo_rest, hi_rest, length - 1)});
  std::vector<Syntax> options;
  const char inner_first = lo.empty() ? first : static_cast<char>(first + 1);
  const char inner_last = hi.empty() ? last : static_cast<char>(last - 1);
  if (!lo.empty()) options.push_back(sequence({digit(first, first), same_length(lo_rest, {}, length - 1)}));
  if (inner_first <= inner_last) {
    options.push_back(sequence({digit(inner_first, inner_last), digits(length - 1, length - 1)}));
  }
  if (!hi.empty()) options.push_back(sequence({digit(last, last), same_length({}, hi_rest, length - 1)}));
  return choice(std::move(options));
}

bool is_at_most(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a <= b;
}

// Non-negative integers lo..hi without zeros in front; digits as in Decimal::whole.
Syntax wholes(const std::string& lo, std::string hi) {
  if (hi.size() > kMaxWholeDigits) hi.assign(kMaxWholeDigits, '9');
  std::vector<Syntax> options;
  if (!is_at_most(lo, hi)) return choice({});
  if (lo.empty()) options.push_back(digit('0', '0'));
  for (size_t length = std::max<size_t>(1, lo.size()); length <= hi.size(); ++length) {
    const std::string least = length == lo.size() ? lo : std::string("1").append(length - 1, '0');
    const std::string most = length == hi.size() ? hi : std::string(length, '9');
    options.push_back(same_length(least, most, static_cast<int>(length)));
  }
  return choice(std::move(options));
}

// Digits behind the point, compared with those of a lower and an upper bound (null: none).
class Fractions {
 public:
  Fractions(const std::string* lo, const std::string* hi, int max_digits)
      : lo_(lo), hi_(hi), max_digits_(max_digits) {}

  Syntax all() const {
    std::vector<Syntax> options;
    if (may_end(0, lo_ != nullptr)) options.push_back(sequence({}));
    if (max_digits_ > 0) options.push_back(sequence({literal("."), from(0, lo_ != nullptr, hi_ != nullptr)}));
    return choice(std::move(options));
  }

 private:
  bool may_end(int i, bool lo_tight) const { return !lo_tight || i >= static_cast<int>(lo_->size()); }

  // One digit and more, from place i on.
  Syntax from(int i, bool lo_tight, bool hi_tight) const {
    if (i >= max_digits_) return choice({});
    const auto place = static_cast<size_t>(i);
    if (lo_tight && place >= lo_->size()) lo_tight = false;
    if (!lo_tight && !hi_tight) return digits(1, max_digits_ - i);
    const char first = lo_tight ? (*lo_)[place] : '0';
    const char last = !hi_tight ? '9' : place < hi_->size() ? (*hi_)[place] : '0';
    std::vector<Syntax> options;
    for (char d = first; d <= last; ++d) {
      const bool lo_still = lo_tight && d == first;
      const bool hi_still = hi_tight && d == last;
      Syntax rest = from(i + 1, lo_still, hi_still);
      if (may_end(i + 1, lo_still)) rest = optional(std::move(rest));
      const bool is_free = !lo_still && !hi_still;
      char to = d;
      while (is_free && to < last && !(hi_tight && to + 1 == last)) ++to;
      options.push_back(sequence({digit(d, to), std::move(rest)}));
      d = to;
    }
    return choice(std::move(options));
  }

  const std::string* lo_;
  const std::string* hi_;
  int max_digits_;
};

// Decimals lo <= x, and x <= hi where there is one; neither is negative. Without exponents.
Syntax decimals(const Decimal& lo, const Decimal* hi, int max_fraction) {
  if (hi != nullptr && compare_magnitude(lo, *hi) > 0) return choice({});
  if (hi != nullptr && lo.whole == hi->whole) {
    return sequence({wholes(lo.whole, lo.whole), Fractions(&lo.fraction, &hi->fraction, max_fraction).all()});
  }
  std::vector<Syntax> options;
  options.push_back(
      sequence({wholes(lo.whole, lo.whole), Fractions(&lo.fraction, nullptr, max_fraction).all()}));
  const std::string last = hi == nullptr ? std::string(kMaxWholeDigits, '9') : predecessor(hi->whole);
  options.push_back(
      sequence({wholes(successor(lo.whole), last), Fractions(nullptr, nullptr, max_fraction).all()}));
  if (hi != nullptr) {
    options.push_back(
        sequence({wholes(hi->whole, hi->whole), Fractions(nullptr, &hi->fraction, max_fraction).all()}));
  }
  return choice(std::move(options));
}

// The bound as an inclusive one. A double next to it is the first that a reader of the text tells from it;
// next to zero the smallest decimal that fits serves.
Decimal inclusive(const NumberBound& bound, double towards) {
  if (!bound.exclusive) return bound.value;
  if (bound.value.is_zero()) return {towards < 0, "", std::string(kMaxFractionDigits - 1, '0') + "1"};
  const double next = std::nextafter(std::strtod(text_of(bound.value).c_str(), nullptr), towards);
  return decimal_of(OrderedJson(next)).value_or(bound.value);
}

Decimal rounded_up(const NumberBound& bound);

Decimal rounded_down(const NumberBound& bound) {
  if (bound.value.negative) return negated(rounded_up({negated(bound.value), bound.exclusive}));
  Decimal result{false, bound.value.whole, ""};
  if (!bound.value.is_integer() || !bound.exclusive) return result;
  if (result.is_zero()) return {true, "1", ""};
  result.whole = predecessor(result.whole);
  return result;
}

Decimal rounded_up(const NumberBound& bound) {
  if (bound.value.negative) return negated(rounded_down({negated(bound.value), bound.exclusive}));
  Decimal result{false, bound.value.whole, ""};
  if (!bound.value.is_integer() || bound.exclusive) result.whole = successor(result.whole);
  return result;
}

// Numbers from 0 (or above it) up, with exponents.
Syntax from_zero(bool with_zero) {
  const Syntax fraction = optional(sequence({literal("."), digits(1, kMaxFractionDigits)}));
  const Syntax e = sequence({chars({{'e', 'e'}, {'E', 'E'}}), optional(chars({{'+', '+'}, {'-', '-'}}))});
  const Syntax large =
      choice({sequence({digit('1', '2'), digits(2, 2)}), sequence({literal("30"), digit('0', '7')})});
  const Syntax first = digit(with_zero ? '0' : '1', '9');
  const Syntax whole = choice({first, sequence({digit('1', '9'), digits(1, kMaxWholeDigits - 1)})});
  return choice({sequence({whole, fraction, e, digits(1, 2)}), sequence({first, fraction, e, large})});
}

}  // namespace

std::optional<Decimal> decimal_of(const OrderedJson& number) {
  if (!number.is_number()) return std::nullopt;
  const std::string text = to_text(number);
  Decimal d;
  int exponent = 0;
  bool in_fraction = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') d.negative = true;
    if (text[i] == '.') in_fraction = true;
    if (text[i] == 'e' || text[i] == 'E') {
      exponent = std::atoi(text.c_str() + i + 1);
      break;
    }
    if (text[i] >= '0' && text[i] <= '9') (in_fraction ? d.fraction : d.whole) += text[i];
  }
  exponent = std::clamp(exponent, -kMaxShift, kMaxShift);
  for (; exponent > 0; --exponent) {
    d.whole += d.fraction.empty() ? '0' : d.fraction[0];
    if (!d.fraction.empty()) d.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    d.fraction.insert(d.fraction.begin(), d.whole.empty() ? '0' : d.whole.back());
    if (!d.whole.empty()) d.whole.pop_back();
  }
  d.whole.erase(0, std::min(d.whole.size(), d.whole.find_first_not_of('0')));
  while (!d.fraction.empty() && d.fraction.back() == '0') d.fraction.pop_back();
  if (d.is_zero()) d.negative = false;
  return d;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_magnitude(b, a) : compare_magnitude(a, b);
}

void NumberRange::narrow_min(NumberBound bound) {
  const int order = min ? compare(bound.value, min->value) : 1;
  if (order > 0 || (order == 0 && bound.exclusive)) min = std::move(bound);
}

void NumberRange::narrow_max(NumberBound bound) {
  const int order = max ? compare(bound.value, max->value) : -1;
  if (order < 0 || (order == 0 && bound.exclusive)) max = std::move(bound);
}

bool NumberRange::contains(const Decimal& value) const {
  const int above = min ? compare(value, min->value) : 1;
  const int below = max ? compare(value, max->value) : -1;
  return (above > 0 || (above == 0 && !min->exclusive)) && (below < 0 || (below == 0 && !max->exclusive));
}

Syntax integers(const NumberRange& range) {
  const std::string most(kMaxWholeDigits, '9');
  const Decimal lo = range.min ? rounded_up(*range.min) : Decimal{true, most, ""};
  const Decimal hi = range.max ? rounded_down(*range.max) : Decimal{false, most, ""};
  std::vector<Syntax> options;
  if (lo.negative)
    options.push_back(sequence({literal("-"), wholes(hi.negative ? hi.whole : "1", lo.whole)}));
  if (!hi.negative) options.push_back(wholes(lo.negative ? "" : lo.whole, hi.whole));
  return choice(std::move(options));
}

Syntax numbers(const NumberRange& range, int max_fraction) {
  const std::optional<Decimal> lo = range.min ? std::optional(inclusive(*range.min, HUGE_VAL)) : std::nullopt;
  const std::optional<Decimal> hi =
      range.max ? std::optional(inclusive(*range.max, -HUGE_VAL)) : std::nullopt;
  std::vector<Syntax> options;
  if (!lo || lo->negative) {  // the negative ones, as their magnitudes
    const Decimal least = hi && hi->negative ? negated(*hi) : zero();
    const Decimal most = lo ? negated(*lo) : zero();
    options.push_back(sequence({literal("-"), decimals(least, lo ? &most : nullptr, max_fraction)}));
  }
  if (!hi || !hi->negative) {
    options.push_back(decimals(lo && !lo->negative ? *lo : zero(), hi ? &*hi : nullptr, max_fraction));
  }
  const bool any_exponent = max_fraction == kMaxFractionDigits && !range.max;
  if (any_exponent && !range.min) options.push_back(sequence({optional(literal("-")), from_zero(true)}));
  if (any_exponent && range.min && range.min->value.is_zero())
    options.push_back(from_zero(!range.min->exclusive));
  return choice(std::move(options));
}

Automaton multiples_of(int divisor, Budget& budget) {
  // 0: nothing read; 1: a minus; 2: a zero; 3 + r: a number that leaves r.
  Automaton automaton;
  automaton.deterministic = true;
  for (int i = 0; i < divisor + 3; ++i) automaton.add_state(budget);
  automaton.connect(0, {EdgeKind::kChars, '-', '-', 1});
  automaton.connect(0, {EdgeKind::kChars, '0', '0', 2});
  automaton.set_final(2);
  automaton.set_final(3);
  for (int state = 0; state < divisor + 3; ++state) {
    if (state == 2) continue;
    for (int d = state < 2 ? 1 : 0; d < 10; ++d) {
      const int rest = state < 2 ? d % divisor : ((state - 3) * 10 + d) % divisor;
      automaton.connect(state, {EdgeKind::kChars, '0' + d, '0' + d, 3 + rest});
    }
  }
  return automaton;
}

bool is_multiple(const Decimal& value, int divisor) {
  int rest = 0;
  for (const char d : value.whole) rest = (rest * 10 + (d - '0')) % divisor;
  return value.is_integer() && rest == 0;
}

}  // namespace heed::grammar
