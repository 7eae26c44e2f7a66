// What every kernel here builds on: numbers, vectors, sums in a fixed order, tensor cores, copies.
//
// The same sources are compiled twice: by nvcc for a GPU, and by a C++ compiler for the emulator that the
// tests run (tests/emulator), which gives the few built-ins of CUDA that are used here.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <math.h>
#include <stdint.h>
#define DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type *name = reinterpret_cast<type *>(name##_bytes)
#else
#include "cuda.h"
#endif

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__

using bf16 = __nv_bfloat16;

constexpr unsigned ALL_LANES = 0xffffffffu;

// Numbers are stored as f32 or bf16 and computed with as f32.
DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __bfloat162float(x); }

template <class T> DEVICE T from_float(float x);
template <> DEVICE float from_float<float>(float x) { return x; }
template <> DEVICE bf16 from_float<bf16>(float x) { return __float2bfloat16(x); }

// Two bf16 numbers in one register, the first in the low half: what tensor cores take.
DEVICE uint32_t pack_bf16(float low, float high) {
#ifdef __CUDACC__
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return uint32_t(__float2bfloat16(low).bits) | uint32_t(__float2bfloat16(high).bits) << 16;
#endif
}

// Sixteen bytes of numbers, moved at once: four f32 or eight bf16.
template <class T> struct alignas(16) Pack {
  static constexpr int N = 16 / sizeof(T);
  T at[N];
};

template <class T> DEVICE bool aligned(const T *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
template <class T> DEVICE Pack<T> load_pack(const T *p) { return *reinterpret_cast<const Pack<T> *>(p); }
template <class T> DEVICE void store_pack(T *p, const Pack<T> &x) { *reinterpret_cast<Pack<T> *>(p) = x; }

// `N` numbers from any address as f32, in packs where the address allows it; beyond `left` they are zeros.
template <int N, class T> DEVICE void load(float (&x)[N], const T *p, size_t left) {
  static_assert(N % Pack<T>::N == 0, "whole packs");
  if (left >= N && aligned(p)) {
#pragma unroll
    for (int i = 0; i < N; i += Pack<T>::N) {
      const Pack<T> pack = load_pack(p + i);
#pragma unroll
      for (int j = 0; j < Pack<T>::N; j++) x[i + j] = to_float(pack.at[j]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = i < left ? to_float(p[i]) : 0;
  }
}

// The first `left` of N numbers to any address.
template <int N, class T> DEVICE void store(T *p, const float (&x)[N], size_t left) {
  static_assert(N % Pack<T>::N == 0, "whole packs");
  if (left >= N && aligned(p)) {
#pragma unroll
    for (int i = 0; i < N; i += Pack<T>::N) {
      Pack<T> pack;
#pragma unroll
      for (int j = 0; j < Pack<T>::N; j++) pack.at[j] = from_float<T>(x[i + j]);
      store_pack(p + i, pack);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) {
      if (i < left) p[i] = from_float<T>(x[i]);
    }
  }
}

// Over the 32 lanes of a warp; every lane gets the result, and its bits are the same in every run.
template <class T> DEVICE T warp_sum(T x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(ALL_LANES, x, lanes);
  return x;
}

DEVICE float warp_max(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, lanes));
  return x;
}

// Over a block of full warps, in the warps' order; every thread must call it and gets the result.
// `partial` is shared memory for one float of each warp; it may be used again at once.
DEVICE float block_sum(float x, float *partial) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  x = warp_sum(x);
  __syncthreads();
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < warps; i++) sum += partial[i];
  return sum;
}

// 2^x to two units in the last place; 2^-inf is 0.
DEVICE float exp2_fast(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

// Tensor cores. A warp holds d (16×8, f32), a (16×k) and b (k×8); lane = 4 g + t has
// d: rows g, g, g+8, g+8 at columns 2t, 2t+1, 2t, 2t+1.
// bf16, k = 16, two numbers a register: a: (g, 2t), (g+8, 2t), (g, 2t+8), (g+8, 2t+8); b: (2t, g), (2t+8, g).
DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulator::mma_bf16(d, a, b);
#endif
}

// TF32, k = 8, one number a register: a: (g, t), (g+8, t), (g, t+4), (g+8, t+4); b: (t, g), (t+4, g).
// The lowest 13 bits of a and b do not count.
DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulator::mma_tf32(d, a, b);
#endif
}

// Four 8×8 tiles of 16-bit numbers from shared memory. Lane 8 i + r gives the address of row r of tile i
// (16 bytes, aligned); lane 4 g + t gets of each tile the numbers (g, 2t) and (g, 2t+1), or, transposed,
// (2t, g) and (2t+1, g).
DEVICE void load_tiles(uint32_t (&tiles)[4], const void *row) {
#ifdef __CUDACC__
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(address)
               : "memory");
#else
  emulator::load_tiles(tiles, row, false);
#endif
}

DEVICE void load_tiles_transposed(uint32_t (&tiles)[4], const void *row) {
#ifdef __CUDACC__
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(address)
               : "memory");
#else
  emulator::load_tiles(tiles, row, true);
#endif
}

// Sixteen bytes from global to shared memory without waiting, both aligned; zeros where `valid` is false.
// They are there after `copies_done` and a barrier.
DEVICE void copy_async(void *shared, const void *global, bool valid) {
#ifdef __CUDACC__
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
#else
  emulator::copy_async(shared, global, valid);
#endif
}

// Ends a group of copies.
DEVICE void close_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::close_copies();
#endif
}

// Waits until at most `LEFT` groups of copies of this thread are under way.
template <int LEFT> DEVICE void copies_done() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#else
  emulator::copies_done(LEFT);
#endif
}
