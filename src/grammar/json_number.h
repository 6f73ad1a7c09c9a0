// The JSON texts of numbers within bounds, as expressions over digits.
//
// Texts are bounded so that no answer can be an endless number: at most 19 digits before the point and 24
// behind it; exponents only where no bound (other than zero) is given, and so that a double holds the value.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/automaton.h"
#include "grammar/syntax.h"

namespace heed::grammar {

inline constexpr int kMaxWholeDigits = 19;
inline constexpr int kMaxFractionDigits = 24;

struct Decimal {
  bool negative = false;
  std::string whole;     // no zeros in front; empty for 0
  std::string fraction;  // no zeros behind

  bool is_zero() const { return whole.empty() && fraction.empty(); }
  bool is_integer() const { return fraction.empty(); }
};

// Of a JSON number: an integer as it is, a double as its shortest text. Nothing if it is not a number.
std::optional<Decimal> decimal_of(const OrderedJson& number);
int compare(const Decimal& a, const Decimal& b);  // < 0, 0 or > 0

struct NumberBound {
  Decimal value;
  bool exclusive = false;
};

struct NumberRange {
  std::optional<NumberBound> min;
  std::optional<NumberBound> max;
  bool is_unbounded() const { return !min && !max; }
  void narrow_min(NumberBound bound);
  void narrow_max(NumberBound bound);
  bool contains(const Decimal& value) const;
};

Syntax integers(const NumberRange& range);
// At most max_fraction digits behind the point; with fewer than kMaxFractionDigits there are no exponents.
Syntax numbers(const NumberRange& range, int max_fraction = kMaxFractionDigits);

// Integers that are multiples of one in [1, kMaxMultiple]; deterministic.
inline constexpr int kMaxMultiple = 1000;
Automaton multiples_of(int divisor, Budget& budget);
bool is_multiple(const Decimal& value, int divisor);

}  // namespace heed::grammar
