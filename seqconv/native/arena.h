// The memory that a pass works in.
#pragma once

#include "layer.h"

// Hands out pieces of one allocation; counts them where there is none.
struct Arena {
    float* base;
    Index used = 0;
    float* take(Index floats) {
        float* piece = base ? base + used : nullptr;
        used += (floats + 2 * LANES - 1) / LANES * LANES;
        return piece;
    }
    // `blocks` of them: all, or one for each thread.
    Rows rows(const Sizes& sizes, Index blocks, Index channels, Index pad) {
        Rows rows = rows_of(nullptr, sizes, channels, pad);
        rows.data = take(blocks * rows.block());
        return rows;
    }
    Pixels pixels(const Sizes& sizes, Index outputs) {
        return pixels_of(take(floats_of_pixels(sizes, outputs)), sizes, outputs);
    }
};
