// linear, and its relatives that are several products of one width (a head's or an expert's each): panels of
// weights, each of which stays in a core's cache while the rows of x pass it.
//
// A few rows: every weight is read once, so threads take contiguous pieces of them. Many rows: panels of half
// a second cache (and, where those are too few to keep every thread busy, parts of the rows too), handed to
// threads as they get free.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/block_linear.h"
#include "kernels/cpu/few_rows.h"

namespace heed::cpu {
namespace {

constexpr int64_t kLeastPanelBytes = 256 * 1024;
constexpr int64_t kMostPanelBytes = 512 * 1024;
constexpr int64_t kColumns = 4;                // columns of the kernels' register tile
constexpr int64_t kPackedRows = 16;            // that lie together for matrix tiles
constexpr int64_t kProductsPerThread = 32768;  // below which another thread costs more than it saves
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kElementsPerThread = 16384;  // packed
constexpr int64_t kLine = 64;

int64_t panel_bytes() {
  static const int64_t half = sysconf(_SC_LEVEL2_CACHE_SIZE) / 2;  // -1 or 0: not known
  return std::clamp(half, kLeastPanelBytes, kMostPanelBytes);
}

// Products x w^T of one width and of the same element types, as panels that are whole.
struct Products {
  const LinearTable& isa;
  DType x, w;
  int64_t cols, in;
  std::span<const LinearPanel> all;  // each with at least one row
  const TileTable* tiles = nullptr;  // their rows are packed for these

  int64_t tile_rows() const { return tiles != nullptr ? tiles->tile_rows : isa.tile_rows; }
  int64_t few_rows() const { return tiles != nullptr ? tiles->tile_rows : isa.few_rows; }
  // Bytes of an element of a panel that stays in a core's cache, as it is or widened.
  int64_t panel_element() const { return size_of(tiles != nullptr ? w : DType::kF32); }
  int64_t tile_cols() const { return tiles != nullptr ? tiles->tile_cols : kColumns; }

  auto kernel() const {
    if (tiles != nullptr) return tiles->panel;
    if (x == DType::kBF16) return isa.bf16_bf16;
    if (w == DType::kBF16) return isa.f32_bf16;
    if (w == DType::kF16) return isa.f32_f16;
    return isa.f32_f32;
  }
};

struct Part {
  int64_t row, row_end, col, col_end;
};

void run_part(const Products& products, LinearPanel panel, const Part& part) {
  const TileTable* tiles = products.tiles;
  if (tiles != nullptr) {
    const int64_t tile_bytes = tiles->packed_bytes(kPackedRows, products.in);
    panel.x = static_cast<const char*>(panel.x) + part.row / kPackedRows * tile_bytes;
  } else if (panel.row_of != nullptr) {
    panel.row_of += part.row;
  } else {
    panel.x = static_cast<const char*>(panel.x) + part.row * panel.x_stride * size_of(products.x);
  }
  panel.w = static_cast<const char*>(panel.w) + part.col * panel.w_stride * size_of(products.w);
  panel.bias = panel.bias != nullptr ? panel.bias + part.col : nullptr;
  panel.out += part.row * panel.out_stride + part.col;
  panel.rows = part.row_end - part.row;
  panel.cols = part.col_end - part.col;
  const int64_t floats = tiles != nullptr ? tiles->scratch(panel.rows, panel.in)
                                          : products.isa.scratch(panel.rows, panel.cols, panel.in);
  const Buffer scratch(floats * size_of(DType::kF32));
  panel.scratch = static_cast<float*>(scratch.data());
  products.kernel()(panel);
}

// Every thread takes contiguous pieces of the column tiles of all products, one after the other.
void run_few_rows(const Products& products, ThreadPool& pool, int64_t grain) {
  const int64_t columns = products.tile_cols();
  const int64_t tiles = div_up(products.cols, columns);
  pool.parallel_pieces(tiles * std::ssize(products.all), grain, [&](int64_t begin, int64_t end) {
    for (int64_t product = begin / tiles; product * tiles < end; ++product) {
      const int64_t tile = std::max(begin - product * tiles, int64_t{0});
      const int64_t tile_end = std::min(end - product * tiles, tiles);
      const LinearPanel& panel = products.all[product];
      run_part(products, panel, {0, panel.rows, tile * columns, std::min(tile_end * columns, products.cols)});
    }
  });
}

int64_t total_rows(const Products& products) {
  int64_t rows = 0;
  for (const LinearPanel& product : products.all) rows += product.rows;
  return rows;
}

// Panels of columns, of one width for all products; a product with more than its share of the rows is cut by
// rows as well.
void run_many_rows(const Products& products, ThreadPool& pool) {
  const int64_t rows = total_rows(products);
  const int64_t tile_rows = products.tile_rows();
  const int64_t columns = products.tile_cols();
  const int64_t tiles = div_up(products.cols, columns);
  const int64_t wanted = kTasksPerThread * pool.size();
  const int64_t row_bytes = std::max<int64_t>(products.in, 1) * products.panel_element();
  const int64_t least = div_up(4 * kColumns, columns);
  const int64_t fitting = std::max<int64_t>(panel_bytes() / (row_bytes * columns), least);
  const int64_t spread = div_up(tiles, div_up(wanted, std::ssize(products.all)));
  const int64_t width = columns * std::min(fitting, std::max<int64_t>(spread, least));
  const int64_t panels = div_up(products.cols, width);
  const auto rows_of_part = [&](const LinearPanel& product) {
    const int64_t tasks = div_up(wanted * product.rows, rows);
    const int64_t parts = std::min(div_up(tasks, panels), div_up(product.rows, tile_rows));
    return round_up(div_up(product.rows, parts), tile_rows);
  };
  std::vector<int64_t> first_task = {0};  // of each product
  for (const LinearPanel& product : products.all) {
    first_task.push_back(first_task.back() + panels * div_up(product.rows, rows_of_part(product)));
  }
  pool.parallel_tasks(first_task.back(), [&](int64_t task) {
    const auto after = std::upper_bound(first_task.begin(), first_task.end(), task);
    const auto index = after - first_task.begin() - 1;
    const LinearPanel& product = products.all[index];
    const int64_t part = rows_of_part(product);
    const int64_t parts = div_up(product.rows, part);
    const int64_t local = task - first_task[index];
    const int64_t row = local % parts * part;
    const int64_t col = local / parts * width;
    run_part(products, product,
             {row, std::min(row + part, product.rows), col, std::min(col + width, products.cols)});
  });
}

void run(const Products& products, ThreadPool& pool) {
  if (products.all.empty() || products.cols == 0) return;
  int64_t most = 0;
  for (const LinearPanel& product : products.all) most = std::max(most, product.rows);
  const int64_t in = std::max<int64_t>(products.in, 1);
  const int64_t tiles = div_up(products.cols, products.tile_cols());
  const int64_t of_tile =
      div_up(total_rows(products) * products.tile_cols() * in, std::ssize(products.all));  // on average
  if (most <= products.few_rows() || of_tile * tiles * std::ssize(products.all) <= kProductsPerThread) {
    run_few_rows(products, pool, div_up(kProductsPerThread, of_tile));
  } else {
    run_many_rows(products, pool);
  }
}

bool packs(const LinearIsa& isa, DType x, DType w) {
  return isa.tiles != nullptr && x == DType::kBF16 && w == DType::kBF16;
}

// The same with the rows packed first, where both are bfloat16 and there are matrix tiles.
void run(const LinearIsa& isa, DType x, DType w, int64_t cols, int64_t in, std::span<LinearPanel> all,
         ThreadPool& pool) {
  const TileTable* tiles = isa.tiles;
  if (!packs(isa, x, w) || in == 0) return run({isa.linear, x, w, cols, in, all}, pool);
  std::vector<int64_t> first_tile = {0};  // of each product
  std::vector<int64_t> first_byte = {0};
  for (const LinearPanel& product : all) {
    first_tile.push_back(first_tile.back() + div_up(product.rows, kPackedRows));
    first_byte.push_back(first_byte.back() + round_up(tiles->packed_bytes(product.rows, in), kLine));
  }
  const Buffer packed(first_byte.back());
  const auto place = [&](size_t i) { return static_cast<char*>(packed.data()) + first_byte[i]; };
  const auto pack_tile = [&](int64_t tile) {
    const auto after = std::upper_bound(first_tile.begin(), first_tile.end(), tile);
    const auto i = static_cast<size_t>(after - first_tile.begin() - 1);
    tiles->pack({all[i].x, all[i].row_of, all[i].x_stride, all[i].rows, in, place(i)}, tile - first_tile[i]);
  };
  pool.parallel_for(first_tile.back(), div_up(kElementsPerThread, kPackedRows * in),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t tile = begin; tile < end; ++tile) pack_tile(tile);
                    });
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].x = place(i);
    all[i].packed = all[i].rows;
  }
  run({isa.linear, x, w, cols, in, all, tiles}, pool);
}

LinearPanel panel_of(const LinearArgs& args) {
  return {
      .x = args.x.data,
      .w = args.weight.data,
      .bias = args.bias.defined() ? args.bias.f32() : nullptr,
      .out = args.out.mutable_f32(),
      .row_of = nullptr,
      .x_stride = args.x.stride[0],
      .w_stride = args.weight.stride[0],
      .out_stride = args.out.stride[0],
      .rows = args.x.size[0],
      .cols = args.weight.size[0],
      .in = args.x.size[1],
      .accumulate = args.accumulate,
  };
}

}  // namespace

void linear(const LinearIsa& isa, Stream& stream, const LinearArgs& args) {
  if (is_blocks(args.weight.dtype)) return block_linear(isa.blocks, stream, args);
  check(args);
  LinearPanel product = panel_of(args);
  if (product.rows == 0) return;
  run(isa, args.x.dtype, args.weight.dtype, product.cols, product.in, {&product, 1}, *stream.pool);
}

bool are_few(const LinearIsa& isa, int64_t rows, DType x, DType weight) {
  return rows <= (packs(isa, x, weight) ? isa.tiles->tile_rows : isa.linear.few_rows);
}

FewRows few_rows(const LinearIsa& isa, const Tensor& x, DType weight) {
  const int64_t rows = x.size[0];
  const int64_t in = x.size[1];
  const TileTable* tiles = packs(isa, x.dtype, weight) ? isa.tiles : nullptr;
  auto packed = std::make_shared<Buffer>(tiles != nullptr ? tiles->packed_bytes(rows, in) : 0);
  for (int64_t tile = 0; tiles != nullptr && tile < div_up(rows, kPackedRows); ++tile)
    tiles->pack({x.data, nullptr, x.stride[0], rows, in, packed->data()}, tile);
  return {.tile_cols = tiles != nullptr ? tiles->tile_cols : kColumns,
          .least_cols = div_up(kProductsPerThread, rows * in),
          .columns = [&isa = isa.linear, tiles, packed](const LinearArgs& args, int64_t begin, int64_t end) {
            LinearPanel panel = panel_of(args);
            if (tiles != nullptr) panel.x = packed->data();
            if (tiles != nullptr) panel.packed = panel.rows;
            const Products product = {isa, args.x.dtype, args.weight.dtype, panel.cols, panel.in, {}, tiles};
            run_part(product, panel, {0, panel.rows, begin, end});
          }};
}

void head_linear(const LinearTable& isa, Stream& stream, const HeadLinearArgs& args) {
  const Shapes n = check(args);
  std::vector<LinearPanel> products;
  const int64_t heads = n["tokens"] > 0 ? n["heads"] : 0;
  for (int64_t h = 0; h < heads; ++h) {
    products.push_back({
        .x = args.x.f32() + h * args.x.stride[1],
        .w = args.weight.as<char>() + h * args.weight.stride[0] * size_of(args.weight.dtype),
        .bias = nullptr,
        .out = args.out.mutable_f32() + h * args.out.stride[1],
        .row_of = nullptr,
        .x_stride = args.x.stride[0],
        .w_stride = args.weight.stride[1],
        .out_stride = args.out.stride[0],
        .rows = n["tokens"],
        .cols = n["out"],
        .in = n["in"],
    });
  }
  run({isa, args.x.dtype, args.weight.dtype, n["out"], n["in"], products}, *stream.pool);
}

void expert_linear(const LinearIsa& isa, Stream& stream, const ExpertLinearArgs& args) {
  const Shapes n = check(args);
  if (is_blocks(args.weights[0].dtype)) return block_expert_linear(isa.blocks, stream, args);
  const int64_t assignments = args.rows != nullptr ? n["assignments"] : 0;
  const int64_t x_rows = n["rows"];
  for (int64_t i = 0; i < assignments; ++i) {
    CHECK(args.rows[i] >= 0 && args.rows[i] < x_rows, i, args.rows[i], x_rows);
  }
  std::vector<LinearPanel> products;
  for (int64_t e = 0; e < std::ssize(args.weights); ++e) {
    const int64_t first = args.expert_start[e];
    const int64_t rows = args.expert_start[e + 1] - first;
    CHECK(rows >= 0, e, first, rows);
    if (rows == 0) continue;
    const Tensor& weight = expert_weight(args, e);
    const int64_t x = args.rows == nullptr ? first * args.x.stride[0] * size_of(args.x.dtype) : 0;
    products.push_back({
        .x = args.x.as<char>() + x,
        .w = weight.data,
        .bias = args.bias.defined() ? args.bias.f32() + e * args.bias.stride[0] : nullptr,
        .out = args.out.mutable_f32() + first * args.out.stride[0],
        .row_of = args.rows != nullptr ? args.rows + first : nullptr,
        .x_stride = args.x.stride[0],
        .w_stride = weight.stride[0],
        .out_stride = args.out.stride[0],
        .rows = rows,
        .cols = n["out"],
        .in = n["in"],
    });
  }
  run(isa, args.x.dtype, args.weights[0].dtype, n["out"], n["in"], products, *stream.pool);
}

// Many rows run in panels of kMostPanelBytes or of four tiles of columns, whichever is wider; few rows ask
// for less, unless the whole product is tiny.
int64_t linear_scratch_bytes(const LinearIsa& isa, const StepSize& size) {
  const int64_t in = std::max<int64_t>(size.width, 1);
  const int64_t row_bytes = in * size_of(DType::kF32);
  const int64_t cols = std::max<int64_t>(kMostPanelBytes / row_bytes, 4 * kColumns);
  const int64_t panel = isa.linear.scratch(std::max<int64_t>(size.tokens, 1), cols, in);
  constexpr int64_t kGrowth = 3;  // a vector of n elements, while it grows, with the one it grows out of
  const int64_t products = kGrowth * size.products * int64_t{sizeof(LinearPanel) + sizeof(int64_t)};
  int64_t plain = size.threads * std::max(panel, 2 * kProductsPerThread) * size_of(DType::kF32) + products;
  if (isa.tiles != nullptr) {
    const int64_t rows = size.linear_rows + kPackedRows * size.products;  // each product's are padded
    plain += isa.tiles->packed_bytes(rows, in) + kLine * size.products + products +
             size.threads * isa.tiles->scratch(rows, in) * size_of(DType::kF32);
  }
  return std::max(plain, block_linear_scratch_bytes(isa.blocks, size));
}

}  // namespace heed::cpu
