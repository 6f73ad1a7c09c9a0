// Mixture of experts, but for its linear layers: the choice of experts, their order, the weighted sum.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int64_t kElementsPerThread = 16384;

// NaN is worse than anything else.
bool better(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// The best `count` of values[begin, end), best first, the first of equals first: ids [0, found) so far.
class Best {
 public:
  explicit Best(int count) : count_(count), ids_(count) {}
  void clear() { found_ = 0; }
  const std::vector<int32_t>& ids() const { return ids_; }
  void look(const float* values, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (found_ == count_ && !better(values[i], values[ids_[found_ - 1]])) continue;
      int at = found_ < count_ ? found_++ : found_ - 1;
      for (; at > 0 && better(values[i], values[ids_[at - 1]]); --at) ids_[at] = ids_[at - 1];
      ids_[at] = static_cast<int32_t>(i);
    }
  }

 private:
  int count_;
  int found_ = 0;
  std::vector<int32_t> ids_;
};

// The choice for one token after another, with the memory that it takes.
class Router {
 public:
  Router(const RowTable& isa, const MoeRouteArgs& args, int64_t experts)
      : isa_(isa),
        args_(args),
        experts_(experts),
        scores_(experts),
        values_(experts),
        worth_(args.groups),
        best_(args.top_k),
        best_groups_(args.top_groups),
        best_of_group_(static_cast<int>(std::min<int64_t>(2, experts / args.groups))) {}

  void route(int64_t token) {
    score(args_.logits.f32() + token * args_.logits.stride[0]);
    best_.clear();
    if (args_.groups > 1 && args_.top_groups < args_.groups) {
      look_at_best_groups();
    } else {
      best_.look(values_.data(), 0, experts_);
    }
    int32_t* chosen = args_.experts + token * args_.top_k;
    std::copy_n(best_.ids().data(), args_.top_k, chosen);
    weigh(chosen, args_.weights + token * args_.top_k);
  }

 private:
  void score(const float* logits) {
    switch (args_.score) {
      case MoeRouteArgs::Score::kSoftmax:
        isa_.softmax(logits, scores_.data(), experts_);
        break;
      case MoeRouteArgs::Score::kSigmoid:
        isa_.sigmoid(logits, scores_.data(), experts_);
        break;
      case MoeRouteArgs::Score::kSoftmaxOfChosen:
        std::copy_n(logits, experts_, scores_.data());
        break;
    }
    std::copy_n(scores_.data(), experts_, values_.data());
    if (args_.bias.defined()) isa_.add(args_.bias.f32(), 1, 1, values_.data(), experts_);
  }

  // Experts in ascending order, so that the first of equals is the smaller id.
  void look_at_best_groups() {
    const int64_t size = experts_ / args_.groups;
    for (int g = 0; g < args_.groups; ++g) {
      best_of_group_.clear();
      best_of_group_.look(values_.data(), g * size, (g + 1) * size);
      const std::vector<int32_t>& ids = best_of_group_.ids();
      worth_[g] = ids.size() == 1 ? values_[ids[0]] : values_[ids[0]] + values_[ids[1]];
    }
    best_groups_.clear();
    best_groups_.look(worth_.data(), 0, args_.groups);
    std::vector<int32_t> groups = best_groups_.ids();
    std::sort(groups.begin(), groups.end());
    for (const int32_t g : groups) best_.look(values_.data(), g * size, (g + 1) * size);
  }

  void weigh(const int32_t* chosen, float* weights) const {
    for (int i = 0; i < args_.top_k; ++i) weights[i] = scores_[chosen[i]];
    if (args_.score == MoeRouteArgs::Score::kSoftmaxOfChosen) isa_.softmax(weights, weights, args_.top_k);
    float total = 1e-20F;
    for (int i = 0; i < args_.top_k; ++i) total += weights[i];
    for (int i = 0; i < args_.top_k; ++i) {
      if (args_.renormalise) weights[i] /= total;
      weights[i] *= args_.scale;
      if (args_.expert_scale.defined()) weights[i] *= args_.expert_scale.f32()[chosen[i]];
    }
  }

  const RowTable& isa_;
  const MoeRouteArgs& args_;
  int64_t experts_;
  std::vector<float> scores_, values_, worth_;
  Best best_, best_groups_, best_of_group_;
};

}  // namespace

void moe_route(const RowTable& isa, Stream& stream, const MoeRouteArgs& args) {
  const Shapes n = check(args);
  const int64_t experts = n["experts"];
  const int64_t grain = kElementsPerThread / (8 * experts) + 1;  // an element costs exp and comparisons
  stream.pool->parallel_for(n["tokens"], grain, [&](int64_t begin, int64_t end) {
    Router router(isa, args, experts);
    for (int64_t t = begin; t < end; ++t) router.route(t);
  });
}

void moe_sort(Stream& /*stream*/, const MoeSortArgs& args) {
  check(args);
  const int64_t assignments = args.tokens * args.top_k;
  int32_t* start = args.expert_start;
  std::fill_n(start, args.expert_count + 1, 0);
  for (int64_t i = 0; i < assignments; ++i) {
    const int32_t expert = args.experts[i];
    CHECK(expert >= 0 && expert < args.expert_count, i, expert, args.expert_count);
    ++start[expert + 1];
  }
  for (int e = 0; e < args.expert_count; ++e) start[e + 1] += start[e];
  for (int64_t i = 0; i < assignments; ++i) {  // start[e] goes from an expert's beginning to its end
    const int32_t place = start[args.experts[i]]++;
    args.place[i] = place;
    args.rows[place] = static_cast<int32_t>(i / args.top_k);
  }
  for (int e = args.expert_count; e > 0; --e) start[e] = start[e - 1];
  start[0] = 0;
}

void expert_sum(const RowTable& isa, Stream& stream, const ExpertSumArgs& args) {
  const Shapes n = check(args);
  const int64_t dim = n["dim"];
  const int64_t assignments = n["assignments"];
  const int64_t grain = kElementsPerThread / std::max<int64_t>(dim * args.top_k, 1) + 1;
  stream.pool->parallel_for(n["tokens"], grain, [&](int64_t begin, int64_t end) {
    std::vector<const float*> rows(args.top_k);
    for (int64_t t = begin; t < end; ++t) {
      const int32_t* place = args.place + t * args.top_k;
      for (int c = 0; c < args.top_k; ++c) {
        CHECK(place[c] >= 0 && place[c] < assignments, t, c, place[c], assignments);
        rows[c] = args.x.f32() + place[c] * args.x.stride[0];
      }
      isa.weighted_sum(rows.data(), args.weights + t * args.top_k, args.top_k, args.accumulate,
                       args.out.mutable_f32() + t * args.out.stride[0], dim);
    }
  });
}

int64_t moe_scratch_bytes(const StepSize& size) {
  constexpr int64_t kScores = 3;  // scores, values and, at most, groups' worths
  return size.threads * kScores * size.products * size_of(DType::kF32);
}

}  // namespace heed::cpu
