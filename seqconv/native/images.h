// Between tensors as torch holds them and rows.
#pragma once

#include "rows.h"

// NCHW, or NHWC (channels_last).
struct Images {
    float* data;
    Index channels;
    bool channels_last;
    bool repeats = false;  // the first of a block for those that are not there, else zeros; from images to rows
};

// Of NCHW; IMAGES is the number of images in a block, 0 stands for any.
// A channel's lines follow one another there, so they are taken one after the other.
template <bool TO_ROWS, int IMAGES>
static void convert_planes(
    const Images&, float* const* origins, Index begin, Index channels, const Sizes& sizes, const Part& part
) {
    const Index H = sizes.height, W = sizes.width;
    for (Index c = 0; c < channels; c++)
        for (Index y = 0; y < H; y++) {
            const Index line = ((begin + c) * H + y) * W;
            float* const row = part.at(y, c);
            if constexpr (IMAGES > 0) {
                float* lines[IMAGES];
                for (int i = 0; i < IMAGES; i++) lines[i] = origins[i] + line;
                for (Index x = 0; x < W; x++)
#pragma GCC unroll 8
                    for (int i = 0; i < IMAGES; i++)
                        if (TO_ROWS) row[x * IMAGES + i] = lines[i][x];
                        else lines[i][x] = row[x * IMAGES + i];
            } else {
                for (Index x = 0; x < W; x++)
                    for (Index i = 0; i < sizes.images; i++) {
                        float& value = row[x * sizes.images + i];
                        if (TO_ROWS) value = origins[i] ? origins[i][line + x] : 0;
                        else if (origins[i]) origins[i][line + x] = value;
                    }
            }
        }
}

// Of NHWC: eight channels of eight pixels at once.
template <bool TO_ROWS>
static void convert_pixels(
    const Images& images, float* const* origins, Index begin, Index channels, const Sizes& sizes, const Part& part
) {
    const Index stride = part.channel();
    for (Index y = 0; y < sizes.height; y++)
        for (Index q = 0; q < sizes.row; q += 8) {
            float absent[8] = {0};  // read for those that are not there, or written
            float* pixels[8];
            Index advance[8];
            for (int j = 0; j < 8; j++) {
                float* const origin = origins[(q + j) % sizes.images];
                const Index pixel = y * sizes.width + (q + j) / sizes.images;
                pixels[j] = origin ? origin + pixel * images.channels + begin : absent;
                advance[j] = origin ? 1 : 0;
            }
            float* row = part.at(y, 0) + q;
            Index c = 0;
            for (; c + 8 <= channels; c += 8, row += 8 * stride) {
                float *here[8], *there[8];
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) {
                    here[j] = pixels[j] + c * advance[j];
                    there[j] = row + j * stride;
                }
                if (TO_ROWS) transpose_8x8(here, there);
                else transpose_8x8(there, here);
            }
            for (; c < channels; c++, row += stride)
                for (int j = 0; j < 8; j++)
                    if (TO_ROWS) row[j] = pixels[j][c * advance[j]];
                    else pixels[j][c * advance[j]] = row[j];
        }
}

// Channels [begin, begin + channels) of one block of images into rows, or back. Origins of images that are not there,
// and that no other stands in for, are null.
template <bool TO_ROWS>
static void convert(
    const Images& images, Index begin, Index channels, const Sizes& sizes, Index block, const Part& part
) {
    const Index image_floats = images.channels * sizes.height * sizes.width, present = sizes.present(block);
    float* const first = images.data + block * sizes.images * image_floats;
    float* origins[LANES];
    for (Index i = 0; i < sizes.images; i++)
        origins[i] = i < present ? first + i * image_floats : TO_ROWS && images.repeats ? first : nullptr;
    const bool complete = origins[sizes.images - 1];  // the last ones are missing, if any
    const auto converts = images.channels_last            ? convert_pixels<TO_ROWS>
                          : complete && sizes.images == 1 ? convert_planes<TO_ROWS, 1>
                          : complete && sizes.images == 2 ? convert_planes<TO_ROWS, 2>
                          : complete && sizes.images == 4 ? convert_planes<TO_ROWS, 4>
                          : complete && sizes.images == 8 ? convert_planes<TO_ROWS, 8>
                                                          : convert_planes<TO_ROWS, 0>;
    converts(images, origins, begin, channels, sizes, part);
    if (TO_ROWS) clear_pads(part, channels);
}
