"""minigrad: readable reverse-mode autograd and recurrent networks on NumPy."""

from .process import keep_freed_memory  # first: sets what OpenBLAS reads when NumPy is imported

# isort: split
from . import ops  # noqa: F401  (before `tensor`, whose methods use it)

# isort: split
from . import functional, graph, nn, optim
from .anomaly import AnomalyError, detect_anomaly
from .backend import BACKENDS, BackendError, get_default_dtype, set_default_dtype, use
from .creation import tensor
from .functional import log_softmax, softmax
from .gradcheck import GradcheckError, gradcheck
from .modes import no_grad
from .ops import (
    abs,
    cat,
    chunk,
    clamp,
    clip,
    concatenate,
    cos,
    exp,
    log,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    permute,
    relu,
    repeat,
    reshape,
    sigmoid,
    sin,
    sqrt,
    squeeze,
    stack,
    std,
    sum,
    tanh,
    transpose,
    unbind,
    unsqueeze,
    var,
    where,
)
from .profile import profile
from .random import manual_seed
from .tensor import Tensor, record, record_joint
from .threads import get_num_threads, set_num_threads
from .version import __version__

__all__ = [
    "BACKENDS",
    "AnomalyError",
    "BackendError",
    "GradcheckError",
    "Tensor",
    "__version__",
    "abs",
    "cat",
    "chunk",
    "clamp",
    "clip",
    "concatenate",
    "cos",
    "detect_anomaly",
    "exp",
    "functional",
    "get_default_dtype",
    "get_num_threads",
    "gradcheck",
    "graph",
    "keep_freed_memory",
    "log",
    "log_softmax",
    "manual_seed",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "permute",
    "profile",
    "record",
    "record_joint",
    "relu",
    "repeat",
    "reshape",
    "set_default_dtype",
    "set_num_threads",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sum",
    "tanh",
    "tensor",
    "transpose",
    "unbind",
    "unsqueeze",
    "use",
    "var",
    "where",
]
