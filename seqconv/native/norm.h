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

// What norm and ReLU, each if it is there, make of channels of one block. Pads of `to` become zero.
// `first` is the first channel's number among all that the norm has.
static void activate(
    const Norm& norm, bool rectifies, const Rows& from, Index from_channel, const Rows& to, Index to_channel,
    Index channels, Index first, Index block
) {
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = channels - begin < CHANNELS_AT_ONCE ? channels - begin : CHANNELS_AT_ONCE;
        float scale[CHANNELS_AT_ONCE], shift[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) {
            const Index channel = first + begin + c;
            scale[c] = norm ? norm.weight[channel] * norm.inverse_deviation[channel] : 1;
            shift[c] = norm ? norm.bias[channel] - norm.mean[channel] * scale[c] : 0;
        }
        const Vector least = all(rectifies ? 0 : -HUGE_VALF);
        for (Index y = 0; y < from.height; y++) {
            const float* source = from.at(block, y, from_channel + begin);
            float* target = to.at(block, y, to_channel + begin);
            for (Index c = 0; c < some; c++, source += from.channel(), target += to.channel()) {
                const Vector factor = all(scale[c]), summand = all(shift[c]);
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

// The gradient behind an activation becomes that in front of it, in place; what the norm needs of it is summed up, for
// channels that lie side by side in all three rows.
static void deactivate(
    const Norm& norm, bool rectifies, const Rows& d, Index d_channel, const Rows& activated, Index activated_channel,
    const Rows& before, Index before_channel, Index channels, Index first, Index block, const Presence& presence,
    GradientSums* sums
) {
    for (Index begin = 0; begin < channels; begin += CHANNELS_AT_ONCE) {
        const Index some = channels - begin < CHANNELS_AT_ONCE ? channels - begin : CHANNELS_AT_ONCE;
        Vector plain[CHANNELS_AT_ONCE], product[CHANNELS_AT_ONCE];
        for (Index c = 0; c < some; c++) plain[c] = product[c] = zero();
        for (Index y = 0; y < d.height; y++) {
            float* gradient = d.at(block, y, d_channel + begin);
            const float* after = activated.at(block, y, activated_channel + begin);
            const float* value = before.at(block, y, before_channel + begin);
            for (Index c = 0; c < some; c++) {
                const Vector mean = all(norm ? norm.mean[first + begin + c] : 0);
                announce(gradient + d.line(), d.row);
                announce(after + activated.line(), d.row);
                announce(value + before.line(), d.row);
                Vector total = plain[c], with_deviation = product[c];
                for (Index q = 0; q < d.row; q += LANES) {
                    Vector g = multiply(load(gradient + q), presence.lanes);
                    if (rectifies) g = where_positive(load(after + q), g);
                    store(gradient + q, g);
                    total = add(total, g);
                    if (norm) with_deviation = multiply_add(g, subtract(load(value + q), mean), with_deviation);
                }
                plain[c] = total;
                product[c] = with_deviation;
                gradient += d.channel();
                after += activated.channel();
                value += before.channel();
            }
        }
        for (Index c = 0; c < some; c++) sums[begin + c] = {sum(plain[c]), sum(product[c])};
    }
}

// From the gradient of what a norm gave to that of what it got, for channels of one block.
static void unnormalise(
    const Norm& norm, const GradientSums* sums, const Rows& d, Index d_channel, const Rows& before,
    Index before_channel, Index channels, Index first, Index block, const Sizes& sizes, const Presence& presence
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
            float* gradient = d.at(block, y, d_channel + begin);
            const float* value = before.at(block, y, before_channel + begin);
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
