// Places of grids with three axes, the slowest first; an axis that a grid does not have is one long.
#pragma once
#include "device.cuh"

DEVICE unsigned volume(const int (&extent)[3]) { return unsigned(extent[0]) * extent[1] * extent[2]; }

// Takes the place along three axes off an index, and gives what is left of it.
DEVICE unsigned unravel(unsigned index, const int (&extent)[3], int (&place)[3]) {
#pragma unroll
  for (int axis = 2; axis >= 0; axis--) {
    place[axis] = index % extent[axis];
    index /= extent[axis];
  }
  return index;
}

DEVICE size_t ravel(size_t outer, const int (&extent)[3], const int (&place)[3]) {
#pragma unroll
  for (int axis = 0; axis < 3; axis++) outer = outer * extent[axis] + place[axis];
  return outer;
}
