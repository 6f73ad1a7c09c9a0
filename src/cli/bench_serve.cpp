#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <thread>

#include "base/file.h"
#include "cli/commands.h"
#include "client/http_client.h"
#include "client/load.h"
#include "client/load_summary.h"
#include "client/prompts.h"

namespace heed {
namespace {

constexpr int kMaxTokens = 1 << 24;

struct BenchOptions {
  std::string base_url, host = "127.0.0.1", ca_file, api_key;
  int port = 8000;
  bool insecure = false, keep_alive = false;
  std::vector<std::string> headers;
  double ready_seconds = 30;

  std::string dataset = "random", dataset_path;
  RandomPrompts random;
  int input_len = 0, output_len = 0;
  bool no_shuffle = false;

  LoadOptions load;
  int warmups = 0;
  bool ignore_eos = false;
  std::string extra_body;
  std::map<std::string, double> sampling;

  std::vector<std::string> metrics = {"ttft", "tpot", "itl"};
  std::vector<double> percentiles = {99};
  std::vector<std::string> goodput;
  bool save = false, detailed = false;
  std::string label, result_dir, result_file;
  std::vector<std::string> metadata;
};

bool is_random(const BenchOptions& o) { return o.dataset == "random"; }

std::string date_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
  return text;
}

// "NAME=VALUE" in two.
Result<std::pair<std::string, std::string>> split_pair(const std::string& text, char between,
                                                       const std::string& option) {
  const size_t at = text.find(between);
  if (at == 0 || at == std::string::npos) {
    return invalid(option + " \"" + text + "\": NAME" + between + "VALUE is expected");
  }
  return std::pair(text.substr(0, at), text.substr(at + 1));
}

Result<std::map<std::string, double>> read_goodput(const std::vector<std::string>& limits) {
  std::map<std::string, double> read;
  for (const std::string& text : limits) {
    const auto [name, value] = TRY(split_pair(text, ':', "--goodput"));
    char* end = nullptr;
    const double milliseconds = std::strtod(value.c_str(), &end);
    const bool known = name == "ttft" || name == "tpot" || name == "e2el";
    if (!known || value.empty() || *end != '\0' || !(milliseconds >= 0)) {
      return invalid("--goodput \"" + text +
                     "\": ttft, tpot or e2el with milliseconds is expected, as in ttft:200");
    }
    read[name] = milliseconds;
  }
  return read;
}

// Every connection is a file.
void allow_many_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string message_in(const HttpResponse& response) {
  const auto json = parse_json(response.body, "answer");
  const bool has_error = json.ok() && json->is_object() && json->contains("error");
  const Json error = has_error ? (*json)["error"] : Json();
  if (error.is_object() && error.contains("message") && error["message"].is_string()) {
    return error["message"].get<std::string>();
  }
  return response.body.substr(0, 200);
}

Result<Json> fetch_json(HttpClient& client, HttpRequest request) {
  const std::string path = request.path;
  const HttpResponse response = TRY(fetch(client, std::move(request)));
  if (response.status != 200) {
    return invalid(path + ": HTTP " + std::to_string(response.status) + ": " + message_in(response));
  }
  return parse_json(response.body, path);
}

// The first model that the server has. Waits for a server that is still starting.
Result<std::string> first_model(HttpClient& client, const BenchOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const auto models = fetch_json(client, {.path = "/v1/models", .fields = o.load.fields});
    if (models.ok()) {
      const Json& list = *models;
      const bool has =
          list.is_object() && list.contains("data") && list["data"].is_array() && !list["data"].empty();
      const Json first = has ? list["data"][0] : Json();
      if (!first.is_object() || !first.contains("id") || !first["id"].is_string()) {
        return invalid("/v1/models: a list of models is expected");
      }
      return first["id"].get<std::string>();
    }
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
    if (waited.count() >= o.ready_seconds) return models.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

// Texts of random tokens, which a chat needs: the server itself knows how to write them.
Status write_texts(HttpClient& client, const BenchOptions& o, std::vector<Prompt>& prompts) {
  for (Prompt& prompt : prompts) {
    const OrderedJson body = {{"model", o.load.model}, {"tokens", prompt.ids}};
    HttpRequest request{
        .method = "POST", .path = "/detokenize", .fields = o.load.fields, .body = to_text(body)};
    request.fields.emplace_back("Content-Type", "application/json");
    const Json answer = TRY(fetch_json(client, std::move(request)));
    if (!answer.is_object() || !answer.contains("prompt") || !answer["prompt"].is_string()) {
      return invalid("/detokenize: a \"prompt\" is expected; random prompts for a chat need it");
    }
    prompt.text = answer["prompt"].get<std::string>();
    prompt.ids.clear();
  }
  return {};
}

Result<std::vector<Prompt>> read_prompts(HttpClient& client, const BenchOptions& o) {
  std::vector<Prompt> prompts;
  const int output = o.output_len > 0 ? o.output_len : 256;
  if (!is_random(o)) {
    if (o.dataset_path.empty()) return invalid("--dataset-name " + o.dataset + " needs --dataset-path");
    prompts = o.dataset == "custom" ? TRY(read_custom_prompts(o.dataset_path, output))
                                    : TRY(read_sharegpt_prompts(o.dataset_path, output));
    if (!o.no_shuffle) shuffle(prompts, o.load.seed);
  } else if (o.load.endpoint.ends_with("/chat/completions")) {
    for (int64_t i = 0; i < o.load.num_prompts; ++i) prompts.push_back(random_prompt(o.random, i));
    TRY(write_texts(client, o, prompts));
  }
  return prompts;  // empty: random ones are made when they are sent
}

// What follows from several options, or is wrong between them.
Status settle(BenchOptions& o) {
  if (o.input_len > 0) o.random.input_tokens = o.input_len;
  if (o.output_len > 0) o.random.output_tokens = o.output_len;
  o.random.seed = o.load.seed;
  if (o.base_url.empty()) {
    const bool v6 = o.host.find(':') != std::string::npos;
    o.base_url = "http://" + (v6 ? "[" + o.host + "]" : o.host) + ":" + std::to_string(o.port);
  }
  if (o.load.seconds > 0 && std::isinf(o.load.request_rate) && o.load.max_concurrency == 0) {
    return invalid("--duration needs --request-rate or --max-concurrency, or requests would have no end");
  }
  if (o.load.malformed_fraction + o.load.disconnect_fraction > 1) {
    return invalid("--disconnect-fraction and --malformed-fraction together exceed 1");
  }
  o.load.body["temperature"] = 0.0;  // as vLLM's benchmark
  for (const auto& [name, value] : o.sampling) {
    if (!std::isnan(value))
      o.load.body[name] = name == "top_k" ? OrderedJson(std::llround(value)) : OrderedJson(value);
  }
  if (is_random(o) || o.ignore_eos) o.load.body["ignore_eos"] = true;
  if (!o.extra_body.empty()) {
    const OrderedJson extra = TRY(parse_ordered_json(o.extra_body, "--extra-body"));
    if (!extra.is_object()) return invalid("--extra-body: a JSON object is expected");
    o.load.body.update(extra);
  }
  for (const std::string& header : o.headers) {
    o.load.fields.push_back(TRY(split_pair(header, '=', "--header")));
  }
  if (!o.api_key.empty()) o.load.fields.emplace_back("Authorization", "Bearer " + o.api_key);
  return {};
}

void show_progress(int64_t ended, const LoadOptions& load) {
  static auto shown = std::chrono::steady_clock::now();
  const auto now = std::chrono::steady_clock::now();
  if (now - shown < std::chrono::milliseconds(200) && ended != load.num_prompts) return;
  shown = now;
  const std::string of = load.seconds > 0 ? "" : " of " + std::to_string(load.num_prompts);
  std::fprintf(stderr, "\r%lld%s requests ended\033[K", static_cast<long long>(ended), of.c_str());
}

// Each kind of failure once, the most frequent first.
void print_errors(const std::vector<Outcome>& outcomes) {
  std::map<std::string, int> counts;
  for (const Outcome& outcome : outcomes) {
    if (outcome.kind == OutcomeKind::kFailed) ++counts[outcome.error];
  }
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [error, count] : counts) sorted.emplace_back(count, error);
  std::sort(sorted.rbegin(), sorted.rend());
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, sorted.size()); ++i) {
    std::fprintf(stderr, "failed, %d times: %s\n", sorted[i].first, sorted[i].second.c_str());
  }
  if (sorted.size() > kShown) std::fprintf(stderr, "and %zu other errors\n", sorted.size() - kShown);
}

Status save(const BenchOptions& o, const ReportOptions& report, const LoadSummary& summary,
            const std::vector<Outcome>& outcomes) {
  const std::string date = date_text();
  const bool chat = o.load.endpoint.ends_with("/chat/completions");
  const std::string backend = chat ? "openai-chat" : "openai";
  OrderedJson json = {{"date", date},
                      {"endpoint_type", backend},
                      {"backend", backend},
                      {"label", nullptr},
                      {"model_id", o.load.model},
                      {"tokenizer_id", nullptr},
                      {"num_prompts", o.load.num_prompts}};
  if (!o.label.empty()) json["label"] = o.label;
  for (const std::string& pair : o.metadata) {
    const auto [name, value] = TRY(split_pair(pair, '=', "--metadata"));
    json[name] = value;
  }
  json["request_rate"] = "inf";
  if (report.request_rate) json["request_rate"] = *report.request_rate;
  json["burstiness"] = o.load.burstiness;
  json["max_concurrency"] = nullptr;
  if (o.load.max_concurrency > 0) json["max_concurrency"] = o.load.max_concurrency;
  json.update(report_json(summary, report, outcomes, o.detailed));

  std::string file = o.result_file;
  if (file.empty()) {
    const std::string model = o.load.model.substr(o.load.model.rfind('/') + 1);
    char rate[32];
    std::snprintf(rate, sizeof rate, "%g", o.load.request_rate);
    file = (o.label.empty() ? backend : o.label) + "-" + rate + "qps-" + model + "-" + date + ".json";
  }
  const std::string path = o.result_dir.empty() ? file : o.result_dir + "/" + file;
  return write_file(path, to_text(json) + "\n");
}

Status warm_up(HttpClient& client, const BenchOptions& o, const std::function<Prompt(int64_t)>& prompt_of) {
  if (o.warmups == 0) return {};
  LoadOptions load = o.load;
  load.num_prompts = o.warmups;
  load.seconds = load.disconnect_fraction = load.malformed_fraction = 0;
  load.request_rate = std::numeric_limits<double>::infinity();
  for (const Outcome& outcome : run_load(client, load, prompt_of).outcomes) {
    if (outcome.kind != OutcomeKind::kCompleted) return invalid("warm-up: " + outcome.error);
  }
  return {};
}

Status bench_serve(BenchOptions o) {
  TRY(settle(o));
  const auto goodput = TRY(read_goodput(o.goodput));
  const Url url = TRY(parse_url(o.base_url));
  allow_many_files();
  const auto client =
      TRY(HttpClient::open(url, {.keep_alive = o.keep_alive, .verify = !o.insecure, .ca_file = o.ca_file}));
  if (o.load.model.empty()) o.load.model = TRY(first_model(*client, o));
  const std::vector<Prompt> prompts = TRY(read_prompts(*client, o));
  const auto prompt_of = [&](int64_t number) {
    return prompts.empty() ? random_prompt(o.random, number)
                           : prompts[static_cast<size_t>(number) % prompts.size()];
  };
  TRY(warm_up(*client, o, [&](int64_t number) { return prompt_of(number + o.load.num_prompts); }));

  std::fprintf(stderr, "%s%s, model %s, %s prompts\n", o.base_url.c_str(), o.load.endpoint.c_str(),
               o.load.model.c_str(), o.dataset.c_str());
  std::function<void(int64_t)> progress;
  if (isatty(STDERR_FILENO) != 0) progress = [&](int64_t ended) { show_progress(ended, o.load); };
  const LoadResult result = run_load(*client, o.load, prompt_of, progress);
  if (progress) std::fputs("\r\033[K", stderr);

  const LoadSummary summary = summarise(result.outcomes, result.duration, o.percentiles, goodput);
  ReportOptions report{.metrics = o.metrics,
                       .max_concurrency = o.load.max_concurrency,
                       .abuse = o.load.disconnect_fraction > 0 || o.load.malformed_fraction > 0};
  if (!std::isinf(o.load.request_rate)) report.request_rate = o.load.request_rate;
  std::fputs(report_text(summary, report).c_str(), stdout);
  std::fflush(stdout);
  print_errors(result.outcomes);
  if (o.save || !o.result_file.empty()) TRY(save(o, report, summary, result.outcomes));
  if (summary.completed == 0 && summary.failed > 0) return invalid("no request succeeded");
  return {};
}

void add_server_options(CLI::App& app, BenchOptions& o) {
  app.add_option("--base-url", o.base_url, "URL of the server (default: http with the host and the port)");
  app.add_option("--host", o.host, "Host")->capture_default_str();
  app.add_option("--port", o.port, "Port")->check(CLI::Range(1, 65535))->capture_default_str();
  app.add_option("--endpoint", o.load.endpoint, "/v1/completions or /v1/chat/completions")
      ->check([](const std::string& path) {
        return path.starts_with("/") && path.ends_with("/completions")
                   ? std::string()
                   : "a path that ends in /completions or /chat/completions is expected";
      })
      ->capture_default_str();
  app.add_option("--model", o.load.model, "Name of the model (default: the server's first)");
  app.add_option("--api-key", o.api_key, "Key, sent as a bearer token");
  app.add_option("--header", o.headers, "NAME=VALUE: a further header field; may be repeated");
  app.add_option("--cacert", o.ca_file, "Certificates to trust for https, PEM (default: the system's)");
  app.add_flag("--insecure", o.insecure, "Do not check the server's certificate");
  app.add_flag("--keep-alive", o.keep_alive, "Use connections again (default: one for each request)");
  app.add_option("--ready-check-timeout-sec", o.ready_seconds, "How long to wait for /v1/models to answer")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
}

void add_dataset_options(CLI::App& app, BenchOptions& o) {
  const CLI::Range tokens(1, kMaxTokens);
  app.add_option("--dataset-name", o.dataset, "random, custom or sharegpt")
      ->check(CLI::IsMember({"random", "custom", "sharegpt"}))
      ->capture_default_str();
  app.add_option("--dataset-path", o.dataset_path,
                 "custom: JSON lines with \"prompt\"; sharegpt: conversations");
  app.add_option("--num-prompts", o.load.num_prompts, "Requests to send")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32))
      ->capture_default_str();
  app.add_option("--random-input-len", o.random.input_tokens, "Tokens of a random prompt")
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--random-output-len", o.random.output_tokens, "Tokens to generate for it")
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--random-range-ratio", o.random.range_ratio, "Lengths vary by this share, up and down")
      ->check(CLI::Range(0.0, 0.999))
      ->capture_default_str();
  app.add_option("--random-prefix-len", o.random.prefix_tokens, "Tokens before each prompt that all share")
      ->check(CLI::Range(0, kMaxTokens))
      ->capture_default_str();
  app.add_option("--random-vocab-size", o.random.vocabulary, "Random token ids are below")
      ->check(tokens)
      ->capture_default_str();
  app.add_option("--input-len", o.input_len, "The same as --random-input-len")->check(tokens);
  app.add_option("--output-len", o.output_len, "Tokens to generate, for any dataset (default: 256 for texts)")
      ->check(tokens);
  app.add_flag("--disable-shuffle", o.no_shuffle, "Keep the order of the dataset");
  app.add_option("--seed", o.load.seed, "Of prompts, order and arrivals")->capture_default_str();
}

void add_traffic_options(CLI::App& app, BenchOptions& o) {
  app.add_option("--request-rate", o.load.request_rate,
                 "Requests per second; inf: all at once, or as many as --max-concurrency lets run")
      ->check([](const std::string& text) {
        char* end = nullptr;
        const double rate = std::strtod(text.c_str(), &end);
        return *end == '\0' && rate > 0 ? std::string() : "a number above 0, or inf, is expected";
      })
      ->capture_default_str();
  app.add_option("--burstiness", o.load.burstiness, "1: Poisson arrivals; less: burstier; more: more even")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  app.add_option("--max-concurrency", o.load.max_concurrency, "Most requests under way at once")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--duration", o.load.seconds, "Send requests for so many seconds, in place of --num-prompts")
      ->check(CLI::PositiveNumber);
  app.add_option("--num-warmups", o.warmups, "Requests before the measured ones")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--disconnect-fraction", o.load.disconnect_fraction,
                 "Share of requests whose client hangs up midway; counted apart")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--malformed-fraction", o.load.malformed_fraction,
                 "Share of requests that are wrong and must be refused; counted apart")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--ignore-eos", o.ignore_eos, "Generate all tokens asked for (always so with random prompts)");
  for (const char* name : {"temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty",
                           "repetition_penalty"}) {
    std::string option = std::string("--") + name;
    std::replace(option.begin(), option.end(), '_', '-');
    double& value = o.sampling[name] = NAN;
    app.add_option(
        option, value,
        "Sent with each request" + std::string(name == std::string("temperature") ? " (default: 0)" : ""));
  }
  app.add_option("--extra-body", o.extra_body, "JSON object: further members of each request");
}

void add_result_options(CLI::App& app, BenchOptions& o) {
  app.add_option("--percentile-metrics", o.metrics,
                 "Which figures to show: ttft, tpot, itl, e2el, with commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"ttft", "tpot", "itl", "e2el"}))
      ->capture_default_str();
  app.add_option("--metric-percentiles", o.percentiles, "Percentiles of them, with commas")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--goodput", o.goodput, "ttft:MS, tpot:MS, e2el:MS: count requests within these limits");
  app.add_flag("--save-result", o.save, "Write the figures to a JSON file");
  app.add_flag("--save-detailed", o.detailed, "With those of each request");
  app.add_option("--result-dir", o.result_dir, "Folder of that file (default: here)");
  app.add_option("--result-filename", o.result_file,
                 "Name of that file (default: made of label, rate, model, date)");
  app.add_option("--label", o.label, "Label in the file");
  app.add_option("--metadata", o.metadata, "NAME=VALUE: kept in the file; may be repeated");
}

}  // namespace

Command add_bench_serve(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "serve", "Put load on an OpenAI-compatible server and report as vLLM's benchmark does");
  auto o = std::make_shared<BenchOptions>();
  add_server_options(*command, *o);
  add_dataset_options(*command, *o);
  add_traffic_options(*command, *o);
  add_result_options(*command, *o);
  return {command, [o] {
            o->load.keep_text = o->detailed;
            return bench_serve(*o);
          }};
}

std::vector<Command> add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure a server, or a model or its ops in this process");
  bench->require_subcommand(1);
  return {add_bench_serve(*bench), add_bench_latency(*bench), add_bench_throughput(*bench),
          add_bench_ops(*bench)};
}

}  // namespace heed
