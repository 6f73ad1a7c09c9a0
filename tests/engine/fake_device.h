// A device that tests can have anywhere: its memory is the host's, but nobody can touch it except while one
// of its ops or copies runs, and ops accept no pointer to anything else. What a GPU would do wrong in
// silence, or not at all, is a fault here. Backend "fake": the ops of cpu.
//
// Recordings are kept as lists of calls, and replayed with the arguments that they had.
#pragma once
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "backends/select.h"
#include "base/checked.h"
#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

namespace heed::fake {

// All memory of all fake devices: one range of addresses.
class Memory {
 public:
  static Memory& get() {
    static Memory memory;
    return memory;
  }
  Memory() {
    void* range =
        ::mmap(nullptr, kRange + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(range != MAP_FAILED);
    base_ =
        static_cast<char*>(range) + (kHugePage - reinterpret_cast<uintptr_t>(range) % kHugePage) % kHugePage;
    ::madvise(base_, kRange, MADV_HUGEPAGE);  // protect() takes as long as there are pages
  }
  void* take(int64_t bytes) {
    const int64_t size = (bytes + kPage) / kPage * kPage;
    char* memory = base_ + used_;
    used_ += size + kPage;
    CHECK(used_ <= kRange, used_);
    sizes_.push_back({memory, size});
    const Open open;
    std::memset(memory, 0xff, static_cast<size_t>(size));  // NaN in every dtype
    return memory;
  }
  void release(void* memory) {
    for (auto& [at, size] : sizes_) {
      if (at != memory) continue;
      const int64_t begin = round_up(at - base_, kHugePage),
                    end = (at - base_ + size) / kHugePage * kHugePage;
      if (begin < end) ::madvise(base_ + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
      at = nullptr;
      if (++released_ < std::ssize(sizes_)) return;
      sizes_.clear();
      used_ = released_ = 0;
      return;
    }
    CHECK(false, "not of this device");
  }
  bool has(const void* at) const { return at >= base_ && at < base_ + used_; }
  void protect(int flags) const {
    const int64_t pages = round_up(used_, kHugePage);
    if (used_ > 0) CHECK(::mprotect(base_, static_cast<size_t>(pages), flags) == 0);
  }

  // While one lives the memory can be touched.
  struct Open {
    Open() { get().protect(PROT_READ | PROT_WRITE); }
    ~Open() { get().protect(PROT_NONE); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
  };

 private:
  static constexpr int64_t kRange = int64_t{64} << 30;
  static constexpr int64_t kPage = 4096, kHugePage = int64_t{2} << 20;
  char* base_ = nullptr;
  int64_t used_ = 0, released_ = 0;
  std::vector<std::pair<char*, int64_t>> sizes_;
};

struct Calls final : Recording {
  std::vector<std::function<void()>> all;
};
inline std::unique_ptr<Calls> recording;  // NOLINT: of the one device that records
inline int replays = 0;

inline void in(const void* at) { CHECK(at == nullptr || Memory::get().has(at), "memory of the host"); }
inline void in(const Tensor& t) { in(t.defined() && t.elements() > 0 ? t.data : nullptr); }
inline void in(const PagedKv& kv) {
  in(kv.k), in(kv.v), in(kv.k_scale), in(kv.v_scale), in(kv.table), in(kv.table_rows);
}
inline void in(const StateArgs& s) {
  in(s.slots), in(s.seq_start), in(s.slot), in(s.saves.empty() ? nullptr : s.saves.data());
}
template <class... T>
void all_in(const T&... each) {
  (in(each), ...);
}

inline void in(const EmbedArgs& a) { all_in(a.table, a.ids, a.out); }
inline void in(const RmsNormArgs& a) { all_in(a.x, a.weight, a.out); }
inline void in(const LinearArgs& a) { all_in(a.x, a.weight, a.bias, a.out); }
inline void in(const RopeTableArgs& a) { all_in(a.positions, a.inverse_frequency, a.cos, a.sin); }
inline void in(const RopeArgs& a) { all_in(a.cos, a.sin, a.x); }
inline void in(const KvWriteArgs& a) { all_in(a.k, a.v, a.slots, a.kv); }
inline void in(const GatedActArgs& a) { all_in(a.gate, a.up, a.out); }
inline void in(const AddArgs& a) { all_in(a.x, a.out); }
inline void in(const CopyArgs& a) { all_in(a.x, a.out); }
inline void in(const TemperArgs& a) { all_in(a.positions, a.x); }
inline void in(const ScaleArgs& a) { in(a.x); }
inline void in(const ScaleRowsArgs& a) { all_in(a.factors, a.x); }
inline void in(const GatherRowsArgs& a) { all_in(a.x, a.rows, a.out); }
inline void in(const SoftcapArgs& a) { in(a.x); }
inline void in(const LinearsArgs& a) {
  all_in(a.x, a.norm, a.h, a.inner);
  for (const LinearsArgs::Part& part : a.parts) all_in(part.weight, part.bias, part.out);
}
inline void in(const FinishHeadsArgs& a) {
  all_in(a.q, a.k, a.v, a.q_norm, a.k_norm, a.cos, a.sin, a.slots, a.kv);
}
inline void in(const HeadLinearArgs& a) { all_in(a.x, a.weight, a.out); }
inline void in(const MoeRouteArgs& a) { all_in(a.logits, a.bias, a.expert_scale, a.experts, a.weights); }
inline void in(const MoeSortArgs& a) { all_in(a.experts, a.expert_start, a.rows, a.place); }
inline void in(const ExpertLinearArgs& a) {
  all_in(a.x, a.rows, a.expert_start, a.bias, a.out);
  for (const Tensor& weight : a.weights) in(weight);
}
inline void in(const ExpertSumArgs& a) { all_in(a.x, a.place, a.weights, a.out); }
inline void in(const ShortConvArgs& a) { all_in(a.x, a.weight, a.bias, a.state, a.out); }
inline void in(const LinearAttentionArgs& a) { all_in(a.q, a.k, a.v, a.slopes, a.state, a.out); }
inline void in(const GatedDeltaArgs& a) { all_in(a.q, a.k, a.v, a.decay, a.beta, a.state, a.out); }
inline void in(const DeltaGatesArgs& a) { all_in(a.a_log, a.dt_bias, a.a, a.b); }
inline void in(const LayerNormArgs& a) { all_in(a.x, a.weight, a.bias, a.out); }
inline void in(const ClampArgs& a) { in(a.x); }
inline void in(const StandardiseArgs& a) { all_in(a.shift, a.scale, a.x); }
inline void in(const AveragePatchesArgs& a) { all_in(a.x, a.out); }
inline void in(const ArgMaxArgs& a) { all_in(a.x, a.ids); }
inline void in(const DrawArgs& a) { all_in(a.x, a.rows, a.id_offsets, a.ids); }
inline void in(const AttentionArgs& a) {
  all_in(a.q, a.kv, a.seq_start, a.rows, a.sink_logits, a.out, a.plan->device);
  CHECK(a.plan->device != nullptr);
}

template <class Args>
inline void (*inner)(Stream&, const Args&) = nullptr;

template <class Args>
void call(Stream host, const Args& args) {
  const Memory::Open open;
  inner<Args>(host, args);
}
template <>
inline void call<AttentionArgs>(Stream host, const AttentionArgs& args) {
  const Memory::Open open;
  const AttentionPlan& plan = *args.plan;
  CHECK(std::memcmp(plan.device, plan.packed.data(), static_cast<size_t>(plan.bytes())) == 0,
        "the plan on the device is another one");
  CHECK(plan.recorded_slots == 0 || plan.slots <= plan.recorded_slots, plan.slots);
  cpu_kernels().attention[0].run(host, args);
}

inline bool undecided = false;  // draw() is sure of no row
template <>
inline void call<DrawArgs>(Stream host, const DrawArgs& args) {
  const Memory::Open open;
  inner<DrawArgs>(host, args);
  if (undecided) args.ids[0] = -1;
}

template <class Args>
void run(Stream& stream, const Args& args) {
  CHECK(stream.device != nullptr);
  in(args);
  const Stream host = {.pool = stream.pool};
  if (recording != nullptr) return recording->all.push_back([host, args] { call(host, args); });
  call(host, args);
}

template <class Args>
auto wrapped(void (*op)(Stream&, const Args&)) {
  inner<Args> = op;
  return &run<Args>;
}

inline void release(void* memory) { Memory::get().release(memory); }

class FakeDevice final : public Device {
 public:
  void* stream() override { return this; }
  Buffer take(int64_t bytes) override { return {Memory::get().take(bytes), bytes, release}; }
  Buffer take_pinned(int64_t bytes) override { return Buffer(bytes); }
  void upload(void* to, const void* from, int64_t bytes) override {
    CHECK(!Memory::get().has(from) && Memory::get().has(to));
    move(to, from, bytes);
  }
  void download(void* to, const void* from, int64_t bytes) override {
    CHECK(Memory::get().has(from) && !Memory::get().has(to));
    move(to, from, bytes);
  }
  // `to` is not to be read before a fence has been waited for.
  void download_later(void* to, const void* from, int64_t bytes) override {
    std::vector<char> now(static_cast<size_t>(bytes));
    download(now.data(), from, bytes);
    std::memset(to, 0x7f, now.size());
    under_way_.push_back([to, now] { std::memcpy(to, now.data(), now.size()); });
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    CHECK(Memory::get().has(from) && Memory::get().has(to));
    move(to, from, bytes);
  }
  void zero(void* at, int64_t bytes) override {
    in(at);
    const Memory::Open open;
    std::memset(at, 0, static_cast<size_t>(bytes));
  }
  void wait() override {
    for (const auto& each : std::exchange(under_way_, {})) each();
  }
  std::unique_ptr<Fence> make_fence() override { return std::make_unique<End>(*this); }
  std::unique_ptr<Fence> make_timed_fence() override { return make_fence(); }
  void scatter(int32_t* words, const int32_t* places, const int32_t* values, int64_t count) override {
    all_in(words, places, values);
    const Memory::Open open;
    host_device().scatter(words, places, values, count);
  }
  void feed(int32_t* tokens, const int32_t* places, const int32_t* ids, const int32_t* rows,
            int64_t count) override {
    all_in(tokens, places, ids, rows);
    const Memory::Open open;
    host_device().feed(tokens, places, ids, rows, count);
  }
  bool begin_recording() override {
    recording = std::make_unique<Calls>();
    return true;
  }
  std::unique_ptr<Recording> finish_recording() override { return std::move(recording); }
  void replay(const Recording& calls) override {
    for (const auto& each : static_cast<const Calls&>(calls).all) each();
    ++replays;
  }
  bool is_valid(const Recording& /*recording*/) const override { return true; }

 private:
  struct End final : Fence {
    explicit End(FakeDevice& of) : device(of) {}
    void set() override {
      is_set = true;
      moment = std::chrono::steady_clock::now();
    }
    void wait() override {
      if (is_set) device.wait();
    }
    double seconds_since(const Fence& earlier) const override {
      CHECK(is_set && static_cast<const End&>(earlier).is_set);
      return std::chrono::duration<double>(moment - static_cast<const End&>(earlier).moment).count();
    }
    FakeDevice& device;
    bool is_set = false;
    std::chrono::steady_clock::time_point moment;
  };
  std::vector<std::function<void()>> under_way_;

  static void move(void* to, const void* from, int64_t bytes) {
    CHECK(recording == nullptr, "a copy cannot be recorded");
    const Memory::Open open;
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
};

inline const Kernels& kernels() {
  static const AttentionKernel attention[] = {
      {.name = "fake.planned",
       .why_not = [](const AttentionNeeds&) { return std::string(); },
       .run = run<AttentionArgs>,
       .scratch_bytes = [](const AttentionNeeds&, const StepSize&) { return int64_t{0}; },
       .plan_shape =
           [](const AttentionNeeds& needs, const Stream&) {
             return AttentionPlanShape{.group = needs.heads / needs.kv_heads, .prefill_tile = 64};
           }}};
  static constexpr Accelerator kAccelerator = {
      .why_not = [](int index) { return std::string(index == 0 ? "" : "there is one"); },
      .describe = [](int) { return std::string("host memory behind a wall"); },
      .free_bytes = [](int) { return int64_t{8} << 30; },
      .open = [](int) -> std::unique_ptr<Device> { return std::make_unique<FakeDevice>(); }};
  static const Kernels all = [] {
    Kernels k = cpu_kernels();
    k.name = "fake";
    k.attention = attention;
    k.accelerator = &kAccelerator;
    k.arg_max = ref_kernels().arg_max;
    k.draw = ref_kernels().draw;
    const auto wrap = [](auto&... op) { ((op = wrapped(op)), ...); };
    wrap(k.embed, k.rms_norm, k.linear, k.rope_table, k.rope, k.kv_write, k.gated_act, k.add, k.gather_rows,
         k.softcap, k.copy, k.temper, k.scale, k.scale_rows, k.linears, k.finish_heads, k.head_linear,
         k.moe_route, k.moe_sort, k.expert_linear, k.expert_sum, k.short_conv, k.linear_attention,
         k.gated_delta, k.delta_gates, k.layer_norm, k.clamp, k.standardise, k.average_patches, k.arg_max,
         k.draw);
    return k;
  }();
  return all;
}

// Makes the backend known, once.
inline void add() {
  static const bool added = [] {
    add_backend(kernels());
    return true;
  }();
  CHECK(added);
}

}  // namespace heed::fake
