#include "engine/runner.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/checked.h"
#include "base/memory.h"
#include "model/draft.h"
#include "model/mixer.h"
#include "model/moe.h"

namespace heed {
namespace {

constexpr int64_t kMostStateElements = int64_t{1} << 40;

Result<DType> compute_dtype(const Checkpoint& checkpoint, const std::string& wanted) {
  if (wanted == "float32") return DType::kF32;
  if (wanted == "bfloat16") return DType::kBF16;
  if (wanted != "auto") return invalid("dtype \"" + wanted + "\"; auto, float32 or bfloat16 is expected");
  return checkpoint.dtype == "bfloat16" ? DType::kBF16 : DType::kF32;
}

Result<DType> cache_dtype(const std::string& wanted, DType compute) {
  if (wanted == "auto") return compute;
  if (wanted == "float32") return DType::kF32;
  if (wanted == "bfloat16") return DType::kBF16;
  if (wanted == "int8") return DType::kI8;
  if (wanted == "fp8" || wanted == "fp8_e4m3") return DType::kE4M3;
  return invalid("kv cache dtype \"" + wanted + "\"; auto, float32, bfloat16, int8 or fp8 is expected");
}

// Of every layer; 0 heads: it needs no attention kernel.
std::vector<AttentionNeeds> attention_needs(const std::vector<MixerNeeds>& layers, DType kv_dtype,
                                            int block) {
  std::vector<AttentionNeeds> all;
  for (const MixerNeeds& layer : layers) {
    all.push_back(layer.attention.value_or(AttentionNeeds{}));
    all.back().kv_dtype = kv_dtype;
    all.back().block = block;
  }
  return all;
}

// "" if the kernels have all ops that the layers need beside attention.
std::string why_not(const ModelSpec& spec, const Kernels& kernels) {
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec& layer = spec.layers[i];
    std::string reason = mixer_of(layer.mixer).why_not(layer.mixer, kernels);
    if (reason.empty() && layer.moe) reason = moe_why_not(kernels);
    if (!reason.empty())
      return "layer " + std::to_string(i) + ": " + std::string(kernels.name) + " " + reason;
  }
  return "";
}

Status check_kernels(const ModelSpec& spec, const Kernels& chosen) {
  const std::string reason = why_not(spec, chosen);
  if (reason.empty()) return {};
  std::string answers;
  for (const Kernels* kernels : all_backends()) {
    const std::string answer = why_not(spec, *kernels);
    answers +=
        (answers.empty() ? "" : "; ") + std::string(kernels->name) + ": " + (answer.empty() ? "yes" : answer);
  }
  return unsupported("backend " + std::string(chosen.name) + " cannot run this model: " + answers);
}

StateLayout plan_states(const std::vector<MixerNeeds>& layers, DType dtype) {
  StateLayout layout = {.dtype = dtype};
  for (const MixerNeeds& layer : layers) {
    std::vector<StateTensor>& tensors = layout.layers.emplace_back();
    for (const StateNeed& need : layer.states) {
      int64_t elements = 1;
      for (const int64_t size : need.shape)
        elements = checked_mul(elements, size).value_or(kMostStateElements);
      tensors.push_back({.shape = need.shape, .offset = layout.slot_elements});
      layout.slot_elements += std::min(round_up(elements, 16), kMostStateElements);  // aligned to 64 bytes
    }
  }
  return layout;
}

Result<DType> state_dtype(const std::string& name) {
  if (name == "float32") return DType::kF32;
  if (name == "bfloat16") return DType::kBF16;
  return invalid("state dtype \"" + name + "\"; float32 or bfloat16 is expected");
}

Result<DType> narrow_dtype(const std::string& name) {
  if (name == "none") return DType::kF32;
  if (name == "int8") return DType::kQ80;
  if (name == "int4") return DType::kQ40;
  return invalid("quantize \"" + name + "\"; none, int8 or int4 is expected");
}

WeightOptions weight_options(const RunPlan& plan) {
  const Kernels& kernels = *plan.choice.kernels;
  return {.compute = plan.compute,
          .blocks = kernels.reads_blocks,
          .fp8 = kernels.reads_fp8,
          .narrow = plan.narrow,
          .workers = plan.workers};
}

// Where memory has several nodes, what a worker reads comes to lie on its own. Any worker may read experts.
void place_weights(const Weights& weights, const Workers& workers) {
  const auto matrices = [&](const Tensors& list, auto place) {
    for (const Tensor& t : list) {
      if (t.rank > 1) place(t.data, t.bytes(), workers);
    }
  };
  matrices(weights.own, place_parts);
  for (const LayerWeights& layer : weights.layers) {
    for (const Tensors* list : {&layer.own, &layer.mixer, &layer.mlp}) matrices(*list, place_parts);
    matrices(layer.moe, interleave);
  }
}

// Of one checkpoint, added to the plan's.
Status count_weights(const Checkpoint& checkpoint, RunPlan& plan) {
  Footprint all = expected_footprint(checkpoint.spec, plan.compute);
  int64_t stored_bytes = all.mapped + all.owned;
  if (checkpoint.has_weights()) {
    all = {};
    stored_bytes = 0;
    Weights shapes;
    const auto has = [&](std::string_view name) { return checkpoint.has(name); };
    for (const TensorNeed& need : needed_tensors(checkpoint.spec, shapes, has)) {
      const StoredView stored = TRY(stored_view(checkpoint, need, weight_options(plan)));
      plan.block_weights = plan.block_weights || is_blocks(stored.tensor.dtype);
      stored_bytes += checkpoint.stored(need.name).bytes;
      const Footprint bytes = footprint(need, stored, weight_options(plan));
      all.mapped += bytes.mapped;
      all.owned += bytes.owned;
    }
  }
  plan.weight_bytes += stored_bytes;
  plan.mapped_bytes += all.mapped;
  plan.owned_bytes += all.owned;
  return {};
}

std::vector<MixerNeeds> mixer_needs(const ModelSpec& spec) {
  std::vector<MixerNeeds> layers;
  for (const LayerSpec& layer : spec.layers) layers.push_back(mixer_of(layer.mixer).needs(layer.mixer));
  return layers;
}

Result<Checkpoint> open_drafter(const Checkpoint& target, const RunnerOptions& options) {
  Checkpoint drafter = TRY(open_checkpoint(options.drafter));
  if (options.draft_heads) {
    if (drafter.spec.heads == nullptr) {
      return unsupported(options.drafter + " (" + drafter.architecture +
                         ") has no heads for multi-token prediction that are known here");
    }
    const std::shared_ptr<const ModelSpec> heads = drafter.spec.heads;
    drafter.spec = *heads;
  }
  if (drafter.spec.draft) settle_taps(target.spec, *drafter.spec.draft);
  TRY(check_tensors(drafter));
  return drafter;
}

// Whether it has this tensor of its own.
bool has_own(const Checkpoint& checkpoint, ModelWeight number) {
  Weights weights;
  const auto has = [&](std::string_view name) { return checkpoint.has(name); };
  const std::vector<TensorNeed> needs = needed_tensors(checkpoint.spec, weights, has);
  return std::any_of(needs.begin(), needs.end(), [&](const TensorNeed& need) {
    return std::any_of(need.parts.begin(), need.parts.end(), [&](const TensorNeed::Part& part) {
      return part.list == &weights.own && part.number == number;
    });
  });
}

int most_guesses(const ModelSpec& drafter) {
  return drafter.draft && drafter.draft->is_block() ? drafter.draft->block - 1 : 0;
}

// Opens the drafter, and adds what its layers need to the target's.
Status plan_drafter(const Checkpoint& target, const RunnerOptions& options, RunPlan& plan,
                    std::vector<MixerNeeds>& layers) {
  const auto drafter = std::make_shared<const Checkpoint>(TRY(open_drafter(target, options)));
  const auto first = static_cast<int>(layers.size());
  const std::string reason =
      draft_why_not(drafter->spec, target.spec, has_own(*drafter, kEmbed), has_own(*drafter, kHead));
  if (!reason.empty()) {
    return unsupported(options.drafter + " cannot guess for " + target.folder + ": " + reason);
  }
  for (MixerNeeds& needs : mixer_needs(drafter->spec)) {
    if (needs.kv.source >= 0) needs.kv.source += first;
    layers.push_back(std::move(needs));
  }
  plan.draft = {.checkpoint = drafter, .first_layer = first, .most_guesses = most_guesses(drafter->spec)};
  return {};
}

Status plan_vision(const ModelSpec& spec, const RunnerOptions& options, int block, RunPlan& plan) {
  const Choice tower = TRY(choose({vision_attention_needs(*spec.vision, plan.compute, block)},
                                  *plan.place.kernels, options.attention));
  plan.vision_attention = tower.attention.front();
  static constexpr Span kPicture = {0, 2};
  static constexpr SeqFacts kFacts = {.length = 2, .media = &kPicture, .num_media = 1};
  for (const CacheGroup& group : plan.layout.groups) {
    if (!can_cut(group.kv.mask, kFacts, 1)) plan.image_tokens = spec.vision->prep.max_soft_tokens;
  }
  return {};
}

// Multiplications and additions of a token's linear layers.
double token_flops(const Model& model) {
  double elements = 0;
  for (size_t i = 0; i < model.spec.layers.size(); ++i) {
    const LayerSpec& layer = model.spec.layers[i];
    const LayerWeights& w = model.weights.layers[i];
    const auto add = [&](const Tensors& list, double share) {
      for (const Tensor& t : list) elements += t.rank > 1 ? share * static_cast<double>(t.elements()) : 0;
    };
    for (const Tensors* list : {&w.own, &w.mixer, &w.mlp}) add(*list, 1);
    if (layer.moe) add(w.moe, static_cast<double>(layer.moe->top_k) / layer.moe->experts);
  }
  return std::max(2 * elements, 1.0);
}

// What the codes of a cache of fp8 count by, where the checkpoint says so; `first`: of the model's layers
// among the cache's. Layers that read another's keys take its scales.
void use_scales(const Weights& weights, const CacheLayout& layout, int first,
                std::vector<LayerCache>& caches) {
  if (layout.dtype != DType::kE4M3) return;
  for (int i = 0; i < static_cast<int>(weights.layers.size()); ++i) {
    const int group = layout.group_of_layer[first + i];
    if (group < 0) continue;
    const Tensors& own = weights.layers[layout.source_of_layer[first + i] - first].own;
    PagedKv& kv = caches[first + i].kv;
    kv.k_scale = weight_of(own, kKeyScale);
    kv.v_scale = layout.groups[group].kv.v_in_k ? kv.k_scale : weight_of(own, kValueScale);
  }
}

}  // namespace

int64_t most_keys(const RunPlan& plan) {
  int64_t keys = 0;
  for (const CacheGroup& group : plan.layout.groups) keys = std::max(keys, plan.pages * group.block_tokens);
  return keys;
}

std::string attention_name(const RunPlan& plan) {
  for (const AttentionKernel* kernel : plan.choice.attention) {
    if (kernel != nullptr) return std::string(kernel->name);
  }
  return "none";
}

Result<RunPlan> plan_run(const Checkpoint& checkpoint, const RunnerOptions& options) {
  if (checkpoint.has_weights()) TRY(check_tensors(checkpoint));
  const ModelSpec& spec = checkpoint.spec;
  RunPlan plan;
  plan.compute = TRY(compute_dtype(checkpoint, options.dtype));
  // The kernel block divides the block that is allocated and hashed, whatever size that has.
  constexpr int kKernelBlock = 16;
  const int block_size = options.block_size > 0 ? options.block_size : kKernelBlock;
  const int kernel_block = std::gcd(block_size, kKernelBlock);
  if (spec.draft) {
    return unsupported(checkpoint.folder + " holds a drafter (" + checkpoint.architecture +
                       "), which guesses for another model; --speculative-config takes it");
  }
  std::vector<MixerNeeds> layers = mixer_needs(spec);
  plan.place = TRY(find_device(options.device, options.backend));
  if (!options.drafter.empty()) TRY(plan_drafter(checkpoint, options, plan, layers));
  const DType kept = TRY(cache_dtype(options.kv_cache_dtype, plan.compute));
  plan.attention = attention_needs(layers, kept, kernel_block);
  plan.workers = TRY(plan_workers(options.threads, options.cpus));
  plan.recordings = options.recordings;
  plan.choice = TRY(choose(plan.attention, *plan.place.kernels, options.attention));
  TRY(check_kernels(spec, *plan.choice.kernels));
  if (plan.draft) TRY(check_kernels(plan.draft->checkpoint->spec, *plan.choice.kernels));
  std::vector<KvSpec> kv;
  for (const MixerNeeds& layer : layers) kv.push_back(layer.kv);
  plan.layout = TRY(plan_cache(kv, kept, kernel_block, block_size));
  plan.states = plan_states(layers, TRY(state_dtype(options.state_dtype)));
  plan.snapshot_stride = options.snapshot_stride;

  if (spec.vision) TRY(plan_vision(spec, options, kernel_block, plan));
  // On the host more makes prompts no faster, and streams that run beside them stall for longer.
  const int usual = plan.place.on_host() ? 256 : 8192;
  plan.wanted_step_tokens = options.step_tokens > 0 ? options.step_tokens : usual;
  const int length = options.max_len > 0 ? options.max_len : spec.max_positions;
  if (!set_length(plan, length))
    return limit_reached("a cache for " + std::to_string(length) + " tokens does not fit memory");

  plan.narrow = TRY(narrow_dtype(options.quantize));
  if (plan.narrow != DType::kF32 && !plan.choice.kernels->reads_blocks)
    return unsupported("backend " + std::string(plan.choice.kernels->name) + " cannot run quantised weights");
  plan.block_weights = plan.narrow != DType::kF32;
  TRY(count_weights(checkpoint, plan));
  if (plan.draft) TRY(count_weights(*plan.draft->checkpoint, plan));
  return plan;
}

bool set_length(RunPlan& plan, int max_len) {
  plan.max_len = max_len;
  plan.step_tokens = std::min(plan.wanted_step_tokens, max_len);
  plan.pages = most_pages(plan.layout, max_len, most_step_tokens(plan, 0));
  const auto bytes = checked_mul(plan.pages, plan.layout.page_bytes);
  plan.cache_bytes = bytes.value_or(INT64_MAX);
  return bytes.has_value();
}

Runner::Runner(std::unique_ptr<Device> accelerator, Checkpoint checkpoint, RunPlan plan, Weights weights,
               const Resources& resources)
    : accelerator_(std::move(accelerator)),
      device_(accelerator_ ? *accelerator_ : host_device()),
      checkpoint_(std::move(checkpoint)),
      plan_(std::move(plan)),
      model_(make_model(checkpoint_.spec, std::move(weights), plan_.compute, device_)),
      cache_(plan_.layout, {.pages = static_cast<int>(plan_.pages),
                            .max_len = plan_.max_len,
                            .sequences = resources.sequences,
                            .prefix_caching = resources.prefix_caching,
                            .states = plan_.states,
                            .snapshots = resources.snapshots,
                            .snapshot_stride = plan_.snapshot_stride,
                            .device = &device_}),
      layer_cache_(cache_.layers()),
      states_(cache_.states().layers()),
      pool_(plan_.workers),
      arena_(resources.arena_bytes, device_),
      token_flops_(token_flops(model_)) {
  use_scales(model_.weights, plan_.layout, 0, layer_cache_);
  if (device_.is_host()) interleave(cache_.pool().memory(), cache_.pool().bytes(), plan_.workers);
  if (!device_.is_host()) use_accelerator(resources.scratch_bytes);
}

void Runner::use_accelerator(int64_t scratch_bytes) {
  device_.reserve_scratch(scratch_bytes);
  device_tables_ = std::make_unique<DeviceTables>(device_, cache_.tables());
  const CacheLayout& layout = plan_.layout;
  std::vector<int> groups;
  for (const int source : layout.source_of_layer) groups.push_back(layout.group_of_layer[source]);
  DeviceBatch::Use steps = {.group_of_layer = groups, .keys = most_keys(plan_)};
  if (plan_.draft) {
    const ModelSpec& drafter = plan_.draft->checkpoint->spec;
    const auto first = groups.begin() + plan_.draft->first_layer;
    const std::vector<int> observing =
        observing_groups(drafter, {first, groups.end()}, static_cast<int>(layout.groups.size()));
    std::copy(observing.begin(), observing.end(), steps.group_of_layer.begin() + plan_.draft->first_layer);
    DeviceBatch::Use guesses = {.group_of_layer = groups,
                                .keys = steps.keys,
                                .sees_ahead = drafter.draft && drafter.draft->is_block()};
    std::fill_n(guesses.group_of_layer.begin(), plan_.draft->first_layer, -1);
    guess_run_ = std::make_unique<DeviceRun>(device_, *device_tables_, plan_, stream(), guesses);
  }
  device_run_ = std::make_unique<DeviceRun>(device_, *device_tables_, plan_, stream(), steps);
}

void Runner::populate(const std::atomic<bool>& stop) const {
  const auto touch = [&](char* memory, int64_t bytes) {
    constexpr int64_t kPiece = int64_t{4} << 20;
    for (int64_t at = 0; at < bytes && !stop; at += kPiece) {
      heed::populate(memory + at, std::min(kPiece, bytes - at));
    }
  };
  if (!device_.is_host()) return;  // its memory is there once it is taken
  touch(cache_.pool().memory(), cache_.pool().bytes());
  touch(cache_.states().memory(), cache_.states().bytes());
  for (const Buffer& chunk : arena_.chunks()) touch(static_cast<char*>(chunk.data()), chunk.bytes());
}

Result<std::unique_ptr<Runner>> Runner::load(Checkpoint checkpoint, const RunnerOptions& options,
                                             const Progress& progress) {
  RunPlan plan = TRY(plan_run(checkpoint, options));
  return load(std::move(checkpoint), std::move(plan), {}, progress);
}

Result<std::unique_ptr<Runner>> Runner::load(Checkpoint checkpoint, RunPlan plan, const Resources& resources,
                                             const Progress& progress) {
  std::unique_ptr<Device> accelerator;
  if (!plan.place.on_host()) accelerator = plan.place.kernels->accelerator->open(plan.place.index);
  Device& device = accelerator ? *accelerator : host_device();
  Weights weights = TRY(load_weights(checkpoint, weight_options(plan), progress, device));
  if (device.is_host()) place_weights(weights, plan.workers);
  std::unique_ptr<Runner> runner(new Runner(std::move(accelerator), std::move(checkpoint), std::move(plan),
                                            std::move(weights), resources));
  if (runner->plan_.draft) TRY(runner->load_drafter(resources.drafts));
  return runner;
}

Status Runner::load_drafter(int most_guesses) {
  const DraftPlan& plan = *plan_.draft;
  Weights weights = TRY(load_weights(*plan.checkpoint, weight_options(plan_), nullptr, device_));
  if (device_.is_host()) place_weights(weights, plan_.workers);
  use_scales(weights, plan_.layout, plan.first_layer, layer_cache_);
  const auto& attention = plan_.choice.attention;
  drafter_ = std::make_unique<Drafter>(
      make_model(plan.checkpoint->spec, std::move(weights), plan_.compute, device_), model_,
      Drafter::Tools{.kernels = *plan_.choice.kernels,
                     .attention = {attention.begin() + plan.first_layer, attention.end()},
                     .cache = {layer_cache_.begin() + plan.first_layer, layer_cache_.end()},
                     .pages = cache_,
                     .stream = stream(),
                     .arena = arena_,
                     .device = device_,
                     .first_layer = plan.first_layer,
                     .most_guesses = most_guesses,
                     .targets = device_run_.get(),
                     .guesses = guess_run_.get()});
  return {};
}

void Runner::propose(std::span<DraftAsk> asks, const Drafter::Draw& draw) {
  CHECK(drafter_ != nullptr);
  device_.enter();
  arena_.release({});
  drafter_->propose(asks, draw);
}

SentStep Runner::begin(std::span<const Scheduled> scheduled, std::span<const DrawRow> draws) {
  device_.enter();
  batch_.state_saves.clear();
  int row = 0;
  for (const Scheduled& item : scheduled) {
    const int sure = item.count - item.guesses;
    cache_.begin_snapshots(*item.sequence, sure, row, batch_.state_saves);
    cache_.begin_drafts(*item.sequence, item.guesses, row + sure, batch_.state_saves);
    row += item.count;
  }
  build_batch(cache_, scheduled, batch_, spec().vision ? spec().vision->tokens.pad : 0);
  if (drafter_) drafter_->prepare(scheduled, batch_);
  Stream here = stream();
  const auto run = [&] { return run_forward(here); };
  SentStep sent;
  if (device_run_) {
    sent = device_run_->send(batch_, run, draws);
  } else {
    sent.logits = run();
  }
  for (const Scheduled& item : scheduled) {
    item.sequence->computed += item.count;
    cache_.finish_snapshots(*item.sequence);
    item.sequence->drop_encoded();
  }
  return sent;
}

// Of the model, and what its drafter makes of it.
Tensor Runner::run_forward(Stream& stream) {
  arena_.release({});
  Taps taps = drafter_ ? drafter_->taps() : Taps{};
  const Tensor logits = forward(
      model_, batch_,
      {.kernels = *plan_.choice.kernels,
       .attention = plan_.choice.attention,
       .cache = layer_cache_,
       .states = states_,
       .stream = stream,
       .arena = arena_,
       .taps = taps.after.empty() ? nullptr : &taps,
       .constants = device_run_ ? &device_run_->constants() : nullptr,
       .plans = device_run_ ? std::span(device_run_->plans()) : std::span<const AttentionPlan* const>()});
  if (drafter_) drafter_->observe(batch_, taps.rows);
  return logits;
}

ImageEncoding Runner::begin_encoding(std::vector<std::shared_ptr<const ImagePatches>> pictures) const {
  CHECK(plan_.vision_attention != nullptr);
  return {model_, std::move(pictures), plan_.layout.kernel_block};
}

void Runner::encode(ImageEncoding& encoding, int layers) {
  device_.enter();
  arena_.release({});
  Stream here = stream();
  encoding.run(model_,
               {.kernels = *plan_.choice.kernels,
                .attention = *plan_.vision_attention,
                .stream = here,
                .arena = arena_,
                .device = device_,
                .constants = device_run_ ? &device_run_->constants() : nullptr},
               layers);
}

void Runner::encode_all(Sequence& sequence) {
  for (size_t i = 0; i < sequence.images.size(); ++i) {
    SequenceImage& image = sequence.images[i];
    if (sequence.media[i].hi <= sequence.computed || image.encoded != nullptr) continue;
    ImageEncoding encoding = begin_encoding({image.patches});
    encode(encoding, encoding.layers_left());
    image.encoded = encoding.take_results().front();
  }
}

int Runner::layer_cost(const ImageEncoding& encoding) const {
  const auto patches = static_cast<double>(encoding.patches());
  const double flops = patches * vision_layer_flops(*spec().vision, encoding.patches());
  return static_cast<int>(std::clamp(std::ceil(flops / token_flops_), 1.0, 1e6));
}

Status Runner::check_tokens(std::span<const int> tokens) const {
  for (const int token : tokens) {
    if (token < 0 || token >= spec().vocab) {
      return invalid("token id " + std::to_string(token) + " is outside the model's vocabulary of " +
                     std::to_string(spec().vocab));
    }
  }
  return {};
}

int Runner::next_cut(const Sequence& sequence, int budget) const {
  const int end = static_cast<int>(sequence.tokens.size());
  const auto legal = [&](int cut) {
    return std::all_of(plan_.layout.groups.begin(), plan_.layout.groups.end(), [&](const CacheGroup& group) {
      return can_cut(group.kv.mask, sequence.facts(), cut);
    });
  };
  const int furthest = std::min(sequence.computed + budget, end);
  for (int cut = furthest; cut > sequence.computed; --cut) {
    if (legal(cut)) return cut;
  }
  int cut = furthest + 1;
  while (cut < end && !legal(cut)) ++cut;
  return std::min(cut, end);
}

Result<Tensor> Runner::prefill(Sequence& sequence, int logit_count) {
  const int end = static_cast<int>(sequence.tokens.size());
  CHECK(sequence.computed < end, sequence.computed, end);
  TRY(check_tokens(std::span(sequence.tokens).subspan(sequence.computed)));
  if (end > plan_.max_len) {
    return limit_reached(std::to_string(end) + " tokens exceed the longest context of " +
                         std::to_string(plan_.max_len) + " tokens");
  }
  encode_all(sequence);
  Tensor logits;
  while (sequence.computed < end) {
    const int cut = next_cut(sequence, plan_.step_tokens);
    if (!cache_.extend(sequence, cut))
      return limit_reached("no free cache pages for " + std::to_string(cut) + " tokens");
    const int count = cut - sequence.computed;
    CHECK(cut < end || logit_count <= count, logit_count, count);
    const Scheduled item{.sequence = &sequence, .count = count, .logit_count = cut == end ? logit_count : 0};
    logits = step({&item, 1});
  }
  return logits;
}

}  // namespace heed
