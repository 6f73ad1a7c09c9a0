// The addresses of a host, within a time.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace heed {

// As text, as inet_ntop writes them; never empty. As the system's resolver says (files, DNS), which knows no
// deadline: one that is passed over goes on in the background until the resolver's own. kNotFound: there is
// no such host; kLimit: it took too long; kBusy.
Result<std::vector<std::string>> look_up(const std::string& host, double seconds);

}  // namespace heed
