"""torch.optim on every library: its class names, parameter names, defaults and results.

A call is copied without its first argument, the parameters. A learning rate may also be a 0-d array, or a schedule of
the step count in place of one of torch's schedulers. The flags ``foreach``, ``fused``, ``capturable`` and
``differentiable`` choose among torch's implementations of one formula; here they are accepted, and change nothing.

As measured with torch 2.13.
"""

from uniopt.dialects.torch.adam import Adam as Adam
from uniopt.dialects.torch.adam import Adamax as Adamax
from uniopt.dialects.torch.adam import AdamW as AdamW
from uniopt.dialects.torch.adam import NAdam as NAdam
from uniopt.dialects.torch.adam import RAdam as RAdam
from uniopt.dialects.torch.gradient_descent import ASGD as ASGD
from uniopt.dialects.torch.gradient_descent import SGD as SGD
from uniopt.dialects.torch.gradient_descent import Rprop as Rprop
from uniopt.dialects.torch.layer_by_layer import Muon as Muon
from uniopt.dialects.torch.second_moments import Adadelta as Adadelta
from uniopt.dialects.torch.second_moments import Adafactor as Adafactor
from uniopt.dialects.torch.second_moments import Adagrad as Adagrad
from uniopt.dialects.torch.second_moments import RMSprop as RMSprop
