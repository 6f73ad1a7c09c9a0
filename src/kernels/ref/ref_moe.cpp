// Mixture of experts: route, sort, the experts' linear layers, the weighted sum.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ops.h"

namespace heed::ref {
namespace {

// NaN is worse than anything else.
bool better(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// The best of those that may be chosen, the first of equals; -1: none may.
int best(const std::vector<float>& values, const std::vector<bool>& allowed) {
  int found = -1;
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    if (allowed[i] && (found < 0 || better(values[i], values[found]))) found = i;
  }
  return found;
}

std::vector<float> softmax(const std::vector<float>& logits) {
  float largest = -INFINITY;
  for (const float logit : logits) largest = std::max(largest, logit);
  std::vector<float> out;
  float total = 0;
  for (const float logit : logits) {
    out.push_back(std::exp(logit - largest));
    total += out.back();
  }
  for (float& value : out) value /= total;
  return out;
}

std::vector<float> scores_of(const MoeRouteArgs& args, const std::vector<float>& logits) {
  if (args.score == MoeRouteArgs::Score::kSoftmaxOfChosen) return logits;
  if (args.score == MoeRouteArgs::Score::kSoftmax) return softmax(logits);
  std::vector<float> scores;
  for (const float logit : logits) scores.push_back(1 / (1 + std::exp(-logit)));
  return scores;
}

// Which experts are in one of the best groups.
std::vector<bool> in_best_groups(const MoeRouteArgs& args, const std::vector<float>& values) {
  const auto size = static_cast<int>(values.size()) / args.groups;
  std::vector<float> worth;
  for (int g = 0; g < args.groups; ++g) {
    const std::vector<float> own(values.begin() + g * size, values.begin() + (g + 1) * size);
    std::vector<bool> left(own.size(), true);
    const int first = best(own, left);
    left[first] = false;
    const int second = best(own, left);
    worth.push_back(second < 0 ? own[first] : own[first] + own[second]);
  }
  std::vector<bool> groups_left(worth.size(), true);
  std::vector<bool> allowed(values.size(), false);
  for (int i = 0; i < args.top_groups; ++i) {
    const int g = best(worth, groups_left);
    groups_left[g] = false;
    std::fill_n(allowed.begin() + g * size, size, true);
  }
  return allowed;
}

void route_token(const MoeRouteArgs& args, int64_t token, int64_t experts) {
  std::vector<float> logits;
  for (int64_t e = 0; e < experts; ++e) logits.push_back(load(args.logits, at(args.logits, token, e)));
  const std::vector<float> scores = scores_of(args, logits);
  std::vector<float> values = scores;
  for (int64_t e = 0; e < experts && args.bias.defined(); ++e) values[e] += load(args.bias, e);

  const bool limited = args.groups > 1 && args.top_groups < args.groups;
  std::vector<bool> allowed = limited ? in_best_groups(args, values) : std::vector<bool>(values.size(), true);
  std::vector<float> weights;
  int32_t* chosen = args.experts + token * args.top_k;
  for (int i = 0; i < args.top_k; ++i) {
    chosen[i] = best(values, allowed);
    allowed[chosen[i]] = false;
    weights.push_back(scores[chosen[i]]);
  }
  if (args.score == MoeRouteArgs::Score::kSoftmaxOfChosen) weights = softmax(weights);
  float total = 1e-20F;
  for (const float weight : weights) total += weight;
  for (int i = 0; i < args.top_k; ++i) {
    if (args.renormalise) weights[i] /= total;
    weights[i] *= args.scale;
    if (args.expert_scale.defined()) weights[i] *= load(args.expert_scale, chosen[i]);
    args.weights[token * args.top_k + i] = weights[i];
  }
}

}  // namespace

void moe_route(Stream& /*stream*/, const MoeRouteArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) route_token(args, t, n["experts"]);
}

void moe_sort(Stream& /*stream*/, const MoeSortArgs& args) {
  check(args);
  int32_t sorted = 0;
  for (int e = 0; e < args.expert_count; ++e) {
    args.expert_start[e] = sorted;
    for (int64_t i = 0; i < args.tokens * args.top_k; ++i) {
      CHECK(args.experts[i] >= 0 && args.experts[i] < args.expert_count, args.experts[i], args.expert_count);
      if (args.experts[i] != e) continue;
      args.rows[sorted] = static_cast<int32_t>(i / args.top_k);
      args.place[i] = sorted++;
    }
  }
  args.expert_start[args.expert_count] = sorted;
}

void expert_linear(Stream& /*stream*/, const ExpertLinearArgs& args) {
  const Shapes n = check(args);
  for (int64_t e = 0; e < std::ssize(args.weights); ++e) {
    for (int64_t i = args.expert_start[e]; i < args.expert_start[e + 1]; ++i) {
      const Tensor& weight = expert_weight(args, e);
      const int64_t row = args.rows != nullptr ? args.rows[i] : i;
      CHECK(row >= 0 && row < args.x.size[0], row, describe(args.x));
      const std::vector<float> x = linear_input(args.x, row, n["in"], weight.dtype);
      for (int64_t o = 0; o < n["out"]; ++o) {
        float sum = 0;
        for (int64_t j = 0; j < n["in"]; ++j) sum += x[j] * load(weight, at(weight, o, j));
        if (args.bias.defined()) sum += load(args.bias, at(args.bias, e, o));
        store(args.out, at(args.out, i, o), sum);
      }
    }
  }
}

void expert_sum(Stream& /*stream*/, const ExpertSumArgs& args) {
  const Shapes n = check(args);
  for (int64_t t = 0; t < n["tokens"]; ++t) {
    for (int64_t i = 0; i < n["dim"]; ++i) {
      float sum = args.accumulate ? load(args.out, at(args.out, t, i)) : 0;
      for (int64_t c = t * args.top_k; c < (t + 1) * args.top_k; ++c) {
        CHECK(args.place[c] >= 0 && args.place[c] < n["assignments"], args.place[c], n["assignments"]);
        const float weight = args.weights != nullptr ? args.weights[c] : 1;
        sum += weight * load(args.x, at(args.x, args.place[c], i));
      }
      store(args.out, at(args.out, t, i), sum);
    }
  }
}

}  // namespace heed::ref
