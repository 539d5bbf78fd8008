// Batch norm and ReLU of a step's channels, over rows.
//
// Images of a block that are not there count for nothing: their lanes are multiplied by zero.
#pragma once

#include <cmath>

#include "rows.h"

struct Norm {
    const float *weight, *bias;
    // Of all of the layer's channels; written in training, where they are the batch's.
    float *mean, *inverse_deviation;
    bool training;
    float epsilon;
    explicit operator bool() const { return weight != nullptr; }
};

// One for each lane whose image is there.
struct Presence {
    Vector lanes;
    Index values;  // of a channel in this block

    Presence(const Sizes& sizes, Index block) {
        float ones[LANES];
        const Index present = sizes.present(block);
        for (Index lane = 0; lane < LANES; lane++) ones[lane] = lane % sizes.images < present;
        lanes = load(ones);
        values = present * sizes.height * sizes.width;
    }
};

// Values of one channel in one block: their number is known, their mean and the sum of squared deviations are here.
struct Moments {
    double mean, squares;
};

static Moments moments_of(const Rows& rows, Index block, Index c, const Presence& presence) {
    Vector total = zero();
    for (Index y = 0; y < rows.height; y++) {
        const float* row = rows.at(block, y, c);
        for (Index q = 0; q < rows.row; q += LANES) total = multiply_add(load(row + q), presence.lanes, total);
    }
    const float mean = sum(total) / presence.values;
    const Vector minus_mean = all(-mean);
    total = zero();
    for (Index y = 0; y < rows.height; y++) {
        const float* row = rows.at(block, y, c);
        for (Index q = 0; q < rows.row; q += LANES) {
            const Vector away = multiply_add(presence.lanes, minus_mean, multiply_add(load(row + q), presence.lanes, zero()));
            total = multiply_add(away, away, total);
        }
    }
    return {mean, sum(total)};
}

// Mean and inverse deviation of `channels` channels from the moments of all blocks, [block][channel].
// The parallel algorithm of Chan, Golub and LeVeque (1979).
static void settle(const Norm& norm, Index first, Index channels, const Moments* moments, const Sizes& sizes) {
    for (Index c = 0; c < channels; c++) {
        double count = 0, mean = 0, squares = 0;
        for (Index block = 0; block < sizes.blocks; block++) {
            const Moments& of = moments[block * channels + c];
            const double more = sizes.present(block) * sizes.height * sizes.width, away = of.mean - mean;
            mean += away * more / (count + more);
            squares += of.squares + away * away * count * more / (count + more);
            count += more;
        }
        norm.mean[first + c] = mean;
        norm.inverse_deviation[first + c] = 1 / std::sqrt(squares / count + norm.epsilon);
    }
}

// What norm and ReLU, each if it is there, make of channels of one block. Pads of `to` become zero.
static void activate(
    const Norm& norm, bool rectifies, const Rows& from, Index from_channel, const Rows& to, Index to_channel,
    Index channels, Index first, Index block
) {
    for (Index y = 0; y < from.height; y++)
        for (Index c = 0; c < channels; c++) {
            float scale = 1, shift = 0;
            if (norm) {
                scale = norm.weight[first + c] * norm.inverse_deviation[first + c];
                shift = norm.bias[first + c] - norm.mean[first + c] * scale;
            }
            const Vector factor = all(scale), summand = all(shift);
            const float* source = from.at(block, y, from_channel + c);
            float* target = to.at(block, y, to_channel + c);
            for (Index q = 0; q < from.row; q += LANES) {
                Vector value = load(source + q);
                if (norm) value = multiply_add(value, factor, summand);
                if (rectifies) value = greater_of(value, zero());
                store(target + q, value);
            }
        }
    clear_pads(to, block, to_channel, channels);
}

// Sums over one channel in one block: of the gradient behind the norm, and of its product with the normalised value.
struct GradientSums {
    double plain, with_normalised;
};

// The gradient behind an activation becomes that in front of it, in place; what the norm needs of it is summed up.
static GradientSums deactivate(
    const Norm& norm, bool rectifies, const Rows& d, Index d_channel, const Rows& activated, Index activated_channel,
    const Rows& before, Index channel, Index block, const Presence& presence
) {
    Vector plain = zero(), product = zero();
    const Vector minus_mean = all(norm ? -norm.mean[channel] : 0), one = all(1);
    for (Index y = 0; y < d.height; y++) {
        float* gradient = d.at(block, y, d_channel);
        const float* after = activated.at(block, y, activated_channel);
        const float* value = before.at(block, y, channel);
        for (Index q = 0; q < d.row; q += LANES) {
            Vector g = multiply_add(load(gradient + q), presence.lanes, zero());
            if (rectifies) g = where_positive(load(after + q), g);
            store(gradient + q, g);
            plain = multiply_add(g, one, plain);
            if (norm) product = multiply_add(g, multiply_add(load(value + q), one, minus_mean), product);
        }
    }
    return {sum(plain), norm ? sum(product) * double(norm.inverse_deviation[channel]) : 0};
}

// From the gradient of what a norm gave to that of what it got, for one channel of one block.
// `add` on top, and `presence` of it, if there is any.
static void unnormalise(
    const Norm& norm, const GradientSums& sums, const Rows& d, Index d_channel, const Rows& before, Index channel,
    Index block, const Sizes& sizes, const Presence& presence
) {
    const double inverse = norm.inverse_deviation[channel], scale = norm.weight[channel] * inverse;
    double constant = 0, slope = 0;
    if (norm.training) {
        slope = -scale * inverse * sums.with_normalised / sizes.values();
        constant = -scale * sums.plain / sizes.values() - slope * norm.mean[channel];
    }
    const Vector a = all(scale), b = all(slope), c = all(constant);
    for (Index y = 0; y < d.height; y++) {
        float* gradient = d.at(block, y, d_channel);
        const float* value = before.at(block, y, channel);
        for (Index q = 0; q < d.row; q += LANES) {
            const Vector g = multiply_add(load(gradient + q), a, multiply_add(load(value + q), b, c));
            store(gradient + q, multiply_add(g, presence.lanes, zero()));
        }
    }
}
