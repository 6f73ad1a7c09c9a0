#include "engine/work.h"

#include <algorithm>
#include <cmath>

#include "attention/rows.h"

namespace heed {
namespace {

struct Amount {
  double bytes = 0, elements = 0;
};

// Vectors are not multiplied with, and too small to matter.
void add(Amount& sum, const Tensor& t) {
  if (!t.defined() || t.rank < 2) return;
  sum.bytes += static_cast<double>(t.bytes());
  sum.elements += static_cast<double>(t.elements());
}

Amount amount_of(std::span<const Tensor> tensors) {
  Amount sum;
  for (const Tensor& t : tensors) add(sum, t);
  return sum;
}

void add_weights(const ModelSpec& spec, const Weights& weights, double rows, double logit_rows,
                 StepWork& work) {
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& layer = weights.layers[i];
    for (const Tensors* list : {&layer.own, &layer.mixer, &layer.mlp}) {
      const Amount amount = amount_of(*list);
      work.bytes += amount.bytes;
      work.flops += 2 * amount.elements * rows;
    }
    if (!spec.layers[i].moe) continue;
    const double chosen = static_cast<double>(spec.layers[i].moe->top_k) / spec.layers[i].moe->experts;
    const Amount experts = amount_of(layer.moe);
    work.bytes += experts.bytes * (1 - std::pow(1 - chosen, rows));
    work.flops += 2 * experts.elements * chosen * rows;
  }
  Amount head;
  add(head, weight_of(weights.own, kHead));
  work.bytes += head.bytes;
  work.flops += 2 * head.elements * logit_rows;
}

// Keys that some of the tokens see are read once.
void add_attention(const RunPlan& plan, const SequenceStep& sequence, StepWork& work) {
  const SeqFacts facts = {.length = sequence.past + sequence.tokens};
  for (const CacheGroup& group : plan.layout.groups) {
    double pairs = 0;
    int lo = facts.length;
    int sinks = 0;
    for (int t = 0; t < sequence.tokens; ++t) {
      const RowMask row = row_of(group.kv.mask, facts, sequence.past + t);
      pairs += row.hi - row.lo + row.sinks;
      lo = std::min(lo, row.lo);
      sinks = std::max(sinks, row.sinks);
    }
    work.bytes += static_cast<double>(facts.length - lo + sinks) * static_cast<double>(group.token_bytes);
    for (size_t layer = 0; layer < plan.attention.size(); ++layer) {
      const AttentionNeeds& needs = plan.attention[layer];
      const int source = plan.layout.source_of_layer[layer];
      if (needs.heads == 0 || source < 0 || &plan.layout.groups[plan.layout.group_of_layer[source]] != &group)
        continue;
      work.flops += 2 * pairs * needs.heads * (needs.head_dim + needs.v_dim);
    }
  }
  work.bytes += 2 * static_cast<double>(plan.states.slot_bytes());
}

}  // namespace

StepWork work_of(const Runner& runner, std::span<const SequenceStep> sequences) {
  StepWork work;
  double rows = 0;
  for (const SequenceStep& sequence : sequences) {
    rows += sequence.tokens;
    add_attention(runner.plan(), sequence, work);
  }
  add_weights(runner.spec(), runner.weights(), rows, static_cast<double>(sequences.size()), work);
  return work;
}

}  // namespace heed
