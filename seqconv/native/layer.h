// What a caller hands over: a layer as plain numbers, and its tensors. Mirrored in structures.py.
#pragma once

#include "images.h"
#include "norm.h"
#include "weight_gradient.h"

// A step reads a source group: channels [channel, channel + channels) of [input, output].
struct Read {
    Index step, channel, channels;
    Index column;  // of the first of them along the packed dimension of the weights
};

struct Layer {
    Index batch, height, width;
    Index in_channels, out_channels, group_width;
    Index kernel_height, kernel_width, dilation_y, dilation_x, subgroups;
    Index bottleneck, rectifies, channels_last;
    Index panel;  // steps that read what is known in one sweep over the images
    Index threads;
    Index read_count;
    const Read* reads;  // by step, then by column

    Index input_groups() const { return (in_channels + group_width - 1) / group_width; }
    Index steps() const { return out_channels / group_width; }
    Sizes sizes() const { return Sizes(batch, height, width); }
    // Of each step's own convolution: of all its sources, or behind a bottleneck.
    Kernel kernel() const { return {kernel_height, kernel_width, dilation_y, dilation_x}; }
    // Of the convolution that reads the sources.
    Kernel aggregation() const { return bottleneck ? Kernel{1, 1, 1, 1} : kernel(); }
    Index pad(const Kernel& of) const { return of.width / 2 * of.dilation_x * sizes().images; }
    Images images(float* data, Index channels, bool repeats = false) const {
        return {data, channels, channels_last != 0, repeats};
    }
};

struct Learned {
    float *weight, *bias, *mean, *variance;
    float *d_weight, *d_bias;
    Index training;
    double epsilon;
    Norm norm() const { return {weight, bias, mean, variance, training != 0, epsilon}; }
};

struct Tensors {
    float *x, *shortcut, *bias;
    float* sources;  // weights of the convolution that reads the sources: (k, R, ...)
    Strides sources_strides;
    float* own;  // weights behind a bottleneck: (C_out, k / subgroups, ...)
    Strides own_strides;
    Learned inner, outer;
    float *act, *raw;                  // forward; raw is null where it is not asked for
    float *reduced, *before;           // kept for the backward pass: what stands before the inner and the outer norm
    float *d_act, *d_raw;              // backward; null where nothing is given
    float *d_x, *d_shortcut, *d_bias;  // null where nothing is asked for
    float *d_sources, *d_own;          // strides as of the weights
};
