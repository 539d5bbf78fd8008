// The forward pass: step by step, each sweeping over the blocks of images.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

#include "program.h"

// Work with numbers from 0 on, in several threads; who does what changes no result.
template <typename Work>
static void each(const Layer& layer, Index count, const Work& work) {
#pragma omp parallel for num_threads(layer.threads) schedule(static)
    for (Index number = 0; number < count; number++) work(number);
}

// Sweeps over the blocks of images, each the other way round: what the last one ended with is still in the caches.
// A thread has the same blocks in all of them.
struct Sweeps {
    const Layer& layer;
    const Index blocks;
    bool backwards = false;

    template <typename Work>
    void operator()(const Work& work) {
        each(layer, layer.threads, [&](Index share) {
            const Index begin = share * blocks / layer.threads, end = (share + 1) * blocks / layer.threads;
            for (Index block = begin; block < end; block++) work(backwards ? begin + end - 1 - block : block);
        });
        backwards = !backwards;
    }
};

// This one among the threads that share the work.
static Index thread() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

// What `count` groups of outputs gather in all rows of a block, from `place` on: `what` they know, or the rest.
// Rows come first: what the first group has read is still at hand for the others.
static void gather(
    const Gathering* groups, Index count, std::vector<Run> Gathering::*what, const float* packed, Place place,
    const Rows& to, Index block_of_to, bool adds
) {
    for (place.y = 0; place.y < to.height; place.y++)
        for (const Gathering* group = groups; group < groups + count; group++) {
            const std::vector<Run>& runs = group->*what;
            if (adds && runs.empty()) continue;
            convolve_row(
                place, runs.data(), runs.size(), {packed + group->weights, group->columns}, group->channels,
                to.at(block_of_to, place.y, group->channel), to.channel(), adds
            );
        }
}

// The k to k convolution behind a bottleneck, or its transpose. `from` holds the step's channels alone.
static void convolve_own(
    const Layer& layer, Index step, const float* packed, const Rows& from, Index from_block, const Rows& to,
    const Sizes& sizes, Index block
) {
    const Kernel kernel = layer.kernel();
    const Index width = layer.group_width / layer.subgroups;
    for (Index y = 0; y < sizes.height; y++)
        for (Index s = 0; s < layer.subgroups; s++) {
            const Run run{s * width, width, 0};
            convolve_row(
                {&from, from_block, y, sizes.images, kernel}, &run, 1,
                {packed + (step * layer.subgroups + s) * width * width * kernel.taps(), width}, width,
                to.at(block, y, step * layer.group_width + s * width), to.channel(), false
            );
        }
}

struct Forward {
    const Layer& layer;
    const Tensors& tensors;
    const Sizes sizes;
    const std::vector<Gathering> steps;
    const Norm inner, outer;
    Rows sources, before, reduced, shortcut;
    Rows bottleneck;  // of one block and step, for each thread
    float *packed, *packed_own;
    std::vector<Moments> moments;
    Sweeps each_block;

    Forward(const Layer& layer, const Tensors& tensors, Arena& arena)
        : layer(layer), tensors(tensors), sizes(layer.sizes()), steps(forward_program(layer)),
          inner(tensors.inner.norm()), outer(tensors.outer.norm()), each_block{layer, sizes.blocks} {
        const Index k = layer.group_width, C = layer.out_channels;
        sources = arena.rows(sizes, sizes.blocks, layer.in_channels + C, layer.pad(layer.aggregation()));
        before = rows_of(tensors.before, sizes, C, 0);
        reduced = rows_of(tensors.reduced, sizes, C, 0);
        if (layer.bottleneck) bottleneck = arena.rows(sizes, layer.threads, k, layer.pad(layer.kernel()));
        if (tensors.shortcut) shortcut = arena.rows(sizes, sizes.blocks, C, 0);
        packed = arena.take(steps.back().weights + steps.back().columns * k * layer.aggregation().taps());
        packed_own = layer.bottleneck ? arena.take(C * k / layer.subgroups * layer.kernel().taps()) : nullptr;
        moments.resize(sizes.blocks * k);
    }

    void run() {
        pack_forward(layer, tensors, steps, packed);
        if (layer.bottleneck) pack_own(layer, tensors, packed_own, false);
        each_block([&](Index block) {
            const Index in = layer.in_channels, out = layer.out_channels;
            convert<true>(layer.images(tensors.x, in, true), 0, in, sizes, block, {sources, block, 0});
            if (tensors.shortcut)
                convert<true>(layer.images(tensors.shortcut, out, true), 0, out, sizes, block, {shortcut, block, 0});
        });
        for (Index step = 0; step < layer.steps(); step++) {
            each_block([&](Index block) {
                if (step > 0) finish(step - 1, block);
                begin(step, block);
            });
            if (layer.bottleneck) {
                settle_if(inner, step);
                each_block([&](Index block) { behind_bottleneck(step, block); });
            }
            settle_if(outer, step);
        }
        each_block([&](Index block) {
            finish(layer.steps() - 1, block);
            if (layer.channels_last) give(0, layer.out_channels, block);
        });
    }

    // All that the step reads; for the first of a panel also what the panel's other steps read of what is known.
    void begin(Index step, Index block) {
        const Rows& to = layer.bottleneck ? reduced : before;
        const Place place{&sources, block, 0, sizes.images, layer.aggregation()};
        if (step % layer.panel == 0) {
            const Index count = std::min(layer.panel, layer.steps() - step);
            gather(&steps[step], count, &Gathering::known, packed, place, to, block, false);
        }
        gather(&steps[step], 1, &Gathering::inner, packed, place, to, block, true);
        if (layer.bottleneck) measure_if(inner, reduced, step, block);
        else complete(step, block);
    }

    void behind_bottleneck(Index step, Index block) {
        const Index first = step * layer.group_width;
        const Part from{reduced, block, first}, to{bottleneck, thread(), 0};
        activate(inner, layer.rectifies, first, layer.group_width, from, to);
        convolve_own(layer, step, packed_own, bottleneck, thread(), before, sizes, block);
        complete(step, block);
    }

    // Bias and shortcut.
    void complete(Index step, Index block) {
        for (Index c = step * layer.group_width; c < (step + 1) * layer.group_width; c++) {
            if (!tensors.bias && !tensors.shortcut) break;
            const Vector bias = all(tensors.bias ? tensors.bias[c] : 0);
            for (Index y = 0; y < sizes.height; y++) {
                float* row = before.at(block, y, c);
                const float* more = tensors.shortcut ? shortcut.at(block, y, c) : nullptr;
                for (Index q = 0; q < sizes.row; q += LANES) {
                    Vector value = add(load(row + q), bias);
                    if (more) value = add(load(more + q), value);
                    store(row + q, value);
                }
            }
        }
        measure_if(outer, before, step, block);
    }

    void measure_if(const Norm& norm, const Rows& rows, Index step, Index block) {
        if (!norm || !norm.training) return;
        const Index k = layer.group_width;
        measure(rows, block, step * k, k, Presence(sizes, block), &moments[block * k]);
    }

    void settle_if(const Norm& norm, Index step) {
        if (norm && norm.training) settle(norm, step * layer.group_width, layer.group_width, moments.data(), sizes);
    }

    void finish(Index step, Index block) {
        const Index first = step * layer.group_width;
        const Part from{before, block, first}, to{sources, block, layer.in_channels + first};
        activate(outer, layer.rectifies, first, layer.group_width, from, to);
        if (!layer.channels_last) give(first, layer.group_width, block);
    }

    // Some channels of what was asked for. In NCHW they lie apart from others, and go while they are at hand.
    void give(Index first, Index channels, Index block) {
        const Index C = layer.out_channels;
        if (tensors.raw)
            convert<false>(layer.images(tensors.raw, C), first, channels, sizes, block, {before, block, first});
        const Part act{sources, block, layer.in_channels + first};
        convert<false>(layer.images(tensors.act, C), first, channels, sizes, block, act);
    }
};
