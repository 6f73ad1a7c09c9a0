// Plug-ins: shared libraries that add mixers, models and proposers, or take the place of those that are
// there.
//
// A plug-in is built with Heed's headers and links heed::model, or heed::base where it only proposes. It
// defines one object with HEED_PLUGIN and is named with --plugin. It shares C++ types with the program, so it
// must have been built for the same version of the interface, by the same compiler: both are checked before
// anything of it runs. docs/add_a_mixer.md and docs/add_a_proposer.md have examples.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/proposer.h"
#include "model/mixer.h"

namespace heed {

inline constexpr int kPluginVersion = 4;  // of this file, proposer.h, mixer.h, pass.h, spec.h and kernels.h
inline constexpr const char* kPluginCompiler = __VERSION__;

// What the program hands to a plug-in's install(). The plug-in must use this and not functions of those
// names, of which it may have copies of its own.
struct PluginHost {
  void (*add_mixer)(std::string_view name, std::shared_ptr<const Mixer> mixer);
  void (*add_model)(std::string_view architecture, Describe describe);
  // Named by "method" in --speculative-config; not a name that Heed has for one of its own.
  void (*add_proposer)(std::string_view method, MakeProposer make);
};

struct Plugin {
  int version;
  const char* compiler;
  const char* name;  // for people, such as "gated_conv 1.0"
  void (*install)(const PluginHost& host);
};

#define HEED_PLUGIN(name, install) \
  extern "C" const heed::Plugin heed_plugin = {heed::kPluginVersion, heed::kPluginCompiler, name, install}

// Loads a plug-in for the rest of the program's life. Returns a line for people: its name, and what it added
// and replaced. Errors name the file and what does not fit. Not while an engine runs.
Result<std::string> load_plugin(const std::string& path);

}  // namespace heed
