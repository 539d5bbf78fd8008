// How activations lie in memory while a layer computes: rows of pixels, vectors of neighbouring pixels.
//
// A block holds `images` images whose pixels alternate, so that a row of any width fills whole vectors, and the pixel
// to the left is `images` floats away: [block][y][channel][pad + x * images + image + pad]. The rows of one y lie side
// by side over all channels, so what a convolution reads for one row of outputs is a few contiguous pieces.
//
// In the last block images may be missing. Its first one stands in for them, so that nothing becomes larger there than
// it does in an image that is there (zeros would: a norm can blow them up, and infinity times zero counts); of their
// gradients all are zero.
#pragma once

#include <algorithm>
#include <cstring>

#include "vectors.h"

struct Sizes {
    Index batch, height, width;
    Index images;  // of a block
    Index blocks;
    Index row;  // width * images: whole vectors

    Sizes(Index batch, Index height, Index width) : batch(batch), height(height), width(width) {
        images = 1;
        while (width * images % LANES) images *= 2;
        // Two vectors a row if the images allow: more to compute with each weight.
        if (width * images == LANES && images < LANES && batch > images) images *= 2;
        blocks = (batch + images - 1) / images;
        row = width * images;
    }

    // Images of a block that are there.
    Index present(Index block) const { return std::min(images, batch - block * images); }
    Index values() const { return batch * height * width; }
};

// A tensor of rows.
struct Rows {
    float* data;
    Index channels, height;
    Index pad;      // floats on each side of a row
    Index row;      // floats of a row without them
    Index channel() const { return row + 2 * pad; }        // from a channel to the next
    Index line() const { return channels * channel(); }    // from a y to the next
    Index block() const { return height * line(); }
    // First pixel of a row.
    float* at(Index block_, Index y, Index c) const {
        return data + block_ * block() + y * line() + c * channel() + pad;
    }
};

// Channels of one block, from the first on.
struct Part {
    const Rows& rows;
    Index block, first;
    float* at(Index y, Index c) const { return rows.at(block, y, first + c); }
    Index channel() const { return rows.channel(); }
    Index line() const { return rows.line(); }
};

static inline Index floats_of(const Sizes& sizes, Index channels, Index pad) {
    return sizes.blocks * sizes.height * channels * (sizes.row + 2 * pad);
}

static inline Rows rows_of(float* data, const Sizes& sizes, Index channels, Index pad) {
    return {data, channels, sizes.height, pad, sizes.row};
}

static inline void clear(const Part& part, Index channels) {
    for (Index y = 0; y < part.rows.height; y++)
        std::memset(part.at(y, 0) - part.rows.pad, 0, channels * part.channel() * sizeof(float));
}

static inline void clear_pads(const Part& part, Index channels) {
    const Index pad = part.rows.pad, row = part.rows.row;
    if (pad == 0) return;
    for (Index y = 0; y < part.rows.height; y++)
        for (Index c = 0; c < channels; c++) {
            float* pixels = part.at(y, c);
            for (Index i = 0; i < pad; i++) pixels[-1 - i] = pixels[row + i] = 0;
        }
}
