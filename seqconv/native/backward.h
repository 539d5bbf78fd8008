// The backward pass: the steps from the last to the first, then the inputs, then all weights of the sources at once.
#pragma once

#include "source_weights.h"

constexpr Index OWN_PARTS = 8;

struct BackwardPass {
    const Layer& layer;
    const Tensors& tensors;
    const Sizes sizes;
    const Backward program;
    const Norm inner, outer;
    const Kernel kernel;
    SourceWeights source_weights;
    Rows before, reduced;
    Rows d;      // of each step: of its output, then of what its convolution of the sources gives
    Rows d_raw;  // given for the raw stream; behind a bottleneck later what the shortcut gets
    Rows d_inputs, d_before;  // of one block, the latter of one step, for each thread
    Rows bottleneck;          // of one step
    Pixels d_pixels, d_own_pixels;
    float *packed, *packed_own, *own_sums;
    Index own_size = 0;
    std::vector<GradientSums> partial;  // [block][channel of a step]
    std::vector<GradientSums> settled;
    std::vector<double> partial_bias;
    Sweeps each_block;

    BackwardPass(const Layer& layer, const Tensors& tensors, Arena& arena)
        : layer(layer), tensors(tensors), sizes(layer.sizes()), program(backward_program(layer)),
          inner(tensors.inner.norm()), outer(tensors.outer.norm()), kernel(layer.aggregation()),
          source_weights(layer, tensors, arena), each_block{layer, sizes.blocks} {
        const Index k = layer.group_width, C = layer.out_channels, pad = layer.pad(kernel);
        d = arena.rows(sizes, sizes.blocks, C, pad);
        if (tensors.d_raw || (tensors.d_shortcut && layer.bottleneck)) d_raw = arena.rows(sizes, sizes.blocks, C, 0);
        if (tensors.d_x) d_inputs = arena.rows(sizes, layer.threads, layer.in_channels, 0);
        before = rows_of(tensors.before, sizes, C, 0);
        reduced = rows_of(tensors.reduced, sizes, C, 0);
        d_pixels = arena.pixels(sizes, C);
        if (layer.bottleneck) {
            bottleneck = arena.rows(sizes, sizes.blocks, k, layer.pad(layer.kernel()));
            d_before = arena.rows(sizes, layer.threads, k, layer.pad(layer.kernel()));
            d_own_pixels = arena.pixels(sizes, k);
            own_size = d_own_pixels.wide() * k * layer.kernel().taps() * OUTPUTS_WIDE;
            own_sums = arena.take(OWN_PARTS * own_size);
            packed_own = arena.take(C * k / layer.subgroups * layer.kernel().taps());
        }
        packed = arena.take(program.weights);
        partial.resize(sizes.blocks * k);
        partial_bias.resize(sizes.blocks * k);
        settled.resize(k);
    }

    void run() {
        const Index C = layer.out_channels;
        pack_backward(layer, tensors, program, packed);
        if (layer.bottleneck) pack_own(layer, tensors, packed_own, true);
        if (layer.channels_last) each_block([&](Index block) { receive(0, C, block); });
        for (Index step = layer.steps() - 1; step >= 0; step--) {
            each_block([&](Index block) {
                if (step + 1 < layer.steps()) finish(step + 1, block);
                through_activation(step, block);
            });
            if (!layer.bottleneck && step + 1 < layer.steps()) settle_bias(step + 1);
            settle_gradients(tensors.outer, step);
            if (layer.bottleneck) {
                each_block([&](Index block) { through_own(step, block); });
                settle_bias(step);
                if (tensors.d_own) own_weights(step);
                settle_gradients(tensors.inner, step);
            }
        }
        each_block([&](Index block) {
            finish(0, block);
            if (tensors.d_x) inputs(block);
            const Part d_shortcut{layer.bottleneck ? d_raw : d, block, 0};
            if (tensors.d_shortcut)
                convert<false>(layer.images(tensors.d_shortcut, C), 0, C, sizes, block, d_shortcut);
        });
        if (!layer.bottleneck) settle_bias(0);
        if (tensors.d_sources) source_weights.run(d_pixels);
    }

    // Some channels of what is given. In NCHW they lie apart from others, and come when they are needed.
    void receive(Index first, Index channels, Index block) {
        const Index C = layer.out_channels;
        const Part to{d, block, first};
        if (tensors.d_act) convert<true>(layer.images(tensors.d_act, C), first, channels, sizes, block, to);
        else clear(to, channels);
        if (tensors.d_raw)
            convert<true>(layer.images(tensors.d_raw, C), first, channels, sizes, block, {d_raw, block, first});
    }

    // What later steps say to this step's output, on top of what is given; then back through its ReLU.
    void through_activation(Index step, Index block) {
        const Place place{&d, block, 0, sizes.images, kernel};
        const Index end = step + 1, begin = step / layer.panel * layer.panel, first = step * layer.group_width;
        if (end == layer.steps() || end % layer.panel == 0) {
            if (!layer.channels_last) receive(begin * layer.group_width, (end - begin) * layer.group_width, block);
            gather(&program.outputs[begin], end - begin, &Gathering::known, packed, place, d, block, true);
        }
        gather(&program.outputs[step], 1, &Gathering::inner, packed, place, d, block, true);
        deactivate(
            outer, layer.rectifies, first, layer.group_width, {d, block, first}, {before, block, first},
            Presence(sizes, block), &partial[block * layer.group_width]
        );
    }

    void settle_gradients(const Learned& learned, Index step) {
        if (!learned.weight) return;
        for (Index c = 0; c < layer.group_width; c++) {
            settled[c] = {0, 0};
            for (Index block = 0; block < sizes.blocks; block++) {
                settled[c].plain += partial[block * layer.group_width + c].plain;
                settled[c].with_deviation += partial[block * layer.group_width + c].with_deviation;
            }
            const Index channel = step * layer.group_width + c;
            learned.d_weight[channel] = settled[c].with_deviation * learned.norm().inverse_deviation(channel);
            learned.d_bias[channel] = settled[c].plain;
        }
    }

    // Through the outer norm, plus what is given for the raw stream.
    void through_outer(Index step, Index block, const Presence& presence) {
        const Index first = step * layer.group_width;
        if (outer)
            unnormalise(
                outer, first, layer.group_width, settled.data(), sizes.values(), {d, block, first},
                {before, block, first}, presence
            );
        if (!tensors.d_raw && !tensors.d_bias) return;
        for (Index c = 0; c < layer.group_width; c++) {
            Vector total = zero();
            for (Index y = 0; y < sizes.height; y++) {
                float* row = d.at(block, y, first + c);
                const float* more = tensors.d_raw ? d_raw.at(block, y, first + c) : nullptr;
                for (Index q = 0; q < sizes.row; q += LANES) {
                    const Vector value = more ? add(load(more + q), load(row + q)) : load(row + q);
                    store(row + q, value);
                    total = add(total, value);
                }
            }
            partial_bias[block * layer.group_width + c] = sum(total);
        }
    }

    // The bias of a step that all blocks have gone through.
    void settle_bias(Index step) {
        if (!tensors.d_bias) return;
        for (Index c = 0; c < layer.group_width; c++) {
            double total = 0;
            for (Index block = 0; block < sizes.blocks; block++) total += partial_bias[block * layer.group_width + c];
            tensors.d_bias[step * layer.group_width + c] = total;
        }
    }

    // Through the convolution behind the bottleneck, and its ReLU.
    void through_own(Index step, Index block) {
        const Presence presence(sizes, block);
        const Index first = step * layer.group_width, k = layer.group_width, mine = thread();
        through_outer(step, block, presence);
        for (Index y = 0; y < sizes.height; y++) {
            for (Index c = 0; c < k; c++) {
                const float* row = d.at(block, y, first + c);
                std::memcpy(d_before.at(mine, y, c), row, sizes.row * sizeof(float));
                if (tensors.d_shortcut) std::memcpy(d_raw.at(block, y, first + c), row, sizes.row * sizeof(float));
            }
            to_pixels(d_before.at(mine, y, 0), d_before.channel(), 0, k, d_own_pixels, block, y);
        }
        clear_pads({d_before, mine, 0}, k);
        const Part from{reduced, block, first};
        activate(inner, layer.rectifies, first, k, from, {bottleneck, block, 0});
        convolve_own(layer, step, packed_own, d_before, mine, d, sizes, block);
        deactivate(inner, layer.rectifies, first, k, {d, block, first}, from, presence, &partial[block * k]);
    }

    // What is left of a step when its sums over all images are known.
    void finish(Index step, Index block) {
        const Presence presence(sizes, block);
        const Index first = step * layer.group_width;
        if (layer.bottleneck) {
            if (inner)
                unnormalise(
                    inner, first, layer.group_width, settled.data(), sizes.values(), {d, block, first},
                    {reduced, block, first}, presence
                );
        } else {
            through_outer(step, block, presence);
        }
        for (Index y = 0; y < sizes.height; y++)
            to_pixels(d.at(block, y, first), d.channel(), first, layer.group_width, d_pixels, block, y);
    }

    void inputs(Index block) {
        const Index mine = thread(), C = layer.in_channels;
        if (Index(program.inputs.size()) < layer.input_groups())  // nothing reads the others
            clear({d_inputs, mine, 0}, C);
        gather(
            program.inputs.data(), program.inputs.size(), &Gathering::known, packed,
            {&d, block, 0, sizes.images, kernel}, d_inputs, mine, false
        );
        convert<false>(layer.images(tensors.d_x, C), 0, C, sizes, block, {d_inputs, mine, 0});
    }

    // Of the convolution behind a bottleneck. The blocks are cut into the same parts whatever the number of threads.
    void own_weights(Index step) {
        const Index k = layer.group_width, width = k / layer.subgroups;
        const Kernel own = layer.kernel();
        const Index taps = own.taps(), one = k * taps * OUTPUTS_WIDE;
        const auto end_of = [&](Index part) { return (part + 1) * sizes.blocks / OWN_PARTS; };
        std::memset(own_sums, 0, OWN_PARTS * own_size * sizeof(float));
        each(layer, OWN_PARTS, [&](Index part) {
            for (Index block = end_of(part - 1); block < end_of(part); block++)
                for (Index which = 0; which < d_own_pixels.wide(); which++)
                    for (Index s = 0; s < layer.subgroups; s++) {
                        const int halves = halves_of(s * width, width, which);
                        float* to = own_sums + part * own_size + which * one + s * width * taps * OUTPUTS_WIDE;
                        if (halves)
                            correlate(
                                bottleneck, block, sizes.images, own, s * width, width, d_own_pixels, block, which,
                                halves, to
                            );
                    }
        });
        const Strides& strides = tensors.own_strides;
        for (Index o = 0; o < k; o++) {
            const float* from = own_sums + o / OUTPUTS_WIDE * one + o % OUTPUTS_WIDE;
            float* to = tensors.d_own + (step * k + o) * strides.output;
            for (Index c = 0; c < width; c++)
                for (Index t = 0; t < taps; t++) {
                    float total = 0;
                    for (Index part = 0; part < OWN_PARTS; part++)
                        total += from[part * own_size + ((o / width * width + c) * taps + t) * OUTPUTS_WIDE];
                    to[c * strides.channel + t * strides.tap] = total;
                }
        }
    }
};
