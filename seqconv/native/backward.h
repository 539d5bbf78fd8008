// The backward pass: the steps from the last to the first, then the inputs, then all weights of the sources at once.
#pragma once

#include <cstring>

#include "forward.h"

struct BackwardPass {
    const Layer& layer;
    const Tensors& tensors;
    const Sizes sizes;
    Backward program;
    const Norm inner, outer;
    const Kernel kernel;
    Rows sources;  // as in the forward pass: [input, output]
    Rows d;        // of each step: of its output, then of what its convolution gives
    Rows d_raw;    // given for the raw stream; later what the shortcut gets
    Rows d_inputs;  // of one block, for each thread
    Rows before, reduced;
    Rows bottleneck, d_before, d_bottleneck;  // of one step
    Pixels d_pixels, d_own_pixels;
    float *packed, *packed_own, *sums;
    Index sums_size;
    std::vector<GradientSums> partial;  // [block][channel of a step]
    std::vector<GradientSums> settled;

    BackwardPass(const Layer& layer, const Tensors& tensors, Arena& arena)
        : layer(layer), tensors(tensors), sizes(layer.sizes()), program(backward_program(layer)),
          inner(tensors.inner.norm()), outer(tensors.outer.norm()), kernel(layer.aggregation()) {
        const auto rows = [&](Index channels, Index pad) {
            return rows_of(arena.take(floats_of(sizes, channels, pad)), sizes, channels, pad);
        };
        const auto pixels = [&](Index channels) {
            return pixels_of(arena.take(floats_of_pixels(sizes, channels)), sizes, channels);
        };
        const Index k = layer.group_width, C = layer.out_channels, pad = layer.pad(kernel);
        sources = rows(layer.in_channels + C, pad);
        d = rows(C, pad);
        if (tensors.d_raw || tensors.d_shortcut) d_raw = rows(C, 0);
        if (tensors.d_x) {
            const Index floats = layer.in_channels * sizes.height * sizes.row;
            d_inputs = rows_of(arena.take(floats * layer.threads), sizes, layer.in_channels, 0);
        }
        before = rows_of(tensors.before, sizes, C, 0);
        reduced = rows_of(tensors.reduced, sizes, C, 0);
        d_pixels = pixels(C);
        if (layer.bottleneck) {
            bottleneck = rows(k, layer.pad(layer.kernel()));
            d_before = rows(k, layer.pad(layer.kernel()));
            d_bottleneck = rows(k, 0);
            d_own_pixels = pixels(k);
            packed_own = arena.take(C * k / layer.subgroups * layer.kernel().taps());
        }
        packed = arena.take(program.weights);
        sums_size = (layer.in_channels + C) * kernel.taps() * OUTPUTS_WIDE;
        if (layer.bottleneck && k * layer.kernel().taps() * OUTPUTS_WIDE > sums_size) sums_size = k * layer.kernel().taps() * OUTPUTS_WIDE;
        sums = arena.take(sums_size * layer.threads);
        partial.resize(sizes.blocks * k);
        settled.resize(k);
    }

    void run() {
        pack_backward(layer, tensors, program, packed);
        if (layer.bottleneck) pack_own(layer, tensors, packed_own, true);
        each_block(layer, sizes, [&](Index block) { enter(block); });
        for (Index step = layer.steps() - 1; step >= 0; step--) {
            each_block(layer, sizes, [&](Index block) {
                if (step + 1 < layer.steps()) leave(step + 1, block);
                through_activation(step, block);
            });
            settle_gradients(tensors.outer, step);
            if (layer.bottleneck) {
                each_block(layer, sizes, [&](Index block) { through_own(step, block); });
                if (tensors.d_bias) sum_bias(step);
                if (tensors.d_own) own_weights(step);
                settle_gradients(tensors.inner, step);
            }
        }
        each_block(layer, sizes, [&](Index block) {
            leave(0, block);
            if (tensors.d_x) inputs(block);
            const bool last = layer.channels_last != 0;
            if (tensors.d_shortcut)
                convert<false>({tensors.d_shortcut, layer.out_channels, last}, layer.bottleneck ? d_raw : d, 0, sizes, block);
        });
        if (tensors.d_bias && !layer.bottleneck)
            for (Index step = 0; step < layer.steps(); step++) sum_bias(step);
        if (tensors.d_sources) weights();
    }

    void enter(Index block) {
        const bool last = layer.channels_last != 0;
        convert<true>({tensors.x, layer.in_channels, last}, sources, 0, sizes, block);
        activate(outer, layer.rectifies, before, 0, sources, layer.in_channels, layer.out_channels, 0, block);
        if (tensors.d_act) convert<true>({tensors.d_act, layer.out_channels, last}, d, 0, sizes, block);
        else {
            std::memset(d.data + block * d.block(), 0, d.block() * sizeof(float));
        }
        if (tensors.d_raw) convert<true>({tensors.d_raw, layer.out_channels, last}, d_raw, 0, sizes, block);
    }

    // What later steps say to this step's output, on top of what is given; then back through its ReLU.
    void through_activation(Index step, Index block) {
        const Index end = step + 1, begin = step / layer.panel * layer.panel;
        if (end == layer.steps() || end % layer.panel == 0)
            for (Index y = 0; y < sizes.height; y++)
                for (Index other = begin; other < end; other++) {
                    const Gathering& group = program.outputs[other];
                    if (group.known.empty()) continue;
                    convolve_row(
                        {&d, block, y, sizes.images, kernel}, group.known.data(), group.known.size(),
                        {packed + group.weights, group.columns}, group.channels, d.at(block, y, group.channel),
                        d.channel(), true
                    );
                }
        const Gathering& group = program.outputs[step];
        gather(group, group.inner, packed, d, kernel, d, group.channel, sizes, block, true);
        const Presence presence(sizes, block);
        deactivate(
            outer, layer.rectifies, d, group.channel, sources, layer.in_channels + group.channel, before, group.channel,
            layer.group_width, group.channel, block, presence, &partial[block * layer.group_width]
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
            learned.d_weight[channel] = settled[c].with_deviation * learned.inverse_deviation[channel];
            learned.d_bias[channel] = settled[c].plain;
        }
    }

    // Through the outer norm, plus what is given for the raw stream.
    void through_outer(Index step, Index block, const Presence& presence) {
        const Index first = step * layer.group_width;
        if (outer)
            unnormalise(outer, settled.data(), d, first, before, first, layer.group_width, first, block, sizes, presence);
        if (!tensors.d_raw) return;
        for (Index y = 0; y < sizes.height; y++)
            for (Index c = first; c < first + layer.group_width; c++) {
                float* row = d.at(block, y, c);
                const float* more = d_raw.at(block, y, c);
                for (Index q = 0; q < sizes.row; q += LANES) store(row + q, add(load(more + q), load(row + q)));
            }
    }

    // Through the convolution behind the bottleneck, and its ReLU.
    void through_own(Index step, Index block) {
        const Presence presence(sizes, block);
        const Index first = step * layer.group_width, k = layer.group_width;
        through_outer(step, block, presence);
        for (Index y = 0; y < sizes.height; y++) {
            for (Index c = 0; c < k; c++) {
                const float* row = d.at(block, y, first + c);
                std::memcpy(d_before.at(block, y, c), row, sizes.row * sizeof(float));
                if (tensors.d_shortcut) std::memcpy(d_raw.at(block, y, first + c), row, sizes.row * sizeof(float));
            }
            to_pixels(d_before.at(block, y, 0), d_before.channel(), 0, k, d_own_pixels, block, y);
        }
        clear_pads(d_before, block, 0, k);
        activate(inner, layer.rectifies, reduced, first, bottleneck, 0, k, first, block);
        convolve_own(layer, step, packed_own, d_before, d, first, sizes, block);
        deactivate(
            inner, layer.rectifies, d, first, bottleneck, 0, reduced, first, k, first, block, presence,
            &partial[block * k]
        );
    }

    // What is left of a step when its sums over all images are known.
    void leave(Index step, Index block) {
        const Presence presence(sizes, block);
        const Index first = step * layer.group_width;
        if (layer.bottleneck) {
            if (inner)
                unnormalise(
                    inner, settled.data(), d, first, reduced, first, layer.group_width, first, block, sizes, presence
                );
        } else {
            through_outer(step, block, presence);
        }
        for (Index y = 0; y < sizes.height; y++)
            to_pixels(d.at(block, y, first), d.channel(), first, layer.group_width, d_pixels, block, y);
    }

    void inputs(Index block) {
        const Index mine = thread();
        if (Index(program.inputs.size()) < layer.input_groups())  // nothing reads the others
            std::memset(d_inputs.data + mine * d_inputs.block(), 0, d_inputs.block() * sizeof(float));
        for (Index y = 0; y < sizes.height; y++)
            for (const Gathering& group : program.inputs)
                convolve_row(
                    {&d, block, y, sizes.images, kernel}, group.known.data(), group.known.size(),
                    {packed + group.weights, group.columns}, group.channels, d_inputs.at(mine, y, group.channel),
                    d_inputs.channel(), false
                );
        convert<false>({tensors.d_x, layer.in_channels, layer.channels_last != 0}, d_inputs, 0, sizes, block, mine);
    }

    // Of the gradient before the outer norm: in form plain the final one, behind a bottleneck that of one step.
    void sum_bias(Index step) {
        for (Index c = 0; c < layer.group_width; c++) {
            const Index channel = step * layer.group_width + c;
            const Rows& rows = layer.bottleneck ? d_before : d;
            double total = 0;
            for (Index block = 0; block < sizes.blocks; block++) {
                Vector some = zero();
                for (Index y = 0; y < sizes.height; y++) {
                    const float* row = rows.at(block, y, layer.bottleneck ? c : channel);
                    for (Index q = 0; q < sizes.row; q += LANES) some = add(load(row + q), some);
                }
                total += sum(some);
            }
            tensors.d_bias[channel] = total;
        }
    }

    void own_weights(Index step) {
        const Index k = layer.group_width, width = k / layer.subgroups;
        const Kernel own = layer.kernel();
        const Strides& strides = tensors.own_strides;
#pragma omp parallel for num_threads(layer.threads) schedule(static)
        for (Index which = 0; which < d_own_pixels.wide(); which++) {
            float* mine = sums + thread() * sums_size;
            std::memset(mine, 0, k * own.taps() * OUTPUTS_WIDE * sizeof(float));
            const Index begin = which * OUTPUTS_WIDE, end = begin + OUTPUTS_WIDE < k ? begin + OUTPUTS_WIDE : k;
            for (Index block = 0; block < sizes.blocks; block++)
                for (Index s = begin / width; s * width < end; s++) {
                    const int halves = halves_of(s * width, width, which);
                    correlate(
                        bottleneck, block, sizes.images, own, s * width, width, d_own_pixels, which, halves,
                        mine + s * width * own.taps() * OUTPUTS_WIDE
                    );
                }
            for (Index o = begin; o < end; o++) {
                float* to = tensors.d_own + (step * k + o) * strides.output;
                const Index first = o / width * width;
                for (Index c = 0; c < width; c++)
                    for (Index t = 0; t < own.taps(); t++)
                        to[c * strides.channel + t * strides.tap] = mine[((first + c) * own.taps() + t) * OUTPUTS_WIDE + o - begin];
            }
        }
    }

    // Which halves of a block of OUTPUTS_WIDE outputs some of these outputs lie in, as bits.
    static int halves_of(Index first, Index channels, Index which) {
        int halves = 0;
        for (int half = 0; half < 2; half++) {
            const Index begin = which * OUTPUTS_WIDE + half * LANES;
            if (first < begin + LANES && begin < first + channels) halves |= 1 << half;
        }
        return halves;
    }

    void weights() {
        const Index total = layer.in_channels + layer.out_channels, k = layer.group_width, taps = kernel.taps();
        const Strides& strides = tensors.sources_strides;
#pragma omp parallel for num_threads(layer.threads) schedule(dynamic)
        for (Index which = 0; which < d_pixels.wide(); which++) {
            std::vector<int> halves(total, 0);
            for (Index r = 0; r < layer.read_count; r++) {
                const Read& read = layer.reads[r];
                const int these = halves_of(read.step * k, k, which);
                for (Index c = 0; c < read.channels; c++) halves[read.channel + c] |= these;
            }
            float* mine = sums + thread() * sums_size;
            std::memset(mine, 0, sums_size * sizeof(float));
            for (Index block = 0; block < sizes.blocks; block++)
                for (Index c = 0; c < total;) {
                    Index end = c + 1;
                    while (end < total && halves[end] == halves[c]) end++;
                    if (halves[c])
                        correlate(
                            sources, block, sizes.images, kernel, c, end - c, d_pixels, which, halves[c],
                            mine + c * taps * OUTPUTS_WIDE
                        );
                    c = end;
                }
            for (Index r = 0; r < layer.read_count; r++) {
                const Read& read = layer.reads[r];
                if (!halves_of(read.step * k, k, which)) continue;
                for (Index o = 0; o < k; o++) {
                    const Index lane = read.step * k + o - which * OUTPUTS_WIDE;
                    if (lane < 0 || lane >= OUTPUTS_WIDE) continue;
                    float* to = tensors.d_sources + o * strides.output + read.column * strides.channel;
                    const float* from = mine + read.channel * taps * OUTPUTS_WIDE + lane;
                    for (Index c = 0; c < read.channels; c++)
                        for (Index t = 0; t < taps; t++)
                            to[c * strides.channel + t * strides.tap] = from[(c * taps + t) * OUTPUTS_WIDE];
                }
            }
        }
    }

    static int thread();
};
