// A kernel of the tests alone, to see that a missing barrier is found.
// y = x turned around, through shared memory. x, y: (threads,), at most 64.
// Without the barrier a thread may read a number that another has not written yet.
#include "../../../train/src/ops/device.cuh"

KERNEL racy_f32(const float *x, float *y, int barrier) {
  __shared__ float row[64];
  row[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  y[threadIdx.x] = row[blockDim.x - 1 - threadIdx.x];
}
