#include "cli/report.h"

#include <cstdio>

#include "base/memory.h"

namespace heed {

void StartUpReport::phase(std::string name) {
  const Clock::time_point now = Clock::now();
  phases_.emplace_back(std::move(name), std::chrono::duration<double>(now - last_).count());
  last_ = now;
}

void StartUpReport::print(const Service& service, const std::string& url) const {
  const Engine& engine = service.engine();
  const EnginePlan& plan = engine.plan();
  const RunPlan& run = plan.run;
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    text += "  " + name + std::string(12 - std::min<size_t>(name.size(), 11), ' ') + value + "\n";
  };
  text = "heed: serving " + service.model_name() + "\n";
  line("model", engine.checkpoint().architecture + ", " + std::to_string(engine.spec().layers.size()) +
                    " layers, vocabulary " + std::to_string(engine.spec().vocab));
  line("arithmetic", std::string(name_of(run.compute)) + " on " + std::string(run.choice.kernels->name) +
                         " (" + run.choice.kernels->isa + "), attention " + attention_name(run));
  if (!run.place.on_host()) line("device", run.place.description());
  if (!run.place.on_host()) {
    const std::string& reason = engine.why_in_step();
    line("scheduling", reason.empty() ? "each step while the one before it runs" : "step by step: " + reason);
  }
  line("context",
       std::to_string(run.max_len) + " tokens, up to " + std::to_string(run.step_tokens) + " in a step" +
           (run.image_tokens > run.step_tokens ? "; a picture runs whole, and a step then has up to " +
                                                     std::to_string(most_step_tokens(run, plan.sequences))
                                               : ""));
  line("weights", size_text(run.weight_bytes) + ", " + size_text(run.owned_bytes) + " of them converted");
  if (engine.narrowed().tensors > 0) line("quantised", describe(engine.narrowed()));
  line("cache", size_text(run.cache_bytes) + ": " + std::to_string(run.pages) + " pages, " +
                    std::to_string(plan.cache_tokens) + " tokens of full-length sequences");
  line("memory", size_text(plan.memory.total()) + " in all; there were " +
                     size_text(plan.memory.limit.bytes) + " (" + plan.memory.limit.source + ")" +
                     (run.place.on_host() ? "" : "; on the host " + size_text(plan.memory.host_total())));
  line("sequences", std::to_string(plan.sequences) + " at a time, " + std::to_string(plan.full_sequences) +
                        " of them of full length");
  line("chat", service.text().chat_template
                   ? "template, tool calls: " + std::string(name_of(service.dialect().tools)) +
                         ", reasoning: " + std::string(name_of(service.dialect().reasoning))
                   : "no template");
  if (const ImageLoader* loader = service.images()) {
    const ImageOptions& images = loader->options();
    std::string from = "data: URLs";
    for (const std::string& host : images.media.domains) from += ", " + host;
    if (!images.media.folder.empty()) from += ", files below " + images.media.folder;
    line("pictures", "up to " + std::to_string(images.max_images) + " a request, of up to " +
                         std::to_string(engine.spec().vision->prep.max_soft_tokens) + " tokens, from " +
                         from);
  }
  std::string times;
  double total = 0;
  for (const auto& [name, seconds] : phases_) {
    char one[96];
    std::snprintf(one, sizeof(one), "%s%s %.1f ms", times.empty() ? "" : ", ", name.c_str(), seconds * 1e3);
    times += one;
    total += seconds;
  }
  char sum[48];
  std::snprintf(sum, sizeof(sum), " = %.1f ms", total * 1e3);
  line("start", times + sum);
  line("ready", url);
  std::fputs(text.c_str(), stderr);
}

}  // namespace heed
