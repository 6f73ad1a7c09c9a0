#include "engine/drafter.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/draft.h"

namespace heed {
namespace {

int newest_place(const Sequence& sequence) { return static_cast<int>(sequence.tokens.size()) - 1; }

}  // namespace

int64_t page_feature_bytes(const ModelSpec& drafter, int64_t pages) {
  const bool takes_features = drafter.draft && !drafter.draft->is_block();
  return takes_features ? pages * drafter.hidden * size_of(DType::kF32) : 0;
}

Drafter::Drafter(Model model, const Model& target, Tools tools)
    : model_(std::move(model)),
      target_vocab_(target.spec.vocab),
      tools_(std::move(tools)),
      states_(model_.spec.layers.size()) {
  share_with_target(target, model_);
  for (const CacheGroup& group : tools_.pages.layout().groups) group_masks_.push_back(group.kv.mask);
  if (model_.spec.draft) taps_ = model_.spec.draft->taps;
  if (is_block()) {
    for (size_t i = 0; i < model_.spec.layers.size(); ++i)
      group_masks_[tools_.cache[i].group] = model_.spec.draft->block_masks[i];
  }
  page_features_ = Buffer(page_feature_bytes(model_.spec, tools_.pages.pool().pages()));
  stream_.pool = &tools_.pool;
}

Step Drafter::step() {
  return {.kernels = tools_.kernels,
          .attention = tools_.attention,
          .cache = tools_.cache,
          .states = states_,
          .stream = stream_,
          .arena = tools_.arena};
}

void Drafter::observe(std::span<const Scheduled> scheduled, const Batch& batch, const Tensor& taps) {
  if (is_block()) return keep_context(model_, batch, step(), taps);
  batch_ = batch;
  batch_.images.clear();  // it has seen none: the pad token stands for them
  batch_.logit_rows.clear();
  batch_.state_saves.clear();
  const ArenaScope scope(tools_.arena);
  Step s = step();
  if (takes_features()) {
    s.features = shifted(scheduled, batch_, make_features(model_, batch_, s, taps));
    hide_first_place();
  }
  read_here(batch_);
  forward(model_, batch_, s);
}

// The feature before each token of the batch.
Tensor Drafter::shifted(std::span<const Scheduled> scheduled, const Batch& batch, const Tensor& features) {
  const Tensor before = tools_.arena.take(DType::kF32, {features.size[0], width()});
  for (size_t i = 0; i < scheduled.size(); ++i) {
    const Scheduled& item = scheduled[i];
    const int64_t row = batch.seq_start[i];
    float* out = before.mutable_f32() + row * width();
    const int first = batch.positions[row];
    if (first == 0) {
      std::fill_n(out, width(), 0.0F);  // of no token; not seen
    } else {
      std::copy_n(feature_of(*item.sequence, first - 1), width(), out);
    }
    std::copy_n(features.f32() + row * width(), (item.count - 1) * width(), out + width());
    remember(item, features.slice(row, row + item.count));
  }
  return before;
}

// Of the tokens behind which the next step may begin, and of those that end a page.
void Drafter::remember(const Scheduled& item, const Tensor& features) {
  Sequence& sequence = *item.sequence;
  const int first = sequence.computed;
  const int from = item.count - item.guesses - 1;
  sequence.features.first = first + from;
  sequence.features.rows.assign(features.f32() + from * width(), features.f32() + item.count * width());
  const int page = page_tokens();
  for (int place = (first + page) / page * page - 1; place < first + item.count; place += page)
    std::copy_n(features.f32() + (place - first) * width(), width(), page_feature(sequence, place));
}

const float* Drafter::feature_of(const Sequence& sequence, int place) const {
  const DraftFeatures& own = sequence.features;
  const int64_t at = (place - own.first) * width();
  if (place >= own.first && at < std::ssize(own.rows)) return own.rows.data() + at;
  // It was not run for this sequence: a found prefix ends with it, and so does a page.
  CHECK((place + 1) % page_tokens() == 0, place, own.first);
  return page_feature(sequence, place);
}

int Drafter::page_tokens() const { return tools_.pages.layout().groups[tools_.cache[0].group].block_tokens; }

float* Drafter::page_feature(const Sequence& sequence, int place) const {
  const int page = sequence.held[tools_.cache[0].group].pages[place / page_tokens()];
  CHECK(page >= 0, place);
  return static_cast<float*>(page_features_.data()) + page * width();
}

void Drafter::hide_first_place() {
  for (BatchGroup& group : batch_.groups) {
    for (RowMask& row : group.rows) row.lo = std::max(row.lo, 1);
  }
}

// Rows that the guesses of one sequence take: of a block always all, as it was trained.
int Drafter::most_rows(const DraftAsk& ask) const {
  const int room = tools_.pages.max_len() - newest_place(*ask.sequence);
  return std::min(is_block() ? model_.spec.draft->block : ask.guesses, room);
}

void Drafter::propose(std::span<DraftAsk> asks, const Draw& draw) {
  const int known = is_block() ? 1 : 0;  // rows that guess nothing
  std::vector<Row> rows;
  int count = 0;
  const auto run = [&] {
    if (rows.empty()) return;
    if (is_block()) {
      run_block(asks, rows, draw);
    } else {
      run_by_token(asks, rows, draw);
    }
    rows.clear();
    count = 0;
  };
  for (int i = 0; i < static_cast<int>(asks.size()); ++i) {
    const int wanted = most_rows(asks[i]);
    const int first = newest_place(*asks[i].sequence);
    if (wanted <= known || !tools_.pages.extend(*asks[i].sequence, first + wanted)) continue;
    if (count + wanted > kMostDraftRows) run();
    rows.push_back({.ask = i, .first = first, .count = wanted});
    count += wanted;
  }
  run();
}

// Each sequence's newest token and, behind it, what was guessed so far or the mask token.
void Drafter::build(std::span<const DraftAsk> asks, std::span<const Row> rows) {
  batch_.tokens.clear();
  batch_.positions.clear();
  batch_.table_rows.clear();
  batch_.images.clear();
  batch_.logit_rows.clear();
  batch_.state_saves.clear();
  batch_.state_slots.assign(rows.size(), -1);
  batch_.seq_start = {0};
  int total = 0;
  for (const Row& row : rows) total += row.count;
  batch_.groups.resize(group_masks_.size());
  for (BatchGroup& group : batch_.groups) {
    group.slots.resize(total);
    group.rows.resize(total);
  }
  for (const Row& row : rows) {
    const Sequence& sequence = *asks[row.ask].sequence;
    const auto at = static_cast<int>(batch_.tokens.size());
    const int newest = newest_place(sequence);
    for (int i = 0; i < row.count; ++i) {
      const int place = row.first + i - newest - 1;  // within the guesses
      const std::vector<int>& drafts = asks[row.ask].drafts;
      int token = place < 0 ? sequence.tokens.back() : -1;
      if (place >= 0) token = is_block() ? model_.spec.draft->mask_token : drafts[place];
      batch_.tokens.push_back(token);
      batch_.positions.push_back(row.first + i);
      if (place >= 0 || !is_block()) batch_.logit_rows.push_back(at + i);
    }
    tools_.pages.place(sequence, {row.first, row.first + row.count}, {.length = row.first + row.count},
                       group_masks_, at, batch_.groups);
    batch_.seq_start.push_back(at + row.count);
    batch_.table_rows.push_back(sequence.table_row);
  }
  tools_.pages.point_to_tables(batch_.groups);
  if (takes_features()) hide_first_place();
  read_here(batch_);
}

void Drafter::run_block(std::span<DraftAsk> asks, std::span<const Row> rows, const Draw& draw) {
  build(asks, rows);
  const ArenaScope scope(tools_.arena);
  const Tensor logits = forward(model_, batch_, step());
  std::vector<int64_t> first_logits;  // of each sequence
  int64_t next = 0;
  for (const Row& row : rows) {
    first_logits.push_back(next);
    next += row.count - 1;
  }
  tools_.pool.parallel_tasks(std::ssize(rows), [&](int64_t i) {
    DraftAsk& ask = asks[rows[i].ask];
    const int guesses = std::min(ask.guesses, rows[i].count - 1);
    for (int place = 0; place < guesses; ++place) {
      float* row = logits.mutable_f32() + (first_logits[i] + place) * logits.size[1];
      const int token = drawn(rows[i].ask, {row, static_cast<size_t>(logits.size[1])}, draw);
      if (token < 0) return;
      ask.drafts.push_back(token);
    }
  });
}

void Drafter::run_by_token(std::span<DraftAsk> asks, std::vector<Row> rows, const Draw& draw) {
  std::vector<int> left;  // guesses, of each row
  for (Row& row : rows) {
    left.push_back(row.count);
    row.count = 1;
  }
  const auto last = static_cast<int>(model_.spec.layers.size());
  first_features(asks, rows);
  while (!rows.empty()) {
    build(asks, rows);
    const ArenaScope scope(tools_.arena);
    Step s = step();
    Taps own = {.after = {&last, 1}, .normed = takes_normed()};
    const Tensor features(features_.data(), DType::kF32, {std::ssize(rows), width()});
    if (takes_features()) {
      s.features = features;
      s.taps = &own;
    }
    const Tensor logits = forward(model_, batch_, s);
    if (takes_features()) tools_.kernels.copy(stream_, {.x = own.rows, .out = features});
    std::vector<int> tokens(rows.size());
    tools_.pool.parallel_tasks(std::ssize(rows), [&](int64_t i) {
      float* row = logits.mutable_f32() + i * logits.size[1];
      tokens[i] = drawn(rows[i].ask, {row, static_cast<size_t>(logits.size[1])}, draw);
    });
    size_t kept = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (tokens[i] < 0) continue;
      asks[rows[i].ask].drafts.push_back(tokens[i]);
      if (--left[i] == 0) continue;
      left[kept] = left[i];
      rows[kept] = rows[i];
      if (takes_features() && kept < i)
        std::copy_n(features.f32() + i * width(), width(), features_.data() + kept * width());
      ++rows[kept++].first;
    }
    rows.resize(kept);
    left.resize(kept);
  }
}

// Before the newest token of each.
void Drafter::first_features(std::span<const DraftAsk> asks, std::span<const Row> rows) {
  features_.clear();
  if (!takes_features()) return;
  for (const Row& row : rows) {
    const float* feature = feature_of(*asks[row.ask].sequence, row.first - 1);
    features_.insert(features_.end(), feature, feature + width());
  }
}

// Over the target's tokens, whichever those are that the drafter's head has. -1: none.
int Drafter::drawn(int ask, std::span<float> logits, const Draw& draw) const {
  const Tensor offsets = weight_of(model_.weights.own, kDraftIds);
  std::vector<float> all;
  if (offsets.defined()) {
    all.assign(target_vocab_, -INFINITY);
    for (int64_t i = 0; i < offsets.elements(); ++i) {
      const int64_t id = i + offsets.as<const int32_t>()[i];
      if (id >= 0 && id < target_vocab_) all[id] = logits[i];
    }
    logits = all;
  }
  const int token = draw(ask, logits);
  return token < target_vocab_ ? token : -1;
}

}  // namespace heed
