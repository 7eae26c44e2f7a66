// CUDA's built-ins for code that a C++ compiler turns into functions of one thread; see emulator.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// Blocks run one after another, so one copy of what a block shares is enough.
#define __shared__ static
#define __ldg(p) (*(p))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// The upper half of an f32.
struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Rounds to the nearest, ties to even.
inline __nv_bfloat16 __float2bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return {0x7fff};
  return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

namespace emulator {

// The thread that runs.
struct Running {
  dim3 thread, block, block_size, grid_size;
  unsigned index;   // within its block
  unsigned threads; // of its block
  char *dynamic;    // shared memory whose size the launch gives
};
extern Running running;

// Places where threads meet: nobody goes on before all are there.
void meet_block();
void meet_warp();

// A 64-bit value of another lane of the warp; all lanes must call it.
uint64_t exchange(uint64_t value, unsigned from);

inline unsigned lane() { return running.index % 32; }

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void load_tiles(uint32_t (&tiles)[4], const void *row, bool transposed);

// Copies happen at the latest moment that is allowed, so that code which does not wait is found out.
void copy_async(void *shared, const void *global, bool valid);
void close_copies();
void copies_done(unsigned left);

template <class T> T shuffle(T value, unsigned from) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, from);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

} // namespace emulator

#define threadIdx (emulator::running.thread)
#define blockIdx (emulator::running.block)
#define blockDim (emulator::running.block_size)
#define gridDim (emulator::running.grid_size)
#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulator::running.dynamic)

inline void __syncthreads() { emulator::meet_block(); }
inline void __syncwarp(unsigned = ~0u) { emulator::meet_warp(); }
template <class T> T __shfl_sync(unsigned, T value, int from) { return emulator::shuffle(value, from % 32); }
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::shuffle(value, emulator::lane() ^ mask);
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by) {
  const unsigned lane = emulator::lane();
  return emulator::shuffle(value, lane + by < 32 ? lane + by : lane);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
using std::isfinite;
using std::isnan;
using std::max;
using std::min;
