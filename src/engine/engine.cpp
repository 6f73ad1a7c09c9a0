#include "engine/engine.h"

#include <algorithm>
#include <cmath>

#include "engine/live_request.h"
#include "engine/logprobs.h"

namespace heed {

namespace {

// What every event of the request says. `now` stands for what has not happened yet.
void describe(const LiveRequest& live, Clock::time_point now, Event& event) {
  const auto or_now = [&](Clock::time_point time) { return time == Clock::time_point() ? now : time; };
  event.request = live.id;
  event.cached_tokens = live.job.cached_tokens;
  event.draft_tokens = live.draft_tokens;
  event.accepted_tokens = live.accepted_tokens;
  event.queue_seconds = seconds_between(live.submitted, or_now(live.scheduled));
  event.prefill_seconds = seconds_between(or_now(live.scheduled), or_now(live.first_token));
}

// Whether each token of the answer is drawn from logits as they are, and nothing else is asked of them.
bool wants_only_tokens(const Request& r) {
  return r.sampling.takes_logits() && !r.constraint && r.logprobs < 0 && r.prompt_logprobs < 0 &&
         (r.min_tokens == 0 || r.stop_ids.empty());
}

}  // namespace

Engine::Engine(EnginePlan plan, std::unique_ptr<Runner> runner, std::unique_ptr<Proposer> proposer,
               const EngineOptions& options)
    : plan_(std::move(plan)),
      runner_(std::move(runner)),
      scheduler_(runner_->cache(), {.step_tokens = plan_.run.step_tokens,
                                    .most_step_tokens = most_step_tokens(plan_.run, plan_.sequences),
                                    .sequences = plan_.sequences,
                                    .prompt_logit_tokens = prompt_logit_tokens(plan_.run)}),
      images_(spec().vision ? std::make_unique<ImageEncoder>(*runner_, plan_.needs.image_bytes) : nullptr),
      proposer_(std::move(proposer)),
      policy_(plan_.drafts, options.speculative.adaptive),
      max_queue_(options.max_queue),
      max_logprobs_(options.max_logprobs),
      on_step_(options.on_step),
      why_in_step_(why_in_step(options)),
      thread_([this] { run(); }) {
  if (options.touch_memory) toucher_ = std::thread([this] { runner_->populate(untouched_); });
}

// Why no step may be begun before the one before it is finished; "": some may.
std::string Engine::why_in_step(const EngineOptions& options) const {
  if (!options.async_scheduling) return "--async-scheduling is off";
  if (plan_.run.place.on_host()) return "steps run on the host";
  if (proposer_ || plan_.drafts > 0) return "guesses follow the tokens of each step";
  return "";
}

void Engine::wait_for_memory() {
  const std::lock_guard lock(toucher_mutex_);
  if (toucher_.joinable()) toucher_.join();
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Engine::~Engine() {
  stop();
  untouched_ = true;
  wait_for_memory();
}

Result<std::unique_ptr<Engine>> Engine::start(Checkpoint checkpoint, const EngineOptions& options,
                                              const Progress& progress) {
  auto proposer = TRY(make_proposer(options));
  EnginePlan plan = TRY(plan_engine(checkpoint, options, proposer.get()));
  const int64_t arena_bytes = step_arena_bytes(checkpoint.spec, plan.run, plan.needs);
  auto runner = TRY(Runner::load(std::move(checkpoint), plan.run,
                                 {.sequences = plan.sequences,
                                  .prefix_caching = options.prefix_caching,
                                  .snapshots = plan.snapshots,
                                  .drafts = plan.drafts,
                                  .arena_bytes = arena_bytes,
                                  .scratch_bytes = plan.run.place.on_host() ? 0 : plan.memory.scratch},
                                 progress));
  if (options.trace_steps) runner->trace_steps();
  return std::unique_ptr<Engine>(
      new Engine(std::move(plan), std::move(runner), std::move(proposer), options));
}

Status Engine::check(const Request& request) const {
  if (request.prompt.empty()) return invalid("the prompt has no tokens; at least one is needed");
  TRY(runner_->check_tokens(request.prompt));
  if (!request.images.empty()) TRY(check_images(request));
  TRY(heed::check(request.sampling));
  if (request.max_tokens < 1)
    return invalid("max_tokens is " + std::to_string(request.max_tokens) + "; 1 or more is expected");
  for (const auto& [name, count] :
       {std::pair("logprobs", request.logprobs), std::pair("prompt_logprobs", request.prompt_logprobs)}) {
    if (count > max_logprobs_) {
      return invalid(std::string(name) + " is " + std::to_string(count) + "; at most " +
                     std::to_string(max_logprobs_) + " are possible");
    }
  }
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt >= plan_.run.max_len) {
    return limit_reached("the prompt has " + std::to_string(prompt) + " tokens; the context holds " +
                         std::to_string(plan_.run.max_len) + " with at least one new token");
  }
  return {};
}

int64_t Engine::bytes_of(const Request& request) const {
  const auto prompt = static_cast<int>(request.prompt.size());
  int64_t images = 0;
  for (const RequestImage& image : request.images) images += std::ssize(image.patches->bytes);
  return images + request_bytes({.prompt = prompt,
                                 .tokens = prompt + std::min(request.max_tokens, plan_.run.max_len - prompt),
                                 .prompt_logprobs = request.prompt_logprobs,
                                 .penalises = request.sampling.penalises(),
                                 .masks = request.constraint != nullptr || request.min_tokens > 0,
                                 .vocab = spec().vocab});
}

Result<uint64_t> Engine::submit(Request request) {
  TRY(check(request));
  const int64_t bytes = bytes_of(request);
  const int64_t most_bytes = plan_.needs.request_bytes;
  if (bytes > most_bytes) {
    return limit_reached("the request may come to hold " + size_text(bytes) + "; all together may hold " +
                         size_text(most_bytes));
  }
  auto live = std::make_unique<LiveRequest>();
  live->submitted = Clock::now();
  live->request = std::move(request);
  Request& r = live->request;
  live->job.request = live.get();
  live->job.prompt = static_cast<int>(r.prompt.size());
  live->job.priority = r.priority;
  live->job.sequence.tokens = std::move(r.prompt);
  for (const RequestImage& image : r.images) {
    live->job.sequence.media.push_back(image.tokens);
    live->job.sequence.images.push_back(
        {.content = runner_->cache().content_of(*image.patches), .patches = image.patches});
  }
  live->job.sequence.salt = runner_->cache().salt_of(r.cache_salt);
  if (r.prompt_logprobs >= 0) live->job.prompt_logits_done = 0;
  r.max_tokens = std::min(r.max_tokens, plan_.run.max_len - live->job.prompt);
  live->job.most_tokens = live->job.prompt + r.max_tokens;
  const std::lock_guard lock(mutex_);
  if (stopping_) return stopped("the engine is shutting down");
  if (stats_.waiting + static_cast<int>(submitted_.size()) >= max_queue_) {
    return busy("the queue is full: " + std::to_string(max_queue_) + " requests are waiting");
  }
  if (pending_bytes_ + bytes > most_bytes) {
    return busy("the queue is full: its requests may come to hold " + size_text(pending_bytes_) + " of " +
                size_text(most_bytes));
  }
  const uint64_t id = next_id_++;
  live->id = id;
  live->bytes = bytes;
  ++pending_;
  pending_bytes_ += bytes;
  submitted_.push_back(std::move(live));
  wake_.notify_one();
  return id;
}

void Engine::cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  wake_.notify_one();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Engine::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return pending_ == 0; });
}

void Engine::forget_prefixes() {
  const std::lock_guard lock(mutex_);
  forget_ = true;
  wake_.notify_one();
}

void Engine::admit(std::unique_ptr<LiveRequest> live) {
  live->job.arrival = next_arrival_++;
  scheduler_.add(&live->job);
  live_.emplace(live->id, std::move(live));
}

// New requests and cancellations. False when the engine is to stop.
bool Engine::take_in() {
  std::vector<std::unique_ptr<LiveRequest>> submitted;
  std::vector<uint64_t> cancelled;
  bool stopping = false;
  bool forget = false;
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] {
      return stopping_ || forget_ || !submitted_.empty() || !cancelled_.empty() || !scheduler_.idle() ||
             newest_.under_way;
    });
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
    stopping = stopping_;
    forget = std::exchange(forget_, false);
  }
  for (auto& live : submitted) admit(std::move(live));
  for (const uint64_t id : cancelled) {
    if (const auto found = live_.find(id); found != live_.end())
      finish(*found->second, Finish::kCancelled, {});
  }
  if (forget) runner_->cache().forget();
  while (stopping && !live_.empty()) finish(*live_.begin()->second, Finish::kCancelled, {});
  return !stopping;
}

void Engine::run() {
  runner_->place_caller();
  while (take_in()) {
    step();
    if (images_) encode_images();
#ifndef NDEBUG
    scheduler_.check();
#endif
    publish_stats();
  }
  if (newest_.under_way) finish_step(newest_);
  publish_stats();
}

// With what the step has left of its tokens; with all of them where nothing could run.
void Engine::encode_images() {
  seeing_.clear();
  for (Job* job : scheduler_.running_jobs()) {
    if (!job->sequence.images.empty()) seeing_.push_back(&job->sequence);
  }
  if (seeing_.empty()) return;
  images_->work(seeing_, plan_.run.step_tokens - scheduler_.planned());
  counters_.images_encoded = images_->encoded();
  counters_.images_found = images_->found();
}

void Engine::publish_stats() {
  const BlockPool& pool = runner_->cache().pool();
  counters_.running = scheduler_.running();
  counters_.waiting = scheduler_.waiting();
  counters_.preemptions = scheduler_.preemptions();
  counters_.pages = pool.pages();
  counters_.held_pages = pool.held_pages();
  counters_.cached_pages = pool.cached_pages();
  counters_.held_states = runner_->cache().states().taken();
  counters_.snapshots = runner_->cache().states().snapshots();
  counters_.device = runner_->device_times();
  const std::lock_guard lock(mutex_);
  stats_ = counters_;
  pending_ -= std::exchange(ended_, 0);
  pending_bytes_ -= std::exchange(ended_bytes_, 0);
  if (pending_ == 0) idle_.notify_all();
}

// The request is gone when this returns.
void Engine::finish(LiveRequest& live, Finish reason, Event event) {
  if (proposer_) proposer_->finished(text_so_far(live));
  drop_rows(live);
  scheduler_.remove(&live.job);
  describe(live, Clock::now(), event);
  event.finish = reason;
  if (!live.reported) event.prompt_logprobs = std::move(live.prompt_logprobs);
  publish_stats();  // who has the answer finds it counted
  if (live.request.on_event) live.request.on_event(event);
  ended_bytes_ += live.bytes;
  live_.erase(live.id);
  ++ended_;
}

// Begins a step, and finishes the one before it if that is still under way: so a device has the next to do
// when it is done with one. Tokens of the one before are then drawn but not known here.
void Engine::step() {
  const std::vector<Scheduler::Item>& items = scheduler_.next();
  const bool needs_tokens = std::any_of(items.begin(), items.end(), [&](const Scheduler::Item& item) {
    const Sequence& sequence = item.job->sequence;
    return sequence.unknown > 0 && runner_->cache().may_snapshot(sequence, item.count);
  });
  if (newest_.under_way && needs_tokens) finish_step(newest_);  // those that end leave the plan
  std::swap(newest_, before_);
  if (!items.empty()) begin_step(items);
  if (before_.under_way) finish_step(before_);
  if (newest_.under_way && !newest_.is_ahead) finish_step(newest_);
}

void Engine::begin_step(const std::vector<Scheduler::Item>& items) {
  StepUnderWay& step = newest_;
  const uint64_t prompt_tokens_before = counters_.prompt_tokens;
  step.begun = Clock::now();
  scheduled_.clear();
  for (const Scheduler::Item& item : items) {
    Job& job = *item.job;
    const int computed = job.sequence.computed;
    scheduled_.push_back({.sequence = &job.sequence,
                          .count = item.count,
                          .logit_count = item.logit_count,
                          .guesses = item.guesses});
    if (job.request->scheduled == Clock::time_point()) job.request->scheduled = step.begun;
    if (computed < job.prompt) {
      counters_.prompt_tokens += static_cast<uint64_t>(std::min(item.count, job.prompt - computed));
    }
  }
  plan_draws(items);
  step.sent = runner_->begin(scheduled_, draws_);
  step.under_way = true;
  step.is_ahead = why_in_step_.empty() && (step.sent.draws || step.sent.rows == 0);
  // Prompts take other kernels than guesses do, which are not recorded either.
  step.is_decode = std::all_of(items.begin(), items.end(),
                               [](const Scheduler::Item& item) { return item.count == 1 + item.guesses; });
  step.tokens = scheduler_.planned();
  step.prompt_tokens = counters_.prompt_tokens - prompt_tokens_before;
  ++counters_.steps;
  if (step.is_ahead) ++counters_.steps_ahead;
  note_rows(items, step);
}

// What is to be made of the step's logits or tokens. Those that are not waited for have their places already.
void Engine::note_rows(const std::vector<Scheduler::Item>& items, StepUnderWay& step) {
  step.rows.clear();
  int row = 0;
  for (const Scheduler::Item& item : items) {
    Sequence& sequence = item.job->sequence;
    if (item.guesses == 0) runner_->cache().commit(sequence);
    if (item.logit_count == 0) continue;
    const bool samples = sequence.computed >= static_cast<int>(sequence.tokens.size()) - sequence.drafted;
    step.rows.push_back({.live = item.job->request,
                         .first = row,
                         .count = item.logit_count,
                         .guesses = item.guesses,
                         .samples = samples});
    row += item.logit_count;
    if (!step.is_ahead || !samples) continue;
    sequence.tokens.push_back(0);
    ++sequence.unknown;
    sequence.drawn_row = row - 1;
  }
}

void Engine::finish_step(StepUnderWay& step) {
  step.under_way = false;
  const Tensor logits = runner_->finish(step.sent);
  if (step.is_decode) policy_.took_step(step.tokens, seconds_between(step.begun, Clock::now()));
  sampling_.clear();
  for (const StepUnderWay::Row& row : step.rows) {
    if (row.live->request.prompt_logprobs >= 0) take_prompt_logits(*row.live, logits, row.first, row.count);
    if (row.samples) sampling_.push_back(row);
  }
  const uint64_t generated_before = counters_.generated_tokens;
  step.rows.clear();
  if (step.is_ahead && !runner_->drawn().empty()) {
    take_drawn();
  } else {
    sample_rows(logits);
  }
  if (on_step_) {
    on_step_(static_cast<int64_t>(step.prompt_tokens + counters_.generated_tokens - generated_before));
  }
}

// Nothing more is made of it in the steps under way.
void Engine::drop_rows(const LiveRequest& live) {
  for (StepUnderWay* step : {&newest_, &before_})
    std::erase_if(step->rows, [&](const StepUnderWay::Row& row) { return row.live == &live; });
}

// Of the step's rows of logits; none if the logits of some must come to the host.
void Engine::plan_draws(const std::vector<Scheduler::Item>& items) {
  draws_.clear();
  for (const Scheduler::Item& item : items) {
    const Request& request = item.job->request->request;
    const bool draws_here = item.job->request->draws_here;
    if (item.logit_count > 0 && (draws_here || !wants_only_tokens(request))) return draws_.clear();
    const int end = item.job->sequence.computed + item.count;
    for (int place = end - item.logit_count; place < end; ++place)
      draws_.push_back(draw_row(request.sampling, static_cast<uint64_t>(place) + 1));  // of the token behind
  }
}

// The logits of the `count` last positions computed, from `row` on.
void Engine::take_prompt_logits(LiveRequest& live, const Tensor& logits, int64_t row, int count) const {
  const Sequence& sequence = live.job.sequence;
  for (int j = 0; j < count; ++j) {
    const int position = sequence.computed - count + j;
    if (position != live.job.prompt_logits_done || position + 1 >= live.job.prompt) continue;
    live.prompt_logprobs.push_back(
        likeliest(logits_row(logits, row + j), live.request.prompt_logprobs, sequence.tokens[position + 1]));
    ++live.job.prompt_logits_done;
  }
}

void Engine::sample_rows(const Tensor& logits) {
  const auto pick_rows_of = [&](int64_t i) { pick_rows(sampling_[i], logits); };
  if (runner_->drawn().empty()) {
    runner_->pool().parallel_tasks(std::ssize(sampling_), pick_rows_of);
  } else {  // waking threads would take longer
    for (int64_t i = 0; i < std::ssize(sampling_); ++i) pick_rows_of(i);
  }
  guessing_.clear();
  for (const StepUnderWay::Row& row : sampling_) {
    if (take_picked(*row.live) && room_for_guesses(*row.live) > 0) guessing_.push_back(row.live);
  }
  if (plan_.drafts > 0) guess();
}

// Of sampling_, whose tokens a device has drawn while the host went on.
void Engine::take_drawn() {
  const std::span<const int32_t> drawn = runner_->drawn();
  for (const StepUnderWay::Row& row : sampling_) {
    LiveRequest& live = *row.live;
    Sequence& sequence = live.job.sequence;
    const int id = drawn[row.first + row.count - 1];
    if (id < 0) {
      draw_again(live);
      continue;
    }
    sequence.tokens[sequence.known()] = id;
    --sequence.unknown;
    if (live.job.running) runner_->cache().commit(sequence);  // not one that has been preempted meanwhile
    const std::vector<int>& stops = live.request.stop_ids;
    Event event;
    event.id = id;
    event.is_stop = std::find(stops.begin(), stops.end(), id) != stops.end();
    take_sampled(live, std::move(event));
  }
}

// The device was not sure, and logits are not kept while the next step is under way: the sequence is computed
// again, which finds most of itself in the cache, and the host draws.
void Engine::draw_again(LiveRequest& live) {
  Sequence& sequence = live.job.sequence;
  drop_rows(live);
  sequence.tokens.resize(sequence.known());
  sequence.unknown = 0;
  live.draws_here = true;
  if (live.job.running) scheduler_.preempt(&live.job);
}

// Samples row by row for as long as what comes is what was guessed: each row's token is the one that would
// have come without guesses.
void Engine::pick_rows(const StepUnderWay::Row& logit_rows, const Tensor& logits) {
  LiveRequest& live = *logit_rows.live;
  const int64_t first_row = logit_rows.first + logit_rows.count - 1 - logit_rows.guesses;
  std::vector<int>& tokens = live.job.sequence.tokens;
  const Request& r = live.request;
  live.guesses_run = logit_rows.guesses;
  live.draws_here = false;
  if (live.job.sequence.unknown > 0) tokens.pop_back();  // nothing was begun behind it: its logits are here
  live.job.sequence.unknown = 0;
  live.guesses.assign(tokens.end() - live.job.sequence.drafted, tokens.end());
  tokens.resize(tokens.size() - live.guesses.size());
  live.picked.clear();
  for (int row = 0; row <= live.guesses_run; ++row) {
    Event& event = live.picked.emplace_back();
    const std::span<const int32_t> drawn = runner_->drawn();
    event.id = drawn.empty()
                   ? pick(r, live.job, live.counts, live.allowed, logits_row(logits, first_row + row), event)
                   : drawn[first_row + row];
    if (event.id < 0) return;
    event.is_stop = std::find(r.stop_ids.begin(), r.stop_ids.end(), event.id) != r.stop_ids.end();
    tokens.push_back(event.id);
    if (r.constraint && !event.is_stop) r.constraint->accept(event.id);
    const bool is_last = event.is_stop || static_cast<int>(tokens.size()) >= live.job.most_tokens;
    if (is_last || row == live.guesses_run || event.id != live.guesses[row]) return;
  }
}

// Counts as computed what was confirmed, and forgets the rest.
void Engine::settle(LiveRequest& live) {
  Sequence& sequence = live.job.sequence;
  if (live.guesses.empty()) return;
  const bool is_cut_short = live.picked.back().id < 0;
  const int kept = static_cast<int>(live.picked.size()) - 1;
  sequence.computed = static_cast<int>(sequence.tokens.size()) - (is_cut_short ? 0 : 1);
  runner_->cache().settle_drafts(sequence, live.guesses_run, kept);
  runner_->cache().commit(sequence);
  if (live.guesses_run == 0) return;
  ++counters_.drafts;
  counters_.draft_tokens += static_cast<uint64_t>(live.guesses_run);
  counters_.accepted_tokens += static_cast<uint64_t>(kept);
  for (int i = 0; i < kept; ++i) ++counters_.accepted_at[i];
  live.draft_tokens += live.guesses_run;
  live.accepted_tokens += kept;
  policy_.saw(live.guesses_run, kept, live.record);
}

// False if the request has ended, and is gone.
bool Engine::take_picked(LiveRequest& live) {
  settle(live);
  std::vector<Event> picked = std::move(live.picked);
  const uint64_t id = live.id;
  for (Event& event : picked) {
    take_sampled(live, std::move(event));
    if (!live_.contains(id)) return false;
  }
  return true;
}

void Engine::take_sampled(LiveRequest& live, Event event) {
  if (event.id < 0) return finish(live, Finish::kStop, std::move(event));  // the constraint leaves nothing
  const Request& r = live.request;
  const Clock::time_point now = Clock::now();
  ++counters_.generated_tokens;
  ++live.made;
  if (!live.reported) {
    live.first_token = now;
    counters_.prefix_queries += static_cast<uint64_t>(live.job.prompt);
    counters_.prefix_hits += static_cast<uint64_t>(live.job.cached_tokens);
  }
  if (event.is_stop || live.made >= r.max_tokens) {
    return finish(live, event.is_stop ? Finish::kStop : Finish::kLength, std::move(event));
  }
  describe(live, now, event);
  if (!live.reported) event.prompt_logprobs = std::move(live.prompt_logprobs);
  live.reported = true;
  if (r.on_event) r.on_event(event);
}

}  // namespace heed
