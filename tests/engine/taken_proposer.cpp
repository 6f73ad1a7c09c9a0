// A plug-in with a proposer under a name that is Heed's own.
#include "engine/plugin.h"

HEED_PLUGIN("taken 1.0", [](const heed::PluginHost& host) {
  host.add_proposer("ngram", [](const heed::Json&) -> heed::Result<std::unique_ptr<heed::Proposer>> {
    return heed::invalid("must not be asked");
  });
});
