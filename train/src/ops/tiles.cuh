// Products of matrices on tensor cores, in tiles of 16×16 numbers that the lanes of a warp hold together.
//
// A product adds a · bᵀ to sums in f32, where a and b are tiles of 16 rows. Operands lie in shared memory by
// rows. For bf16 a product takes two instructions. f32 numbers are split into a high and a low part with 11
// bits each (TF32), and three products of the parts are summed: what is left out is some 2⁻²² of the result.
#pragma once

#include "device.cuh"

// Each source has its own.
namespace {

// From one row to the next of a matrix of `D` columns in shared memory: 16 bytes more than it is wide, so
// that rows below one another are in different banks.
template <class T, int D> constexpr int STRIDE = D + 16 / int(sizeof(T));

// A lane's part of a tile: for bf16 four 8×8 blocks; for f32 four 8×4 blocks for each half of the columns.
// Tensor cores take the blocks in another order for each side: upper left, lower left, upper right, lower
// right for a; upper left, upper right, lower left, lower right for b.
template <class T> struct A {
  uint32_t blocks[sizeof(T) / 2][4];
};
template <class T> struct B {
  uint32_t blocks[sizeof(T) / 2][4];
};

// Sums of 16 rows in f32, the left and the right eight columns. Lane 4 g + t has of each the rows
// g, g, g+8, g+8 at columns 2t, 2t+1, 2t, 2t+1.
struct Sums {
  float at[2][4];
};

DEVICE Sums zeros() { return {{{0, 0, 0, 0}, {0, 0, 0, 0}}}; }

// The tile whose first number is at `corner`, rows being `S` numbers apart.
template <int S, class T> DEVICE A<T> load_a(const T *corner) {
  constexpr int HALF = 16 / sizeof(T);
  const int lane = threadIdx.x % 32;
  const T *place = corner + lane % 16 * S + lane / 16 * HALF;
  A<T> tile;
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 2); i++) load_tiles(tile.blocks[i], place + i * 2 * HALF);
  return tile;
}

template <int S, class T> DEVICE B<T> load_b(const T *corner) {
  constexpr int HALF = 16 / sizeof(T);
  const int lane = threadIdx.x % 32;
  const T *place = corner + (lane / 16 * 8 + lane % 8) * S + lane / 8 % 2 * HALF;
  B<T> tile;
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 2); i++) load_tiles(tile.blocks[i], place + i * 2 * HALF);
  return tile;
}

// The transpose of the tile in memory: there the rows are what is summed over.
template <int S> DEVICE B<bf16> load_b_transposed(const bf16 *corner) {
  const int lane = threadIdx.x % 32;
  B<bf16> tile;
  load_tiles_transposed(tile.blocks[0], corner + lane % 16 * S + lane / 16 * 8);
  return tile;
}

// For f32 the terms are summed in the order of `as_a`.
template <int S> DEVICE B<float> load_b_transposed(const float *corner) {
  const int lane = threadIdx.x % 32;
  const float *place = corner + lane % 4 * 2 * S + lane / 4;
  B<float> tile;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    tile.blocks[i / 4][i % 4] = __float_as_uint(place[(i / 4 * 8 + i % 2) * S + i % 4 / 2 * 8]);
  }
  return tile;
}

// Sums as the left side of the next product, without leaving the registers.
template <class T> DEVICE A<T> as_a(const Sums &sums);
template <> DEVICE A<bf16> as_a(const Sums &sums) {
  A<bf16> tile;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    tile.blocks[0][i] = pack_bf16(sums.at[i / 2][i % 2 * 2], sums.at[i / 2][i % 2 * 2 + 1]);
  }
  return tile;
}
// The instruction takes columns t and t+4 from a lane that has 2t and 2t+1: the terms change their order.
template <> DEVICE A<float> as_a(const Sums &sums) {
  A<float> tile;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    tile.blocks[i / 4][i % 4] = __float_as_uint(sums.at[i / 4][i % 2 * 2 + i % 4 / 2]);
  }
  return tile;
}

// sums += a · bᵀ.
DEVICE void multiply(Sums &sums, const A<bf16> &a, const B<bf16> &b) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const uint32_t columns[2] = {b.blocks[0][2 * i], b.blocks[0][2 * i + 1]};
    mma_bf16(sums.at[i], a.blocks[0], columns);
  }
}

// An f32 number as two: one of 19 bits, which tensor cores see whole, and what is left.
struct Split {
  uint32_t high, low;
};

DEVICE Split split(uint32_t x) {
  const uint32_t high = (x + 0x1000u) & 0xffffe000u;
  return {high, __float_as_uint(__uint_as_float(x) - __uint_as_float(high))};
}

// Tensor cores drop digits where they should round, which in a long sum goes ever the same way. So they sum from
// zero here, and what they found is added by the usual units (Ootomo and Yokota 2022).
DEVICE void multiply(Sums &sums, const A<float> &a, const B<float> &b) {
  Sums found = zeros();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const uint32_t(&rows)[4] = a.blocks[half];
    const Split a0 = split(rows[0]), a1 = split(rows[1]), a2 = split(rows[2]), a3 = split(rows[3]);
    const uint32_t high[4] = {a0.high, a1.high, a2.high, a3.high};
    const uint32_t low[4] = {a0.low, a1.low, a2.low, a3.low};
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const Split b0 = split(b.blocks[half][2 * i]), b1 = split(b.blocks[half][2 * i + 1]);
      const uint32_t columns[2] = {b0.high, b1.high}, columns_low[2] = {b0.low, b1.low};
      mma_tf32(found.at[i], low, columns);
      mma_tf32(found.at[i], high, columns_low);
      mma_tf32(found.at[i], high, columns);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; i++) sums.at[i / 4][i % 4] += found.at[i / 4][i % 4];
}

} // namespace
