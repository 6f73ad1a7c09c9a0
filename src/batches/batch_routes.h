// The routes of /v1/files and /v1/batches.
#pragma once
#include <string_view>

#include "api/router.h"
#include "base/result.h"
#include "batches/batch_service.h"

namespace heed {

// Adds the routes. Requests are answered on the service's thread, so that the transport's never waits for the
// disk. Null: there is no data folder, and the routes say so with status 501. The service must outlive the
// last request.
void add_batch_routes(Api& api, BatchService* service);

// The parameters of a query, percent-decoded: "limit=2&after=a%2Db". A name may occur once.
Result<BatchService::Parameters> parse_query(std::string_view query);

}  // namespace heed
