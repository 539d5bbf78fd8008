// Batch norm and ReLU of a step's channels, over rows.
//
// Images of a block that are not there count for nothing: their lanes are multiplied by zero.
#pragma once

#include <cmath>

#include "rows.h"

struct Norm {
    const float *weight, *bias;
    // Of all of the layer's channels; written in training, where they are the batch's.
    float *mean, *variance;
    bool training;
    double epsilon;
    explicit operator bool() const { return weight != nullptr; }
    double inverse_deviation(Index channel) const { return 1 / std::sqrt(variance[channel] + epsilon); }
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

// Mean and variance of `channels` channels from the moments of all blocks, [block][channel].
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
        norm.variance[first + c] = squares / count;
    }
}

// What a norm does to some channels, if it is there: value * scale + shift.
struct Affine {
    float scale[CHANNELS_AT_ONCE], shift[CHANNELS_AT_ONCE];

    Affine(const Norm& norm, Index first, Index channels) {
        for (Index c = 0; c < channels; c++) {
            const Index channel = first + c;
            scale[c] = norm ? norm.weight[channel] * norm.inverse_deviation(channel) : 1;
            // With what `scale` is rounded to, so that the mean becomes the bias whatever compiler contracts what.
            shift[c] = norm ? norm.bias[channel] - double(norm.mean[channel]) * scale[c] : 0;
        }
    }
};

// What norm and ReLU, each if it is there, make of some channels. Pads of `to` become zero.
// `first` is the first channel's number among all that the norm has.
static void activate(const Norm& norm, bool rectifies, Index first, Index channels, const Part& from, const Part& to) {
    const Index row = from.rows.row, pad = to.rows.pad;
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = std::min(CHANNELS_AT_ONCE, channels - begin);
        const Affine affine(norm, first + begin, some);
        const Vector least = all(rectifies ? 0 : -HUGE_VALF);
        for (Index y = 0; y < from.rows.height; y++) {
            const float* source = from.at(y, begin);
            float* target = to.at(y, begin);
            for (Index c = 0; c < some; c++, source += from.channel(), target += to.channel()) {
                const Vector factor = all(affine.scale[c]), summand = all(affine.shift[c]);
                announce(source + from.line(), row);
                announce(target + to.line(), row);
                for (Index q = 0; q < row; q += LANES)
                    store(target + q, greater_of(least, multiply_add(load(source + q), factor, summand)));
                for (Index i = 0; i < pad; i++) target[-1 - i] = target[row + i] = 0;
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
// summed up.
static void deactivate(
    const Norm& norm, bool rectifies, Index first, Index channels, const Part& d, const Part& before,
    const Presence& presence, GradientSums* sums
) {
    const Index row = d.rows.row;
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = std::min(CHANNELS_AT_ONCE, channels - begin);
        const Affine affine(norm, first + begin, some);
        Vector plain[CHANNELS_AT_ONCE], product[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) plain[c] = product[c] = zero();
        for (Index y = 0; y < d.rows.height; y++) {
            float* gradient = d.at(y, begin);
            const float* value = before.at(y, begin);
            for (Index c = 0; c < some; c++, gradient += d.channel(), value += before.channel()) {
                const Vector factor = all(affine.scale[c]), summand = all(affine.shift[c]);
                const Vector mean = all(norm ? norm.mean[first + begin + c] : 0);
                announce(gradient + d.line(), row);
                announce(value + before.line(), row);
                Vector total = plain[c], with_deviation = product[c];
                for (Index q = 0; q < row; q += LANES) {
                    Vector g = multiply(load(gradient + q), presence.lanes);
                    const Vector r = load(value + q);
                    if (rectifies) g = unless_at_most_zero(multiply_add(r, factor, summand), g);
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

// From the gradient of what a norm gave to that of what it got. `sums` are of all blocks, `values` of a channel.
static void unnormalise(
    const Norm& norm, Index first, Index channels, const GradientSums* sums, Index values, const Part& d,
    const Part& before, const Presence& presence
) {
    const Index row = d.rows.row;
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = std::min(CHANNELS_AT_ONCE, channels - begin);
        float scale[CHANNELS_AT_ONCE], slope[CHANNELS_AT_ONCE], constant[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) {
            const Index channel = first + begin + c;
            const double inverse = norm.inverse_deviation(channel), factor = norm.weight[channel] * inverse;
            const GradientSums& of = sums[begin + c];
            const double by_value = norm.training ? -factor * inverse * inverse * of.with_deviation / values : 0;
            scale[c] = factor;
            slope[c] = by_value;
            // With what they are rounded to: an error that all pixels share does not average out.
            constant[c] = -double(scale[c]) * of.plain / values - double(slope[c]) * norm.mean[channel];
        }
        for (Index y = 0; y < d.rows.height; y++) {
            float* gradient = d.at(y, begin);
            const float* value = before.at(y, begin);
            for (Index c = 0; c < some; c++, gradient += d.channel(), value += before.channel()) {
                const Vector a = all(scale[c]), b = all(slope[c]), rest = all(constant[c]);
                announce(gradient + d.line(), row);
                announce(value + before.line(), row);
                for (Index q = 0; q < row; q += LANES) {
                    const Vector by_moments = norm.training ? multiply_add(load(value + q), b, rest) : zero();
                    const Vector g = multiply_add(load(gradient + q), a, by_moments);
                    store(gradient + q, multiply(g, presence.lanes));
                }
            }
        }
    }
}
