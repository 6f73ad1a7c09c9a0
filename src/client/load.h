// A load of streaming requests on an OpenAI-compatible server: arrivals as a random process, a bound on how
// many run at once, and, if asked for, clients that misbehave.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/http_client.h"
#include "client/load_summary.h"
#include "client/prompts.h"

namespace heed {

struct LoadOptions {
  std::string endpoint = "/v1/completions";  // or one that ends in /chat/completions
  std::string model;
  OrderedJson body = OrderedJson::object();  // further members of each request
  HttpFields fields;
  int64_t num_prompts = 1000;
  double seconds = 0;  // above 0: requests arrive for so long, however many they are
  double request_rate = std::numeric_limits<double>::infinity();  // arrivals per second; infinite: at once
  double burstiness = 1;           // shape of the gamma distribution of the gaps; 1: a Poisson process
  int max_concurrency = 0;         // 0: unbounded
  double disconnect_fraction = 0;  // of requests: the client hangs up at a random moment
  double malformed_fraction = 0;   // of requests: they are wrong, and must be refused
  uint64_t seed = 0;
  bool keep_text = false;
};

struct LoadResult {
  std::vector<Outcome> outcomes;  // in the order of their start
  double duration = 0;            // seconds from the first arrival to the last end
};

// Runs it; `prompt_of` gives the prompt of each number from 0. `progress` may be empty; it hears how many
// requests have ended.
LoadResult run_load(HttpClient& client, const LoadOptions& options,
                    const std::function<Prompt(int64_t)>& prompt_of,
                    const std::function<void(int64_t)>& progress = nullptr);

// The request of a prompt, as run_load sends it.
HttpRequest load_request(const LoadOptions& options, const Prompt& prompt);

// Gaps between arrivals in seconds, for so many requests. Scaled, as vLLM does, so that together they take
// num / rate seconds.
std::vector<double> arrival_gaps(int64_t num, double rate, double burstiness, uint64_t seed);

// A request that every server must refuse with a 4xx, and what is wrong with it.
struct MalformedRequest {
  std::string what;
  HttpRequest request;
  bool may_close = false;  // is no HTTP: closing without a word is an answer too
};
inline constexpr int kMalformedKinds = 12;
MalformedRequest malformed_request(const LoadOptions& options, const Prompt& prompt, int kind);

}  // namespace heed
