"""Keep what libraries say to developers off the user's screen."""

from __future__ import annotations

import logging
import os
import warnings


def hush_libraries() -> None:
    """Turn off warnings, hints and progress bars of the libraries below, and their telemetry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.simplefilter("ignore")
    for name in ("transformers", "timm", "torch", "accelerate", "huggingface_hub", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
