// What a linear layer y = x W^T + b needs beside its matrix products: W and b in bf16, and db, the sums of the
// columns of dy.
#include "device.cuh"

namespace {

constexpr int WARPS = 8, LANES = 32;

// Sums over the warps of a block, in their order; those of warp 0 are right.
DEVICE float over_warps(float x) {
  __shared__ float partial[WARPS][LANES];
  const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
  partial[warp][lane] = x;
  __syncthreads();
  float sum = 0;
  if (warp == 0) {
    for (int i = 0; i < WARPS; i++) sum += partial[i][lane];
  }
  return sum;
}

// dy: (rows, columns) -> sums: (gridDim.y, columns), each over `height` rows. A block has 32 columns, a lane one of
// them, and its warps take turns with the rows.
template <class T> DEVICE void part_sums(const T *dy, float *sums, int rows, int columns, int height) {
  const int column = blockIdx.x * LANES + threadIdx.x % LANES, warp = threadIdx.x / LANES;
  const int from = blockIdx.y * height, to = min(from + height, rows);
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int row = from + warp; row < to; row += WARPS) sum += to_float(dy[size_t(row) * columns + column]);
  }
  sum = over_warps(sum);
  if (warp == 0 && column < columns) sums[size_t(blockIdx.y) * columns + column] = sum;
}

} // namespace

// w: `weights` numbers, b: `outputs` numbers, which may be none.
KERNEL linear_cast_bf16(const float *w, const float *b, bf16 *w_cast, bf16 *b_cast, size_t weights, size_t outputs) {
  const size_t i = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (i + 4 <= weights) {
    const Pack<float> x = load_pack(w + i);
    uint2 packed;
    packed.x = pack_bf16(x.at[0], x.at[1]);
    packed.y = pack_bf16(x.at[2], x.at[3]);
    *reinterpret_cast<uint2 *>(w_cast + i) = packed;
    return;
  }
  for (size_t k = i; k < i + 4; k++) {
    if (k < weights) {
      w_cast[k] = from_float<bf16>(w[k]);
    } else if (k - weights < outputs) {
      b_cast[k - weights] = from_float<bf16>(b[k - weights]);
    }
  }
}

KERNEL linear_part_sums_f32(const float *dy, float *sums, int rows, int columns, int height) {
  part_sums(dy, sums, rows, columns, height);
}

KERNEL linear_part_sums_bf16(const bf16 *dy, float *sums, int rows, int columns, int height) {
  part_sums(dy, sums, rows, columns, height);
}

// sums: (parts, columns) -> db: (columns).
KERNEL linear_sums_f32(const float *sums, float *db, int parts, int columns) {
  part_sums(sums, db, parts, columns, parts);
}
