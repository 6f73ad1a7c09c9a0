#include "attention/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "base/check.h"

namespace heed {
namespace {

// The dimension (pair index, fractional) that turns `rotations` times over the trained context.
double yarn_dimension(const RopeSpec& spec, double rotations) {
  return spec.dims * std::log(spec.original_positions / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(static_cast<double>(spec.theta)));
}

// Fast pairs keep their frequency, slow ones are divided by the factor, with a linear ramp in between.
void stretch_yarn(const RopeSpec& spec, std::vector<float>& frequencies) {
  double low = yarn_dimension(spec, spec.beta_fast);
  double high = yarn_dimension(spec, spec.beta_slow);
  if (spec.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, spec.dims - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float position = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1 - std::clamp(position, 0.0F, 1.0F);
    const float plain = frequencies[i];
    frequencies[i] = plain / spec.factor * (1 - keep) + plain * keep;
  }
}

// Wavelengths beyond the trained context are divided by the factor, with a smooth passage up to it.
void stretch_llama3(const RopeSpec& spec, std::vector<float>& frequencies) {
  const auto context = static_cast<float>(spec.original_positions);
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wavelength < context / spec.high_freq) continue;
    const float slow = frequency / spec.factor;
    if (wavelength > context / spec.low_freq) {
      frequency = slow;
    } else {
      const float smooth = (context / wavelength - spec.low_freq) / (spec.high_freq - spec.low_freq);
      frequency = (1 - smooth) * slow + smooth * frequency;
    }
  }
}

}  // namespace

std::vector<float> inverse_frequencies(const RopeSpec& spec) {
  CHECK(spec.dims >= 0 && spec.dims % 2 == 0, spec.dims);
  std::vector<float> frequencies(static_cast<size_t>(spec.dims / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.dims);
    frequencies[i] = 1.0F / std::pow(spec.theta, exponent);
  }
  switch (spec.scaling) {
    case RopeSpec::kDefault:
      break;
    case RopeSpec::kLinear:
      for (float& frequency : frequencies) frequency /= spec.factor;
      break;
    case RopeSpec::kLlama3:
      stretch_llama3(spec, frequencies);
      break;
    case RopeSpec::kYarn:
      stretch_yarn(spec, frequencies);
      break;
    case RopeSpec::kProportional:
      for (size_t i = 0; i < frequencies.size(); ++i) {
        frequencies[i] = static_cast<int>(i) < spec.turning ? frequencies[i] / spec.factor : 0;
      }
      break;
  }
  CHECK(spec.divisors.empty() || spec.divisors.size() == frequencies.size(), spec.divisors.size(), spec.dims);
  for (size_t i = 0; i < spec.divisors.size(); ++i) frequencies[i] /= spec.divisors[i];
  return frequencies;
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

std::string describe(const RopeSpec& spec) {
  if (spec.dims == 0) return "none";
  std::ostringstream text;
  text << "theta " << spec.theta << ", " << spec.dims << " dims" << (spec.interleaved ? ", interleaved" : "");
  if (!spec.divisors.empty()) text << ", pairs divided by factors of their own";
  switch (spec.scaling) {
    case RopeSpec::kDefault:
      break;
    case RopeSpec::kLinear:
      text << ", linear " << spec.factor;
      break;
    case RopeSpec::kLlama3:
      text << ", llama3 " << spec.factor << " from " << spec.original_positions << " positions";
      break;
    case RopeSpec::kYarn:
      text << ", yarn " << spec.factor << " from " << spec.original_positions
           << " positions, attention factor " << spec.attention_factor;
      break;
    case RopeSpec::kProportional:
      text << ", proportional, " << 2 * spec.turning << " of them turning";
      break;
  }
  return text.str();
}

}  // namespace heed
