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

// Some channels are taken at once, so that rows are met in the order in which they lie.
constexpr Index CHANNELS_AT_ONCE = 64;

// Moments of channels [first, first + channels) in one block.
static void measure(
    const Rows& rows, Index block, Index first, Index channels, const Presence& presence, Moments* moments
) {
    for (Index c = 0; c < channels; c++) {
        Vector total = zero();
        for (Index y = 0; y < rows.height; y++) {
            const float* row = rows.at(block, y, first + c);
            for (Index q = 0; q < rows.row; q += LANES) total = multiply_add(load(row + q), presence.lanes, total);
        }
        const float mean = sum(total) / presence.values;
        const Vector minus_mean = multiply(all(-mean), presence.lanes);
        total = zero();
        for (Index y = 0; y < rows.height; y++) {
            const float* row = rows.at(block, y, first + c);
            for (Index q = 0; q < rows.row; q += LANES) {
                const Vector away = multiply_add(load(row + q), presence.lanes, minus_mean);
                total = multiply_add(away, away, total);
            }
        }
        moments[c] = {mean, sum(total)};
    }
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

// A norm as it is applied to channels that begin with `first`: value * scale + shift.
struct Affine {
    float scale[CHANNELS_AT_ONCE], shift[CHANNELS_AT_ONCE];

    Affine(const Norm& norm, Index first, Index channels) {
        for (Index c = 0; c < channels; c++) {
            scale[c] = norm ? norm.weight[first + c] * norm.inverse_deviation[first + c] : 1;
            shift[c] = norm ? norm.bias[first + c] - norm.mean[first + c] * scale[c] : 0;
        }
    }
};

// What norm and ReLU, each if it is there, make of all channels of a step, or of the layer, of one block. Pads of `to`
// become zero. `first` is the channel in `from` and in the norm, `to_channel` that in `to`.
static void activate(
    const Norm& norm, bool rectifies, const Rows& from, Index block, Index first, Index channels, const Rows& to,
    Index to_block, Index to_channel
) {
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = channels - begin < CHANNELS_AT_ONCE ? channels - begin : CHANNELS_AT_ONCE;
        const Affine affine(norm, first + begin, some);
        const Vector least = all(rectifies ? 0 : -HUGE_VALF);
        for (Index y = 0; y < from.height; y++) {
            const float* source = from.at(block, y, first + begin);
            float* target = to.at(to_block, y, to_channel + begin);
            for (Index c = 0; c < some; c++, source += from.channel(), target += to.channel()) {
                const Vector factor = all(affine.scale[c]), summand = all(affine.shift[c]);
                announce(source + from.line(), from.row);
                announce(target + to.line(), to.row);
                for (Index q = 0; q < from.row; q += LANES)
                    store(target + q, greater_of(least, multiply_add(load(source + q), factor, summand)));
                for (Index i = 0; i < to.pad; i++) target[-1 - i] = target[to.row + i] = 0;
            }
        }
    }
}

// Sums over one channel in one block: of the gradient behind the norm, and of its product with the deviation from the
// mean.
struct GradientSums {
    double plain, with_deviation;
};

// The gradient of what `activate` gave becomes that of what the norm gave, in place, and what the norm needs of it is
// summed up. The channels are those of `before`, of `d` and of the norm.
static void deactivate(
    const Norm& norm, bool rectifies, const Rows& d, const Rows& before, Index block, Index first, Index channels,
    const Presence& presence, GradientSums* sums
) {
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = channels - begin < CHANNELS_AT_ONCE ? channels - begin : CHANNELS_AT_ONCE;
        const Affine affine(norm, first + begin, some);
        Vector plain[CHANNELS_AT_ONCE], product[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) plain[c] = product[c] = zero();
        for (Index y = 0; y < d.height; y++) {
            float* gradient = d.at(block, y, first + begin);
            const float* value = before.at(block, y, first + begin);
            for (Index c = 0; c < some; c++, gradient += d.channel(), value += before.channel()) {
                const Vector factor = all(affine.scale[c]), summand = all(affine.shift[c]);
                const Vector mean = all(norm ? norm.mean[first + begin + c] : 0);
                announce(gradient + d.line(), d.row);
                announce(value + before.line(), d.row);
                Vector total = plain[c], with_deviation = product[c];
                for (Index q = 0; q < d.row; q += LANES) {
                    Vector g = multiply(load(gradient + q), presence.lanes);
                    const Vector r = load(value + q);
                    if (rectifies) g = where_positive(multiply_add(r, factor, summand), g);
                    store(gradient + q, g);
                    total = add(total, g);
                    if (norm) with_deviation = multiply_add(g, subtract(r, mean), with_deviation);
                }
                plain[c] = total;
                product[c] = with_deviation;
            }
        }
        for (Index c = 0; c < some; c++) sums[begin + c] = {sum(plain[c]), sum(product[c])};
    }
}

// From the gradient of what a norm gave to that of what it got, in place.
static void unnormalise(
    const Norm& norm, const GradientSums* sums, const Rows& d, const Rows& before, Index block, Index first,
    Index channels, const Sizes& sizes, const Presence& presence
) {
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = channels - begin < CHANNELS_AT_ONCE ? channels - begin : CHANNELS_AT_ONCE;
        float scale[CHANNELS_AT_ONCE], slope[CHANNELS_AT_ONCE], constant[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) {
            const Index channel = first + begin + c;
            const double inverse = norm.inverse_deviation[channel], factor = norm.weight[channel] * inverse;
            const GradientSums& of = sums[begin + c];
            const double by_value = norm.training ? -factor * inverse * inverse * of.with_deviation / sizes.values() : 0;
            scale[c] = factor;
            slope[c] = by_value;
            constant[c] = norm.training ? -factor * of.plain / sizes.values() - by_value * norm.mean[channel] : 0;
        }
        for (Index y = 0; y < d.height; y++) {
            float* gradient = d.at(block, y, first + begin);
            const float* value = before.at(block, y, first + begin);
            for (Index c = 0; c < some; c++, gradient += d.channel(), value += before.channel()) {
                const Vector a = all(scale[c]), b = all(slope[c]), rest = all(constant[c]);
                announce(gradient + d.line(), d.row);
                announce(value + before.line(), d.row);
                for (Index q = 0; q < d.row; q += LANES) {
                    const Vector g = multiply_add(load(gradient + q), a, multiply_add(load(value + q), b, rest));
                    store(gradient + q, multiply(g, presence.lanes));
                }
            }
        }
    }
}
