// Prints metrics as Prometheus reads them, for the Python tests.
//   expose_metrics --serving   all metrics of a served model
//   expose_metrics             those described on standard input, as tools/metrics_diff.py writes them
#include <cmath>
#include <iostream>
#include <iterator>
#include <limits>

#include "base/json.h"
#include "metrics/process_metrics.h"
#include "metrics/serving_metrics.h"

namespace heed {
namespace {

// JSON has no numbers for these three; they come as strings.
double number(const Json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

Labels labels_of(const Json& pairs) {
  Labels labels;
  for (const Json& pair : pairs) labels.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
  return labels;
}

void add_series(Registry& registry, const Json& family, const Json& series) {
  const auto name = family["name"].get<std::string>();
  const auto help = family["help"].get<std::string>();
  const Labels labels = labels_of(series["labels"]);
  if (family["type"] == "counter") {
    registry.counter(name, help, labels).add(number(series["value"]));
  } else if (family["type"] == "gauge") {
    registry.gauge(name, help, labels).set(number(series["value"]));
  } else {
    Histogram& histogram =
        registry.histogram(name, help, family["bounds"].get<std::vector<double>>(), labels);
    for (const Json& value : series["values"]) histogram.observe(number(value));
  }
}

int run(bool serving) {
  if (serving) {
    Registry registry;
    const ServingMetrics metrics(registry,
                                 {.name = "bard", .max_len = 2048, .block_size = 16, .num_blocks = 64});
    const ProcessMetrics process(registry);
    std::cout << registry.expose();
    return 0;
  }
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  const Result<Json> described = parse_json(input, "standard input");
  if (!described.ok()) {
    std::cerr << described.error().message << "\n";
    return 1;
  }
  Registry registry(labels_of((*described)["common"]));
  for (const Json& family : (*described)["families"]) {
    for (const Json& series : family["series"]) add_series(registry, family, series);
  }
  std::cout << registry.expose();
  return 0;
}

}  // namespace
}  // namespace heed

int main(int argc, char** argv) { return heed::run(argc > 1 && std::string_view(argv[1]) == "--serving"); }
