// Runs the device's code of src/kernels/cuda on the CPU, so that a machine without a GPU can test what it
// computes.
//
// Kernels are compiled as C++ with two of their headers replaced: kernels/cuda/ptx.cuh, which has every
// instruction that C++ has no word for, and kernels/cuda/runtime.h, which launches. A thread of a block is a
// fiber that runs until it waits for others; who goes on next is drawn at random, always the same way. So a
// missing barrier gives wrong results, and one that not all reach is found. Blocks run one after the other.
//
// What it does not show: what depends on time, on several blocks at once, on clusters, the tensor copy engine
// or products of warpgroups; kernels that need these are not compiled here.
#pragma once
#include <cstring>
#include <functional>

namespace heed::emulated {

constexpr int kLanes = 32;

unsigned thread_index();  // of the calling fiber, in its block
unsigned block_index();
unsigned blocks();  // of the grid
inline int lane() { return static_cast<int>(thread_index()) % kLanes; }

// The block's dynamic shared memory, aligned to 1024 bytes, which holds no numbers (NaN) at first.
char* block_memory();
int block_memory_bytes();

// Until `threads` threads have come to the barrier with this number, of kBarriers.
constexpr int kBarriers = 16;
void sync(int barrier, int threads);
// Until all of the block have that have not ended.
void sync_all();

// Copies of 16 bytes, or zeros where from is null, that are there when their thread waits for the group they
// are in.
void copy_later(char* to, const char* from);
void commit_copies();
void wait_for_copies(int pending);

// For a warp's operation: what a lane brings is there for all, and what one of them makes of it for each.
// all: called once, with kLanes pieces that were brought and room for kLanes results.
using WarpOp = std::function<void(const void* brought, void* results)>;
void together(const void* mine, int bytes, void* result, int result_bytes, const WarpOp& all);

template <class Result, class Mine, class All>
Result together(const Mine& mine, All all) {
  Result result;
  together(&mine, sizeof(Mine), &result, sizeof(Result), [&](const void* brought, void* results) {
    all(static_cast<const Mine*>(brought), static_cast<Result*>(results));
  });
  return result;
}

// Runs body() in every thread of every block. Aborts, and says where, if some wait for what never comes.
void run(unsigned blocks, unsigned threads, int shared_bytes, const std::function<void()>& body);

}  // namespace heed::emulated
