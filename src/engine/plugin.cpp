#include "engine/plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "engine/draft_features.h"
#include "model/checkpoint.h"

namespace heed {
namespace {

// What the plug-in under way has added, and the first thing that could not be: install() is a plain function
// and has nowhere else to put it.
struct Added {
  std::string list, refused;
};
Added* added = nullptr;

void note(std::string_view what, std::string_view name) {
  if (!added->list.empty()) added->list += ", ";
  added->list += std::string(what) + " " + std::string(name);
}

void add_mixer(std::string_view name, std::shared_ptr<const Mixer> mixer) {
  note(find_mixer(name) != nullptr ? "replaces mixer" : "adds mixer", name);
  register_mixer(name, std::move(mixer));
}

void add_model(std::string_view architecture, Describe describe) {
  const std::vector<std::string> known = architectures();
  const bool is_known = std::find(known.begin(), known.end(), architecture) != known.end();
  note(is_known ? "replaces model" : "adds model", architecture);
  register_model(architecture, describe);
}

void add_proposer(std::string_view method, MakeProposer make) {
  const bool is_taken = find_draft_method(method) != nullptr;
  if (method.empty() || is_taken || !make) {
    if (!added->refused.empty()) return;
    added->refused = "adds proposer \"" + std::string(method) + "\", ";
    added->refused += is_taken ? "which is a method of Heed's own; another name is expected"
                               : "and a proposer has a name and a function that makes it";
    return;
  }
  note(is_plugin_proposer(method) ? "replaces proposer" : "adds proposer", method);
  register_proposer(method, std::move(make));
}

}  // namespace

Result<std::string> load_plugin(const std::string& path) {
  // A name without a slash would be looked for where the system keeps its libraries.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  if (!std::filesystem::is_regular_file(file))
    return not_found("plug-in " + path + ": not a file; a shared library is expected");
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return invalid("plug-in " + path + ": " + ::dlerror());  // NOLINT(concurrency-mt-unsafe)
  const auto* plugin = static_cast<const Plugin*>(::dlsym(library, "heed_plugin"));
  const auto refuse = [&](const std::string& why) {
    ::dlclose(library);
    return invalid("plug-in " + path + ": " + why);
  };
  if (plugin == nullptr) return refuse("has no heed_plugin; a library made with HEED_PLUGIN is expected");
  if (plugin->compiler == nullptr || plugin->name == nullptr || plugin->install == nullptr)
    return refuse("has an empty heed_plugin; a library made with HEED_PLUGIN is expected");
  if (plugin->version != kPluginVersion) {
    return refuse("is made for version " + std::to_string(plugin->version) +
                  " of the interface; this program has " + std::to_string(kPluginVersion));
  }
  if (std::string_view(plugin->compiler) != kPluginCompiler) {
    return refuse("was compiled by " + std::string(plugin->compiler) + "; this program by " +
                  kPluginCompiler);
  }
  Added all;
  added = &all;
  plugin->install({.add_mixer = add_mixer, .add_model = add_model, .add_proposer = add_proposer});
  added = nullptr;
  // What was added before stays: the library cannot be closed any more.
  if (!all.refused.empty()) return invalid("plug-in " + path + ": " + all.refused);
  return "plug-in " + std::string(plugin->name) + " (" + path +
         "): " + (all.list.empty() ? "adds nothing" : all.list);
}

}  // namespace heed
