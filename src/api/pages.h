// The page at "/" and its files (web/web_files.h).
#pragma once
#include "api/router.h"

namespace heed {

void add_page_routes(Api& api);

}  // namespace heed
