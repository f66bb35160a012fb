"""Transformations as torch.optim.Optimizer, and torch's own optimizers by their names.

`Optimizer` makes one of any transformation. The others are the functions of `uniopt.dialects.torch` as classes.
"""

from uniopt.integrations.torch.drop_in import ASGD as ASGD
from uniopt.integrations.torch.drop_in import SGD as SGD
from uniopt.integrations.torch.drop_in import Adadelta as Adadelta
from uniopt.integrations.torch.drop_in import Adafactor as Adafactor
from uniopt.integrations.torch.drop_in import Adagrad as Adagrad
from uniopt.integrations.torch.drop_in import Adam as Adam
from uniopt.integrations.torch.drop_in import Adamax as Adamax
from uniopt.integrations.torch.drop_in import AdamW as AdamW
from uniopt.integrations.torch.drop_in import Muon as Muon
from uniopt.integrations.torch.drop_in import NAdam as NAdam
from uniopt.integrations.torch.drop_in import RAdam as RAdam
from uniopt.integrations.torch.drop_in import RMSprop as RMSprop
from uniopt.integrations.torch.drop_in import Rprop as Rprop
from uniopt.integrations.torch.optimizer import Optimizer as Optimizer
