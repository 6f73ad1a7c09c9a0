#include "engine/drafter.h"

#include <algorithm>
#include <cmath>

#include "model/draft.h"

namespace heed {
namespace {

int newest_place(const Sequence& sequence) { return static_cast<int>(sequence.tokens.size()) - 1; }

bool is_fed(const ModelSpec& drafter) { return drafter.draft && !drafter.draft->is_block(); }

// Place 0 has no feature before it.
void hide_first_place(BatchGroup& group) {
  for (RowMask& row : group.rows) row.lo = std::max(row.lo, 1);
}

}  // namespace

int64_t feature_rows(const ModelSpec& drafter, int64_t pages, int64_t sequences, int guesses) {
  return is_fed(drafter) ? FeatureStore::rows_of(pages, sequences, guesses + 1) : 0;
}

std::vector<int> observing_groups(const ModelSpec& drafter, std::span<const int> groups, int count) {
  std::vector<int> of_layer(groups.begin(), groups.end());
  if (!drafter.draft) return of_layer;
  // Of the last layer only keys and values are kept, and of a block drafter's layers. The others of a drafter
  // with features do not see place 0: their rows are in a group of their own, behind the cache's.
  std::fill(of_layer.begin(), of_layer.end(), -1);
  if (is_fed(drafter)) std::fill(of_layer.begin(), of_layer.end() - 1, count);
  return of_layer;
}

Drafter::Drafter(Model model, const Model& target, const Tools& tools)
    : model_(std::move(model)),
      target_vocab_(target.spec.vocab),
      tools_(tools),
      observing_cache_(tools.cache),
      states_(model_.spec.layers.size()) {
  share_with_target(target, model_);
  const CacheLayout& layout = tools_.pages.layout();
  for (const CacheGroup& group : layout.groups) group_masks_.push_back(group.kv.mask);
  if (model_.spec.draft) taps_ = model_.spec.draft->taps;
  if (is_block()) {
    for (size_t i = 0; i < model_.spec.layers.size(); ++i)
      group_masks_[tools_.cache[i].group] = model_.spec.draft->block_masks[i];
  }
  if (const Tensor offsets = weight_of(model_.weights.own, kDraftIds); offsets.defined()) {
    id_offsets_.resize(offsets.elements());
    tools_.device.download(id_offsets_.data(), offsets.data, offsets.bytes());
    if (tools_.guesses != nullptr) tools_.guesses->set_id_offsets(offsets.as<const int32_t>());
  }
  if (!takes_features()) return;
  for (size_t i = 0; i + 1 < observing_cache_.size(); ++i) {
    CHECK(tools_.cache[i].group == tools_.cache[0].group, i);  // the group that prepare() copies
    observing_cache_[i].group = static_cast<int>(layout.groups.size());
  }
  features_ = {tools_.device, tools_.pages.pool().pages(), tools_.most_guesses + 1, model_.spec.hidden};
  features_.make_room(tools_.pages.tables().rows());
}

// With what ops of `run`'s batches need on an accelerator; null: on the host.
Step Drafter::step(const std::vector<LayerCache>& cache, DeviceRun* run) {
  Step step = {.kernels = tools_.kernels,
               .attention = tools_.attention,
               .cache = cache,
               .states = states_,
               .stream = tools_.stream,
               .arena = tools_.arena};
  if (run != nullptr) {
    step.constants = &run->constants();
    step.plans = std::span(run->plans()).subspan(tools_.first_layer);
  }
  return step;
}

// Features are kept of the tokens behind which the next step may begin, and of those that end a page.
void Drafter::prepare(std::span<const Scheduled> scheduled, Batch& batch) {
  batch.features.clear();
  if (!takes_features()) return;
  features_.make_room(tools_.pages.tables().rows());
  for (size_t i = 0; i < scheduled.size(); ++i) {
    const Sequence& sequence = *scheduled[i].sequence;
    const int first = sequence.computed;
    const int end = first + scheduled[i].count;
    const int kept_from = end - scheduled[i].guesses - 1;
    batch.features.before.push_back(feature_at(sequence, first - 1));
    batch.features.first.push_back(batch.seq_start[i]);
    for (int place = first; place < end; ++place) {
      const bool is_kept = place >= kept_from || (place + 1) % page_tokens() == 0;
      batch.features.slots.push_back(is_kept ? feature_at(sequence, place) : -1);
    }
  }
  if (model_.spec.layers.size() > 1) {
    batch.groups.push_back(batch.groups[tools_.cache[0].group]);
    hide_first_place(batch.groups.back());
  }
  read_here(batch);
}

void Drafter::observe(const Batch& batch, const Tensor& taps) {
  Step s = step(observing_cache_, tools_.targets);
  if (is_block()) return keep_context(model_, batch, s, taps);
  seen_ = batch;
  seen_.images.clear();  // it has seen none: the pad token stands for them
  seen_.logit_rows.clear();
  seen_.state_saves.clear();
  const ArenaScope scope(tools_.arena);
  if (takes_features()) s.features = features_before(model_, seen_, s, taps, features_.all());
  forward(model_, seen_, s);
}

// Where the feature of the token at this place lies, or is to be put: with its page if it ends one, for then
// another sequence may find it there.
int32_t Drafter::feature_at(const Sequence& sequence, int place) const {
  if (place < 0) return FeatureStore::kZeros;  // of no token; not seen
  if ((place + 1) % page_tokens() != 0) return features_.of_token(sequence.table_row, place);
  return features_.of_page(page_at(sequence, place));
}

int Drafter::page_tokens() const { return tools_.pages.layout().groups[tools_.cache[0].group].block_tokens; }

int Drafter::page_at(const Sequence& sequence, int place) const {
  const int page = sequence.held[tools_.cache[0].group].pages[place / page_tokens()];
  CHECK(page >= 0, place);
  return page;
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
    CHECK(asks[i].guesses <= tools_.most_guesses, asks[i].guesses, tools_.most_guesses);
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
  batch_.features.clear();
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
    if (takes_features()) add_features(sequence, row.first);
  }
  tools_.pages.point_to_tables(batch_.groups);
  if (takes_features()) {
    for (BatchGroup& group : batch_.groups) hide_first_place(group);
  }
  read_here(batch_);
}

// A guess begins with the target's feature where there is one, and else with that of the guess before it.
// What it leaves itself is its sequence's own: where the target has not been no page is findable.
void Drafter::add_features(const Sequence& sequence, int place) {
  const bool is_first = place == newest_place(sequence);
  batch_.features.before.push_back(is_first ? feature_at(sequence, place - 1)
                                            : features_.of_token(sequence.table_row, place - 1));
  batch_.features.slots.push_back(features_.of_token(sequence.table_row, place));
}

// Runs the batch. Returns logits; where the device can say all tokens itself they are undefined, and drawn()
// has those.
Tensor Drafter::run(std::span<const DraftAsk> asks, std::span<const Row> rows) {
  DeviceRun* const device = tools_.guesses;
  const auto pass = [&] {
    const Step s = step(tools_.cache, device);
    return takes_features() ? guess_next(model_, batch_, s, features_.all()) : forward(model_, batch_, s);
  };
  if (device == nullptr) return pass();
  plan_draws(asks, rows);
  return device->step(batch_, pass, draws_);
}

// Of the batch's rows of logits; none if the logits of some must come to the host.
void Drafter::plan_draws(std::span<const DraftAsk> asks, std::span<const Row> rows) {
  draws_.clear();
  for (const Row& row : rows) {
    const DraftAsk& ask = asks[row.ask];
    if (ask.sampling == nullptr) return draws_.clear();
    const int first = is_block() ? row.first + 1 : row.first;  // that has a guess behind it
    const int end = row.first + row.count;
    for (int place = first; place < end; ++place) {
      const int guess = is_block() ? place : place + 1;  // the place that is guessed
      draws_.push_back(draw_row(*ask.sampling, static_cast<uint64_t>(guess)));
    }
  }
}

void Drafter::run_block(std::span<DraftAsk> asks, std::span<const Row> rows, const Draw& draw) {
  build(asks, rows);
  const ArenaScope scope(tools_.arena);
  const Tensor logits = run(asks, rows);
  std::vector<int64_t> first_logits;  // of each sequence
  int64_t next = 0;
  for (const Row& row : rows) {
    first_logits.push_back(next);
    next += row.count - 1;
  }
  for_rows(logits, std::ssize(rows), [&](int64_t i) {
    DraftAsk& ask = asks[rows[i].ask];
    const int guesses = std::min(ask.guesses, rows[i].count - 1);
    for (int place = 0; place < guesses; ++place) {
      const int token = guess(rows[i].ask, logits, first_logits[i] + place, draw);
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
  std::vector<int> tokens;
  while (!rows.empty()) {
    build(asks, rows);
    const ArenaScope scope(tools_.arena);
    const Tensor logits = run(asks, rows);
    tokens.resize(rows.size());
    for_rows(logits, std::ssize(rows), [&](int64_t i) { tokens[i] = guess(rows[i].ask, logits, i, draw); });
    size_t kept = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (tokens[i] < 0) continue;
      asks[rows[i].ask].drafts.push_back(tokens[i]);
      if (--left[i] == 0) continue;
      left[kept] = left[i];
      rows[kept] = rows[i];
      ++rows[kept++].first;
    }
    rows.resize(kept);
    left.resize(kept);
  }
}

// Where there are no logits to be read, waking threads would take longer.
void Drafter::for_rows(const Tensor& logits, int64_t count, const std::function<void(int64_t)>& body) const {
  if (logits.defined()) return tools_.stream.pool->parallel_tasks(count, body);
  for (int64_t i = 0; i < count; ++i) body(i);
}

// The token that this row of the logits gives; -1: none.
int Drafter::guess(int ask, const Tensor& logits, int64_t row, const Draw& draw) const {
  if (logits.defined()) {
    float* values = logits.mutable_f32() + row * logits.size[1];
    return drawn(ask, {values, static_cast<size_t>(logits.size[1])}, draw);
  }
  const int id = tools_.guesses->drawn()[row];
  const int token = id_offsets_.empty() ? id : id + id_offsets_[id];
  return token >= 0 && token < target_vocab_ ? token : -1;
}

// Over the target's tokens, whichever those are that the drafter's head has. -1: none.
int Drafter::drawn(int ask, std::span<float> logits, const Draw& draw) const {
  std::vector<float> all;
  if (!id_offsets_.empty()) {
    all.assign(target_vocab_, -INFINITY);
    for (int64_t i = 0; i < std::ssize(id_offsets_); ++i) {
      const int64_t id = i + id_offsets_[i];
      if (id >= 0 && id < target_vocab_) all[id] = logits[i];
    }
    logits = all;
  }
  const int token = draw(ask, logits);
  return token < target_vocab_ ? token : -1;
}

}  // namespace heed
