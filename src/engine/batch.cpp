#include "engine/batch.h"

#include <algorithm>

#include "base/checked.h"

namespace heed {

Batch build_batch(const Cache& cache, std::span<const Scheduled> scheduled) {
  Batch batch;
  batch.groups.resize(cache.layout().groups.size());
  for (const Scheduled& item : scheduled) {
    const int64_t blocks = div_up(item.sequence->computed + item.count, cache.layout().kernel_block);
    for (BatchGroup& group : batch.groups) group.table_stride = std::max(group.table_stride, blocks);
  }
  batch.seq_start.push_back(0);
  for (int i = 0; i < static_cast<int>(scheduled.size()); ++i) {
    const Scheduled& item = scheduled[i];
    const Sequence& sequence = *item.sequence;
    for (int p = sequence.computed; p < sequence.computed + item.count; ++p) {
      batch.tokens.push_back(sequence.tokens[p]);
      batch.positions.push_back(p);
    }
    const auto end = static_cast<int32_t>(batch.tokens.size());
    for (int32_t row = end - item.logit_count; row < end; ++row) batch.logit_rows.push_back(row);
    batch.seq_start.push_back(end);
    cache.append(sequence, i, item.count, batch.groups);
  }
  return batch;
}

}  // namespace heed
