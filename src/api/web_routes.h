// The web page's routes: "/" and the files that it names, with the headers that keep it to itself and spare
// what the browser has already.
#pragma once
#include "api/router.h"

namespace heed {

void add_web_routes(Api& api);

}  // namespace heed
