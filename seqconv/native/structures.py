"""What the library takes, as it is laid out in memory: the structures of layer.h and convolution.h."""

from __future__ import annotations

import ctypes

Integer = ctypes.c_long
"""`Index` in vectors.h."""


class Read(ctypes.Structure):
    """`Read` in layer.h."""

    _fields_ = [(name, Integer) for name in ("step", "channel", "channels", "column")]


class Layer(ctypes.Structure):
    """`Layer` in layer.h."""

    _fields_ = [
        *((name, Integer) for name in ("batch", "height", "width", "in_channels", "out_channels", "group_width")),
        *((name, Integer) for name in ("kernel_height", "kernel_width", "dilation_y", "dilation_x", "subgroups")),
        *((name, Integer) for name in ("bottleneck", "rectifies", "channels_last", "panel", "threads", "read_count")),
        ("reads", ctypes.POINTER(Read)),
    ]


class Strides(ctypes.Structure):
    """`Strides` in convolution.h."""

    _fields_ = [(name, Integer) for name in ("output", "channel", "tap")]


class Learned(ctypes.Structure):
    """`Learned` in layer.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "mean", "variance", "d_weight", "d_bias")),
        ("training", Integer),
        ("epsilon", ctypes.c_double),
    ]


class Tensors(ctypes.Structure):
    """`Tensors` in layer.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "shortcut", "bias", "sources")),
        ("sources_strides", Strides),
        ("own", ctypes.c_void_p),
        ("own_strides", Strides),
        ("inner", Learned),
        ("outer", Learned),
        *((name, ctypes.c_void_p) for name in ("act", "raw", "reduced", "before", "d_act", "d_raw", "d_x")),
        *((name, ctypes.c_void_p) for name in ("d_shortcut", "d_bias", "d_sources", "d_own")),
    ]
