// What an engine takes of the machine's memory, part by part, before anything is loaded. Binding: nothing
// grows beyond it later. On an accelerator most of it is the device's memory, and some stays the host's.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/memory.h"
#include "engine/runner.h"

namespace heed {

struct MemoryPlan {
  int64_t mapped_weights = 0;  // used where their files are mapped; the operating system may drop and reread
  int64_t owned_weights = 0;   // converted
  int64_t cache = 0;           // pages of keys and values
  int64_t states = 0;          // of recurrent layers, with their snapshots
  int64_t sequences =
      0;  // tokens, hashes, page lists and block tables of all running sequences; pages' states
  int64_t features = 0;  // hidden states that a drafter's next rows begin with
  int64_t images = 0;    // encoded pictures, and those in the tower
  int64_t requests = 0;  // what all requests together may hold: prompts, counts, log-probabilities
  int64_t step = 0;      // activations and logits of the largest step, and its batch
  int64_t scratch = 0;   // what kernels take for themselves in a step
  int64_t sampling = 0;  // candidates of one row a thread
  int64_t reserve = 0;   // program, tokenizer, connections: not ours to count
  MemoryLimit limit;     // what there is

  // Of an accelerator: then `limit` is of its memory, and the host's has another.
  bool accelerated = false;
  int64_t device_reserve = 0;  // what its driver and libraries take
  int64_t logits = 0;          // as they come back to the host
  MemoryLimit host_limit;

  struct Part {
    const char* name;
    int64_t bytes;
    const char* meaning;
    bool on_host = true;
  };
  std::vector<Part> parts() const;
  int64_t total() const;       // under `limit`: of an accelerator's memory where there is one
  int64_t host_total() const;  // under `host_limit`; 0 without an accelerator
  bool fits() const { return total() <= limit.bytes && host_total() <= host_limit.bytes; }
};

struct MemoryNeeds {
  int sequences = 1;
  int snapshots = 0;          // of recurrent states
  int drafts = 0;             // guesses of a sequence at a time
  int prompt_logit_rows = 0;  // beside one row of logits a sequence
  int threads = 1;
  int64_t request_bytes = 0;
  int64_t image_bytes = 0;     // of encoded pictures that are kept
  int64_t proposer_bytes = 0;  // what it holds of running and finished texts
};
// For the pages, max_len and step_tokens of `run`.
MemoryPlan plan_memory(const ModelSpec& spec, const RunPlan& run, const MemoryNeeds& needs,
                       const MemoryLimit& limit, const MemoryLimit& host_limit = {});

// Bytes of the arena of such a step.
int64_t step_arena_bytes(const ModelSpec& spec, const RunPlan& run, const MemoryNeeds& needs);

}  // namespace heed
