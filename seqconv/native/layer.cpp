// SeqConv2d on a CPU, in float32: both passes of a whole layer, whatever its pattern.
//
// No pattern is known here: a layer comes as a list of who reads whom. Steps are computed one after the other as they
// are defined, which costs nothing, because convolutions of few outputs run as fast as wide ones if a vector holds
// pixels instead of channels.
#include "backward.h"

static_assert(sizeof(Layer) == LAYER_BYTES && sizeof(Tensors) == TENSORS_BYTES, "not as structures.py lays them out");

extern "C" {

// Images that are computed, among them those that are not there.
Index seqconv_places(const Layer* layer) {
    const Sizes sizes = layer->sizes();
    return sizes.blocks * sizes.images;
}

// Floats that `before` and `reduced` take, each.
Index seqconv_kept(const Layer* layer) { return floats_of(layer->sizes(), layer->out_channels, 0); }

// Floats that a pass needs to work in.
Index seqconv_workspace(const Layer* layer, const Tensors* tensors, int backward) {
    Arena arena{nullptr};
    if (backward) BackwardPass(*layer, *tensors, arena);
    else Forward(*layer, *tensors, arena);
    return arena.used;
}

void seqconv_forward(const Layer* layer, const Tensors* tensors, float* workspace) {
    Arena arena{workspace};
    Forward(*layer, *tensors, arena).run();
}

void seqconv_backward(const Layer* layer, const Tensors* tensors, float* workspace) {
    Arena arena{workspace};
    BackwardPass(*layer, *tensors, arena).run();
}
}
