"""minigrad: reverse-mode autograd and recurrent networks on NumPy, to be read."""

from .process import keep_freed_memory  # first: it sets what NumPy reads when it is imported

# isort: split
from . import ops  # noqa: F401  (before `tensor`: a tensor's methods are these functions)

# isort: split
from . import functional, nn, optim
from .anomaly import AnomalyError, detect_anomaly
from .backend import BACKENDS, BackendError, get_default_dtype, set_default_dtype, use
from .gradcheck import GradcheckError, gradcheck
from .random import manual_seed
from .tensor import Tensor, no_grad, record, record_joint, tensor
from .threads import get_num_threads, set_num_threads
from .version import __version__

__all__ = [
    "BACKENDS",
    "AnomalyError",
    "BackendError",
    "GradcheckError",
    "Tensor",
    "__version__",
    "detect_anomaly",
    "functional",
    "get_default_dtype",
    "get_num_threads",
    "gradcheck",
    "keep_freed_memory",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "record",
    "record_joint",
    "set_default_dtype",
    "set_num_threads",
    "tensor",
    "use",
]
