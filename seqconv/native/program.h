// What each step reads, as runs of channels that lie side by side.
#pragma once

#include <vector>

#include "arena.h"

// What one group of outputs gathers: first what is known before its panel begins, then the rest.
struct Gathering {
    std::vector<Run> known, inner;
    Index columns = 0;          // source channels in all
    Index weights = 0;          // where its packed weights begin
    Index channel = 0, channels = 0;  // of the outputs
    std::vector<const Read*> reads;   // by column; in the backward pass alone
};

static void extend(std::vector<Run>& runs, Index channel, Index channels, Index column) {
    if (!runs.empty()) {
        Run& last = runs.back();
        if (last.channel + last.channels == channel && last.column + last.channels == column) {
            last.channels += channels;
            return;
        }
    }
    runs.push_back({channel, channels, column});
}

// Forward: a step gathers its sources from [input, output].
static std::vector<Gathering> forward_program(const Layer& layer) {
    std::vector<Gathering> steps(layer.steps());
    for (Index r = 0; r < layer.read_count; r++) {
        const Read& read = layer.reads[r];
        Gathering& step = steps[read.step];
        const Index panel_begins = layer.in_channels + read.step / layer.panel * layer.panel * layer.group_width;
        extend(read.channel < panel_begins ? step.known : step.inner, read.channel, read.channels, step.columns);
        step.columns += read.channels;
    }
    Index weights = 0;
    for (Index s = 0; s < layer.steps(); s++) {
        steps[s].channel = s * layer.group_width;
        steps[s].channels = layer.group_width;
        steps[s].weights = weights;
        weights += steps[s].columns * layer.group_width * layer.aggregation().taps();
    }
    return steps;
}

static void pack_forward(
    const Layer& layer, const Tensors& tensors, const std::vector<Gathering>& steps, float* packed
) {
    const Kernel kernel = layer.aggregation();
    Index begin = 0;
    for (const Gathering& step : steps) {
        const float* from = tensors.sources + begin * tensors.sources_strides.channel;
        pack(
            packed + step.weights, step.columns, 0, layer.group_width, step.columns, kernel, from,
            tensors.sources_strides, false
        );
        begin += step.columns;
    }
}

// Backward: a source group gathers from the steps that read it, whose channels are those of the output.
struct Backward {
    std::vector<Gathering> inputs;   // as reads meet them; those that nothing reads are missing
    std::vector<Gathering> outputs;  // of every step
    Index weights = 0;               // floats, packed
};

// Of the source group that is read; made where it is missing.
static Gathering& gathering(Backward& program, const Layer& layer, const Read& read) {
    const Index output = read.channel - layer.in_channels;
    if (output >= 0) return program.outputs[output / layer.group_width];
    for (Gathering& input : program.inputs)
        if (input.channel == read.channel) return input;
    program.inputs.emplace_back();
    program.inputs.back().channel = read.channel;
    program.inputs.back().channels = read.channels;
    return program.inputs.back();
}

static Backward backward_program(const Layer& layer) {
    Backward program;
    const Index k = layer.group_width;
    program.outputs.resize(layer.steps());
    for (Index s = 0; s < layer.steps(); s++) {
        program.outputs[s].channel = s * k;
        program.outputs[s].channels = k;
    }
    for (Index r = 0; r < layer.read_count; r++) {
        const Read& read = layer.reads[r];
        Gathering& group = gathering(program, layer, read);
        group.reads.push_back(&read);
        const bool is_output = read.channel >= layer.in_channels;
        const Index step = (read.channel - layer.in_channels) / k;
        const bool same_panel = is_output && step / layer.panel == read.step / layer.panel;
        extend(same_panel ? group.inner : group.known, read.step * k, k, group.columns);
        group.columns += k;
    }
    for (auto* groups : {&program.inputs, &program.outputs})
        for (Gathering& group : *groups) {
            group.weights = program.weights;
            program.weights += group.columns * group.channels * layer.aggregation().taps();
        }
    return program;
}

static void pack_backward(const Layer& layer, const Tensors& tensors, const Backward& program, float* packed) {
    const Strides& strides = tensors.sources_strides;
    const Strides turned{strides.channel, strides.output, strides.tap};
    for (const auto* groups : {&program.inputs, &program.outputs})
        for (const Gathering& group : *groups) {
            Index column = 0;
            for (const Read* read : group.reads) {
                const float* from = tensors.sources + read->column * strides.channel;
                pack(
                    packed + group.weights, group.columns, column, group.channels, layer.group_width,
                    layer.aggregation(), from, turned, true
                );
                column += layer.group_width;
            }
        }
}

// The k to k convolutions behind bottlenecks: [step][subgroup] tiles, each of k / subgroups source channels.
static void pack_own(const Layer& layer, const Tensors& tensors, float* packed, bool backward) {
    const Kernel kernel = layer.kernel();
    const Index width = layer.group_width / layer.subgroups, size = width * width * kernel.taps();
    const Strides& strides = tensors.own_strides;
    const Strides turned{strides.channel, strides.output, strides.tap};
    for (Index s = 0; s < layer.steps() * layer.subgroups; s++)
        pack(
            packed + s * size, width, 0, width, width, kernel, tensors.own + s * width * strides.output,
            backward ? turned : strides, backward
        );
}
