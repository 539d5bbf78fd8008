// Gradient of weights: what rows of sources and the gradients of outputs have in common.
//
// Here a vector holds neighbouring outputs, not pixels, so that nothing has to be added up across a vector: the
// gradients are kept pixel by pixel, in blocks of OUTPUTS_WIDE outputs:
// [block][outputs / OUTPUTS_WIDE][y][pixel][output].
#pragma once

#include "convolution.h"

constexpr Index OUTPUTS_WIDE = 2 * LANES;
// Before sums leave the registers: the gradients of so many stay in level 1 cache.
constexpr Index PIXELS_AT_ONCE = 256;

// Blocks of outputs.
static inline Index wide_blocks(Index outputs) { return (outputs + OUTPUTS_WIDE - 1) / OUTPUTS_WIDE; }

struct Pixels {
    float* data;
    Index outputs, height, row;
    Index wide() const { return wide_blocks(outputs); }
    float* at(Index block, Index which, Index y) const {
        return data + ((block * wide() + which) * height + y) * row * OUTPUTS_WIDE;
    }
};

static inline Index floats_of_pixels(const Sizes& sizes, Index outputs) {
    return sizes.blocks * wide_blocks(outputs) * OUTPUTS_WIDE * sizes.height * sizes.row;
}

static inline Pixels pixels_of(float* data, const Sizes& sizes, Index outputs) {
    return {data, outputs, sizes.height, sizes.row};
}

// Rows of `channels` outputs from `first` on into pixels, for one block and y. `rows` is that of the first of them.
static void to_pixels(
    const float* rows, Index stride, Index first, Index channels, const Pixels& pixels, Index block, Index y
) {
    Index c = 0;
    while (c < channels) {
        const Index output = first + c;
        float* to = pixels.at(block, output / OUTPUTS_WIDE, y) + output % OUTPUTS_WIDE;
        const float* from = rows + c * stride;
        if (output % 8 == 0 && c + 8 <= channels) {
            for (Index q = 0; q < pixels.row; q += 8) {
                const float* here[8];
                float* there[8];
                for (int j = 0; j < 8; j++) {
                    here[j] = from + j * stride + q;
                    there[j] = to + (q + j) * OUTPUTS_WIDE;
                }
                transpose_8x8(here, there);
            }
            c += 8;
        } else {
            for (Index q = 0; q < pixels.row; q++) to[q * OUTPUTS_WIDE] = from[q];
            c++;
        }
    }
}

// CHANNELS source channels and KERNEL_WIDTH taps of one kernel row against HALVES vectors of outputs.
// Sums: [source channel][tap][output], `sum_stride` floats from one (channel, tap) to the next.
template <int CHANNELS, int KERNEL_WIDTH, int HALVES>
static void correlate_tile(
    const float* source, Index channel, Index line, Index shift, const float* d, Index d_line, Index lines, Index row,
    float* sums, Index channel_stride
) {
    Vector total[CHANNELS][KERNEL_WIDTH][HALVES];
#pragma GCC unroll 16
    for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
        for (int k = 0; k < KERNEL_WIDTH; k++)
#pragma GCC unroll 2
            for (int h = 0; h < HALVES; h++)
                total[c][k][h] = load(sums + c * channel_stride + k * OUTPUTS_WIDE + h * LANES);
    for (Index y = 0; y < lines; y++, source += line, d += d_line)
        for (Index q = 0; q < row; q++) {
            Vector there[HALVES];
#pragma GCC unroll 2
            for (int h = 0; h < HALVES; h++) there[h] = load(d + q * OUTPUTS_WIDE + h * LANES);
#pragma GCC unroll 16
            for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
                for (int k = 0; k < KERNEL_WIDTH; k++) {
                    const Vector x = all(source[c * channel + k * shift + q]);
#pragma GCC unroll 2
                    for (int h = 0; h < HALVES; h++) total[c][k][h] = multiply_add(x, there[h], total[c][k][h]);
                }
        }
#pragma GCC unroll 16
    for (int c = 0; c < CHANNELS; c++)
#pragma GCC unroll 4
        for (int k = 0; k < KERNEL_WIDTH; k++)
#pragma GCC unroll 2
            for (int h = 0; h < HALVES; h++)
                store(sums + c * channel_stride + k * OUTPUTS_WIDE + h * LANES, total[c][k][h]);
}

template <int KERNEL_WIDTH, int HALVES, int CHANNELS = 2 * TILE_SOURCES / KERNEL_WIDTH / HALVES>
static void correlate_channels(
    Index channels, const float* source, Index channel, Index line, Index shift, const float* d, Index d_line,
    Index lines, Index row, float* sums, Index channel_stride
) {
    Index c = 0;
    for (; c + CHANNELS <= channels; c += CHANNELS)
        correlate_tile<CHANNELS, KERNEL_WIDTH, HALVES>(
            source + c * channel, channel, line, shift, d, d_line, lines, row, sums + c * channel_stride, channel_stride
        );
    if constexpr (CHANNELS > 1)
        if (c < channels)
            correlate_channels<KERNEL_WIDTH, HALVES, CHANNELS / 2>(
                channels - c, source + c * channel, channel, line, shift, d, d_line, lines, row,
                sums + c * channel_stride, channel_stride
            );
}

// Source channels against the outputs of one block of OUTPUTS_WIDE, of which `halves` (bits) hold some that read them.
// Adds to sums [source channel][tap][OUTPUTS_WIDE].
static void correlate(
    const Rows& from, Index from_block, Index images, const Kernel& kernel, Index first, Index channels,
    const Pixels& d, Index block, Index which, int halves, float* sums
) {
    const Index lines_at_once = std::max(PIXELS_AT_ONCE / d.row, Index(1));
    const Index channel = from.channel(), line = from.line(), d_line = d.row * OUTPUTS_WIDE;
    const Index shift = kernel.dilation_x * images, channel_stride = kernel.taps() * OUTPUTS_WIDE;
    for (Index start = 0; start < from.height; start += lines_at_once)
        for (Index ky = 0; ky < kernel.height; ky++) {
            const Index away = (ky - kernel.height / 2) * kernel.dilation_y;
            const Index begin = std::max(start, -away);
            const Index end = std::min(start + lines_at_once, from.height - std::max(away, Index(0)));
            if (begin >= end) continue;
            const float* here = d.at(block, which, begin) + (halves == 2 ? LANES : 0);
            const float* there = from.at(from_block, begin + away, first);
            float* to = sums + ky * kernel.width * OUTPUTS_WIDE + (halves == 2 ? LANES : 0);
            for (Index kx = 0; kx < kernel.width; kx += kernel.width == 3 ? 3 : 1) {
                const float* source = there + (kx - kernel.width / 2) * shift;
                float* tap = to + kx * OUTPUTS_WIDE;
                const auto correlated = kernel.width == 3
                                            ? (halves == 3 ? correlate_channels<3, 2> : correlate_channels<3, 1>)
                                            : (halves == 3 ? correlate_channels<1, 2> : correlate_channels<1, 1>);
                correlated(
                    channels, source, channel, line, shift, here, d_line, end - begin, d.row, tap, channel_stride
                );
            }
        }
}
