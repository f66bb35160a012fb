"""States in files: safetensors, with a header that says what they are, written so that no crash can spoil one."""

from uniopt.checkpoints.reading import load as load
from uniopt.checkpoints.writing import save as save
