// Gradients of the weights of all that reads sources, once all gradients of what they give are known.
//
// Blocks of images are laid out one after the other (one for each thread), so that one is read from the cache by all
// blocks of outputs.
#pragma once

#include "forward.h"

constexpr Index TASK_CHANNELS = 48;  // at most

// Which halves of a block of OUTPUTS_WIDE outputs some of these outputs lie in, as bits.
static int halves_of(Index first, Index channels, Index which) {
    int halves = 0;
    for (int half = 0; half < 2; half++) {
        const Index begin = which * OUTPUTS_WIDE + half * LANES;
        if (first < begin + LANES && begin < first + channels) halves |= 1 << half;
    }
    return halves;
}

struct SourceWeights {
    // Source channels that the same halves of a block of outputs read; not too many, so that threads find work.
    struct Task {
        Index which, channel, channels;
        int halves;
        Index sums;
    };

    const Layer& layer;
    const Tensors& tensors;
    const Sizes sizes;
    const Kernel kernel;
    const Norm outer;
    Rows sources;  // [input, output] of one block for each thread
    Rows before;
    std::vector<Task> tasks;
    std::vector<Index> places;  // of the sums of a channel, [block of outputs][channel]
    float* sums;
    Index sums_size = 0;

    SourceWeights(const Layer& layer, const Tensors& tensors, Arena& arena)
        : layer(layer), tensors(tensors), sizes(layer.sizes()), kernel(layer.aggregation()),
          outer(tensors.outer.norm()) {
        sources = arena.rows(sizes, layer.threads, channels(), layer.pad(kernel));
        before = rows_of(tensors.before, sizes, layer.out_channels, 0);
        places.resize(wide() * channels());
        for (Index which = 0; which < wide(); which++) plan(which);
        sums = arena.take(sums_size);
    }

    Index channels() const { return layer.in_channels + layer.out_channels; }
    Index wide() const { return wide_blocks(layer.out_channels); }

    void plan(Index which) {
        std::vector<int> halves(channels(), 0);
        for (Index r = 0; r < layer.read_count; r++) {
            const Read& read = layer.reads[r];
            const int these = halves_of(read.step * layer.group_width, layer.group_width, which);
            for (Index c = 0; c < read.channels; c++) halves[read.channel + c] |= these;
        }
        for (Index c = 0; c < channels();) {
            Index end = c + 1;
            while (end < channels() && halves[end] == halves[c] && end - c < TASK_CHANNELS) end++;
            if (halves[c]) {
                tasks.push_back({which, c, end - c, halves[c], sums_size});
                for (Index i = c; i < end; i++) {
                    places[which * channels() + i] = sums_size;
                    sums_size += kernel.taps() * OUTPUTS_WIDE;
                }
            }
            c = end;
        }
    }

    // d: of what the convolutions of the sources give.
    void run(const Pixels& d) {
        std::memset(sums, 0, sums_size * sizeof(float));
        for (Index first = 0; first < sizes.blocks; first += layer.threads) {
            const Index some = std::min(layer.threads, sizes.blocks - first);
            each(layer, some, [&](Index place) { lay_out(first + place, place); });
            each(layer, tasks.size(), [&](Index number) {
                const Task& task = tasks[number];
                for (Index place = 0; place < some; place++)
                    correlate(
                        sources, place, sizes.images, kernel, task.channel, task.channels, d, first + place, task.which,
                        task.halves, sums + task.sums
                    );
            });
        }
        each(layer, wide(), [&](Index which) { hand_out(which); });
    }

    void lay_out(Index block, Index place) {
        const Index in = layer.in_channels;
        convert<true>(layer.images(tensors.x, in, true), 0, in, sizes, block, {sources, place, 0});
        const Part from{before, block, 0}, to{sources, place, layer.in_channels};
        activate(outer, layer.rectifies, 0, layer.out_channels, from, to);
    }

    void hand_out(Index which) {
        const Index k = layer.group_width, taps = kernel.taps();
        const Strides& strides = tensors.sources_strides;
        for (Index r = 0; r < layer.read_count; r++) {
            const Read& read = layer.reads[r];
            const float* from = sums + places[which * channels() + read.channel];
            for (Index o = 0; o < k; o++) {
                const Index lane = read.step * k + o - which * OUTPUTS_WIDE;
                if (lane < 0 || lane >= OUTPUTS_WIDE) continue;
                float* to = tensors.d_sources + o * strides.output + read.column * strides.channel;
                for (Index c = 0; c < read.channels; c++)
                    for (Index t = 0; t < taps; t++)
                        to[c * strides.channel + t * strides.tap] = from[(c * taps + t) * OUTPUTS_WIDE + lane];
            }
        }
    }
};
