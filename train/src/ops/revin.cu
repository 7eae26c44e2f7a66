// Reversible instance normalization (Kim et al. 2022; formulas in train/src/revin.rs) of frames (T, B, C, cells),
// f32 as they come, to channels last: (T, B, cells, C), and back.
//
// Statistics are of one sample's channel over the context's frames and cells: sums in f64 of numbers less the
// first of them. If those are all alike the sums are small, and if the first is far from the others the variance
// is at least its distance squared over their number, so a difference of sums loses no digit that f32 has.
#include "device.cuh"

namespace {

constexpr int THREADS = 256;
constexpr double EPSILON = 1e-4; // added to every deviation

// Mean and 1 / deviation of one sample's channel; mean, 1 / deviation and deviation of its changes.
struct Scale {
  float mean, factor, change_mean, change_factor, change_deviation;
};

// Sums of numbers and of their squares, less an origin; then the same of changes.
struct Sums {
  double at[4];
};

DEVICE Sums warp_sums(Sums sums) {
#pragma unroll
  for (int k = 0; k < 4; k++) sums.at[k] = warp_sum(sums.at[k]);
  return sums;
}

// One sample's channel: `time` rows of `cells` numbers, `stride` apart.
struct Context {
  const float *first;
  size_t stride;
  int time, cells;

  DEVICE float origin() const { return *first; }
  DEVICE float change_origin() const { return time > 1 ? first[stride] - *first : 0.0f; }

  DEVICE void add(Sums &sums, int i) const {
    const float *x = first + i / cells * stride + i % cells;
    const double centred = double(*x) - origin();
    sums.at[0] += centred;
    sums.at[1] += centred * centred;
    if (i < cells) return;
    const double change = double(*x - *(x - stride)) - change_origin();
    sums.at[2] += change;
    sums.at[3] += change * change;
  }
};

// Mean and unbiased deviation + epsilon from sums of `count` numbers less an origin.
DEVICE void mean_and_deviation(double sum, double squares, double count, float origin, double &mean, double &deviation) {
  const double over = max(count, 1.0);
  double variance = (squares - sum * sum / over) / max(count - 1, 1.0);
  if (variance < 0) variance = 0;
  mean = origin + sum / over;
  deviation = sqrt(variance) + EPSILON;
}

// A number of the result, channels last, and where it is among the frames.
struct Place {
  int scale;
  size_t index;

  DEVICE Place(int i, int batch, int channels, int cells) {
    const int channel = i % channels, frame = i / channels / cells;
    scale = frame % batch * channels + channel;
    index = (frame * size_t(channels) + channel) * cells + i / channels % cells;
  }
};

} // namespace

// Blocks (chunk, sample's channel); partial: (B C, chunks).
KERNEL __launch_bounds__(256) revin_sums_f32(const float *frames, Sums *partial, int time, int cells, int chunk) {
  __shared__ Sums held[THREADS / 32];
  const int channel = blockIdx.y, lane = threadIdx.x % 32;
  const Context context{frames + channel * size_t(cells), gridDim.y * size_t(cells), time, cells};
  const int to = min((blockIdx.x + 1) * chunk, unsigned(time * cells));
  Sums sums = {};
  for (int i = blockIdx.x * chunk + threadIdx.x; i < to; i += THREADS) context.add(sums, i);
  sums = warp_sums(sums);
  if (lane == 0) held[threadIdx.x / 32] = sums;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  sums = warp_sums(lane < THREADS / 32 ? held[lane] : Sums{});
  if (lane == 0) partial[channel * size_t(gridDim.x) + blockIdx.x] = sums;
}

// A block of one warp for each sample's channel.
KERNEL __launch_bounds__(32) revin_scales_f32(const float *frames, const Sums *partial, Scale *scales, int time, int cells, int chunks) {
  const int channel = blockIdx.x;
  const Context context{frames + channel * size_t(cells), gridDim.x * size_t(cells), time, cells};
  Sums sums = {};
  for (int chunk = threadIdx.x; chunk < chunks; chunk += 32) {
    for (int k = 0; k < 4; k++) sums.at[k] += partial[channel * size_t(chunks) + chunk].at[k];
  }
  sums = warp_sums(sums);
  if (threadIdx.x > 0) return;
  const double frame = cells;
  double mean, deviation, change_mean, change_deviation;
  mean_and_deviation(sums.at[0], sums.at[1], frame * time, context.origin(), mean, deviation);
  mean_and_deviation(sums.at[2], sums.at[3], frame * (time - 1), context.change_origin(), change_mean, change_deviation);
  scales[channel] = {float(mean), float(1 / deviation), float(change_mean), float(1 / change_deviation), float(change_deviation)};
}

// Numbers less their mean over their deviation.
KERNEL __launch_bounds__(256) revin_input_f32(const float *frames, const Scale *scales, float *y, int count, int batch, int channels, int cells) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const Place place(i, batch, channels, cells);
  const Scale scale = scales[place.scale];
  y[i] = (frames[place.index] - scale.mean) * scale.factor;
}

// Changes to the next frame, which is one frame of all samples and channels further on.
KERNEL __launch_bounds__(256) revin_target_f32(const float *frames, const Scale *scales, float *y, int count, int batch, int channels, int cells, int first) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const Place place(i, batch, channels, cells);
  const Scale scale = scales[place.scale];
  const size_t frame = size_t(batch) * channels * cells;
  const float *now = frames + first * frame + place.index;
  y[i] = (now[frame] - now[0] - scale.change_mean) * scale.change_factor;
}

// The frame after number `last`, (B, C, cells), by a normalized change (B, cells, C).
KERNEL __launch_bounds__(256) revin_next_f32(const float *frames, const Scale *scales, const float *change, float *y, int count, int batch, int channels, int cells, int last) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count) return;
  const Place place(i, batch, channels, cells);
  const Scale scale = scales[place.scale];
  // Rounded twice, as on the CPU: where a deviation is huge, that undoes what the change was rounded by.
  const float step = __fadd_rn(__fmul_rn(change[i], scale.change_deviation), scale.change_mean);
  y[place.index] = frames[last * size_t(count) + place.index] + step;
}
