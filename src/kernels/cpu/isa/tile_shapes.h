// The shapes of the tiles of AMX, which a thread loads before it uses them.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace heed {
namespace {

struct alignas(64) TileShapes {  // what LDTILECFG reads
  uint8_t palette = 1, start = 0, unused[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int row_count, int bytes) {
    rows[tile] = static_cast<uint8_t>(row_count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

__attribute__((target("amx-tile"))) inline void load_shapes(const TileShapes& shapes) {
  asm volatile("" ::"r"(&shapes) : "memory");  // gcc's _tile_loadconfig says that it reads 8 bytes
  _tile_loadconfig(&shapes);
}

}  // namespace
}  // namespace heed
