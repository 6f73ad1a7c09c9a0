// A plug-in of another version of the interface.
#include "engine/plugin.h"

extern "C" const heed::Plugin heed_plugin = {heed::kPluginVersion + 1, heed::kPluginCompiler, "wrong",
                                             [](const heed::PluginHost&) { std::abort(); }};
