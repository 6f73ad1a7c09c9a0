#include <algorithm>
#include <cstdio>
#include <map>

#include "attention/rows.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/report.h"
#include "model/mixer.h"

namespace heed {
namespace {

struct InspectOptions {
  ModelOptions model;
  EngineOptions engine;
  int max_soft_tokens = 0;
  bool plan = false;
  bool json = false;
};

// "0-3, 6": ascending layer numbers with runs folded.
std::string ranges(const std::vector<int>& layers) {
  std::string text;
  for (size_t i = 0; i < layers.size();) {
    size_t end = i;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
    text += (text.empty() ? "" : ", ") + std::to_string(layers[i]);
    if (end > i) text += "-" + std::to_string(layers[end]);
    i = end + 1;
  }
  return text;
}

std::string describe_ffn(const LayerSpec& layer) {
  std::string text;
  if (layer.mlp) text = "mlp " + std::to_string(layer.mlp->inner);
  if (!layer.moe) return text;
  const MoeSpec& moe = *layer.moe;
  text += (text.empty() ? "" : " + ") + std::to_string(moe.experts) + " experts of " +
          std::to_string(moe.inner) + ", " + std::to_string(moe.top_k) + " a token";
  if (moe.shared_inner > 0) text += ", a shared one of " + std::to_string(moe.shared_inner);
  return text;
}

// Layers that are alike share a line.
void print_layers(const ModelSpec& spec) {
  std::vector<std::pair<std::string, std::vector<int>>> kinds;
  for (int i = 0; i < static_cast<int>(spec.layers.size()); ++i) {
    const LayerSpec& layer = spec.layers[i];
    const std::string text = mixer_of(layer.mixer).describe(layer.mixer) + "; " + describe_ffn(layer);
    const auto kind =
        std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == text; });
    if (kind == kinds.end()) {
      kinds.push_back({text, {i}});
    } else {
      kind->second.push_back(i);
    }
  }
  for (const auto& [text, layers] : kinds)
    std::printf("  %s %s: %s\n", layers.size() > 1 ? "layers" : "layer", ranges(layers).c_str(),
                text.c_str());
}

void print_vision(const VisionSpec& vision) {
  const ImagePrep& prep = vision.prep;
  const std::string size = prep.fit == ImagePrep::Fit::kBudget
                               ? "up to " + std::to_string(prep.max_soft_tokens) + " tokens, aspect kept"
                               : std::to_string(prep.size) + " x " + std::to_string(prep.size) + " pixels";
  std::printf("vision: %s, %d layers, hidden %d, %d heads of %d, mlp %d\n",
              vision.kind == VisionSpec::Kind::kGemma4 ? "Gemma 4's tower" : "SigLIP", vision.layers,
              vision.hidden, vision.heads, vision.head_dim, vision.inner);
  std::printf("  pictures: %s, %s; patches of %d pixels, %d x %d of them a token\n", size.c_str(),
              prep.filter == ImagePrep::Filter::kBicubic ? "bicubic" : "bilinear", prep.patch, prep.pool,
              prep.pool);
  std::printf("  tokens: placeholder %d, begin %d, image %d, end %d\n", vision.tokens.placeholder,
              vision.tokens.begin, vision.tokens.image, vision.tokens.end);
}

void print_cache(const RunPlan& plan) {
  std::printf("cache: %s, %s a token while every layer keeps it, pages of %s\n",
              std::string(name_of(plan.layout.dtype)).c_str(),
              size_text(bytes_per_token(plan.layout)).c_str(), size_text(plan.layout.page_bytes).c_str());
  for (const CacheGroup& group : plan.layout.groups) {
    const int64_t used = group.token_bytes * group.block_tokens;
    std::printf(
        "  group: layers %s, mask %s, %d tokens a page (padding %.1f %%), %s a token, at most %d tokens "
        "kept\n",
        ranges(group.layers).c_str(), describe(group.kv.mask).c_str(), group.block_tokens,
        100.0 * static_cast<double>(plan.layout.page_bytes - used) /
            static_cast<double>(plan.layout.page_bytes),
        size_text(group.token_bytes).c_str(), most_live_keys(group.kv.mask, plan.max_len, plan.step_tokens));
  }
  if (plan.states.empty()) return;
  std::vector<int> layers;
  for (size_t i = 0; i < plan.states.layers.size(); ++i) {
    if (!plan.states.layers[i].empty()) layers.push_back(static_cast<int>(i));
  }
  std::printf("states: layers %s, %s a sequence in %s, snapshots every %d tokens\n", ranges(layers).c_str(),
              size_text(plan.states.slot_bytes()).c_str(), std::string(name_of(plan.states.dtype)).c_str(),
              plan.snapshot_stride);
}

// How many matrices are stored in which form, and what they are in memory.
void print_quantised(const Checkpoint& checkpoint, const Kernels& kernels) {
  std::map<std::string, int> kinds;
  for (const auto& [name, matrix] : checkpoint.quantised) {
    const bool widened = !is_blocks(matrix.blocks) || (matrix.blocks == DType::kFp8 && !kernels.reads_fp8);
    kinds[form_of(matrix) + (widened ? ", widened" : ", in memory " + std::string(name_of(matrix.blocks)))] +=
        1;
  }
  for (const auto& [kind, count] : kinds) std::printf("quantised: %d matrices, %s\n", count, kind.c_str());
}

void print_plan(const RunPlan& plan) {
  std::printf("backend: %s (%s), attention %s, arithmetic %s\n",
              std::string(plan.choice.kernels->name).c_str(), plan.choice.kernels->isa.c_str(),
              attention_name(plan).c_str(), std::string(name_of(plan.compute)).c_str());
  if (!plan.place.on_host()) std::printf("device: %s\n", plan.place.description().c_str());
  std::printf("weights: %s, of which %s are used where the file is mapped\n",
              size_text(plan.weight_bytes).c_str(),
              plan.mapped_bytes > 0 ? size_text(plan.mapped_bytes).c_str() : "none");
  print_cache(plan);
  std::printf("plan for one sequence of %d tokens: weights %s + cache %s (%lld pages) + states %s = %s\n",
              plan.max_len, size_text(plan.weight_bytes).c_str(), size_text(plan.cache_bytes).c_str(),
              static_cast<long long>(plan.pages), size_text(plan.states.slot_bytes()).c_str(),
              size_text(plan.weight_bytes + plan.cache_bytes + plan.states.slot_bytes()).c_str());
}

int64_t bytes_of(const std::vector<StateTensor>& layer, DType dtype) {
  int64_t bytes = 0;
  for (const StateTensor& state : layer) {
    int64_t elements = 1;
    for (const int64_t size : state.shape) elements *= size;
    bytes += elements * size_of(dtype);
  }
  return bytes;
}

OrderedJson plan_json(const EnginePlan& plan) {
  OrderedJson memory;
  for (const MemoryPlan::Part& part : plan.memory.parts()) {
    std::string key = part.name;
    std::replace(key.begin(), key.end(), ' ', '_');
    memory[key + "_bytes"] = part.bytes;
  }
  OrderedJson groups = OrderedJson::array();
  for (const CacheGroup& group : plan.run.layout.groups) {
    groups.push_back({{"layers", group.layers.size()},
                      {"mask", describe(group.kv.mask)},
                      {"token_bytes", group.token_bytes},
                      {"block_tokens", group.block_tokens}});
  }
  OrderedJson states = OrderedJson::array();
  for (const std::vector<StateTensor>& layer : plan.run.states.layers) {
    if (!layer.empty()) states.push_back(bytes_of(layer, plan.run.states.dtype));
  }
  return {{"max_model_len", plan.run.max_len},
          {"step_tokens", plan.run.step_tokens},
          {"sequences", plan.sequences},
          {"full_length_sequences", plan.full_sequences},
          {"cache_tokens", plan.cache_tokens},
          {"pages", plan.run.pages},
          {"page_bytes", plan.run.layout.page_bytes},
          {"token_bytes", bytes_per_token(plan.run.layout)},
          {"sequence_pages", plan.sequence_pages},
          {"state_bytes", plan.run.states.slot_bytes()},
          {"state_snapshots", plan.snapshots},
          {"groups", groups},
          {"layer_state_bytes", states},
          {"memory", memory},
          {"total_bytes", plan.memory.total()},
          {"available_bytes", plan.memory.limit.bytes},
          {"available_source", plan.memory.limit.source}};
}

void print_memory(const EnginePlan& plan) {
  for (const MemoryPlan::Part& part : plan.memory.parts()) {
    std::printf("  %-15s %12s  %s\n", part.name, size_text(part.bytes).c_str(), part.meaning);
  }
  std::printf("  %-15s %12s  of %s (%s)\n", "in all", size_text(plan.memory.total()).c_str(),
              size_text(plan.memory.limit.bytes).c_str(), plan.memory.limit.source.c_str());
  std::printf(
      "fits: %d sequences at a time, of up to %d tokens each; %lld tokens of such sequences in the cache, or "
      "%lld whole ones\n",
      plan.sequences, plan.run.max_len, static_cast<long long>(plan.cache_tokens),
      static_cast<long long>(plan.full_sequences));
  if (!plan.run.states.empty())
    std::printf("      %d snapshots of recurrent states, of %s each\n", plan.snapshots,
                size_text(plan.run.states.slot_bytes()).c_str());
}

Status show_plan(const InspectOptions& o, const Checkpoint& checkpoint) {
  EngineOptions options = o.engine;
  options.runner = o.model.runner;
  const EnginePlan plan = TRY(plan_engine(checkpoint, options));
  if (o.json) {
    std::printf("%s\n", to_text(plan_json(plan)).c_str());
  } else {
    print_memory(plan);
  }
  return {};
}

Status inspect(const InspectOptions& o) {
  Checkpoint checkpoint = TRY(open_checkpoint(o.model.model, TensorFiles::kOptional));
  if (o.max_soft_tokens > 0) TRY(set_max_soft_tokens(checkpoint.spec, o.max_soft_tokens));
  if (o.plan || o.json) return show_plan(o, checkpoint);
  const RunPlan plan = TRY(plan_run(checkpoint, o.model.runner));
  const ModelSpec& spec = checkpoint.spec;
  std::printf("%s: %s, %zu layers, hidden %d, vocabulary %d%s, context %d\n", o.model.model.c_str(),
              checkpoint.architecture.c_str(), spec.layers.size(), spec.hidden, spec.vocab,
              spec.tied_embeddings ? " (tied)" : "", spec.max_positions);
  print_layers(spec);
  if (spec.vision) print_vision(*spec.vision);
  print_quantised(checkpoint, *plan.choice.kernels);
  print_plan(plan);
  return {};
}

}  // namespace

Command add_inspect(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a checkpoint is and what it needs, without loading it");
  auto o = std::make_shared<InspectOptions>();
  add_model_options(*command, o->model);
  add_engine_options(*command, o->engine);
  command
      ->add_option("--memory", o->engine.memory_bytes,
                   "Bytes of memory to plan for, such as 80G (default: what this machine has)")
      ->transform(CLI::AsSizeValue(false));
  add_max_soft_tokens(*command, o->max_soft_tokens);
  command->add_flag("--plan", o->plan, "The memory that serving takes, part by part, and what fits");
  command->add_flag("--json", o->json, "The plan as one JSON object");
  return {command, [o] { return inspect(*o); }};
}

}  // namespace heed
