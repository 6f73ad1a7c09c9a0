// The mixers that come with Heed; mixer.cpp knows them by name.
#pragma once
#include "model/mixer.h"

namespace heed {

std::shared_ptr<const Mixer> attention_mixer();
// Of an attention layer that makes keys: only those, and the values, of x into the cache. call.out is not
// used.
void keep_keys(const AttentionSpec& spec, const MixerCall& call);
std::shared_ptr<const Mixer> latent_attention_mixer();
std::shared_ptr<const Mixer> linear_attention_mixer();
std::shared_ptr<const Mixer> gated_delta_mixer();

}  // namespace heed
