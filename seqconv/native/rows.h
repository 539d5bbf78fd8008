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

    Index vectors() const { return row / LANES; }
    // Images of a block that are there.
    Index present(Index block) const { return batch - block * images < images ? batch - block * images : images; }
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

// A tensor as torch holds it: NCHW, or NHWC (channels_last).
struct Images {
    float* data;
    Index channels;
    bool channels_last;
    bool repeats = false;  // the first of a block for those that are not there, else zeros; from images to rows
};

static inline void clear_pads(const Rows& rows, Index block, Index first, Index channels) {
    if (rows.pad == 0) return;
    for (Index y = 0; y < rows.height; y++)
        for (Index c = first; c < first + channels; c++) {
            float* row = rows.at(block, y, c);
            for (Index i = 1; i <= rows.pad; i++) row[-i] = row[rows.row + i - 1] = 0;
        }
}

// One block of images into the rows of a block, or back. `first` is the rows' channel of the images' first one.
template <bool TO_ROWS>
static void convert(
    const Images& images, const Rows& rows, Index first, const Sizes& sizes, Index block, Index block_of_rows
) {
    const Index C = images.channels, present = sizes.present(block), I = sizes.images, W = sizes.width;
    const Index image_floats = C * sizes.height * W;
    float* const origin = images.data + block * I * image_floats;
    float nothing[8] = {0};
    // Where an image lies among those of its block, or -1.
    const auto place = [&](Index image) { return image < present ? image : TO_ROWS && images.repeats ? 0 : -1; };
    for (Index y = 0; y < sizes.height; y++) {
        if (images.channels_last) {
            for (Index q = 0; q < sizes.row; q += 8) {
                float* pixels[8];
                bool is_there[8];
                for (int j = 0; j < 8; j++) {
                    const Index x = (q + j) / I, image = place((q + j) % I);
                    is_there[j] = image >= 0;
                    pixels[j] = origin + image * image_floats + (y * W + x) * C;
                }
                Index c = 0;
                for (; c + 8 <= C; c += 8) {
                    float *here[8], *there[8];
                    float lost[8];
                    for (int j = 0; j < 8; j++) {
                        here[j] = is_there[j] ? pixels[j] + c : TO_ROWS ? nothing : lost;
                        there[j] = rows.at(block_of_rows, y, first + c + j) + q;
                    }
                    if (TO_ROWS) transpose_8x8(here, there);
                    else transpose_8x8(there, here);
                }
                for (; c < C; c++)
                    for (int j = 0; j < 8; j++) {
                        float& value = rows.at(block_of_rows, y, first + c)[q + j];
                        if (TO_ROWS) value = is_there[j] ? pixels[j][c] : 0;
                        else if (is_there[j]) pixels[j][c] = value;
                    }
            }
        } else {
            for (Index c = 0; c < C; c++)
                for (Index image = 0; image < I; image++) {
                    float* const plane = origin + place(image) * image_floats + (c * sizes.height + y) * W;
                    float* const row = rows.at(block_of_rows, y, first + c) + image;
                    if (place(image) < 0) {
                        if (TO_ROWS) for (Index x = 0; x < W; x++) row[x * I] = 0;
                    } else if (TO_ROWS) {
                        for (Index x = 0; x < W; x++) row[x * I] = plane[x];
                    } else {
                        for (Index x = 0; x < W; x++) plane[x] = row[x * I];
                    }
                }
        }
    }
    if (TO_ROWS) clear_pads(rows, block_of_rows, first, C);
}

template <bool TO_ROWS>
static void convert(const Images& images, const Rows& rows, Index first, const Sizes& sizes, Index block) {
    convert<TO_ROWS>(images, rows, first, sizes, block, block);
}
