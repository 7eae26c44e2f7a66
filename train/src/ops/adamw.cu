// AdamW for all weights at once (Loshchilov and Hutter 2019), with clipping by the norm of the gradient over all
// of them. With gradient g at step t:
//
//   g <- g * min(1, limit / (norm + 1e-6)) + l2 w
//   m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
//   w <- w - lr (decay w + m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps))
//
// and the moving average of the weights, e <- beta e + (1 - beta) w.
//
// Weights, moments and gradients are f32, aligned to sixteen bytes; a launch takes up to 64 of each in tables. A
// block takes 16,384 numbers of one weight. Squares are summed in f64: by thread, by block, then over all blocks
// in their order, so that the norm has the same bits in every run.
#include "device.cuh"

namespace {

constexpr int TABLE = 64, NUMBERS = 1 << 14, WIDTH = 4;
constexpr float BETA1 = 0.9f, BETA2 = 0.999f, EPSILON = 1e-8f;

template <class T> struct Table {
  T at[TABLE];
};

// The weight that a block works on, and from where to where.
struct Part {
  int weight;
  size_t from, to;
};

DEVICE Part part(const Table<size_t> &sizes) {
  size_t block = blockIdx.x;
  int weight = 0;
  for (; weight < TABLE; weight++) {
    const size_t blocks = (sizes.at[weight] + NUMBERS - 1) / NUMBERS;
    if (block < blocks) break;
    block -= blocks;
  }
  const size_t from = block * NUMBERS;
  return {weight, from, min(from + NUMBERS, sizes.at[weight])};
}

// Sum over a block of full warps, in a fixed order; thread 0 gets it.
DEVICE double block_sum(double x) {
  __shared__ double partial[32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < int(blockDim.x) / 32; warp++) sum += partial[warp];
  }
  return sum;
}

struct Rule {
  float clip, keep, rate, scale, l2;
};

DEVICE void move(float &w, float &m, float &v, float g, const Rule &rule) {
  g = g * rule.clip + rule.l2 * w;
  m = BETA1 * m + (1 - BETA1) * g;
  v = BETA2 * v + (1 - BETA2) * (g * g);
  w = w * rule.keep - rule.rate * (m / (sqrtf(v) * rule.scale + EPSILON));
}

} // namespace

// squares: one sum for each block.
KERNEL adamw_squares_f32(Table<const float *> gradients, Table<size_t> sizes, double *squares, int first) {
  const Part mine = part(sizes);
  const float *gradient = gradients.at[mine.weight];
  double sum = 0;
  for (size_t i = mine.from + threadIdx.x * WIDTH; i < mine.to; i += blockDim.x * WIDTH) {
    if (i + WIDTH <= mine.to) {
      const Pack<float> g = load_pack(gradient + i);
      for (float x : g.at) sum += double(x) * x;
    } else {
      for (size_t k = i; k < mine.to; k++) sum += double(gradient[k]) * gradient[k];
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) squares[first + blockIdx.x] = sum;
}

// One block. found: loss, norm, and the factor for gradients, which is NaN where the loss or the norm is not finite.
KERNEL adamw_norm_f32(const double *squares, int count, const float *loss, float limit, double *found) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += squares[i];
  sum = block_sum(sum);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum), factor = limit / (norm + 1e-6);
  const bool finite = isfinite(norm) && isfinite(*loss);
  found[0] = *loss;
  found[1] = norm;
  found[2] = finite ? min(factor, 1.0) : double(NAN);
}

// Nothing moves where the factor is NaN.
KERNEL adamw_update_f32(Table<float *> weights, Table<float *> firsts, Table<float *> seconds,
                        Table<const float *> gradients, Table<size_t> sizes, const double *found, float keep,
                        float rate, float scale, float l2) {
  const Rule rule = {float(found[2]), keep, rate, scale, l2};
  if (isnan(rule.clip)) return;
  const Part mine = part(sizes);
  float *const weight = weights.at[mine.weight], *const first = firsts.at[mine.weight];
  float *const second = seconds.at[mine.weight];
  const float *const gradient = gradients.at[mine.weight];
  for (size_t i = mine.from + threadIdx.x * WIDTH; i < mine.to; i += blockDim.x * WIDTH) {
    if (i + WIDTH <= mine.to) {
      Pack<float> w = load_pack(weight + i), m = load_pack(first + i), v = load_pack(second + i);
      const Pack<float> g = load_pack(gradient + i);
      for (int k = 0; k < WIDTH; k++) move(w.at[k], m.at[k], v.at[k], g.at[k], rule);
      store_pack(weight + i, w);
      store_pack(first + i, m);
      store_pack(second + i, v);
    } else {
      for (size_t k = i; k < mine.to; k++) move(weight[k], first[k], second[k], gradient[k], rule);
    }
  }
}

// e <- beta e + (1 - beta) w, for the average e of each weight w.
KERNEL adamw_average_f32(Table<float *> averages, Table<const float *> weights, Table<size_t> sizes, float beta) {
  const Part mine = part(sizes);
  float *const average = averages.at[mine.weight];
  const float *const weight = weights.at[mine.weight];
  for (size_t i = mine.from + threadIdx.x * WIDTH; i < mine.to; i += blockDim.x * WIDTH) {
    if (i + WIDTH <= mine.to) {
      Pack<float> e = load_pack(average + i);
      const Pack<float> w = load_pack(weight + i);
      for (int k = 0; k < WIDTH; k++) e.at[k] = beta * e.at[k] + (1 - beta) * w.at[k];
      store_pack(average + i, e);
    } else {
      for (size_t k = i; k < mine.to; k++) average[k] = beta * average[k] + (1 - beta) * weight[k];
    }
  }
}
