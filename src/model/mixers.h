// The mixers that come with Heed; mixer.cpp knows them by name.
#pragma once
#include "model/mixer.h"

namespace heed {

std::shared_ptr<const Mixer> attention_mixer();
std::shared_ptr<const Mixer> latent_attention_mixer();
std::shared_ptr<const Mixer> linear_attention_mixer();
std::shared_ptr<const Mixer> gated_delta_mixer();

}  // namespace heed
