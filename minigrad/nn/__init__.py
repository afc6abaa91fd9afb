"""Layers: parameters, and a call to a function of `functional` or `bptt`."""

from .batch_norm import BatchNorm1d, BatchNorm2d
from .convolution import Conv2d, MaxPool2d
from .dropout import Dropout, Dropout1d, Dropout2d
from .layers import Embedding, Flatten, Linear, ReLU, Tanh
from .loss import CrossEntropyLoss, MSELoss
from .module import Module, ModuleList, Parameter, Sequential
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RNNCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Sequential",
    "Tanh",
]
