#include "backends/select.h"

#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

namespace heed {
namespace {

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += between;
    text += part;
  }
  return text;
}

// The reasons of all layers, each once; "" if the kernel can do every layer.
std::string why_not(const AttentionKernel& kernel, const std::vector<AttentionNeeds>& layers) {
  std::vector<std::string> reasons;
  for (const AttentionNeeds& needs : layers) {
    if (needs.heads == 0) continue;
    std::string reason = kernel.why_not(needs);
    if (!reason.empty() && std::find(reasons.begin(), reasons.end(), reason) == reasons.end()) {
      reasons.push_back(std::move(reason));
    }
  }
  return joined(reasons, ", ");
}

// How every kernel of every backend answers; beside a yes, the flag that gets it where it is not of `chosen`.
std::string answers(const std::vector<AttentionNeeds>& layers, const Kernels* chosen) {
  std::vector<std::string> parts;
  for (const Kernels* kernels : all_backends()) {
    for (const AttentionKernel& kernel : kernels->attention) {
      const std::string reason = why_not(kernel, layers);
      std::string part = std::string(kernel.name) + ": " + (reason.empty() ? "yes" : reason);
      if (reason.empty() && chosen != nullptr && kernels != chosen) {
        part += " (--backend " + std::string(kernels->name) + ")";
      }
      parts.push_back(std::move(part));
    }
  }
  return joined(parts, "; ");
}

Result<const Kernels*> find_backend(std::string_view name) {
  if (name.empty()) return all_backends().front();
  std::vector<std::string> accepted;
  for (const Kernels* kernels : all_backends()) {
    if (kernels->name == name) return kernels;
    accepted.emplace_back(kernels->name);
  }
  return invalid("backend \"" + std::string(name) + "\" is unknown: this program has " +
                 joined(accepted, ", "));
}

Result<const AttentionKernel*> find_attention(std::string_view name) {
  std::vector<std::string> accepted;
  for (const Kernels* kernels : all_backends()) {
    for (const AttentionKernel& kernel : kernels->attention) {
      if (kernel.name == name) return &kernel;
      accepted.emplace_back(kernel.name);
    }
  }
  return invalid("attention kernel \"" + std::string(name) + "\" is unknown: this program has " +
                 joined(accepted, ", "));
}

const AttentionKernel* first_that_can(const Kernels& kernels, const AttentionNeeds& needs) {
  for (const AttentionKernel& kernel : kernels.attention) {
    if (kernel.why_not(needs).empty()) return &kernel;
  }
  return nullptr;
}

}  // namespace

std::span<const Kernels* const> all_backends() {
  static const Kernels* const backends[] = {&cpu_kernels(), &ref_kernels()};
  return backends;
}

Result<Choice> choose(const std::vector<AttentionNeeds>& layers, std::string_view backend,
                      std::string_view attention) {
  Choice choice{.kernels = TRY(find_backend(backend)), .attention = {}};
  if (!attention.empty()) {
    const AttentionKernel* kernel = TRY(find_attention(attention));
    const std::string reason = why_not(*kernel, layers);
    if (!reason.empty()) {
      return unsupported("attention kernel " + std::string(kernel->name) +
                         " cannot run this model: " + reason);
    }
    choice.attention.assign(layers.size(), kernel);
    return choice;
  }
  for (const AttentionNeeds& needs : layers) {
    if (needs.heads == 0) {
      choice.attention.push_back(nullptr);
      continue;
    }
    const AttentionKernel* kernel = first_that_can(*choice.kernels, needs);
    if (kernel == nullptr) {
      return unsupported("backend " + std::string(choice.kernels->name) +
                         " cannot run this model's attention: " + answers(layers, choice.kernels));
    }
    choice.attention.push_back(kernel);
  }
  return choice;
}

std::string support_text(const std::vector<AttentionNeeds>& layers) { return answers(layers, nullptr); }

}  // namespace heed
