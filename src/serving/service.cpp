#include "serving/service.h"

#include <chrono>
#include <random>

#include "metrics/process_metrics.h"
#include "serving/answers.h"
#include "serving/chat.h"
#include "serving/checks.h"
#include "serving/structured_output.h"
#include "serving/text_thread.h"

namespace heed {

struct Service::Parts {
  std::string model_name;
  int64_t created = 0;
  ServiceLimits limits;
  TextSide text;
  Dialect dialect;
  std::unique_ptr<Registry> registry = std::make_unique<Registry>();
  std::unique_ptr<ServingMetrics> metrics;
  std::unique_ptr<ProcessMetrics> process_metrics = std::make_unique<ProcessMetrics>(*registry);
  std::unique_ptr<StructuredOutput> structured;  // null: no tokenizer, so no grammars
  std::unique_ptr<TextThread> text_thread;
  std::unique_ptr<Engine> engine;  // its last events still find the text thread
  std::optional<ImageText> image_text;
  std::unique_ptr<ImageLoader> images;  // first to go: what it has loaded may still be submitted
};

namespace {

uint64_t random_seed() { return (uint64_t{std::random_device{}()} << 32) ^ std::random_device{}(); }

int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Request engine_request(const GenerateRequest& r, const GenerationConfig& defaults, int context, int choice) {
  Request request;
  request.prompt = r.prompt;
  request.sampling = r.sampling;
  request.sampling.seed = r.sampling.seed + static_cast<uint64_t>(choice);
  request.max_tokens = r.max_tokens.value_or(context - static_cast<int>(r.prompt.size()));
  request.min_tokens = r.min_tokens;
  request.stop_ids = r.stop_ids;
  if (!r.ignore_eos) {
    request.stop_ids.insert(request.stop_ids.end(), defaults.eos_ids.begin(), defaults.eos_ids.end());
  }
  request.logprobs = r.logprobs;
  request.prompt_logprobs = choice == 0 ? r.prompt_logprobs : -1;
  request.priority = r.priority;
  request.cache_salt = r.cache_salt;
  return request;
}

}  // namespace

Service::Service(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Service::~Service() {
  refuse_new();
  parts_->images.reset();
  parts_->engine->stop();
  parts_->text_thread.reset();  // what it has yet to tell may call the engine
}

Result<std::unique_ptr<Service>> Service::open(Checkpoint checkpoint, const ServiceOptions& options,
                                               const Progress& progress) {
  auto parts = std::make_unique<Parts>();
  parts->model_name = options.model_name.empty() ? checkpoint.folder : options.model_name;
  parts->created = seconds_since_1970();
  parts->text = TRY(load_text_side(checkpoint.folder));
  parts->dialect =
      TRY(choose_dialect(parts->text.chat_template_source, options.tool_parser, options.reasoning_parser));
  if (parts->text.tokenizer) {
    parts->structured =
        std::make_unique<StructuredOutput>(*parts->text.tokenizer, checkpoint.generation.eos_ids);
  }
  parts->text_thread = std::make_unique<TextThread>();
  if (options.max_soft_tokens > 0) TRY(set_max_soft_tokens(checkpoint.spec, options.max_soft_tokens));
  EngineOptions engine = options.engine;
  // No step runs before a request is submitted, when all parts are there.
  engine.on_step = [&parts = *parts](int64_t tokens) { parts.metrics->observe_iteration(tokens); };
  parts->engine = TRY(Engine::start(std::move(checkpoint), engine, progress));
  if (const auto& vision = parts->engine->spec().vision; vision && options.image_tools.decode) {
    parts->image_text = image_text_of(parts->text, vision->tokens);
    ImageOptions images = options.images;
    images.cache_bytes = parts->engine->plan().needs.image_bytes;
    parts->images = std::make_unique<ImageLoader>(vision->prep, images, options.image_tools);
  }
  const RunPlan& run = parts->engine->plan().run;
  const ServingMetrics::Model model{.name = parts->model_name,
                                    .max_len = run.max_len,
                                    .block_size = run.layout.groups.front().block_tokens,
                                    .num_blocks = run.pages,
                                    .draft_tokens = parts->engine->plan().drafts};
  parts->metrics = std::make_unique<ServingMetrics>(*parts->registry, model);
  return std::unique_ptr<Service>(new Service(std::move(parts)));
}

Result<Ticket> Service::generate(GenerateRequest request, std::unique_ptr<AnswerListener> listener) {
  const std::shared_ptr<CompiledGrammar> grammar = TRY(compile(request.format));
  return start(std::move(request), grammar, "", std::move(listener));
}

Result<Ticket> Service::chat(ChatRequest request, std::unique_ptr<ChatListener> listener) {
  ChatPrompt prompt = TRY(make_prompt(request));
  std::shared_ptr<CompiledGrammar> grammar = TRY(compile(request.generate.format));
  if (request.tool_choice == ToolChoice::kRequired || request.tool_choice == ToolChoice::kNamed) {
    const auto make = [&] {
      return tool_grammar(parts_->dialect, request.tools, request.tool_choice, request.tool_name,
                          request.parallel_tool_calls);
    };
    grammar = TRY(parts_->structured->compile(tool_grammar_key(request), make));
  }
  request.generate.prompt = std::move(prompt.tokens);
  request.generate.images = std::move(prompt.images);
  if (prompt.keeps_special_tokens) request.generate.skip_special_tokens = false;
  Dialect dialect = parts_->dialect;
  if (!request.parse_reasoning) dialect.reasoning = nullptr;
  auto answers =
      std::make_unique<ChatAnswers>(dialect, prompt.parser, request.generate.n, std::move(listener));
  return start(std::move(request.generate), grammar, prompt.grammar_begins_behind, std::move(answers));
}

Result<ChatPrompt> Service::make_prompt(const ChatRequest& request) const {
  return make_chat_prompt(parts_->text, parts_->dialect, parts_->image_text ? &*parts_->image_text : nullptr,
                          request);
}

Result<std::vector<RequestImage>> Service::place(std::vector<int>& prompt, const ImageList& images) const {
  if (const auto& vision = engine().spec().vision) return place_images(vision->tokens, prompt, images);
  if (!images.empty()) return unsupported(kReadsTextOnly);
  return std::vector<RequestImage>();
}

Result<std::shared_ptr<ImageLoader::Loading>> Service::load_images(ImageRequest request,
                                                                   ImageLoader::Done done) {
  if (!parts_->images) return unsupported(kReadsTextOnly);
  TRY(parts_->text_thread->enter());
  auto loading =
      parts_->images->load(std::move(request), [this, done = std::move(done)](LoadedImages loaded) {
        done(std::move(loaded));
        parts_->text_thread->leave();
      });
  if (!loading.ok()) parts_->text_thread->leave();
  return loading;
}

const ImageLoader* Service::images() const { return parts_->images.get(); }

Result<std::shared_ptr<CompiledGrammar>> Service::compile(const OutputFormat& format) {
  if (format.kind == OutputFormat::Kind::kText) return std::shared_ptr<CompiledGrammar>();
  if (!parts_->structured) return unsupported("structured output needs a tokenizer, and this model has none");
  TRY(check(format, parts_->limits));
  return parts_->structured->compile(format);
}

Result<Ticket> Service::start(GenerateRequest request, const std::shared_ptr<CompiledGrammar>& grammar,
                              const std::string& begin_behind, std::unique_ptr<AnswerListener> listener) {
  const std::vector<RequestImage> images = TRY(place(request.prompt, request.images));
  TRY(check(request, parts_->limits, max_model_len()));
  if (!request.has_seed) request.sampling.seed = random_seed();
  const Tokenizer* tokenizer = parts_->text.tokenizer ? &*parts_->text.tokenizer : nullptr;
  const auto answers =
      std::make_shared<Answers>(tokenizer, request, std::move(listener), *parts_->engine, *parts_->metrics);
  std::vector<Request> requests;
  for (int choice = 0; choice < request.n; ++choice) {
    requests.push_back(engine_request(request, generation_defaults(), max_model_len(), choice));
    requests.back().images = images;
    if (grammar) requests.back().constraint = parts_->structured->constrain(grammar, begin_behind);
  }
  Ticket ticket{.prompt_tokens = static_cast<int>(request.prompt.size())};
  ticket.requests = TRY(parts_->text_thread->submit(*parts_->engine, std::move(requests), answers,
                                                    request.arrived.has_value()));
  parts_->metrics->observe_request(request.n);
  return ticket;
}

void Service::cancel(const Ticket& ticket) {
  for (const uint64_t id : ticket.requests) parts_->engine->cancel(id);
}

Result<std::vector<int>> Service::chat_tokens(const ChatRequest& request) const {
  ChatPrompt prompt = TRY(make_prompt(request));
  TRY(place(prompt.tokens, prompt.images));
  return std::move(prompt.tokens);
}

Result<std::vector<int>> Service::encode(const std::string& text, bool add_special) const {
  if (!parts_->text.tokenizer) return unsupported("this model has no tokenizer; give token ids");
  return parts_->text.tokenizer->encode(text, {.add_special = add_special});
}

std::string Service::decode(std::span<const int> ids, bool skip_special) const {
  return parts_->text.tokenizer ? parts_->text.tokenizer->decode(ids, skip_special) : "";
}

std::string Service::token_bytes(int id) const {
  return parts_->text.tokenizer ? parts_->text.tokenizer->bytes_of(id) : "";
}

void Service::refuse_new() { parts_->text_thread->refuse_new(); }
bool Service::wait_idle(double seconds) { return parts_->text_thread->wait_idle(seconds); }
int Service::in_flight() const { return parts_->text_thread->under_way(); }

const std::string& Service::model_name() const { return parts_->model_name; }
int64_t Service::created() const { return parts_->created; }
const ServiceLimits& Service::limits() const { return parts_->limits; }
const TextSide& Service::text() const { return parts_->text; }
const Dialect& Service::dialect() const { return parts_->dialect; }
Engine& Service::engine() { return *parts_->engine; }
const Engine& Service::engine() const { return *parts_->engine; }
const GenerationConfig& Service::generation_defaults() const {
  return parts_->engine->checkpoint().generation;
}
int Service::max_model_len() const { return parts_->engine->plan().run.max_len; }
Registry& Service::metrics() { return *parts_->registry; }

std::string Service::expose_metrics() {
  const EngineStats stats = parts_->engine->stats();
  const ImageLoaderStats images = parts_->images ? parts_->images->stats() : ImageLoaderStats();
  parts_->metrics->update({.running = stats.running,
                           .waiting = stats.waiting,
                           .held_pages = stats.held_pages,
                           .pages = stats.pages,
                           .preemptions = stats.preemptions,
                           .prompt_tokens = stats.prompt_tokens,
                           .generation_tokens = stats.generated_tokens,
                           .prefix_queries = stats.prefix_queries,
                           .prefix_hits = stats.prefix_hits,
                           .image_queries = images.queries,
                           .image_hits = images.hits,
                           .drafts = stats.drafts,
                           .draft_tokens = stats.draft_tokens,
                           .accepted_tokens = stats.accepted_tokens,
                           .accepted_at = stats.accepted_at});
  parts_->process_metrics->update();
  return parts_->registry->expose();
}

}  // namespace heed
