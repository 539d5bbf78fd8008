// Convolution of rows: each output row gathers from all of its sources, with the sums in registers.
//
// Weights lie in the order in which they are read, tile by tile of TILE_OUTPUTS outputs:
// [tile][kernel row][source channel][kernel column][output].
#pragma once

#include "rows.h"

struct Kernel {
    Index height, width;  // odd
    Index dilation_y, dilation_x;
    Index taps() const { return height * width; }
};

// Source channels that lie side by side, both in the rows and among the weights.
struct Run {
    Index channel, channels;
    Index column;  // of the first among the weights of one kernel row
};

struct Weights {
    const float* data;
    Index columns;  // source channels of each output
};

// Where a row of outputs lies, and what it reads.
struct Place {
    const Rows* from;
    Index block, y, images;
    Kernel kernel;
};

template <int OUTPUTS, int VECTORS, int KERNEL_WIDTH>
static void convolve_tile(
    const Place& place, const Run* runs, Index count, const float* weights, Index columns, Index pixel, float* out,
    Index out_stride, bool adds
) {
    Vector sums[OUTPUTS][VECTORS];
#pragma GCC unroll 8
    for (int o = 0; o < OUTPUTS; o++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sums[o][v] = adds ? load(out + o * out_stride + v * LANES) : zero();
    const Kernel& kernel = place.kernel;
    const Index width = KERNEL_WIDTH ? KERNEL_WIDTH : kernel.width;
    const Index shift = kernel.dilation_x * place.images, channel = place.from->channel(), line = place.from->line();
    for (Index ky = 0; ky < kernel.height; ky++) {
        const Index y = place.y + (ky - kernel.height / 2) * kernel.dilation_y;
        if (y < 0 || y >= place.from->height) continue;
        const float* first = place.from->at(place.block, y, 0) + pixel - width / 2 * shift;
        // The next row of outputs will read one line that no row has read yet.
        const bool is_newest = ky == kernel.height - 1;
        for (Index r = 0; r < count; r++) {
            const float* source = first + runs[r].channel * channel;
            const float* weight = weights + (ky * columns + runs[r].column) * width * OUTPUTS;
            for (Index c = runs[r].channels; c > 0; c--, source += channel) {
                if (is_newest)
#pragma GCC unroll 8
                    for (int v = 0; v < VECTORS; v++) _mm_prefetch(source + line + v * LANES, _MM_HINT_T1);
#pragma GCC unroll 3
                for (Index kx = 0; kx < width; kx++, weight += OUTPUTS) {
                    Vector x[VECTORS];
#pragma GCC unroll 8
                    for (int v = 0; v < VECTORS; v++) x[v] = load(source + kx * shift + v * LANES);
#pragma GCC unroll 8
                    for (int o = 0; o < OUTPUTS; o++) {
                        const Vector w = all(weight[o]);
#pragma GCC unroll 8
                        for (int v = 0; v < VECTORS; v++) sums[o][v] = multiply_add(w, x[v], sums[o][v]);
                    }
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < OUTPUTS; o++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) store(out + o * out_stride + v * LANES, sums[o][v]);
}

template <int OUTPUTS, int VECTORS, typename... Rest>
static void convolve_any(const Place& place, Rest... rest) {
    if (place.kernel.width == 3) convolve_tile<OUTPUTS, VECTORS, 3>(place, rest...);
    else if (place.kernel.width == 1) convolve_tile<OUTPUTS, VECTORS, 1>(place, rest...);
    else convolve_tile<OUTPUTS, VECTORS, 0>(place, rest...);
}

template <int VECTORS, int OUTPUTS = TILE_OUTPUTS, typename... Rest>
static void convolve_outputs(Index outputs, const Place& place, Rest... rest) {
    if constexpr (OUTPUTS > 1)
        if (outputs < OUTPUTS) return convolve_outputs<VECTORS, OUTPUTS - 1>(outputs, place, rest...);
    convolve_any<OUTPUTS, VECTORS>(place, rest...);
}

// `outputs` rows of outputs, `out_stride` floats from one to the next: what the runs give them, or that on top.
static void convolve_row(
    const Place& place, const Run* runs, Index count, Weights weights, Index outputs, float* out, Index out_stride,
    bool adds
) {
    const Index vectors = place.from->row / LANES;
    for (Index o = 0; o < outputs; o += TILE_OUTPUTS) {
        const Index some = std::min<Index>(TILE_OUTPUTS, outputs - o);
        const float* packed = weights.data + o * weights.columns * place.kernel.taps();
        for (Index v = 0; v < vectors;) {
            // As even as can be: 7 are 3, 2 and 2.
            const Index tiles = (vectors - v + TILE_VECTORS - 1) / TILE_VECTORS;
            const Index wide = (vectors - v + tiles - 1) / tiles, pixel = v * LANES;
            float* to = out + o * out_stride + pixel;
            if (wide == 3)
                convolve_outputs<3>(some, place, runs, count, packed, weights.columns, pixel, to, out_stride, adds);
            else if (wide == 2)
                convolve_outputs<2>(some, place, runs, count, packed, weights.columns, pixel, to, out_stride, adds);
            else convolve_outputs<1>(some, place, runs, count, packed, weights.columns, pixel, to, out_stride, adds);
            v += wide;
        }
    }
}

// Weights as torch holds them: floats from one (output, source channel, tap) to the next, taps row by row.
struct Strides {
    Index output, channel, tap;
};

// Columns [column, column + channels) of the packed weights of `outputs` outputs, which have `columns` of them.
// `from` is that of the first output, source channel and tap; with `turned`, taps are taken from the last to the first.
static void pack(
    float* to, Index columns, Index column, Index outputs, Index channels, const Kernel& kernel, const float* from,
    Strides strides, bool turned
) {
    const Index taps = kernel.taps();
    for (Index o = 0; o < outputs; o += TILE_OUTPUTS) {
        const Index some = std::min<Index>(TILE_OUTPUTS, outputs - o);
        for (Index ky = 0; ky < kernel.height; ky++)
            for (Index c = 0; c < channels; c++)
                for (Index kx = 0; kx < kernel.width; kx++) {
                    const Index tap = ky * kernel.width + kx;
                    const float* source = from + o * strides.output + c * strides.channel +
                                          (turned ? taps - 1 - tap : tap) * strides.tap;
                    float* packed = to + o * columns * taps + ((ky * columns + column + c) * kernel.width + kx) * some;
                    for (Index i = 0; i < some; i++) packed[i] = source[i * strides.output];
                }
    }
}
