"""The modules that `join.py` makes one file of: they import torch, torchaudio and each other, and nothing of ours."""
