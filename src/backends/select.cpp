#include "backends/select.h"

#include <algorithm>
#include <charconv>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"
#ifdef HEED_CUDA
#include "kernels/cuda/cuda.h"
#endif

namespace heed {
namespace {

std::vector<const Kernels*>& backends() {
  static std::vector<const Kernels*> all = {
#ifdef HEED_CUDA
      &cuda_kernels(),
#endif
      &cpu_kernels(), &ref_kernels()};
  return all;
}

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

std::string names_of_backends() {
  std::vector<std::string> names;
  for (const Kernels* kernels : all_backends()) names.emplace_back(kernels->name);
  return joined(names, ", ");
}

// "cpu.avx2": the cpu backend with the kernels of that instruction set.
Result<const Kernels*> find_isa(std::string_view isa) {
  if (const Kernels* kernels = cpu_kernels_for(isa)) return kernels;
  std::vector<std::string> known;
  for (const std::string_view name : cpu_isas()) known.push_back("cpu." + std::string(name));
  if (std::find(cpu_isas().begin(), cpu_isas().end(), isa) != cpu_isas().end())
    return unsupported("backend cpu." + std::string(isa) + " cannot be used here: this machine lacks it");
  return invalid("backend \"cpu." + std::string(isa) + "\" is unknown: this program has cpu, " +
                 joined(known, ", "));
}

Result<const Kernels*> find_backend(std::string_view name) {
  if (constexpr std::string_view kCpu = "cpu."; name.starts_with(kCpu))
    return find_isa(name.substr(kCpu.size()));
  for (const Kernels* kernels : all_backends()) {
    if (kernels->name == name) return kernels;
  }
  return invalid("backend \"" + std::string(name) + "\" is unknown: this program has " + names_of_backends());
}

// "cuda:1" is backend "cuda" and 1.
Result<DeviceChoice> parse_device(std::string_view device) {
  if (device == "cpu") return DeviceChoice{.kernels = &cpu_kernels()};
  const size_t colon = std::min(device.find(':'), device.size());
  DeviceChoice place;
  for (const Kernels* kernels : all_backends()) {
    if (kernels->accelerator != nullptr && kernels->name == device.substr(0, colon)) place.kernels = kernels;
  }
  const std::string_view number = colon < device.size() ? device.substr(colon + 1) : "0";
  const auto [end, error] = std::from_chars(number.begin(), number.end(), place.index);
  if (place.kernels != nullptr && error == std::errc() && end == number.end() && place.index >= 0)
    return place;
  std::string accepted = "cpu";
  for (const Kernels* kernels : all_backends()) {
    if (kernels->accelerator != nullptr) accepted += ", " + std::string(kernels->name) + ":0";
  }
  return invalid("device \"" + std::string(device) + "\" is unknown: this program has " + accepted);
}

std::string why_not(const DeviceChoice& place) {
  return place.on_host() ? std::string() : place.kernels->accelerator->why_not(place.index);
}

struct Found {
  const Kernels* owner;
  const AttentionKernel* kernel;
};

// Of `kernels` if it has one of this name, else of any backend.
Result<Found> find_attention(const Kernels& kernels, std::string_view name) {
  std::vector<const Kernels*> owners = {&kernels};
  owners.insert(owners.end(), all_backends().begin(), all_backends().end());
  for (const Kernels* owner : owners) {
    for (const AttentionKernel& kernel : owner->attention) {
      if (kernel.name == name) return Found{owner, &kernel};
    }
  }
  std::vector<std::string> accepted;
  for (const Kernels* owner : all_backends()) {
    for (const AttentionKernel& kernel : owner->attention) accepted.emplace_back(kernel.name);
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

std::span<const Kernels* const> all_backends() { return backends(); }

void add_backend(const Kernels& kernels) { backends().push_back(&kernels); }

std::string DeviceChoice::name() const {
  return on_host() ? "cpu" : std::string(kernels->name) + ":" + std::to_string(index);
}

std::string DeviceChoice::description() const {
  return on_host() ? kernels->isa : name() + ", " + kernels->accelerator->describe(index);
}

Result<DeviceChoice> find_device(std::string_view device, std::string_view backend) {
  if (device.empty() && backend.empty()) {
    for (const Kernels* kernels : all_backends()) {
      const DeviceChoice place = {.kernels = kernels};
      if (why_not(place).empty()) return place;
    }
  }
  DeviceChoice place;
  if (!device.empty()) place = TRY(parse_device(device));
  if (!backend.empty()) {
    const Kernels* kernels = TRY(find_backend(backend));
    if (!device.empty() && kernels->accelerator != place.kernels->accelerator) {
      return invalid("backend " + std::string(backend) + " does not run on device " + place.name());
    }
    place.kernels = kernels;
  }
  const std::string reason = why_not(place);
  if (!reason.empty()) return unsupported(place.name() + " cannot be used here: " + reason);
  return place;
}

Result<Choice> choose(const std::vector<AttentionNeeds>& layers, const Kernels& kernels,
                      std::string_view attention) {
  Choice choice{.kernels = &kernels, .attention = {}};
  if (!attention.empty()) {
    const auto [owner, kernel] = TRY(find_attention(kernels, attention));
    std::string reason = why_not(*kernel, layers);
    if (owner->accelerator != kernels.accelerator) {
      reason = "it does not read the memory of backend " + std::string(kernels.name);
    }
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
