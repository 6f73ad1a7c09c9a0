// A model being served: text in, text out. Owns the engine, the text side, grammars and metrics.
//
// Threads: callers prepare their requests (templates, tokens, grammars) on their own; the engine's thread
// runs steps; one text thread turns its events into text and calls the listeners.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "metrics/metrics.h"
#include "serving/answer.h"
#include "serving/image_loader.h"
#include "serving/text_side.h"

namespace heed {

struct ServiceOptions {
  EngineOptions engine;
  std::string model_name;            // --served-model-name; default: the folder as given
  std::string tool_parser = "auto";  // --tool-call-parser
  std::string reasoning_parser = "auto";
  ImageOptions images;      // of models that see; its cache is as large as the engine's of encoded pictures
  int max_soft_tokens = 0;  // --max-soft-tokens; 0: as the model says
  ImageTools image_tools;   // none: theirs read text only
};

// What requests may ask for; beyond, they are refused with an error that names the limit.
struct ServiceLimits {
  int max_n = 128;
  int max_logprobs = 20;
  int max_stops = 64;
  int max_stop_bytes = 4096;  // of all stop strings together
  int max_bad_words = 1024;
  int max_logit_bias = 4096;
  int64_t max_schema_bytes = 256 << 10;
};

struct CompiledGrammar;
struct ChatPrompt;

// Requests under way.
struct Ticket {
  std::vector<uint64_t> requests;
  int prompt_tokens = 0;
};

class Service {
 public:
  static Result<std::unique_ptr<Service>> open(Checkpoint checkpoint, const ServiceOptions& options,
                                               const Progress& progress = nullptr);
  ~Service();  // cancels what is left

  // From any thread. Errors: kInvalid, kUnsupported, kLimit for what is wrong with the request; kBusy when
  // the queue is full; kStopped when the service is stopping. The listener is then not called.
  Result<Ticket> generate(GenerateRequest request, std::unique_ptr<AnswerListener> listener);
  Result<Ticket> chat(ChatRequest request, std::unique_ptr<ChatListener> listener);
  // From any thread, listeners included. Choices not yet ended end with kCancelled.
  void cancel(const Ticket& ticket);

  // Pictures for a request that is to follow, which is then under way already: `done` is called once, on a
  // thread of the loader's, and may submit it. It must not throw. Errors as generate()'s, and `done` is not
  // called then.
  Result<std::shared_ptr<ImageLoader::Loading>> load_images(ImageRequest request, ImageLoader::Done done);
  // What loads them; null: the model reads text only.
  const ImageLoader* images() const;

  // The conversation as chat() would give it to the model.
  Result<std::vector<int>> chat_tokens(const ChatRequest& request) const;
  Result<std::vector<int>> encode(const std::string& text, bool add_special = true) const;
  std::string decode(std::span<const int> ids, bool skip_special = false) const;
  // Raw bytes of a token's text; not necessarily whole characters.
  std::string token_bytes(int id) const;

  // Refuses new requests with kStopped; those under way go on.
  void refuse_new();
  // Waits until nothing is under way, at most so long. False: something still is.
  bool wait_idle(double seconds);

  const std::string& model_name() const;
  int64_t created() const;  // seconds since 1970
  const ServiceLimits& limits() const;
  const TextSide& text() const;
  const Dialect& dialect() const;
  Engine& engine();
  const Engine& engine() const;
  const GenerationConfig& generation_defaults() const;  // of generation_config.json
  int max_model_len() const;
  // Requests submitted and not yet ended.
  int in_flight() const;
  Registry& metrics();
  // The metrics' text, gauges brought up to date.
  std::string expose_metrics();

 private:
  struct Parts;
  explicit Service(std::unique_ptr<Parts> parts);
  Result<ChatPrompt> make_prompt(const ChatRequest& request) const;
  Result<std::shared_ptr<CompiledGrammar>> compile(const OutputFormat& format);
  Result<std::vector<RequestImage>> place(std::vector<int>& prompt, const ImageList& images) const;
  Result<Ticket> start(GenerateRequest request, const std::shared_ptr<CompiledGrammar>& grammar,
                       const std::string& begin_behind, std::unique_ptr<AnswerListener> listener);

  std::unique_ptr<Parts> parts_;
};

}  // namespace heed
