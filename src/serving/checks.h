// Whether a request is within what a service takes.
#pragma once
#include "serving/service.h"

namespace heed {

// Errors name the field and its limit. `context`: tokens that prompt and answer may have together.
Status check(const OutputFormat& format, const ServiceLimits& limits);
Status check(const GenerateRequest& request, const ServiceLimits& limits, int context);

}  // namespace heed
